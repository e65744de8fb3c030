import Netlink
import VirtioNet

// The first byte chooses the decoder: a control command (the server stub's side), or an answer and what may be in it (the client
// stub's side), or a netlink message's attributes. None may trap; what was understood must come out of its encoder as the same.

@c(LLVMFuzzerTestOneInput)
public func fuzzNetControl(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    // SAFETY: libFuzzer passes `count` bytes.
    let input = unsafe Array(UnsafeBufferPointer(start: start, count: count))
    guard let first = input.first else { return 0 }
    let rest = Array(input.dropFirst())
    switch first & 3 {
    case 0: command(rest)
    case 1: answer(rest)
    case 2: results(rest)
    default: attributes(rest[...], depth: 0)
    }
    return 0
}

private func command(_ bytes: [UInt8]) {
    do throws(NetControlError) {
        let command = try NetControlCommand(untrusted: bytes.span)
        precondition(command.encoded() == bytes, "another command than the one that was sent")
    } catch {}
}

private func answer(_ bytes: [UInt8]) {
    do throws(NetControlError) {
        let answer = try NetControlAnswer(untrusted: bytes.span)
        if case .refused(_, let reason) = answer { precondition(reason.utf8.allSatisfy { $0 >= 32 && $0 < 127 }) }
        let encoded = answer.encoded()
        let again = try NetControlAnswer(untrusted: encoded.span)
        precondition(again == answer)
    } catch {}
}

private func results(_ bytes: [UInt8]) {
    do throws(NetControlError) {
        let page = try NetStatisticsPage(untrusted: bytes.span)
        precondition(page.counters.count <= NetStatisticsPage.most && page.total <= NetStatisticsPage.mostInAll)
        // Whoever asks for page after page has to come to an end.
        precondition(!page.counters.isEmpty || page.first == page.total)
        let encoded = page.encoded()
        let again = try NetStatisticsPage(untrusted: encoded.span)
        precondition(again == page)
    } catch {}
    do throws(NetControlError) {
        let found = try NetDescription(untrusted: bytes.span)
        precondition(found.mtu >= found.smallestMTU && found.mtu <= found.largestMTU && found.mac >> 40 & 1 == 0 && found.mac != 0)
        let encoded = found.encoded()
        let again = try NetDescription(untrusted: encoded.span)
        precondition(again == found)
    } catch {}
    _ = VirtioNetConfiguration(untrusted: bytes.span)
}

private func attributes(_ bytes: ArraySlice<UInt8>, depth: Int) {
    for attribute in NetlinkAttributes(bytes) {
        _ = (attribute.u8, attribute.u16, attribute.u32, attribute.u64, attribute.text)
        if depth < 8 { attributes(attribute.payload, depth: depth + 1) }
    }
    // A link from a made-up message: every attribute that is read.
    _ = Link(untrusted: bytes)
}

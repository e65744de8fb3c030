import Foundation
import Testing

@testable import Hypervisor

@Suite struct BlockingCallsTests {
    @Test(.timeLimit(.minutes(5))) func callsThatAreStuckKeepNobodyElseWaiting() async throws {
        let calls = BlockingCalls(limit: 2)
        defer { calls.finish() }
        let stuck = DispatchSemaphore(value: 0)
        let answers = await withTaskGroup { group in
            for _ in 0..<5 {
                group.addTask { try? await calls.run(within: .milliseconds(50)) { () throws(HypervisorError) in stuck.wait() } ?? () }
            }
            return await group.reduce(into: 0) { count, _ in count += 1 }
        }
        #expect(answers == 5)
        let value = try await calls.run(within: .seconds(20)) { () throws(HypervisorError) in 7 }
        #expect(value == 7)
        for _ in 0..<5 { stuck.signal() }
        #expect(try await calls.run { () throws(HypervisorError) in 8 } == 8)
        await #expect(throws: HypervisorError.notRunning(machine: "m")) {
            try await calls.run(within: .seconds(20)) { () throws(HypervisorError) in throw .notRunning(machine: "m") }
        }
    }
}

@Suite struct MachineMarkTests {
    @Test func aMachineIsKnownByItsMarkHoweverLibvirtWritesIt() {
        let mark = MachineMark(root: "/run/it's <mine>/libvirt", uri: "qemu:///system")
        #expect(mark.isIn(mark.element))
        #expect(mark.isIn(mark.element.replacingOccurrences(of: "'", with: "\"")))
        #expect(!mark.isIn(MachineMark(root: "/run/other/libvirt", uri: "qemu:///system").element))
        #expect(!mark.isIn(MachineMark(root: "/run/it's <mine>", uri: "qemu:///system").element))
        #expect(!mark.isIn("<machine/>"))
    }

    @Test func theDescriptionCarriesTheMark() throws {
        let mark = MachineMark(root: "/r", uri: nil).element
        let text = try DomainXML(DomainXMLTests.spec(), emulator: "/q", mark: mark).text
        #expect(text.contains("<metadata><drover:machine xmlns:drover='urn:drover:machine:1' root='/r'/></metadata>"))
    }

    @Test func aTakenNameIsRefusedInOneSentenceEach() {
        let error = HypervisorError.nameTaken(machine: "nvme0")
        #expect(error.description == "nvme0: a virtual machine of somebody else's has this name in the same libvirt.")
        #expect(error.remedy == "Give the DD/OS another name in the configuration, or start droverd without --libvirt-uri.")
    }
}

@Suite struct TerminalFilterTests {
    @Test func whatDrivesATerminalIsTakenOut() {
        var filter = ConsoleLog.TerminalFilter()
        let hostile = "\u{1b}]0;title\u{7}\u{1b}[2Jwords\tmore\r\n\u{9b}31mé\u{7f}\n"
        #expect(String(decoding: filter.take(Data(hostile.utf8)), as: UTF8.self) == "]0;title[2Jwords\tmore\n31mé\n")
        #expect(filter.take(Data([0x9B, 0x33, 0x31])) == Data("\u{FFFD}31".utf8), "a lone byte is no control character either")
    }

    @Test func aCharacterThatComesInTwoPiecesIsWhole() {
        let text = Data("aé€😀z\u{9b}".utf8)
        for cut in 0...text.count {
            var filter = ConsoleLog.TerminalFilter()
            #expect(filter.take(text.prefix(cut)) + filter.take(Data(text.dropFirst(cut))) == Data("aé€😀z".utf8), "cut at \(cut)")
        }
    }
}

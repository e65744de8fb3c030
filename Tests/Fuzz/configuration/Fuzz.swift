import DroverConfiguration

// A configuration is written by a person with an editor, so anything may come. It is read or refused with a place; it never
// traps, and what is read keeps its promises.

@c(LLVMFuzzerTestOneInput)
public func fuzzConfiguration(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    // SAFETY: libFuzzer lends that many bytes for the call.
    let text = unsafe String(decoding: UnsafeBufferPointer(start: start, count: count), as: UTF8.self)
    do throws(ConfigurationError) {
        let configuration = try Configuration(parsing: text, file: "fuzz.yaml", models: ["nvme", "ahci"], nics: ["e1000e"])
        precondition(!configuration.ddos.isEmpty)
        precondition(Set(configuration.ddos.map(\.name)).count == configuration.ddos.count)
        for ddos in configuration.ddos {
            precondition(!ddos.name.isEmpty && ddos.name.utf8.count <= 32 && !ddos.name.contains("/"))
            precondition(ddos.memory > ddos.pool && (ddos.pool.bytes > 0) == (ddos.deviceClass == .block))
            precondition((ddos.network != nil) == (ddos.deviceClass == .network))
            if let network = ddos.network { precondition((1...15).contains(network.interface.name.utf8.count)) }
            precondition(ddos.restart.backoffMinimum <= ddos.restart.backoffMaximum)
        }
    } catch {
        precondition(!error.problems.isEmpty)
        precondition(!"\(error)".isEmpty)
    }
    return 0
}

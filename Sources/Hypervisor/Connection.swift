import CLibvirt
import Foundation

/// libvirt's connection. Its calls are safe from any thread; they block.
final class Connection: @unchecked Sendable {
    let pointer: OpaquePointer

    init(uri: String) throws(LibvirtFailure) {
        guard let pointer = virConnectOpen(uri) else { throw LibvirtFailure(.last()) }
        self.pointer = pointer
    }

    /// After the event callbacks were taken off: each of them holds the connection.
    func close() { virConnectClose(pointer) }

    /// Looks a machine up, and lets go of it after `body`.
    func withDomain<Value>(
        _ name: String, _ operation: String, _ body: (OpaquePointer) throws(HypervisorError) -> Value
    ) throws(HypervisorError) -> Value {
        guard let domain = virDomainLookupByName(pointer, name) else {
            throw ErrorMapping.calling(.last(), operation: operation, machine: name)
        }
        defer { virDomainFree(domain) }
        return try body(domain)
    }

    /// A call that answers -1 when it failed.
    func call(_ name: String, _ operation: String, _ function: (OpaquePointer) -> Int32) throws(HypervisorError) {
        try withDomain(name, operation) { domain throws(HypervisorError) in
            if function(domain) < 0 { throw ErrorMapping.calling(.last(), operation: operation, machine: name) }
        }
    }
}

/// A libvirt error on its way to the place that knows what was asked.
struct LibvirtFailure: Error {
    let error: LibvirtError
    init(_ error: LibvirtError) { self.error = error }
}

/// What can be read of a domain without a call that blocks.
enum DomainIdentity {
    static func name(_ domain: OpaquePointer) -> String { virDomainGetName(domain).map { String(cString: $0) } ?? "" }

    /// Lower case with dashes, as on QEMU's command line.
    static func uuidText(_ domain: OpaquePointer) -> String {
        var text = [CChar](repeating: 0, count: Int(CLIBVIRT_UUID_TEXT_BYTES))
        guard virDomainGetUUIDString(domain, &text) == 0 else { return "" }
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

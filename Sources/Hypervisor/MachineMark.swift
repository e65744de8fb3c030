import CLibvirt
import Foundation

/// Whose a machine is, in a libvirt that others use too: an element in the machine's `<metadata>`, which libvirt keeps as it is. Names
/// do not tell: anybody may have given a machine the name of a DD/OS.
struct MachineMark: Sendable {
    private static let namespace = "urn:drover:machine:1"

    /// The supervisor's own directory for libvirt, escaped so that it is the same text in any XML.
    private let root: String
    /// Nobody else can have a machine there: libvirt runs inside the supervisor.
    private let isEmbedded: Bool

    /// `uri`: libvirt's; nil is `qemu:///embed`.
    init(root: String, uri: String?) {
        let plain = CharacterSet(charactersIn: "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/-_.")
        self.root = root.addingPercentEncoding(withAllowedCharacters: plain) ?? root
        isEmbedded = uri?.hasPrefix("qemu:///embed") ?? true
    }

    /// For the machine's description.
    var element: String { "<drover:machine xmlns:drover='\(Self.namespace)' root='\(root)'/>" }

    /// Whether an element of Drover's namespace, as libvirt gives it back, is this supervisor's.
    func isIn(_ element: String) -> Bool { element.contains("root='\(root)'") || element.contains("root=\"\(root)\"") }

    /// Whether the machine is this supervisor's. `known`: a life that certainly is.
    func isOn(_ domain: OpaquePointer, known: String? = nil) -> Bool {
        if isEmbedded || known == DomainIdentity.uuidText(domain) { return true }
        let kind = Int32(bitPattern: VIR_DOMAIN_METADATA_ELEMENT.rawValue)
        guard let text = virDomainGetMetadata(domain, kind, Self.namespace, 0) else { return false }
        defer { free(text) }
        return isIn(String(cString: text))
    }

    /// Before a start: the name has to be free, or this supervisor's own.
    func check(_ name: String, _ connection: Connection) throws(HypervisorError) {
        if isEmbedded { return }
        guard let domain = virDomainLookupByName(connection.pointer, name) else { return }
        defer { virDomainFree(domain) }
        if !isOn(domain) { throw .nameTaken(machine: name) }
    }
}

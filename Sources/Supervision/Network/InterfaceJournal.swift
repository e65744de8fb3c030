import Foundation
import StubControl

/// `interface.json`: what a DD/OS's supervisor did to the host's network, written before it takes effect, so that whoever comes next can
/// undo it; and what was changed of the NIC's settings since the configuration was read.
struct InterfaceJournal: Codable, Equatable {
    /// Of another boot: nothing of it exists any more.
    var bootID = StateFile.currentBootID
    /// The host's interface.
    var interface: Made?
    /// The end of an emulated NIC's wire, where it was made here.
    var wire: Made?
    /// Changed with `drover net NAME set`; they go before the configuration's.
    var settings: StubInterfaceSettings?

    /// A TAP device that was made. Number and mark name it for certain: the kernel gives no number out twice, but counts anew in a
    /// namespace that is made anew under the same name.
    struct Made: Codable, Equatable {
        var name: String
        var index: Int32
        /// The alias that it was given (`ip -d link`); one with another is somebody else's.
        var mark: String
        /// `lab`; nil: the supervisor's own.
        var namespace: String?
        var bridge: String?
    }

    var isEmpty: Bool { interface == nil && wire == nil && settings == nil }

    /// An empty one if there is none, it cannot be read, or it is of another boot.
    static func load(_ path: String) -> InterfaceJournal {
        guard let data = FileManager.default.contents(atPath: path),
            let journal = try? JSONDecoder().decode(InterfaceJournal.self, from: data), journal.bootID == StateFile.currentBootID
        else {
            return InterfaceJournal()
        }
        return journal
    }

    /// Replaces the file as a whole.
    func save(_ path: String) throws(SupervisionError) {
        let temporary = path + ".new"
        do {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
            try encoder.encode(self).write(to: URL(filePath: temporary))
        } catch {
            throw .fileSystem(
                operation: "write", path: temporary, errno: (error as NSError).code == NSFileWriteOutOfSpaceError ? ENOSPC : EIO)
        }
        guard rename(temporary, path) == 0 else { throw .fileSystem(operation: "replace", path: path, errno: errno) }
    }
}

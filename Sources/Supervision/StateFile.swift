import Accounting
import ControlModel
import Foundation
import Glibc

/// `state.json`: what the next supervisor has to know about a DD/OS to take it over.
struct StateFile: Codable, Equatable {
    /// Of another boot: the processes are gone, and their numbers mean others.
    var bootID: String
    var name: String
    var record: MachineRecord
    var phase: DDOSPhase
    var life: Life?
    var stub: ProcessIdentity?
    var vmmMeter: Meter
    var stubMeter: Meter
    /// Of the clients' requests, by stubs that are gone.
    var pastRequests: UInt64
    var nbdSocket: String?
    /// To notice that the configuration changed under a running DD/OS.
    var configuration: String
    /// What the stub was told at its start.
    var stubSettings: [String]?

    /// One life of the VM.
    struct Life: Codable, Equatable {
        var uuid: UUID
        var generation: UInt64
        /// Nil until it started.
        var vmm: ProcessIdentity?
        var imageHash: String
        var kernelVersion: String
        var accelerator: String
    }

    static let currentBootID: String = {
        let text = try? String(contentsOfFile: "/proc/sys/kernel/random/boot_id", encoding: .utf8)
        return (text ?? "").trimmingCharacters(in: .whitespacesAndNewlines)
    }()

    /// Nil if there is none, it cannot be read, or it is of another boot.
    static func load(_ path: String) -> StateFile? {
        guard let data = FileManager.default.contents(atPath: path),
            let state = try? ControlJSON.decoder().decode(StateFile.self, from: data)
        else {
            return nil
        }
        return state.bootID == currentBootID ? state : nil
    }

    /// Replaces the file as a whole: a reader sees the old one or the new one.
    func save(_ path: String) throws(SupervisionError) {
        let temporary = path + ".new"
        do {
            let data = try ControlJSON.encoder(pretty: true).encode(self)
            try data.write(to: URL(filePath: temporary))
        } catch {
            throw .fileSystem(
                operation: "write", path: temporary, errno: (error as NSError).code == NSFileWriteOutOfSpaceError ? ENOSPC : EIO)
        }
        guard rename(temporary, path) == 0 else { throw .fileSystem(operation: "replace", path: path, errno: errno) }
    }
}

import ControlAPI
import ControlModel
import Foundation
import Glibc
import Testing

/// Real KVM, VFIO and an IOMMU, in the machine that `Tests/Lab/lab` starts: `make lab`. One test at a time: they share its devices.
@Suite(.serialized) struct Lab {
    /// L1's devices: see Tests/Lab/lab.
    static let nvme = "0000:01:00.0"
    static let nic = "0000:02:00.0"
    static let edu = "0000:03:00.0"
    static let sharedNVMe = "0000:04:00.0"
    static let sharedNIC = "0000:04:00.1"
    /// The other end of ``nic``'s wire: a virtio NIC of L1's own.
    static let otherEnd = "0000:00:08.0"

    /// These tests take devices away from the machine that they run on: never from a developer's.
    static func enter() throws {
        guard FileManager.default.fileExists(atPath: "/run/drover-lab") else {
            throw Failure("these tests belong into the lab's machine: run them with 'make lab'")
        }
    }

    static func driver(_ address: String) -> String? {
        (try? FileManager.default.destinationOfSymbolicLink(atPath: "/sys/bus/pci/devices/\(address)/driver"))
            .map { ($0 as NSString).lastPathComponent }
    }

    /// The crashes that each device goes through: of each kind in turn, `LAB_FAULTS` in all.
    static var faults: [InjectedFault] {
        let count = ProcessInfo.processInfo.environment["LAB_FAULTS"].flatMap { Int($0) } ?? 10
        return (0..<count).map { [.kill, .panic, .hang][$0 % 3] }
    }

    /// What the kernel calls the interface of a NIC.
    static func interface(_ address: String) throws -> String {
        let folder = "/sys/bus/pci/devices/\(address)"
        // virtio: the NIC is a device on the bus that the PCI function carries.
        let inside = try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasPrefix("virtio") }.map { "/" + $0 }
        for path in [""] + inside {
            if let name = (try? FileManager.default.contentsOfDirectory(atPath: folder + path + "/net"))?.first { return name }
        }
        throw Failure("\(address) has no network interface")
    }

    /// What the kernel resets a device with: the first of its methods that the device has.
    static func resetMethod(_ address: String) throws -> String {
        let text = try String(contentsOfFile: "/sys/bus/pci/devices/\(address)/reset_method", encoding: .utf8)
        guard let first = text.split(whereSeparator: \.isWhitespace).first else { throw Failure("\(address) cannot be reset") }
        return String(first)
    }

    /// Of the tables: a life of a DD/OS in each row.
    static let header = ["life", "ready after, s", "of it image / VMM / kernel / rest", "reset by", "notes"]

    /// Where the time of a DD/OS's last start went.
    static func phases(_ rig: Rig, _ name: String) async throws -> String {
        guard let start = try await rig.client.inspect(name).lastStart else { return "-" }
        let rest = start.stub + start.initialization + start.probe + start.connection + start.session
        return [start.image, start.vmm, start.kernel, rest].map { String(format: "%.1f", $0) }.joined(separator: " / ")
    }

    static func seconds(since start: ContinuousClock.Instant) -> String { String(format: "%.1f", start.duration(to: .now) / .seconds(1)) }

    static func override(_ address: String) -> String {
        let text = (try? String(contentsOfFile: "/sys/bus/pci/devices/\(address)/driver_override", encoding: .utf8)) ?? ""
        let word = text.trimmingCharacters(in: .whitespacesAndNewlines)
        return word == "(null)" ? "" : word
    }

    /// A DD/OS of a PCI device, for a machine whose processors are all emulated.
    static func plan(_ name: String, _ address: String) -> Plan {
        Plan(name, "nvme").with {
            $0.address = address
            // Ready long before a stock kernel, which one test keeps to.
            $0.image = "lean-6.1"
            $0.boot = "{ deadline: 10min }"
            $0.requests = "{ deadline: 60s, whileDown: hold, pingTimeout: 8s }"
            $0.restart = "{ backoff: 0.2s..1s, stableAfter: 1s, quarantine: never }"
        }
    }

    /// `drover devices --json`, by address.
    static func devices(_ rig: Rig) async throws -> [String: [String: Any]] {
        let text = try await rig.succeed("devices", "--json")
        guard let list = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [[String: Any]] else {
            throw Failure("no list: \(text)")
        }
        return Dictionary(list.compactMap { device in (device["address"] as? String).map { ($0, device) } }) { first, _ in first }
    }

    static func reasons(_ device: [String: Any]?) -> String {
        let objections = device?["objections"] as? [[String: Any]] ?? []
        return objections.map { "\($0["reason"] ?? "") → \($0["remedy"] ?? "")" }.joined(separator: "; ")
    }

    /// Runs another program of the machine's.
    @discardableResult
    static func run(_ rig: Rig, _ path: String, _ arguments: String..., within limit: Duration = .seconds(60)) async throws -> String {
        let output = try await rig.start(path, arguments).finish(within: limit)
        guard output.status == 0 else { throw Failure("\(path) \(arguments) ended with \(output.status): \(output.out) \(output.error)") }
        return output.out
    }
}

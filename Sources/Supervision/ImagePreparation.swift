import DroverConfiguration
import Foundation
import Hypervisor
import ImageBuilder
import PCIInventory

/// The image for a device, from the cache or built, and the device itself: a file for an emulated disk, a look at a PCI device.
struct ImagePreparation: DevicePreparation {
    var builder: ImageBuilder
    /// Path of the guest's server stub.
    var serverStub: String
    var runDirectory: String
    var cacheDirectory: String

    func prepare(_ configuration: DDOSConfiguration, progress: @escaping @Sendable (String) -> Void) async throws -> PreparedDevice {
        let modaliases: [String]
        let extraModules: [String]
        let binding: MachineBinding
        switch configuration.device {
        case .emulated(let name, let backing):
            // The configuration was checked against the same list.
            guard let model = DeviceModel(rawValue: name) else {
                throw SupervisionError.deviceUnavailable(name: configuration.name, reason: "there is no model '\(name)'")
            }
            let file = try Self.backingFile(backing, of: configuration.name, model, self)
            modaliases = [model.modalias]
            extraModules = model.extraModules
            binding = .emulated(model, backingFile: file)
        case .pci(let text):
            guard let address = PCIAddress(text) else {
                throw SupervisionError.deviceUnavailable(name: configuration.name, reason: "'\(text)' is no PCI address")
            }
            let function = try PCIInventory().function(at: address)
            modaliases = [function.modalias]
            extraModules = Self.upperModules(classCode: function.classCode)
            binding = .pci(address: text)
        }
        let steps = ProgressSteps(report: progress)
        let image = try await builder.build(
            recipe: configuration.image, modaliases: modaliases, extraModules: extraModules, serverStub: serverStub,
            progress: { steps.take($0) })
        return PreparedDevice(image: image, binding: binding)
    }

    private static func backingFile(
        _ backing: Backing, of name: String, _ model: DeviceModel, _ place: ImagePreparation
    ) throws -> String {
        let path = backing.path(runDirectory: place.runDirectory, cacheDirectory: place.cacheDirectory)
        let existing = (try? FileManager.default.attributesOfItem(atPath: path))?[.size] as? UInt64
        guard let size = backing.size.map({ UInt64($0.bytes) }) ?? existing else {
            throw SupervisionError.backingFileMissing(name: name, path: path)
        }
        if existing == nil { try RunDirectory.make((path as NSString).deletingLastPathComponent) }
        return try BackingFile.prepare(path: path, size: size, for: model).path
    }

    /// Drivers that no PCI modalias leads to, by the function's class: what makes a disk of what a controller finds.
    private static func upperModules(classCode: UInt32) -> [String] {
        switch classCode >> 8 {
        case 0x0100, 0x0104, 0x0105, 0x0106, 0x0107: ["sd_mod"]
        case 0x0805: ["mmc_block"]
        case 0x0c03: ["usb-storage", "uas", "sd_mod"]
        default: []
        }
    }
}

/// Of a download's many reports only every tenth part is worth an event.
private final class ProgressSteps: Sendable {
    private let report: @Sendable (String) -> Void
    private let latest = ProgressMemory()

    init(report: @escaping @Sendable (String) -> Void) {
        self.report = report
    }

    func take(_ progress: ImageProgress) {
        // The rule, with every life: nothing to tell.
        if case .cached = progress { return }
        var key = "\(progress)"
        if case .downloading(let package, let received, let total) = progress {
            key = "\(package) \(total > 0 ? received * 10 / total : 0)"
        }
        if latest.isNew(key) { report("\(progress)") }
    }
}

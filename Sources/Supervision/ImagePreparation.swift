import DroverConfiguration
import Foundation
import Hypervisor
import ImageBuilder
import PCIInventory
import Synchronization

/// The image for a device, from the cache or built, and the device itself: a file for an emulated disk, a look at a PCI device.
struct ImagePreparation: DevicePreparation {
    var builder: ImageBuilder
    /// Path of the guest's server stub.
    var serverStub: String
    var runDirectory: String
    var cacheDirectory: String
    var passthrough: PassthroughDevices
    private let recipes = RecipesInUse()

    init(
        builder: ImageBuilder, serverStub: String, runDirectory: String, cacheDirectory: String, passthrough: PassthroughDevices
    ) {
        self.builder = builder
        self.serverStub = serverStub
        self.runDirectory = runDirectory
        self.cacheDirectory = cacheDirectory
        self.passthrough = passthrough
    }

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
        case .emulatedNIC(let name, let wire, let mac):
            guard let model = NetworkModel(rawValue: name) else {
                throw SupervisionError.deviceUnavailable(name: configuration.name, reason: "there is no model '\(name)'")
            }
            modaliases = [model.modalias]
            extraModules = PCIFunction.networkModules(with: model.extraModules)
            binding = .emulatedNIC(EmulatedNIC(model: model, tap: wire.tap, mac: mac))
        case .pci(let text):
            guard let address = PCIAddress(text) else {
                throw SupervisionError.deviceUnavailable(name: configuration.name, reason: "'\(text)' is no PCI address")
            }
            let function = try PCIInventory().function(at: address)
            modaliases = [function.modalias]
            extraModules = configuration.deviceClass == .network ? PCIFunction.networkModules : function.upperModules
            binding = .pci(
                PCIPlace(domain: address.domain, bus: address.bus, slot: address.device, function: address.function))
        }
        let image = try await image(configuration, modaliases, extraModules, ProgressSteps(report: progress))
        // Last: until the image is there, the host may keep its device.
        var taken: String?
        if case .pci(let text) = configuration.device, let address = PCIAddress(text) {
            taken = try await passthrough.take(address, for: configuration.name)
        }
        return PreparedDevice(image: image, binding: binding, taken: taken)
    }

    /// What the configuration asks for, or what its recipe falls back to. Where it asks for nothing, a lean image that cannot be built (there is no
    /// compiler, or the source is not offered any more) is no reason to do without the device.
    private func image(
        _ configuration: DDOSConfiguration, _ modaliases: [String], _ extraModules: [String], _ steps: ProgressSteps
    ) async throws -> BuiltImage {
        func build(_ recipe: String) async throws(ImageError) -> BuiltImage {
            try await builder.build(
                recipe: recipe, modaliases: modaliases, extraModules: extraModules, serverStub: serverStub, progress: { steps.take($0) })
        }
        let asked = "\(configuration.name) \(configuration.image)"
        let image: BuiltImage
        do throws(ImageError) {
            image = try await build(recipes[asked] ?? configuration.image)
        } catch {
            guard !configuration.imageIsGiven, recipes[asked] == nil, error != .cancelled else { throw error }
            steps.say("no \(configuration.image) image: \(error.description); using \(DDOSConfiguration.stockImage) instead")
            image = try await build(DDOSConfiguration.stockImage)
        }
        recipes[asked] = image.manifest.recipe
        return image
    }

    func giveBack(_ configuration: DDOSConfiguration) async throws -> String? {
        guard case .pci(let text) = configuration.device, let address = PCIAddress(text) else { return nil }
        return try await passthrough.giveBack(address)
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
}

/// What each DD/OS's first image was built from in the end: a restart does not find out again that the recipe asked for cannot serve it.
private final class RecipesInUse: Sendable {
    private let names = Mutex<[String: String]>([:])

    /// - Parameter asked: The DD/OS and the recipe that it asks for.
    subscript(asked: String) -> String? {
        get { names.withLock { $0[asked] } }
        set { names.withLock { $0[asked] = newValue } }
    }
}

/// Of a download's many reports only every tenth part is worth an event.
private final class ProgressSteps: Sendable {
    private let report: @Sendable (String) -> Void
    private let latest = ProgressMemory()

    init(report: @escaping @Sendable (String) -> Void) {
        self.report = report
    }

    func say(_ text: String) { report(text) }

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

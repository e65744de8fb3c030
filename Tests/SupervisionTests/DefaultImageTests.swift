import DroverConfiguration
import Foundation
import ImageBuilder
import Synchronization
import Testing

@testable import Supervision

/// Which recipe a DD/OS gets whose configuration names none.
@Suite struct DefaultImageTests {
    /// A place without any recipe: whatever is asked for cannot be had, and the error says what was asked for last.
    private func lastRecipe(
        _ change: (inout DDOSConfiguration) -> Void = { _ in }
    ) async throws -> (name: String?, said: [String]) {
        let place = FileManager.default.temporaryDirectory.appending(path: "drover-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: place) }
        let preparation = ImagePreparation(
            builder: ImageBuilder(cacheDirectory: "\(place)/cache", recipesDirectory: place), serverStub: "\(place)/stub",
            runDirectory: place, cacheDirectory: "\(place)/cache",
            passthrough: PassthroughDevices(run: RunDirectory(path: place), forced: []))
        var configuration = DDOSConfiguration(
            name: "a", device: .emulated(model: "nvme", backing: Backing(file: "\(place)/a.img", size: .mebibytes(16))))
        change(&configuration)
        let said = Said()
        do {
            _ = try await preparation.prepare(configuration) { said.add($0) }
        } catch ImageError.noSuchRecipe(let name, _, _) {
            return (name, said.all)
        }
        return (nil, said.all)
    }

    @Test func aLeanOneElseTheStockOneAndItIsSaid() async throws {
        let (name, said) = try await lastRecipe()
        #expect(name == DDOSConfiguration.stockImage)
        #expect(said.contains { $0.hasPrefix("no lean-6.1 image: ") && $0.hasSuffix("; using debian-6.1 instead") }, "\(said)")
    }

    @Test func whatIsAskedForOrNothing() async throws {
        let (name, said) = try await lastRecipe { $0.image = "lean-6.1" }
        #expect(name == "lean-6.1")
        #expect(said == [])
    }
}

private final class Said: Sendable {
    private let lines = Mutex<[String]>([])

    var all: [String] { lines.withLock { $0 } }

    func add(_ line: String) { lines.withLock { $0.append(line) } }
}

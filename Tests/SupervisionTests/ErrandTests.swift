import Dispatch
import PCIInventory
import Synchronization
import Testing

@testable import Supervision

/// Who waits for a device, and what becomes of the thread that is late.
@Suite("Errands")
struct ErrandTests {
    @Test func theAnswerIsTheWorksOwn() async throws {
        #expect(try await Errand.run(late: "nothing") { _ in 7 } == 7)
        await #expect(throws: SupervisionError.deviceStuck(reason: "own")) {
            try await Errand<Int>.run(late: "nothing") { _ in throw SupervisionError.deviceStuck(reason: "own") }
        }
    }

    /// Runs `body` with a piece of work that waits for it to end.
    private func stuck(seconds: Double, _ body: (Task<Int, any Error>) async throws -> Void) async throws -> Bool {
        let letGo = DispatchSemaphore(value: 0)
        let (ends, end) = AsyncStream.makeStream(of: Bool.self)
        let task = Task {
            try await Errand.run(late: "it has not happened", seconds: seconds) { claim in
                letGo.wait()
                end.yield(claim.isAbandoned)
                return 7
            }
        }
        try await body(task)
        letGo.signal()
        for await abandoned in ends { return abandoned }
        return false
    }

    @Test(.timeLimit(.minutes(5))) func afterTheDeadlineTheWorkKnowsThatNobodyWaits() async throws {
        let abandoned = try await stuck(seconds: 0.05) { task in
            let error = await #expect(throws: SupervisionError.self) { try await task.value }
            let text = "\(try #require(error))"
            #expect(text.contains("it has not happened"))
        }
        #expect(abandoned)
    }

    @Test(.timeLimit(.minutes(5))) func whenCancelledTheWorkKnowsThatNobodyWaits() async throws {
        let abandoned = try await stuck(seconds: 60) { task in
            task.cancel()
            await #expect(throws: CancellationError.self) { try await task.value }
        }
        #expect(abandoned)
    }
}

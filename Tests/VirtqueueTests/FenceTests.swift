import Foundation
import Synchronization
import Testing

@testable import Virtqueue

/// The race that the fences are for: one side moves its index while the other asks for a doorbell. At least one of them has to
/// notice the other, or both sleep for ever (virtio 1.2, 2.7.7.2).
@Suite struct FenceTests {
    /// Two threads, side by side from step to step.
    private final class Lockstep: Sendable {
        private let arrivals = Atomic<Int>(0)
        let answer = Atomic<Bool>(false)
        private let deadline = Date(timeIntervalSinceNow: 30)

        /// Waits until both have made `step` steps. False: the other one never came.
        func reach(_ step: Int) -> Bool {
            arrivals.add(1, ordering: .acquiringAndReleasing)
            var spins = 0
            while arrivals.load(ordering: .acquiring) < 2 * step {
                spins += 1
                if spins % 1000 == 0 {
                    sched_yield()  // on one core the other needs this one
                    if Date() > deadline { return false }
                }
            }
            return true
        }
    }

    private final class Holder: @unchecked Sendable {
        var driver: DriverVirtqueue
        init(_ driver: consuming DriverVirtqueue) { self.driver = driver }
    }

    @Test(arguments: [[], [.eventIndex]] as [VirtqueueFeatures])
    func oneOfBothNoticesTheOther(features: VirtqueueFeatures) async throws {
        // The race is one of nanoseconds: it takes optimised code, and many tries, to lose it.
        #if DEBUG
            let rounds = 10_000
        #else
            let rounds = 150_000
        #endif
        let pool = Pool(count: 65536)
        let layout = VirtqueueLayout(size: 4, at: 0)
        let holder = Holder(try DriverVirtqueue(layout, in: pool.memory, features: features))
        let lockstep = Lockstep()

        async let isUnserved: Bool = onThread {
            guard var device = try? DeviceVirtqueue(layout, in: pool.memory, features: features) else { return true }
            var chain = DescriptorChain(capacity: 4)
            for round in 0..<rounds {
                device.disableNotification()
                guard lockstep.reach(round * 4 + 1) else { return false }
                let sawChain = device.enableNotification()
                lockstep.answer.store(sawChain, ordering: .relaxed)
                guard lockstep.reach(round * 4 + 2) else { return false }
                guard (try? device.pop(from: pool.memory, into: &chain)) == true else { return true }
                device.pushUsed(head: chain.head, length: 0)
                guard lockstep.reach(round * 4 + 3) else { return false }
                let rings = device.publishUsed()
                lockstep.answer.store(rings, ordering: .relaxed)
                guard lockstep.reach(round * 4 + 4) else { return false }
            }
            return false
        }
        async let driven: (rounds: Int, isLost: Bool) = onThread {
            let buffer: [1 of DriverBuffer] = [.writable(4096, 8)]
            for round in 0..<rounds {
                guard (try? holder.driver.add(buffer.span, token: 0)) == true else { return (round, true) }
                holder.driver.disableNotification()
                guard lockstep.reach(round * 4 + 1) else { return (round, false) }
                let rings = holder.driver.publish()
                guard lockstep.reach(round * 4 + 2) else { return (round, false) }
                guard rings || lockstep.answer.load(ordering: .relaxed) else { return (round, true) }
                guard lockstep.reach(round * 4 + 3) else { return (round, false) }
                let sawUsed = holder.driver.enableNotification()
                guard lockstep.reach(round * 4 + 4) else { return (round, false) }
                guard sawUsed || lockstep.answer.load(ordering: .relaxed) else { return (round, true) }
                guard let used = try? holder.driver.popUsed(), used.length == 0 else { return (round, true) }
            }
            return (rounds, false)
        }
        let end = await driven
        #expect(await !isUnserved, "the device found no chain where one was published")
        #expect(!end.isLost, "in round \(end.rounds) both would have slept")
        // A machine with other things to do has fewer tries in the time.
        #expect(end.rounds >= 100, "the other thread never came")
    }
}

/// Runs a body on a thread of its own, and waits for what it says.
func onThread<Result: Sendable>(_ body: @escaping @Sendable () -> Result) async -> Result {
    await withCheckedContinuation { continuation in
        Thread { continuation.resume(returning: body()) }.start()
    }
}

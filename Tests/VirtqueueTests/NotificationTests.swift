import Foundation
import Testing

@testable import Virtqueue

/// Doorbells: none too many, and above all none too few.
@Suite struct NotificationTests {
    static let features: [VirtqueueFeatures] = [[], [.eventIndex]]

    @Test(arguments: features)
    func doorbellIsWantedOnlyWhenAskedFor(features: VirtqueueFeatures) throws {
        let pool = Pool(count: 65536)
        let layout = VirtqueueLayout(size: 16, at: 0)
        var driver = try DriverVirtqueue(layout, in: pool.memory, features: features)
        var device = try DeviceVirtqueue(layout, in: pool.memory, features: features)
        var chain = DescriptorChain(capacity: 4)
        let buffer: [1 of DriverBuffer] = [.writable(4096, 8)]

        check(!driver.publish(), "nothing new, no doorbell")
        check(try driver.add(buffer.span, token: 0))
        check(driver.publish(), "a fresh device is asleep")
        device.disableNotification()
        check(try driver.add(buffer.span, token: 1))
        check(!driver.publish(), "the device is looking")
        check(device.enableNotification(), "there is work: it must not sleep")
        for _ in 0..<2 {
            check(try device.pop(from: pool.memory, into: &chain))
            device.pushUsed(head: chain.head, length: 0)
        }
        check(!device.enableNotification())
        check(try driver.add(buffer.span, token: 2))
        check(try driver.add(buffer.span, token: 3))
        check(driver.publish(), "the device sleeps")
        check(device.publishUsed(), "a fresh driver is asleep")
        driver.disableNotification()
        check(try device.pop(from: pool.memory, into: &chain))
        device.pushUsed(head: chain.head, length: 0)
        check(!device.publishUsed(), "the driver is looking")
        check(driver.enableNotification(), "there is work: it must not sleep")
    }

    @Test func doorbellComesAfterAsManyChainsAsAskedFor() throws {
        let pool = Pool(count: 65536)
        let layout = VirtqueueLayout(size: 16, at: 0)
        var driver = try DriverVirtqueue(layout, in: pool.memory, features: [.eventIndex])
        var device = try DeviceVirtqueue(layout, in: pool.memory, features: [.eventIndex])
        var chain = DescriptorChain(capacity: 4)
        let buffer: [1 of DriverBuffer] = [.writable(4096, 8)]
        for token in 0..<8 as Range<UInt64> { check(try driver.add(buffer.span, token: token)) }
        _ = driver.publish()
        check(!driver.enableNotification(after: 4))
        var rung: [Bool] = []
        while try device.pop(from: pool.memory, into: &chain) {
            device.pushUsed(head: chain.head, length: 0)
            rung.append(device.publishUsed())
        }
        #expect(rung == [false, false, false, true, false, false, false, false])
        while try driver.popUsed() != nil {}
        check(try driver.add(buffer.span, token: 9))
        check(driver.publish() == false, "the device never asked again")
        check(!driver.enableNotification(after: 100))
        check(try device.pop(from: pool.memory, into: &chain))
        device.pushUsed(head: chain.head, length: 0)
        check(device.publishUsed(), "only one is in flight: waiting for more would be for ever")
    }

    /// A doorbell, as an eventfd is one: rings are not lost, only merged.
    final class Doorbell: @unchecked Sendable {
        private let condition = NSCondition()
        private var ringing = false
        private(set) var count = 0

        func ring() {
            condition.withLock {
                ringing = true
                count += 1
                condition.signal()
            }
        }

        /// False if nobody rang until the deadline: a doorbell was lost.
        func wait(until deadline: Date) -> Bool {
            condition.withLock {
                while !ringing { if !condition.wait(until: deadline) { return ringing } }
                ringing = false
                return true
            }
        }
    }

    /// Two threads that sleep whenever they may: a lost doorbell is a sleep until the deadline.
    @Test(arguments: features)
    func nobodySleepsThroughADoorbell(features: VirtqueueFeatures) async throws {
        let total: UInt64 = 100_000
        let pool = Pool(count: 65536)
        let layout = VirtqueueLayout(size: 16, at: 0)
        let toDevice = Doorbell()
        let toDriver = Doorbell()
        let deadline = Date(timeIntervalSinceNow: 60)
        // The rings are zeroed before the device looks.
        let driver = try DriverVirtqueue(layout, in: pool.memory, features: features)
        let holder = Holder(driver)

        async let served: Bool = onThread {
            guard var device = try? DeviceVirtqueue(layout, in: pool.memory, features: features) else { return false }
            var chain = DescriptorChain(capacity: 4)
            var done: UInt64 = 0
            while done < total {
                do throws(VirtqueueError) {
                    while try device.pop(from: pool.memory, into: &chain) {
                        device.pushUsed(head: chain.head, length: 1)
                        done += 1
                        if done % 3 == 0, device.publishUsed() { toDriver.ring() }
                    }
                } catch { return false }
                if device.publishUsed() { toDriver.ring() }
                if done < total, !device.enableNotification(), !toDevice.wait(until: deadline) { return false }
                device.disableNotification()
            }
            return true
        }
        async let driven: Bool = onThread {
            let buffer: [1 of DriverBuffer] = [.writable(4096, 8)]
            var next: UInt64 = 0
            var expected: UInt64 = 0
            while expected < total {
                do throws(VirtqueueError) {
                    while next < total, try holder.driver.add(buffer.span, token: next) { next += 1 }
                    if holder.driver.publish() { toDevice.ring() }
                    while let used = try holder.driver.popUsed() {
                        if used.token != expected || used.length != 1 { return false }
                        expected += 1
                    }
                } catch { return false }
                if next < total, holder.driver.freeDescriptors > 0 { continue }
                if expected < total, !holder.driver.enableNotification(after: 4), !toDriver.wait(until: deadline) { return false }
                holder.driver.disableNotification()
            }
            return true
        }
        #expect(await served, "the device slept for ever, or saw a broken ring")
        #expect(await driven, "the driver slept for ever, or saw a broken ring")
        #expect(toDevice.count + toDriver.count <= Int(2 * total))
    }

    /// A queue that one thread owns from now on.
    private final class Holder: @unchecked Sendable {
        var driver: DriverVirtqueue
        init(_ driver: consuming DriverVirtqueue) { self.driver = driver }
    }
}

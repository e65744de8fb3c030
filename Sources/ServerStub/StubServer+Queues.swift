internal import VirtioMessage
internal import LinuxSystem
internal import Virtqueue

extension StubServer {
    /// Takes what the driver made available on all queues, and shows it what is done.
    /// - Returns: whether there was anything.
    mutating func serveQueues() throws(SystemError) -> Bool {
        var worked = false
        for device in 0..<bus.devices.count where bus.devices[device].isRunning {
            for queue in 0..<bus.devices[device].queues.count {
                worked = try takeRequests(device, queue) || worked
            }
        }
        return worked
    }

    /// Fewer, and the driver works on them one by one; more, and it has nothing to do meanwhile.
    private static var publishedTogether: Int { 8 }
    /// Copying so many bytes keeps the driver busy for longer than waking it takes: what is left here overlaps with that.
    private static var bytesAtOnce: UInt64 { 512 << 10 }

    private mutating func takeRequests(_ device: Int, _ queue: Int) throws(SystemError) -> Bool {
        guard bus.devices[device].queues[queue].canTake else { return false }
        let isBuffered = bus.devices[device].disk.isBuffered
        var taken = 0
        var together = 0
        var bytes: UInt64 = 0
        // One round of the queue at most, then the messages have their turn: a driver that never stops must not starve PING.
        while taken < Int(ServedQueue.maximumSize), !requests.isFull, bus.devices[device].queues[queue].canTake {
            do throws(VirtqueueError) {
                guard try bus.devices[device].queues[queue].ring?.pop(from: pool.memory, into: &chain) == true else { break }
            } catch {
                breakQueue(device, queue, error.description)
                break
            }
            taken += 1
            try begin(device, queue)
            if hasBlocked {
                // What took this thread's time is shown at once, and then the messages have their turn.
                hasBlocked = false
                break
            }
            guard isBuffered else { continue }
            // Done on the spot: the driver can go on with the first while the next are served.
            bytes += chain.readableBytes + chain.writableBytes
            if bytes >= Self.bytesAtOnce {
                givesTurn = true
                break
            }
            together += 1
            if together >= Self.publishedTogether {
                publish(device, queue)
                together = 0
            }
        }
        guard taken > 0 else { return false }
        // This side is awake, and looks again before it sleeps.
        bus.devices[device].queues[queue].ring?.disableNotification()
        publish(device, queue)
        return true
    }

    /// The driver has broken a queue: the device wants to be reset.
    mutating func breakQueue(_ device: Int, _ queue: Int, _ why: String) {
        bus.devices[device].queues[queue].isBroken = true
        complain("disk " + bus.devices[device].disk.description.name + ": " + why)
        do throws(MessageError) { try bus.breakDown(device, outbox: &outbox) } catch {}
    }

    /// Whether a chain is there to be taken on any queue.
    func hasAvailable() -> Bool {
        guard !requests.isFull else { return false }
        for device in 0..<bus.devices.count where bus.devices[device].isRunning {
            for queue in 0..<bus.devices[device].queues.count where bus.devices[device].queues[queue].hasAvailable {
                return true
            }
        }
        return false
    }

    /// Asks for doorbells on all queues. True: something is there already.
    mutating func enableNotifications() -> Bool {
        guard !requests.isFull else { return false }
        var any = false
        for device in 0..<bus.devices.count where bus.devices[device].isRunning {
            for queue in 0..<bus.devices[device].queues.count where bus.devices[device].queues[queue].canTake {
                if bus.devices[device].queues[queue].ring?.enableNotification() == true { any = true }
            }
        }
        return any
    }

    /// Shows the driver what was used, and notes whether it wants to be told.
    private mutating func publish(_ device: Int, _ queue: Int) {
        if bus.devices[device].queues[queue].ring?.publishUsed() == true { bus.devices[device].queues[queue].owesDoorbell = true }
    }

    /// Rings for everything that was given back without a doorbell: a driver that asks for a sign of life may be waiting for it.
    ///
    /// Whether it waits is told by a store on each side with a fence behind it, and fences do not hold everywhere: QEMU before 8.0
    /// leaves them out of the code of a TCG machine that can have only one CPU. A doorbell too many costs nothing at this rate.
    mutating func doubtSilence() {
        for device in 0..<bus.devices.count {
            for queue in 0..<bus.devices[device].queues.count where bus.devices[device].queues[queue].hasSilentUsed {
                bus.devices[device].queues[queue].owesDoorbell = true
            }
        }
    }

    /// Publishes what completions gave back, and sends the doorbells that are owed.
    mutating func flushDoorbells() {
        for device in 0..<bus.devices.count {
            for queue in 0..<bus.devices[device].queues.count {
                publish(device, queue)
                guard bus.devices[device].queues[queue].owesDoorbell else { continue }
                do throws(MessageError) {
                    try outbox.eventUsed(device: UInt16(device), queue: UInt32(queue))
                    bus.devices[device].queues[queue].owesDoorbell = false
                    bus.devices[device].queues[queue].hasSilentUsed = false
                } catch {}  // No room now: it stays owed.
            }
        }
    }
}

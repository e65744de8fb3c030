import CLinux
import LinuxSystem
import Testing
import Virtqueue

@testable import VhostUser

@Suite struct FrontEndMessages {
    @Test func aFrontEndLearnsFeaturesQueuesAndTheGuestsCID() throws {
        let front = try FakeFrontEnd()
        var backend = try front.backend()
        try front.send(1)
        try front.send(15)
        try front.send(16, bytes(UInt64(1 << 0 | 1 << 3 | 1 << 9)))
        try front.send(17)
        try front.send(24, bytes(UInt32(0)) + bytes(UInt32(8)) + bytes(UInt32(0)) + [UInt8](repeating: 0, count: 8))
        try front.send(3, flags: 9)
        try backend.handleSocketReadable()
        #expect(try front.reply() == bytes(UInt64(1 << 28 | 1 << 29 | 1 << 30 | 1 << 32)))
        #expect(try front.reply() == bytes(UInt64(1 << 0 | 1 << 3 | 1 << 9)))
        #expect(try front.reply() == bytes(UInt64(2)))
        #expect(try front.reply() == bytes(UInt32(0)) + bytes(UInt32(8)) + bytes(UInt32(0)) + bytes(UInt64(42)))
        #expect(try front.reply() == bytes(UInt64(0)), "REPLY_ACK")
        #expect(try front.reply() == nil)
    }

    @Test func configurationPastItsEndIsRefusedByAnEmptyReply() throws {
        let front = try FakeFrontEnd()
        var backend = try front.backend()
        try front.send(24, bytes(UInt32(4)) + bytes(UInt32(8)) + bytes(UInt32(0)) + [UInt8](repeating: 0, count: 8))
        try backend.handleSocketReadable()
        #expect(try front.reply() == [])
    }

    @Test func aMessageMayArriveByteByByte() throws {
        let front = try FakeFrontEnd()
        var backend = try front.backend()
        for byte in bytes(UInt32(2)) + bytes(UInt32(1)) + bytes(UInt32(8)) + bytes(UInt64(1 << 32)) + bytes(UInt32(1)) + bytes(UInt32(1))
            + bytes(UInt32(0))
        {
            #expect(try front.reply() == nil)
            try front.sendRaw([byte])
            try backend.handleSocketReadable()
        }
        #expect(try front.reply() != nil)
    }

    @Test(arguments: [UInt32(1), 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 24, 25], [0, 1, 4, 7, 9, 12, 39, 41, 64, 267])
    func aPayloadOfTheWrongSizeEndsTheSession(request: UInt32, size: Int) throws {
        let sizes: [UInt32: Int] = [1: 0, 3: 0, 4: 0, 15: 0, 17: 0]
        if sizes[request] == size { return }
        let front = try FakeFrontEnd()
        var backend = try front.backend()
        // Ones: a memory table of one region, or a configuration range of one byte, for which these are the wrong sizes, too.
        var payload = [UInt8](repeating: 0, count: size)
        for index in stride(from: 0, to: size, by: 4) { payload[index] = 1 }
        try front.send(request, payload)
        #expect(failure { try backend.handleSocketReadable() } == .payloadSizeInvalid(request: request, size: UInt32(size)))
    }

    @Test func aPayloadLongerThanAnyRequestIsNotEvenRead() throws {
        let front = try FakeFrontEnd()
        var backend = try front.backend()
        try front.sendRaw(bytes(UInt32(5)) + bytes(UInt32(1)) + bytes(UInt32.max))
        #expect(failure { try backend.handleSocketReadable() } == .payloadSizeInvalid(request: 5, size: .max))
    }

    @Test(arguments: [UInt32(0), 2, 5, 17, 0x8000_0001]) func wrongFlagsEndTheSession(flags: UInt32) throws {
        let front = try FakeFrontEnd()
        var backend = try front.backend()
        try front.send(1, flags: flags)
        #expect(failure { try backend.handleSocketReadable() } == .flagsInvalid(request: 1, flags: flags))
    }

    @Test(arguments: [UInt32(0), 6, 7, 19, 23, 31, 37, 40, 41, .max]) func aRequestThatWasNeverOfferedEndsTheSession(request: UInt32) throws
    {
        let front = try FakeFrontEnd()
        var backend = try front.backend()
        try front.send(request)
        #expect(failure { try backend.handleSocketReadable() } == .requestUnsupported(request))
    }

    @Test func hangUpBetweenMessagesAndWithinOneAreToldApart() throws {
        for (raw, expected) in [
            ([UInt8](), VhostUserError.disconnected), ([1, 0], .messageTruncated),
            (bytes(UInt32(2)) + bytes(UInt32(1)) + bytes(UInt32(8)), .messageTruncated),
        ] {
            let front = try FakeFrontEnd()
            var backend = try front.backend()
            if !raw.isEmpty { try front.sendRaw(raw) }
            front.socket.shutdown()
            #expect(failure { try backend.handleSocketReadable() } == expected)
        }
    }

    @Test func featuresThatWereNotOfferedEndTheSession() throws {
        for (request, bit) in [(UInt32(2), UInt64(1) << 34), (16, 1 << 5)] {
            let front = try FakeFrontEnd()
            var backend = try front.backend()
            try front.send(request, bytes(bit))
            #expect(failure { try backend.handleSocketReadable() } == .featuresNotOffered(bit))
        }
    }

    // MARK: descriptors

    @Test func descriptorsThatARequestDoesNotCarryEndTheSessionAndAreClosed() throws {
        let front = try FakeFrontEnd()
        let watched = try UnixSocket.pair()
        do {
            var backend = try front.backend()
            try front.send(1, [], [watched.first.rawValue])
            #expect(failure { try backend.handleSocketReadable() } == .descriptorCountInvalid(request: 1, expected: 0, found: 1))
        }
        expectLastCopy(watched)
    }

    @Test func missingAndTooManyDescriptorsEndTheSession() throws {
        let file = try FakeFrontEnd().file.duplicate()
        for (count, expected) in [(0, 0), (1, 1), (3, 3), (8, 8)] {
            let front = try FakeFrontEnd()
            var backend = try front.backend()
            try front.sendMemoryTable(FakeFrontEnd.regions, [Int32](repeating: file.rawValue, count: count))
            #expect(failure { try backend.handleSocketReadable() } == .descriptorCountInvalid(request: 5, expected: 2, found: expected))
        }
        for count in [9, 32] {
            let front = try FakeFrontEnd()
            var backend = try front.backend()
            try front.sendMemoryTable(FakeFrontEnd.regions, [Int32](repeating: file.rawValue, count: count))
            #expect(failure { try backend.handleSocketReadable() } == .descriptorCountInvalid(request: 0, expected: 8, found: 9))
        }
        let front = try FakeFrontEnd()
        var backend = try front.backend()
        try front.send(12, bytes(UInt64(0)))
        #expect(failure { try backend.handleSocketReadable() } == .descriptorCountInvalid(request: 12, expected: 1, found: 0))
    }

    // MARK: memory table

    static let badTables: [(String, [FakeFrontEnd.Region], VhostUserError)] = {
        typealias Region = FakeFrontEnd.Region
        func one(_ change: (inout Region) -> Void) -> [Region] {
            var region = FakeFrontEnd.regions[0]
            change(&region)
            return [region]
        }
        return [
            ("empty", one { $0.size = 0 }, .regionInvalid(index: 0, .empty)),
            ("misaligned", one { $0.guest = 1 }, .regionInvalid(index: 0, .misaligned)),
            ("misaligned offset", one { $0.offset = 512 }, .regionInvalid(index: 0, .misaligned)),
            ("huge", one { $0.size = 1 << 50 }, .regionInvalid(index: 0, .tooLarge)),
            ("guest overflow", one { $0.guest = .max - 4095 }, .regionInvalid(index: 0, .overflows)),
            ("user overflow", one { $0.user = .max - 4095 }, .regionInvalid(index: 0, .overflows)),
            ("offset overflow", one { $0.offset = 1 << 63 }, .regionInvalid(index: 0, .overflows)),
            ("past the file", one { $0.offset = FakeFrontEnd.regionSize * 2 }, .regionInvalid(index: 0, .pastEndOfFile)),
            ("past the file by a page", one { $0.offset = FakeFrontEnd.regionSize + 4096 }, .regionInvalid(index: 0, .pastEndOfFile)),
            (
                "overlap in the guest",
                [FakeFrontEnd.regions[0], Region(guest: 0xff000, size: 8192, user: 0x1000, offset: 0)],
                .regionInvalid(index: 1, .overlaps)
            ),
            (
                "overlap in the front end",
                [FakeFrontEnd.regions[0], Region(guest: 1 << 30, size: 8192, user: FakeFrontEnd.userStart + 4096, offset: 0)],
                .regionInvalid(index: 1, .overlaps)
            ),
            ("none", [], .fieldInvalid(request: 5, field: .regionCount)),
        ]
    }()

    @Test(arguments: badTables.indices) func aMemoryTableThatCannotBeEndsTheSession(index: Int) throws {
        let (name, regions, expected) = Self.badTables[index]
        let front = try FakeFrontEnd()
        var backend = try front.backend()
        try front.sendMemoryTable(regions)
        #expect(failure { try backend.handleSocketReadable() } == expected, "\(name)")
    }

    @Test func aFileThatCouldBeShrunkIsNotMapped() throws {
        let front = try FakeFrontEnd()
        var backend = try front.backend()
        let file = OwnedDescriptor(adopting: clinux_memfd_create("unsealed", 0))
        #expect(ftruncate(file.rawValue, off_t(FakeFrontEnd.regionSize)) == 0)
        try front.sendMemoryTable([FakeFrontEnd.regions[0]], [file.rawValue])
        #expect(failure { try backend.handleSocketReadable() } == .regionInvalid(index: 0, .notSealed))
    }

    @Test func whatIsNoFileIsNotMapped() throws {
        let front = try FakeFrontEnd()
        var backend = try front.backend()
        try front.sendMemoryTable([FakeFrontEnd.regions[0]], [front.kicks[0].number])
        #expect(failure { try backend.handleSocketReadable() } == .regionInvalid(index: 0, .notMemory))
    }

    // MARK: rings

    @Test func ringFieldsThatCannotBeEndTheSession() throws {
        let cases: [(UInt32, [UInt8], VhostUserError)] = [
            (8, bytes(UInt32(0)) + bytes(UInt32(100)), .fieldInvalid(request: 8, field: .ringSize)),
            (8, bytes(UInt32(0)) + bytes(UInt32(0)), .fieldInvalid(request: 8, field: .ringSize)),
            (8, bytes(UInt32(0)) + bytes(UInt32(65536)), .fieldInvalid(request: 8, field: .ringSize)),
            (8, bytes(UInt32(0)) + bytes(UInt32(2048)), .fieldInvalid(request: 8, field: .ringSize)),
            (8, bytes(UInt32(2)) + bytes(UInt32(128)), .queueInvalid(2)),
            (8, bytes(UInt32.max) + bytes(UInt32(128)), .queueInvalid(.max)),
            (10, bytes(UInt32(0)) + bytes(UInt32(65536)), .fieldInvalid(request: 10, field: .ringBase)),
            (11, bytes(UInt32(7)) + bytes(UInt32(0)), .queueInvalid(7)),
            (18, bytes(UInt32(0)) + bytes(UInt32(2)), .fieldInvalid(request: 18, field: .ringEnable)),
            (12, bytes(UInt64(0x100)), .fieldInvalid(request: 12, field: .descriptorPresence)),
            (13, bytes(UInt64(0x200)), .fieldInvalid(request: 13, field: .ringIndex)),
            (13, bytes(UInt64(0x105)), .queueInvalid(5)),
            (9, bytes(UInt32(0)) + bytes(UInt32(1)) + [UInt8](repeating: 0, count: 32), .fieldInvalid(request: 9, field: .ringFlags)),
        ]
        for (request, payload, expected) in cases {
            let front = try FakeFrontEnd()
            var backend = try front.backend()
            try front.send(request, payload)
            #expect(failure { try backend.handleSocketReadable() } == expected)
        }
    }

    @Test func aKickBeforeTheMemoryTableEndsTheSession() throws {
        let front = try FakeFrontEnd()
        var backend = try front.backend()
        try front.send(2, bytes(UInt64(1 << 32)))
        try front.sendRing(0, front.rxLayout)
        #expect(failure { try backend.handleSocketReadable() } == .unexpected(request: 12))
    }

    @Test func aRingOutsideMemoryEndsTheSession() throws {
        // The last one starts in memory and ends outside.
        for start in [FakeFrontEnd.regionSize, 0x20_0000, 1 << 62, FakeFrontEnd.regionSize - 64] {
            let front = try FakeFrontEnd()
            var backend = try front.backend()
            try front.send(2, bytes(UInt64(1 << 32)))
            try front.sendMemoryTable()
            try front.sendRing(0, VirtqueueLayout(size: 128, at: start))
            #expect(failure { try backend.handleSocketReadable() } == .ringOutsideMemory(queue: 0))
        }
    }

    @Test func aMisalignedRingEndsTheSession() throws {
        let front = try FakeFrontEnd()
        var backend = try front.backend()
        try front.send(2, bytes(UInt64(1 << 32)))
        try front.sendMemoryTable()
        try front.send(8, bytes(UInt32(0)) + bytes(UInt32(128)))
        let user = FakeFrontEnd.userStart
        try front.send(9, bytes(UInt64(0)) + bytes(user + 0x1008) + bytes(user + 0x4000) + bytes(user + 0x5000) + bytes(UInt64(0)))
        try front.send(12, bytes(UInt64(0)), [front.kicks[0].number])
        #expect(failure { try backend.handleSocketReadable() } == .virtqueue(queue: 0, .partMisaligned(address: 0x1008)))
    }

    @Test func aRunningRingsSizeAndBaseStay() throws {
        for request in [UInt32(8), 10] {
            let front = try FakeFrontEnd()
            var backend = try front.backend()
            try front.start(&backend)
            try front.send(request, bytes(UInt32(1)) + bytes(UInt32(64)))
            #expect(failure { try backend.handleSocketReadable() } == .unexpected(request: request))
        }
    }

    @Test func aNewCallDescriptorRingsAtOnceBecauseTheOldOneMayHaveSwallowedACall() throws {
        let front = try FakeFrontEnd()
        var backend = try front.backend()
        try front.start(&backend)
        #expect(front.calls[0].counter.drain() == 0)
        try front.send(13, bytes(UInt64(0)), [front.calls[0].number])
        try backend.handleSocketReadable()
        #expect(front.calls[0].counter.drain() == 1)
        try front.send(13, bytes(UInt64(0x100)))
        try backend.handleSocketReadable()
        try front.connect(&backend)
        #expect(front.calls[0].counter.drain() == 0, "the front end polls")
    }

    @Test func featuresDoNotChangeUnderARunningRing() throws {
        let front = try FakeFrontEnd()
        var backend = try front.backend()
        try front.start(&backend)
        try front.send(2, bytes(UInt64(1 << 30 | 1 << 32)))
        #expect(failure { try backend.handleSocketReadable() } == .unexpected(request: 2))
    }

    @Test func withoutProtocolFeaturesRingsAreBornEnabled() throws {
        let front = try FakeFrontEnd()
        var backend = try front.backend()
        try front.send(2, bytes(UInt64(1 << 28 | 1 << 29 | 1 << 32)))
        try front.sendMemoryTable()
        for (queue, layout) in [(UInt32(0), front.rxLayout), (1, front.txLayout)] {
            let user = FakeFrontEnd.userStart
            try front.send(8, bytes(queue) + bytes(UInt32(layout.size)))
            try front.send(
                9,
                bytes(queue) + bytes(UInt32(0)) + bytes(user + layout.descriptors) + bytes(user + layout.device)
                    + bytes(user + layout.driver) + bytes(UInt64(0)))
            try front.send(12, bytes(UInt64(queue)), [front.kicks[Int(queue)].number])
        }
        try backend.handleSocketReadable()
        _ = backend.allEvents()
        try front.giveBuffers(4)
        try front.connect(&backend)
    }

    /// The peer of `pair.first` sees the end of file only when no copy of `pair.first` is open anywhere.
    private func expectLastCopy(_ pair: consuming DescriptorPair) {
        pair.split { first, second in
            _ = first.release().closing()
            var byte: UInt8 = 0
            #expect((try? withUnsafeMutableBytes(of: &byte) { try second.receive(into: $0, flags: 0x40) }) == 0)
        }
    }
}

extension Int32 {
    fileprivate func closing() -> Int32 { close(self) }
}

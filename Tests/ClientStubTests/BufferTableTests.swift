import Testing

@testable import ClientStub

@Suite("Buffers")
struct BufferTableTests {
    private func pool(_ bytes: Int = 1 << 20) throws -> PoolRegion { try PoolRegion(privateBytes: bytes) }

    @Test func dataMovesToTheNextPoolAndTheOldOneGoesAway() throws {
        var table = BufferTable(holdingBytes: 1 << 16)
        table.begin(try pool(), firstByte: 8192)
        let index = table.allocate(bytes: 5000) ?? 99
        let other = table.allocate(bytes: 4096) ?? 99
        table.bytes(of: index).copyBytes(from: (0..<5000).map { UInt8($0 % 251) })
        #expect(table.poolOffset(of: index) != nil)

        table.end()
        #expect(table.endedPools == 1)
        #expect(table.poolOffset(of: index) == nil, "it is in no session's pool now")
        #expect(Array(table.bytes(of: index)) == (0..<5000).map { UInt8($0 % 251) })

        table.begin(try pool(), firstByte: 4096)
        #expect((table.move(index, copying: true)) == true)
        #expect(table.poolOffset(of: index) != nil)
        #expect(Array(table.bytes(of: index)) == (0..<5000).map { UInt8($0 % 251) })
        #expect(table.endedPools == 1, "the other buffer is still in the old pool")
        table.release(other)
        #expect(table.endedPools == 0)
        table.release(index)
    }

    @Test func withoutASessionBuffersArePrivateAndLimited() throws {
        var table = BufferTable(holdingBytes: 16 << 10)
        let indices = (0..<4).compactMap { _ in table.allocate(bytes: 4096) }
        #expect(indices.count == 4)
        #expect(table.allocate(bytes: 1) == nil)
        #expect((table.starved) == true)
        table.bytes(of: indices[2])[7] = 42
        table.begin(try pool(), firstByte: 0)
        #expect((table.move(indices[2], copying: true)) == true)
        #expect(table.bytes(of: indices[2])[7] == 42)
        for index in indices { table.release(index) }
        #expect((table.hasStrays) == false)
    }

    @Test func aFullPoolMovesNothingAndLosesNothing() throws {
        var table = BufferTable(holdingBytes: 64 << 10)
        let index = table.allocate(bytes: 32 << 10) ?? 99
        table.bytes(of: index)[100] = 7
        table.begin(try pool(64 << 10), firstByte: 40 << 10)
        #expect((table.move(index, copying: true)) == false)
        #expect(table.bytes(of: index)[100] == 7)
        table.release(index)
    }
}

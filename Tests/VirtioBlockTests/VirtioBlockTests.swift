import Testing
import VirtioBlock

@Suite struct VirtioBlockTests {
    /// What a plain 1 GiB disk with every feature says.
    private func plain() -> (VirtioBlockConfiguration, VirtioBlockFeatures) {
        var configuration = VirtioBlockConfiguration()
        configuration.capacity = 2_097_152
        configuration.maximumSegmentSize = 1 << 20
        configuration.maximumSegments = 126
        configuration.blockSize = 4096
        configuration.physicalBlockExponent = 1
        configuration.minimumIOBlocks = 1
        configuration.optimalIOBlocks = 32
        configuration.queueCount = 1
        configuration.maximumDiscardSectors = 8192
        configuration.maximumDiscardSegments = 1
        configuration.discardSectorAlignment = 8
        configuration.maximumWriteZeroesSectors = 4097
        configuration.maximumWriteZeroesSegments = 1
        configuration.writeZeroesMayUnmap = true
        return (
            configuration,
            [.version1, .flush, .blockSize, .topology, .maximumSegments, .maximumSegmentSize, .discard, .writeZeroes, .multipleQueues]
        )
    }

    /// Why a disk is refused; nil if it is not.
    private func refusal(_ configuration: VirtioBlockConfiguration, _ features: VirtioBlockFeatures) -> VirtioBlockError? {
        do throws(VirtioBlockError) {
            _ = try VirtioBlockDisk(untrusted: configuration, features: features)
            return nil
        } catch { return error }
    }

    @Test func configurationHasTheSpecificationsOffsets() {
        let bytes = plain().0.encoded()
        #expect(bytes.count == VirtioBlockConfiguration.byteCount)
        #expect(Array(bytes[0..<8]) == [0, 0, 0x20, 0, 0, 0, 0, 0])
        #expect(Array(bytes[8..<16]) == [0, 0, 0x10, 0, 126, 0, 0, 0])
        #expect(Array(bytes[20..<36]) == [0, 0x10, 0, 0, 1, 0, 1, 0, 32, 0, 0, 0, 0, 0, 1, 0])
        #expect(Array(bytes[36..<48]) == [0, 0x20, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0])
        #expect(Array(bytes[48..<60]) == [1, 0x10, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0])
    }

    @Test func configurationSurvivesTheWire() {
        let configuration = plain().0
        #expect(VirtioBlockConfiguration(untrusted: configuration.encoded()) == configuration)
    }

    @Test(arguments: 0...60)
    func configurationOfAnyLengthIsReadWithoutTrapping(length: Int) {
        let whole = plain().0.encoded()
        let part = VirtioBlockConfiguration(untrusted: Array(whole[0..<length]))
        #expect(part.capacity == (length >= 8 ? 2_097_152 : 0))
        #expect(part.writeZeroesMayUnmap == (length >= 57))
    }

    @Test func diskTakesWholeBlocksOnly() throws {
        let (configuration, features) = plain()
        let disk = try VirtioBlockDisk(untrusted: configuration, features: features)
        #expect(disk.size == 1 << 30)
        #expect(disk.physicalBlockSize == 8192)
        #expect(disk.optimalIOSize == 131072)
        #expect(disk.maximumDiscard == 4 << 20)
        #expect(disk.maximumWriteZeroes == 512 * 4096)  // 4097 sectors hold 512 blocks and one sector
        #expect(disk.contains(offset: 0, length: 1 << 30))
        #expect(!disk.contains(offset: 4096, length: 1 << 30))
        #expect(!disk.contains(offset: 512, length: 512))
        #expect(!disk.contains(offset: .max - 4095, length: 8192))
    }

    @Test func diskWithoutFeaturesIgnoresTheirFields() throws {
        let disk = try VirtioBlockDisk(untrusted: plain().0, features: [.version1])
        #expect(disk.blockSize == 512)
        #expect(disk.maximumSegments == 1)
        #expect(disk.maximumDiscard == 0)
        #expect(disk.maximumWriteZeroes == 0)
        #expect(!disk.canFlush && !disk.isReadOnly)
    }

    @Test(arguments: [0, 1, 511, 513, 131072, 0x8000_0000, 0xffff_ffff] as [UInt32])
    func diskInvalidBlockSizeIsRefused(blockSize: UInt32) {
        var (configuration, features) = plain()
        configuration.blockSize = blockSize
        #expect(refusal(configuration, features) == VirtioBlockError.blockSizeInvalid(blockSize))
        features.remove(.blockSize)
        #expect(refusal(configuration, features) == nil)
    }

    @Test(arguments: [1, 7, UInt64.max, UInt64.max / 512 + 1, 1 << 54] as [UInt64])
    func diskImpossibleCapacityIsRefused(sectors: UInt64) {
        var (configuration, features) = plain()
        configuration.capacity = sectors
        features.insert(.readOnly)
        #expect(refusal(configuration, features) == VirtioBlockError.capacityInvalid(sectors))
    }

    @Test func diskWithoutRoomForABlockIsRefused() {
        var (configuration, features) = plain()
        configuration.maximumSegmentSize = 4095
        features.insert(.readOnly)
        #expect(refusal(configuration, features) == VirtioBlockError.segmentsInvalid(size: 4095, count: 126))
    }

    @Test func anyConfigurationIsADiskOrAnError() {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<20_000 {
            var bytes = (0..<60).map { _ in UInt8.random(in: 0...255, using: &random) }
            if Bool.random() { bytes.replaceSubrange(20..<24, with: [0, 2 << UInt8.random(in: 0...3), 0, 0]) }
            if Bool.random() { bytes.replaceSubrange(6..<8, with: [0, 0]) }
            let features = VirtioBlockFeatures(rawValue: .random(in: 0...UInt64.max, using: &random))
            guard let disk = try? VirtioBlockDisk(untrusted: VirtioBlockConfiguration(untrusted: bytes), features: features) else {
                continue
            }
            #expect(disk.size % UInt64(disk.blockSize) == 0)
            #expect(disk.physicalBlockSize >= disk.blockSize)
            #expect(disk.maximumSegmentSize >= disk.blockSize && disk.maximumSegments > 0 && disk.queueCount > 0)
        }
    }

    @Test func headerAndRangeSurviveMemory() {
        withUnsafeTemporaryAllocation(byteCount: 17, alignment: 16) { memory in
            let place = memory.baseAddress! + 1  // any alignment
            VirtioBlockHeader(.write, sector: 0x0102_0304_0506_0708).store(to: place)
            let header = VirtioBlockHeader(loading: place)
            #expect(header.operation == .write && header.sector == 0x0102_0304_0506_0708)
            #expect(place.load(fromByteOffset: 8, as: UInt8.self) == 8)
            #expect(place.load(fromByteOffset: 4, as: UInt8.self) == 0)

            VirtioBlockRange(sector: 9, sectorCount: 7, unmap: true).store(to: place)
            #expect(VirtioBlockRange(loading: place) == VirtioBlockRange(sector: 9, sectorCount: 7, unmap: true))
        }
    }

    @Test func unknownTypeIsNoOperation() {
        var header = VirtioBlockHeader(.read)
        header.type = 0x8000_0000
        #expect(header.operation == nil)
    }

    @Test func rangeOutsideTheDiskIsRefused() {
        #expect(VirtioBlockRange(sector: 8, sectorCount: 8).bytes(withinSectors: 16).map { [$0.offset, $0.length] } == [4096, 4096])
        #expect(VirtioBlockRange(sector: 9, sectorCount: 8).bytes(withinSectors: 16) == nil)
        #expect(VirtioBlockRange(sector: .max, sectorCount: .max).bytes(withinSectors: .max) == nil)
        #expect(VirtioBlockRange(sector: 0, sectorCount: 1).bytes(withinSectors: .max) == nil)
    }
}

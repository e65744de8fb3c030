import CLinux
internal import LinuxSystem
internal import Virtqueue

/// The guest's memory as SET_MEM_TABLE described it: checked, mapped, and translated from the three address spaces that
/// a front end talks in (guest-physical, its own virtual, offsets in a file).
///
/// A class only because rings are swapped from one table to the next while both are mapped; nothing on the data path goes through it.
final class MemoryTable {
    /// Bytes that this back end maps for one guest: far more than a DD/OS has, far less than the address space.
    static let mostBytes: UInt64 = 1 << 40
    static let pageSize: UInt64 = 4096

    final class Region {
        let description: RegionDescription
        let descriptor: OwnedDescriptor
        let mapping: MemoryMapping

        init(_ description: RegionDescription, _ descriptor: consuming OwnedDescriptor, index: Int) throws(VhostUserError) {
            try Self.checkFile(description, descriptor, index: index)
            do {
                mapping = try MemoryMapping(descriptor: descriptor, offset: description.fileOffset, count: Int(description.size))
            } catch { throw .system(error) }
            self.description = description
            self.descriptor = descriptor
        }

        /// The file has to be as long as the region and must not become shorter: touching what was cut off is SIGBUS.
        private static func checkFile(
            _ description: RegionDescription, _ file: borrowing OwnedDescriptor, index: Int
        ) throws(VhostUserError) {
            let status: FileStatus
            do { status = try file.status() } catch { throw .system(error) }
            guard status.isRegularFile else { throw .regionInvalid(index: index, .notMemory) }
            let seals = clinux_fcntl_get_seals(file.rawValue)
            guard seals >= 0, seals & F_SEAL_SHRINK != 0 else { throw .regionInvalid(index: index, .notSealed) }
            // After the seal, so that the size that is seen now is one that stays.
            let now: FileStatus
            do { now = try file.status() } catch { throw .system(error) }
            guard description.fileOffset + description.size <= now.size else { throw .regionInvalid(index: index, .pastEndOfFile) }
        }
    }

    let regions: [Region]
    /// For virtqueues: guest-physical addresses.
    let memory: GuestMemory

    /// Takes the descriptors, one for each region, in order. All are closed if anything is wrong.
    init(_ descriptions: [RegionDescription], _ descriptors: inout ReceivedDescriptors) throws(VhostUserError) {
        try Self.check(descriptions)
        var regions: [Region] = []
        for (index, description) in descriptions.enumerated() {
            guard let descriptor = descriptors.takeFirst() else {
                throw .descriptorCountInvalid(request: FrontEndRequest.Code.setMemoryTable, expected: descriptions.count, found: index)
            }
            regions.append(try Region(description, descriptor, index: index))
        }
        self.regions = regions
        // SAFETY: each region is mapped with exactly this length; `memory` is only used as long as this table is kept.
        memory = GuestMemory(
            regions: regions.compactMap {
                unsafe GuestMemory.Region(address: $0.description.guestAddress, base: $0.mapping.base, count: $0.mapping.count)
            })
    }

    /// What can be checked without the files.
    static func check(_ descriptions: [RegionDescription]) throws(VhostUserError) {
        var total: UInt64 = 0
        for (index, region) in descriptions.enumerated() {
            guard region.size > 0 else { throw .regionInvalid(index: index, .empty) }
            guard (region.guestAddress | region.size | region.fileOffset | region.userAddress) % pageSize == 0 else {
                throw .regionInvalid(index: index, .misaligned)
            }
            guard !region.guestAddress.addingReportingOverflow(region.size).overflow,
                !region.userAddress.addingReportingOverflow(region.size).overflow,
                region.fileOffset <= UInt64(Int64.max), region.size <= UInt64(Int64.max) - region.fileOffset
            else { throw .regionInvalid(index: index, .overflows) }
            guard region.size <= mostBytes - total else { throw .regionInvalid(index: index, .tooLarge) }
            total += region.size
            for other in descriptions[..<index] {
                guard disjoint(region.guestAddress, region.size, other.guestAddress, other.size),
                    disjoint(region.userAddress, region.size, other.userAddress, other.size)
                else { throw .regionInvalid(index: index, .overlaps) }
            }
        }
    }

    private static func disjoint(_ a: UInt64, _ aSize: UInt64, _ b: UInt64, _ bSize: UInt64) -> Bool {
        a + aSize <= b || b + bSize <= a
    }

    /// The guest-physical address of one of the front end's own; nil outside all regions. Whether what starts there also ends in
    /// the region is checked by whoever translates the result.
    func guestAddress(user address: UInt64) -> UInt64? {
        for region in regions {
            let start = region.description.userAddress
            if address >= start, address - start < region.description.size {
                return region.description.guestAddress + (address - start)
            }
        }
        return nil
    }

    /// The file and the offset behind a guest-physical range that one region holds.
    func resolve(_ extent: GuestExtent) -> (descriptor: Int32, offset: UInt64)? {
        for region in regions {
            let start = region.description.guestAddress
            guard extent.address >= start, extent.address - start < region.description.size else { continue }
            let offset = extent.address - start
            guard extent.length > 0, extent.length <= region.description.size - offset else { return nil }
            return (region.descriptor.rawValue, region.description.fileOffset + offset)
        }
        return nil
    }

    /// See ``VsockBackend/mapContiguous(_:)``.
    func mapContiguous(_ extents: [GuestExtent]) throws(VhostUserError) -> PoolMapping {
        var total: UInt64 = 0
        for (index, extent) in extents.enumerated() {
            guard extent.length > 0, (extent.address | extent.length) % Self.pageSize == 0, resolve(extent) != nil,
                extent.length <= Self.mostBytes - total
            else { throw .extentInvalid(extent) }
            total += extent.length
            // An extent that `resolve` accepts ends within its region, so the sums do not overflow.
            for other in extents[..<index] where !Self.disjoint(extent.address, extent.length, other.address, other.length) {
                throw .extentInvalid(extent)
            }
        }
        guard let first = extents.first else { throw .extentInvalid(GuestExtent(address: 0, length: 0)) }
        do {
            var pool = try PoolMapping(reserving: Int(total))
            var position = 0
            for extent in extents {
                guard let place = resolve(extent) else { throw VhostUserError.extentInvalid(first) }
                try pool.place(descriptor: place.descriptor, offset: place.offset, count: Int(extent.length), at: position)
                position += Int(extent.length)
            }
            return pool
        } catch let error as SystemError {
            throw .system(error)
        } catch let error as VhostUserError {
            throw error
        } catch { throw .extentInvalid(first) }
    }
}

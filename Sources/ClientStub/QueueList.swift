/// The queues of a session: an array whose elements are noncopyable, and are changed in place.
@safe
struct QueueList: ~Copyable {
    private var base: UnsafeMutablePointer<DiskQueue>?
    private(set) var count = 0
    private var capacity = 0

    deinit {
        // SAFETY: the first `count` of `capacity` elements are initialised, and belong to this value alone.
        unsafe base?.deinitialize(count: count)
        unsafe base?.deallocate()
    }

    mutating func append(_ queue: consuming DiskQueue) {
        if count == capacity {
            let larger = max(4, capacity * 2)
            let place = UnsafeMutablePointer<DiskQueue>.allocate(capacity: larger)
            // SAFETY: `count` elements move from the old place, which is then freed without them.
            if let old = unsafe base {
                unsafe place.moveInitialize(from: old, count: count)
                unsafe old.deallocate()
            }
            unsafe base = place
            capacity = larger
        }
        // SAFETY: `count` is below the capacity.
        unsafe (base! + count).initialize(to: queue)
        count += 1
    }

    mutating func removeAll() {
        // SAFETY: see deinit.
        unsafe base?.deinitialize(count: count)
        count = 0
    }

    subscript(index: Int) -> DiskQueue {
        _read {
            precondition(index >= 0 && index < count)
            // SAFETY: below the count.
            yield unsafe base![index]
        }
        _modify {
            precondition(index >= 0 && index < count)
            // SAFETY: below the count; access through `self` is exclusive.
            yield unsafe &base![index]
        }
    }
}

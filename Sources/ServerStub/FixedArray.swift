/// A run of values that cannot be copied, its length fixed when it is made. (Array wants copyable elements.)
@safe
struct FixedArray<Element: ~Copyable>: ~Copyable {
    private let storage: UnsafeMutablePointer<Element>
    let count: Int

    /// Makes the elements one after the other.
    init(count: Int, _ element: (Int) -> Element) {
        precondition(count >= 0)
        self.count = count
        // SAFETY: each of the `count` places is initialised once, here; deinit takes them down.
        unsafe storage = .allocate(capacity: max(count, 1))
        for index in 0..<count { unsafe (storage + index).initialize(to: element(index)) }
    }

    deinit {
        // SAFETY: all `count` elements are initialised.
        unsafe storage.deinitialize(count: count)
        unsafe storage.deallocate()
    }

    subscript(index: Int) -> Element {
        @inline(__always)
        _read {
            precondition(index >= 0 && index < count)
            // SAFETY: initialised and in range.
            yield unsafe storage[index]
        }
        @inline(__always)
        _modify {
            precondition(index >= 0 && index < count)
            // SAFETY: as above.
            yield unsafe &storage[index]
        }
    }
}

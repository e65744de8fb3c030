import CLinux
import LinuxSystem

/// A pair of sockets, the far one to be handed around: the near one sees the end when the last copy of the far one is closed.
///
/// Says more than descriptor numbers do, which other tests in the same process open and close meanwhile.
struct Witness: ~Copyable {
    private let pair: DescriptorPair

    init() throws(SystemError) {
        let made = try UnixSocket.pair()
        try made.first.setNonBlocking(true)
        pair = made
    }

    var far: Int32 { pair.second.rawValue }

    /// Closes the original of the far end: the near end comes back.
    consuming func closingFar() -> OwnedDescriptor {
        pair.split { near, far in near }
    }
}

func everyCopyIsClosed(_ near: borrowing OwnedDescriptor) throws(SystemError) -> Bool {
    let place = UnsafeMutableRawBufferPointer.allocate(byteCount: 1, alignment: 1)
    defer { place.deallocate() }
    do throws(SystemError) {
        return try near.receive(into: place) == 0
    } catch {
        if error.code == EAGAIN { return false }
        throw error
    }
}

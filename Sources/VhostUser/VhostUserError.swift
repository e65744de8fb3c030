public import LinuxSystem
public import Virtqueue

/// Why a vhost-user session ended. Never a reason to trap: the peer wrote it, or is gone.
///
/// All cases but `disconnected` and `system` are protocol violations: something the front end (the VMM) or the guest must not send.
public enum VhostUserError: Error, Equatable, Sendable {
    /// The front end closed its socket, between two messages.
    case disconnected
    /// A system call failed, for instance mmap of a memory region.
    case system(SystemError)

    // MARK: messages of the front end
    /// The front end closed its socket within a message.
    case messageTruncated
    /// The two version bits are not 1, the reply bit is set, or an undefined flag is.
    case flagsInvalid(request: UInt32, flags: UInt32)
    /// A request this back end never offered.
    case requestUnsupported(UInt32)
    /// The payload's size is not what the request has.
    case payloadSizeInvalid(request: UInt32, size: UInt32)
    /// More or fewer file descriptors than the request carries.
    case descriptorCountInvalid(request: UInt32, expected: Int, found: Int)
    /// A field of a request has a value it must not have.
    case fieldInvalid(request: UInt32, field: StaticField)
    /// A request that its preconditions do not allow now.
    case unexpected(request: UInt32)
    /// Features that were never offered.
    case featuresNotOffered(UInt64)
    /// No such queue.
    case queueInvalid(UInt32)
    /// A memory region that cannot be.
    case regionInvalid(index: Int, RegionFault)
    /// Part of a ring, or all of it, lies in no memory region.
    case ringOutsideMemory(queue: Int)
    /// The front end sends faster than it reads, or floods.
    case flooded

    // MARK: what the guest wrote
    /// The driver broke a ring's rules.
    case virtqueue(queue: Int, VirtqueueError)
    /// The driver sent a bad packet.
    case packet(VsockViolation)
    /// A buffer in a queue of a kind that must not be there.
    case bufferInvalid(queue: Int, BufferFault)

    // MARK: what the guest told the owner
    /// A pool extent that is empty, not page aligned, in no region, or overlaps another.
    case extentInvalid(GuestExtent)

    /// Names of message fields, for ``fieldInvalid(request:field:)``.
    public enum StaticField: String, Sendable {
        case regionCount = "number of regions"
        case ringFlags = "ring flags"
        case ringSize = "ring size"
        case ringBase = "ring base"
        case ringIndex = "ring index and flags"
        case ringEnable = "ring enable"
        case descriptorPresence = "no-descriptor flag"
        case configurationRange = "configuration range"
        case configurationFlags = "configuration flags"
    }

    /// What is wrong with a memory region.
    public enum RegionFault: String, Sendable {
        case empty = "is empty"
        case misaligned = "is not page aligned"
        case overflows = "runs past the end of an address space"
        case tooLarge = "is larger than this back end maps"
        case overlaps = "overlaps another region"
        case notMemory = "is not backed by a file that can be mapped"
        case pastEndOfFile = "runs past the end of its file"
        case notSealed = "is backed by a file that could be shrunk (F_SEAL_SHRINK is not set)"
    }
}

/// What is wrong with a buffer that the driver put on a queue.
public enum BufferFault: String, Sendable {
    case writable = "a buffer to send from is writable"
    case readable = "a buffer to receive into is readable"
    case tooSmall = "a buffer to receive into has no room for a packet's header"
}

/// What a guest's vsock packet must not be (virtio 1.2, 5.10.6).
public enum VsockViolation: Error, Equatable, Sendable {
    /// A tx chain with fewer readable bytes than a packet header, or with bytes for the device to write.
    case headerIncomplete(bytes: UInt64)
    case transmitBufferWritable
    /// `len` is more than the chain holds, or more than a packet may carry, or set where the operation carries none.
    case lengthInvalid(UInt32)
    /// `src_cid` is not the guest's.
    case sourceInvalid(cid: UInt64)
    /// An operation that does not exist.
    case operationInvalid(UInt16)
    /// An answer to a connection request that was never made.
    case responseUnexpected
    /// SHUTDOWN with other flags than 1 and 2.
    case shutdownFlagsInvalid(UInt32)
    /// More bytes than the device gave credit for.
    case creditExceeded(bytes: UInt32)
    /// `fwd_cnt` claims bytes that were never sent, or runs backwards.
    case forwardCountInvalid(UInt32)
    /// An rx chain with readable bytes, or too few writable ones for a header and a byte.
    case receiveBufferInvalid(bytes: UInt64)
}

extension VhostUserError: CustomStringConvertible {
    /// One clause that says what happened, for an event or a log line.
    public var description: String {
        switch self {
        case .disconnected: "the VMM closed the vhost-user connection"
        case .system(let error): error.description
        case .messageTruncated: "the VMM closed the vhost-user connection within a message"
        case .flagsInvalid(let request, let flags): "vhost-user request \(request) has invalid flags \(flags)"
        case .requestUnsupported(let request): "vhost-user request \(request) is not supported"
        case .payloadSizeInvalid(let request, let size): "vhost-user request \(request) has a payload of \(size) bytes"
        case .descriptorCountInvalid(let request, let expected, let found):
            "vhost-user request \(request) came with \(found) file descriptors instead of \(expected)"
        case .fieldInvalid(let request, let field): "vhost-user request \(request) has an invalid \(field.rawValue)"
        case .unexpected(let request): "vhost-user request \(request) came out of order"
        case .featuresNotOffered(let bits): "the VMM acknowledged features that were not offered: 0x\(String(bits, radix: 16))"
        case .queueInvalid(let index): "there is no queue \(index)"
        case .regionInvalid(let index, let fault): "memory region \(index) \(fault.rawValue)"
        case .ringOutsideMemory(let queue): "queue \(queue) lies outside guest memory"
        case .flooded: "the VMM floods the vhost-user connection"
        case .virtqueue(let queue, let error): "queue \(queue): \(error.description)"
        case .bufferInvalid(let queue, let fault): "queue \(queue): \(fault.rawValue)"
        case .packet(let violation): "vsock: \(violation.description)"
        case .extentInvalid(let extent):
            "pool extent at 0x\(String(extent.address, radix: 16)) of \(extent.length) bytes cannot be mapped"
        }
    }
}

extension VsockViolation: CustomStringConvertible {
    /// The violation in words, with its numbers.
    public var description: String {
        switch self {
        case .headerIncomplete(let bytes): "a packet of \(bytes) bytes has no whole header"
        case .transmitBufferWritable: "a packet from the guest has a writable buffer"
        case .lengthInvalid(let length): "a packet has the invalid length \(length)"
        case .sourceInvalid(let cid): "a packet claims to come from CID \(cid)"
        case .operationInvalid(let operation): "a packet has the unknown operation \(operation)"
        case .responseUnexpected: "the guest accepted a connection that nobody asked for"
        case .shutdownFlagsInvalid(let flags): "a shutdown has the flags \(flags)"
        case .creditExceeded(let bytes): "the guest sent \(bytes) bytes without credit"
        case .forwardCountInvalid(let count): "the guest claims to have read up to byte \(count), which was never sent"
        case .receiveBufferInvalid(let bytes): "a receive buffer of the guest has \(bytes) usable bytes"
        }
    }
}

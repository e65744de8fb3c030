// VirtioMessage: the virtio-msg transport (virtio over messages), both sides.
//
// Revision implemented: transport revision 1 of the OASIS virtio-msg draft as of 1 December 2025
// (wmamills/virtio-msg-spec, branch of pull request 28, commit 7891b6b4a1d4, transport-msg.tex). RFC v3
// (d5967a4e953) has the same wire layouts. Section names in the comments of this room are that file's.
//
// The messages travel over a byte stream (AF_VSOCK, or a Unix socket natively), framed by the size field of
// their own header, least significant byte first:
//
//      0      1        2         4       6          8
//      | type | msg_id | dev_num | token | msg_size | payload …
//
//      type bit 0: 1 = response      type bit 1: 1 = bus message      bits 2…7: ignored
//
// What virtio-msg leaves to the bus (where shared memory is, fault injection, logs) are the
// implementation-defined bus messages of `BusMessageID`.

/// Limits of Drover's virtio-msg bus instance ("Transport Revisions and Maximum Message Size").
public enum VirtioMessageLimits {
    /// The transport revision that this room implements.
    public static let revision: UInt32 = 1
    /// The largest message in bytes, header and payload together.
    public static let maximumMessageSize = 4096
    /// The most device numbers in one answer to GET_DEVICES, and the most devices on a bus.
    public static let devices = 64
    /// The most bytes of configuration space in one message.
    public static let configurationBytes = 256
    /// The longest name in DISK_NAME, in bytes.
    public static let nameBytes = 32
    /// The longest text in LOG, in bytes.
    public static let logBytes = 512
    /// The version of the POOL message.
    public static let poolVersion: UInt32 = 1
    /// The well-known port on which the client stub's vsock device answers.
    public static let port: UInt32 = 4050
}

/// Message numbers of "Transport Messages": they concern one device.
public enum TransportMessageID {
    public static let getDeviceInfo: UInt8 = 0x02
    public static let getDeviceFeatures: UInt8 = 0x03
    public static let setDriverFeatures: UInt8 = 0x04
    public static let getConfig: UInt8 = 0x05
    public static let setConfig: UInt8 = 0x06
    public static let getDeviceStatus: UInt8 = 0x07
    public static let setDeviceStatus: UInt8 = 0x08
    public static let getVirtqueue: UInt8 = 0x09
    public static let setVirtqueue: UInt8 = 0x0A
    public static let resetVirtqueue: UInt8 = 0x0B
    public static let getSharedMemory: UInt8 = 0x0C
    public static let eventConfig: UInt8 = 0x40
    public static let eventAvail: UInt8 = 0x41
    public static let eventUsed: UInt8 = 0x42
}

/// Message numbers of "Bus Messages". 0x80 and above are Drover's own requests, 0xC0 and above its own events.
public enum BusMessageID {
    public static let getDevices: UInt8 = 0x02
    public static let ping: UInt8 = 0x03
    public static let eventDevice: UInt8 = 0x40
    /// NET_CONTROL, driver to device, answered: a command of the network device's control queue.
    public static let netControl: UInt8 = 0x80
    /// POOL, device to driver, the first message of a connection: where the shared memory is.
    public static let pool: UInt8 = 0xC0
    /// INJECT, driver to device: fail in a given way (for tests and demonstrations).
    public static let inject: UInt8 = 0xC1
    /// LOG, device to driver: a line of text for the event stream.
    public static let log: UInt8 = 0xC2
    /// DISK_NAME, device to driver: what the guest calls the disk with a device number.
    public static let diskName: UInt8 = 0xC3
}

/// What is wrong with a message.
///
/// `headerSize` and `tooLarge` mean that the stream has lost its framing: only closing it helps. After the
/// others the next message can be read.
public enum MessageError: Error, Equatable, Sendable {
    /// Fewer bytes than the header says, or fewer than a header.
    case truncated
    /// `msg_size` is below the header's own eight bytes.
    case headerSize(UInt16)
    /// `msg_size` is above the bus's maximum.
    case tooLarge(UInt16)
    /// No message with this number goes in this direction.
    case unknownMessage(isBus: Bool, isResponse: Bool, id: UInt8)
    /// The payload has another length than the message's fields say or need.
    case payloadSize(isBus: Bool, id: UInt8, bytes: UInt16)
    /// A field has a value outside of what the specification or this bus allows.
    case invalidField(isBus: Bool, id: UInt8)
    /// The outbox has no room left for the message; try again after bytes were sent.
    case noSpace

    /// Whether the stream cannot be read on after this error.
    public var losesFraming: Bool {
        switch self {
        case .headerSize, .tooLarge, .truncated: true
        default: false
        }
    }
}

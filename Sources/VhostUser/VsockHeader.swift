/// The header of every vsock packet, little-endian (virtio 1.2, 5.10.6). Written by whoever sends the packet.
///
///     offset  field               offset  field
///     0       src_cid    u64      28      type       u16  1: stream
///     8       dst_cid    u64      30      op         u16
///     16      src_port   u32      32      flags      u32  of SHUTDOWN
///     20      dst_port   u32      36      buf_alloc  u32  bytes that the sender buffers in all
///     24      len        u32      40      fwd_cnt    u32  bytes that it has consumed so far, modulo 2³²
struct VsockHeader: Equatable {
    static let byteCount = 44
    static let hostCID: UInt64 = 2
    static let stream: UInt16 = 1
    /// Linux' own limit, VIRTIO_VSOCK_MAX_PKT_BUF_SIZE.
    static let longestPayload: UInt32 = 64 << 10
    static let shutdownBoth: UInt32 = 3

    enum Operation: UInt16 {
        case request = 1
        case response = 2
        case reset = 3
        case shutdown = 4
        case data = 5
        case creditUpdate = 6
        case creditRequest = 7
    }

    var sourceCID: UInt64
    var destinationCID: UInt64
    var sourcePort: UInt32
    var destinationPort: UInt32
    var length: UInt32
    var type: UInt16
    var operation: UInt16
    var flags: UInt32
    var bufferSize: UInt32
    var forwardCount: UInt32

    /// From a private copy of at least 44 bytes.
    init(_ bytes: UnsafeRawBufferPointer) {
        precondition(bytes.count >= Self.byteCount)
        // SAFETY: all offsets are below the 44 bytes just checked.
        unsafe sourceCID = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self))
        unsafe destinationCID = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
        unsafe sourcePort = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 16, as: UInt32.self))
        unsafe destinationPort = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 20, as: UInt32.self))
        unsafe length = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 24, as: UInt32.self))
        unsafe type = UInt16(littleEndian: bytes.loadUnaligned(fromByteOffset: 28, as: UInt16.self))
        unsafe operation = UInt16(littleEndian: bytes.loadUnaligned(fromByteOffset: 30, as: UInt16.self))
        unsafe flags = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 32, as: UInt32.self))
        unsafe bufferSize = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 36, as: UInt32.self))
        unsafe forwardCount = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 40, as: UInt32.self))
    }

    init(
        from source: (cid: UInt64, port: UInt32), to destination: (cid: UInt64, port: UInt32), _ operation: Operation,
        length: UInt32 = 0, flags: UInt32 = 0, bufferSize: UInt32 = 0, forwardCount: UInt32 = 0
    ) {
        sourceCID = source.cid
        sourcePort = source.port
        destinationCID = destination.cid
        destinationPort = destination.port
        self.length = length
        type = Self.stream
        self.operation = operation.rawValue
        self.flags = flags
        self.bufferSize = bufferSize
        self.forwardCount = forwardCount
    }

    /// Into at least 44 bytes of private memory.
    func store(to bytes: UnsafeMutableRawBufferPointer) {
        precondition(bytes.count >= Self.byteCount)
        // SAFETY: all offsets are below the 44 bytes just checked.
        unsafe bytes.storeBytes(of: sourceCID.littleEndian, toByteOffset: 0, as: UInt64.self)
        unsafe bytes.storeBytes(of: destinationCID.littleEndian, toByteOffset: 8, as: UInt64.self)
        unsafe bytes.storeBytes(of: sourcePort.littleEndian, toByteOffset: 16, as: UInt32.self)
        unsafe bytes.storeBytes(of: destinationPort.littleEndian, toByteOffset: 20, as: UInt32.self)
        unsafe bytes.storeBytes(of: length.littleEndian, toByteOffset: 24, as: UInt32.self)
        unsafe bytes.storeBytes(of: type.littleEndian, toByteOffset: 28, as: UInt16.self)
        unsafe bytes.storeBytes(of: operation.littleEndian, toByteOffset: 30, as: UInt16.self)
        unsafe bytes.storeBytes(of: flags.littleEndian, toByteOffset: 32, as: UInt32.self)
        unsafe bytes.storeBytes(of: bufferSize.littleEndian, toByteOffset: 36, as: UInt32.self)
        unsafe bytes.storeBytes(of: forwardCount.littleEndian, toByteOffset: 40, as: UInt32.self)
    }
}

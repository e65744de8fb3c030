/// The compressed kernel inside a bzImage (Documentation/arch/x86/boot.rst, protocol 2.08 and later).
///
///     offset  size  field
///     0x1f1   1     setup_sects       sectors of real-mode code behind the first one; 0 means 4
///     0x202   4     "HdrS"
///     0x206   2     version           protocol version
///     0x248   4     payload_offset    from the beginning of the protected-mode code
///     0x24c   4     payload_length
struct KernelPayload: Equatable {
    enum Compression: String, CaseIterable {
        case gzip, xz, zstd, lz4

        var magic: [UInt8] {
            switch self {
            case .gzip: [0x1f, 0x8b]
            case .xz: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]
            case .zstd: [0x28, 0xb5, 0x2f, 0xfd]
            case .lz4: [0x02, 0x21, 0x4c, 0x18]
            }
        }

        /// The program that decompresses a file to its standard output, and its arguments before the file's name.
        var decompressor: (program: Tools.Program, arguments: [String]) {
            switch self {
            case .gzip: (.gzip, ["-dc"])
            case .xz: (.xz, ["-dc", "--"])
            case .zstd: (.zstd, ["-dcq", "--"])
            case .lz4: (.lz4, ["-dcq"])
            }
        }
    }

    var compression: Compression
    /// Bytes of the image.
    var range: Range<Int>

    /// - Throws: ``ImageError/badKernel(package:problem:)``
    init(untrusted image: [UInt8], package: String) throws(ImageError) {
        func reject(_ problem: String) -> ImageError { .badKernel(package: package, problem: problem) }
        guard image.count > 0x250, Array(image[0x202..<0x206]) == Array("HdrS".utf8) else {
            throw reject("it isn't a bzImage")
        }
        func word(_ offset: Int) -> Int { (0..<4).reduce(0) { $0 | Int(image[offset + $1]) << (8 * $1) } }
        guard Int(image[0x206]) | Int(image[0x207]) << 8 >= 0x208 else { throw reject("its boot protocol is older than 2.08") }
        let sectors = image[0x1f1] == 0 ? 4 : Int(image[0x1f1])
        let start = (sectors + 1) * 512 + word(0x248)
        let length = word(0x24c)
        guard length > 8, start <= image.count, length <= image.count - start else {
            throw reject("its payload lies outside of the file")
        }
        let payload = image[start..<(start + length)]
        guard let compression = Compression.allCases.first(where: { payload.starts(with: $0.magic) }) else {
            throw reject("its payload is compressed in an unknown way")
        }
        self.compression = compression
        // The kernel's build appends the uncompressed size, four bytes; gzip has it anyway, as its own trailer.
        range = start..<(start + length - (compression == .gzip ? 0 : 4))
    }
}

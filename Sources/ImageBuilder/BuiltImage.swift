/// An image in the cache: ready to boot.
public struct BuiltImage: Sendable, Equatable {
    /// Content address: 64 hexadecimal digits.
    public var hash: String
    /// Path of the kernel, an ELF file that QEMU boots by PVH (`-kernel`).
    public var kernel: String
    /// Path of the initramfs.
    public var initrd: String
    public var manifest: ImageManifest

    public init(hash: String, kernel: String, initrd: String, manifest: ImageManifest) {
        self.hash = hash
        self.kernel = kernel
        self.initrd = initrd
        self.manifest = manifest
    }
}

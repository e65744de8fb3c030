import Foundation

@testable import ImageBuilder

/// An archive with one small kernel package, an apt that serves it, and a recipe that wants it.
final class FakeArchive {
    let scratch: Scratch
    var path: String { scratch.path }
    private(set) var deb: [UInt8] = []
    static let release = "9.9.0-1-amd64"
    static let nvme = "pci:v00001B36d00000010sv00001AF4sd00001100bc01sc08i02"

    init() throws {
        scratch = try Scratch()
        try writeApt()
        try writeRecipe()
        try publish(version: "9.9.1-1")
    }

    var builder: ImageBuilder {
        var builder = ImageBuilder(
            cacheDirectory: scratch.file("cache"), recipesDirectory: scratch.file("Images"),
            searchPath: scratch.file("bin") + ":/usr/bin:/bin:/usr/sbin:/sbin")
        builder.aptState = [scratch.file("index")]
        return builder
    }

    func build(
        _ modaliases: [String] = [nvme], extraModules: [String] = [],
        progress: @escaping @Sendable (ImageProgress) -> Void = { _ in }
    ) async throws(ImageError) -> BuiltImage {
        let stub: String
        do { stub = try scratch.serverStub() } catch { throw .cancelled }
        return try await builder.build(
            recipe: "test", modaliases: modaliases, extraModules: extraModules, serverStub: stub, progress: progress)
    }

    func writeRecipe(_ text: String = "kind: stock\npackage: linux-image-test\nmodules: [base 'a=1']\ncommandLine: quiet\n") throws {
        let plain = text.replacingOccurrences(of: "base 'a=1'", with: "base a=1")
        try scratch.write("Images/test.yaml", Array(plain.utf8))
    }

    /// Makes the package and apt's index of it; `linux-image-test` depends on this version.
    func publish(version: String, kernel: [UInt8]? = nil, compression: String = "xz", nvmeContent: String = "nvme module") throws {
        let root = scratch.file("root")
        try? FileManager.default.removeItem(atPath: root)
        let modules = "root/lib/modules/\(Self.release)"
        let image = try kernel ?? bzImage(compression: compression)
        try scratch.write("root/boot/vmlinuz-\(Self.release)", image)
        try scratch.write("\(modules)/kernel/base.ko", Array("base module".utf8))
        try scratch.write("\(modules)/kernel/nvme-core.ko", Array("core module".utf8))
        let plain = try scratch.write("\(modules)/kernel/nvme.ko", Array(nvmeContent.utf8))
        try Self.run("/usr/bin/xz", [plain])
        let index = [
            "modules.dep": "kernel/base.ko:\nkernel/nvme-core.ko:\nkernel/nvme.ko.xz: kernel/nvme-core.ko\n",
            "modules.alias": "alias pci:v*d*sv*sd*bc01sc08i02* nvme\n", "modules.softdep": "", "modules.builtin": "kernel/in.ko\n",
            "modules.builtin.modinfo": "in.alias=pci:v0000AAAAd*\0",
        ]
        for (name, text) in index { try scratch.write("\(modules)/\(name)", Array(text.utf8)) }
        let control = """
            Package: linux-image-\(Self.release)
            Version: \(version)
            Architecture: amd64
            Maintainer: Nobody <nobody@example.invalid>
            Description: a kernel for tests

            """
        try scratch.write("root/DEBIAN/control", Array(control.utf8))
        try Self.run("/usr/bin/dpkg-deb", ["--build", "--root-owner-group", "-Zgzip", root, scratch.file("kernel.deb")])
        deb = try FileStore.read(scratch.file("kernel.deb"))
        let digest = try Self.run("/usr/bin/sha256sum", [scratch.file("kernel.deb")]).prefix(64)
        func stanza(_ package: String, _ depends: String, _ digest: Substring, _ size: Int) -> String {
            "Package: \(package)\nVersion: \(version)\nArchitecture: amd64\nDepends: \(depends)\n"
                + "Description: x\n more: words\nSize: \(size)\nSHA256: \(digest)\n\n"
        }
        let concrete = "linux-image-\(Self.release)"
        let none = Substring(String(repeating: "0", count: 64))
        try scratch.write("index/\(concrete)", Array(stanza(concrete, "kmod, initramfs-tools | x", digest, deb.count).utf8))
        try scratch.write(
            "index/linux-image-test", Array(stanza("linux-image-test", "\(concrete) (= \(version))", none, 1).utf8))
        try setDownload(deb)
    }

    /// What apt-get downloads, whatever the index says; nil for no network.
    func setDownload(_ bytes: [UInt8]?) throws {
        try? FileManager.default.removeItem(atPath: scratch.file("served.deb"))
        if let bytes { try scratch.write("served.deb", bytes) }
    }

    /// apt-get serves each package by its name from now on.
    func serveBoth() throws { try scratch.write("serve-both", []) }

    func removeIndex() throws { try FileManager.default.removeItem(atPath: scratch.file("index")) }

    /// Names in `building/` and `images/`, to see what a failure leaves.
    func leftovers() throws -> [String] {
        try FileStore.names(in: scratch.file("cache/building")) + FileStore.names(in: scratch.file("cache/images"))
    }

    /// How often apt-cache and apt-get ran.
    func aptRuns() throws -> Int {
        guard FileStore.exists(scratch.file("runs")) else { return 0 }
        return try FileStore.read(scratch.file("runs")).count
    }

    private func writeApt() throws {
        let cache = """
            #!/bin/sh
            printf x >>'\(path)/runs'
            for last; do :; done
            file='\(path)/index/'"${last%%=*}"
            [ -f "$file" ] || { echo 'E: No packages found' >&2; exit 100; }
            cat "$file"
            """
        let get = """
            #!/bin/sh
            printf x >>'\(path)/runs'
            [ -f '\(path)/slow' ] && sleep 30
            for last; do :; done
            if [ -f '\(path)/serve-both' ]; then
                case "$last" in
                    linux-source-*) cp '\(path)/source.deb' ./source.deb ;;
                    *) cp '\(path)/kernel.deb' ./kernel.deb ;;
                esac
                exit
            fi
            if [ ! -f '\(path)/served.deb' ]; then
                echo 'E: Failed to fetch http://example.invalid/x.deb  Could not resolve' >&2
                exit 100
            fi
            cp '\(path)/served.deb' ./kernel.deb
            """
        try scratch.write("bin/apt-cache", Array(cache.utf8), executable: true)
        try scratch.write("bin/apt-get", Array(get.utf8), executable: true)
    }

    /// A boot image whose payload is an ELF file with the note that PVH wants.
    func bzImage(
        compression: String, payload: [UInt8] = Scratch.executable(notes: Scratch.pvhNote) + Array("kernel".utf8)
    ) throws -> [UInt8] {
        let plain = try scratch.write("payload", payload)
        let arguments = ["xz": ["-fk"], "zstd": ["-fqk"], "gzip": ["-fkn"]][compression] ?? []
        try Self.run("/usr/bin/\(compression)", arguments + [plain])
        let suffix = ["xz": "xz", "zstd": "zst", "gzip": "gz"][compression] ?? ""
        var packed = try FileStore.read("\(plain).\(suffix)")
        if compression != "gzip" { packed += [1, 2, 3, 4] }
        var image = [UInt8](repeating: 0, count: 3 * 512 + 16)
        image[0x1f1] = 2
        image.replaceSubrange(0x202..<0x208, with: Array("HdrS".utf8) + [0x0f, 0x02])
        image[0x248] = 16
        for byte in 0..<4 { image[0x24c + byte] = UInt8(packed.count >> (8 * byte) & 0xff) }
        return image + packed + [0, 0]
    }

    @discardableResult
    static func run(_ program: String, _ arguments: [String]) throws -> String {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        try process.run()
        let output = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw ProgramFailure(description: "\(program): \(process.terminationReason) \(process.terminationStatus): \(output)")
        }
        return output
    }
}

/// A program that a fixture needs and that failed.
struct ProgramFailure: Error, CustomStringConvertible {
    var description: String
}

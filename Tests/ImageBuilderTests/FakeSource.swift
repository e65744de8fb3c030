import Foundation

@testable import ImageBuilder

extension FakeArchive {
    /// A package with the source of a kernel that a shell script "builds", a recipe of kind `lean` for it, and that script as `make`:
    /// it sets what it is asked for but CONFIG_IMPOSSIBLE, and puts the configuration into the kernel.
    func publishSource(version: String = "9.9.1-1") throws {
        let root = scratch.file("source-root")
        try? FileManager.default.removeItem(atPath: root)
        try scratch.write("linux-source-9/Kconfig", [])
        try scratch.write("linux-source-9/Makefile", Array("all:\n".utf8))
        try FileManager.default.createDirectory(atPath: "\(root)/usr/src", withIntermediateDirectories: true)
        try Self.run(
            "/bin/tar", ["--create", "--xz", "--file", "\(root)/usr/src/linux-source-9.tar.xz", "-C", scratch.path, "linux-source-9"])
        let control = """
            Package: linux-source-9
            Version: \(version)
            Architecture: all
            Maintainer: Nobody <nobody@example.invalid>
            Description: a kernel's source for tests

            """
        try scratch.write("source-root/DEBIAN/control", Array(control.utf8))
        let deb = scratch.file("source.deb")
        try Self.run("/usr/bin/dpkg-deb", ["--build", "--root-owner-group", "-Zgzip", root, deb])
        let digest = try Self.run("/usr/bin/sha256sum", [deb]).prefix(64)
        let size = try FileStore.read(deb).count
        let stanza = "Package: linux-source-9\nVersion: \(version)\nArchitecture: all\nSize: \(size)\nSHA256: \(digest)\n\n"
        try scratch.write("index/linux-source-9", Array(stanza.utf8))
        try scratch.write("Images/lean/base.config", Array("CONFIG_BASE=y\n# CONFIG_MODULES is not set\n".utf8))
        try scratch.write("Images/lean/nvme.config", Array("CONFIG_NVME=y\n".utf8))
        try scratch.write("Images/lean/other.config", Array("CONFIG_OTHER=y\n".utf8))
        try writeLeanRecipe()
        try scratch.write("bin/make", Array(fakeMake.utf8), executable: true)
        try scratch.write("bin/objcopy", Array("#!/bin/sh\ncp \"$3\" \"$4\"\n".utf8), executable: true)
    }

    func writeLeanRecipe(_ more: String = "") throws {
        let text = """
            kind: lean
            package: linux-source-9
            fallback: test
            base: { configuration: lean/base.config, drivers: [base] }
            fragments:
              nvme: { configuration: lean/nvme.config, drivers: [nvme] }
              other: { configuration: lean/other.config, drivers: [in, other], firmware: [acme/card.bin], memory: 40MiB }
            memory: 32MiB
            pool: 8MiB
            commandLine: quiet
            \(more)
            """
        try scratch.write("Images/lean-test.yaml", Array(text.utf8))
    }

    func buildLean(
        _ modaliases: [String] = [nvme], extraModules: [String] = [],
        progress: @escaping @Sendable (ImageProgress) -> Void = { _ in }
    ) async throws(ImageError) -> BuiltImage {
        let stub: String
        do { stub = try scratch.serverStub() } catch { throw .cancelled }
        return try await leanBuilder.build(
            recipe: "lean-test", modaliases: modaliases, extraModules: extraModules, serverStub: stub, progress: progress)
    }

    var leanBuilder: ImageBuilder {
        var builder = builder
        builder.firmwareDirectory = scratch.file("firmware")
        return builder
    }

    /// How often the fake make compiled.
    func compilations() throws -> Int {
        FileStore.exists(scratch.file("compiled")) ? try FileStore.read(scratch.file("compiled")).count : 0
    }

    private var fakeMake: String {
        """
        #!/bin/sh
        # Of an outer make nothing may be left, and whose kernel it is must not depend on who builds it.
        [ -z "$MAKEFLAGS$CFLAGS$KCFLAGS" ] && [ "$KBUILD_BUILD_USER" = drover ] || { echo "error: a dirty environment"; exit 2; }
        for word; do
            case "$word" in
                O=*) objects=${word#O=} ;;
                KCONFIG_ALLCONFIG=*) wanted=${word#KCONFIG_ALLCONFIG=} ;;
                allnoconfig) goal=configure ;;
                vmlinux) goal=compile ;;
            esac
        done
        case "$goal" in
            configure) grep -v IMPOSSIBLE "$wanted" >"$objects/.config"; echo 'CONFIG_IMPLIED=y' >>"$objects/.config" ;;
            compile)
                [ -f '\(path)/slow-make' ] && { echo $$ >'\(path)/make-pid'; sleep 300; }
                [ -f '\(path)/broken-make' ] && { echo '  CC      x.o'; echo 'x.c:1: error: no such thing'; echo 'make: *** [x.o] Error 1'; exit 2; }
                printf x >>'\(path)/compiled'
                echo '  CC      x.o'
                mkdir -p "$objects/include/config"
                echo 9.9.1 >"$objects/include/config/kernel.release"
                cat '\(path)/elf' "$objects/.config" >"$objects/vmlinux"
                ;;
        esac
        """
    }
}

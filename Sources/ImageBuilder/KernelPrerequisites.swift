/// Something that building a kernel needs of this machine, and the Debian package that has it.
public struct Prerequisite: Sendable, Equatable {
    /// A program's or a header's: `flex`, `libelf.h`.
    public var name: String
    public var package: String
}

/// What building a kernel takes, besides its source.
struct KernelPrerequisites: Sendable {
    let tools: Tools
    /// Where the compiler finds headers.
    var headers = "/usr/include"

    /// Source, stock kernel and packages, unpacked, and the objects of all fragments, in bytes: measured with Linux 6.1, and some more.
    static let room: UInt64 = 3 << 30
    /// A further kernel, from a source that is there.
    static let roomForAnother: UInt64 = 512 << 20

    private static let programs: [Tools.Program] = [.gcc, .linker, .objcopy, .flex, .bison, .bc, .make, .xz, .tar]

    /// What this machine lacks.
    var missing: [Prerequisite] {
        let programs = Self.programs.filter { (try? tools.path(of: $0)) == nil }.map { Prerequisite(name: $0.name, package: $0.package) }
        let files = [("libelf.h", "libelf-dev"), ("stdio.h", "libc6-dev")].filter { !FileStore.exists("\(headers)/\($0.0)") }
        return programs + files.map { Prerequisite(name: $0.0, package: $0.1) }
    }
}

extension ImageBuilder {
    /// What building a lean image needs and this machine lacks.
    public var missingForLean: [Prerequisite] { KernelPrerequisites(tools: tools).missing }

    /// How much room in the cache the next lean image takes, in bytes. Much less where the source is unpacked already.
    public var roomForLean: UInt64 {
        let sources = (try? FileStore.names(in: cache.sources)) ?? []
        return sources.isEmpty ? KernelPrerequisites.room : KernelPrerequisites.roomForAnother
    }
}

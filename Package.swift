// swift-tools-version: 6.2
import Foundation
import PackageDescription

// One manifest builds Drover three times:
//   (plain)             the host's programs and the tests
//   DROVER_GUEST=1      the server stub for the guest: Embedded Swift, static, no packages
//   DROVER_FUZZ=1       the libFuzzer targets in Tests/Fuzz
// DROVER_ONLY=A,B restricts the package to the named targets and what they need: a quick cycle while
// working on one room. Give each of them a --scratch-path of its own.

let guest = Context.environment["DROVER_GUEST"] != nil
let fuzz = Context.environment["DROVER_FUZZ"] != nil
let only = Context.environment["DROVER_ONLY"].map { Set($0.split(separator: ",").map(String.init)) }

// MARK: settings

let strict: [SwiftSetting] =
    [
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("InternalImportsByDefault"),
        .enableUpcomingFeature("MemberImportVisibility"),
        .treatAllWarnings(as: .error),
        // The C fence needs libc's GNU names; Glibc and Foundation, where they meet it, are imported with the same.
        .unsafeFlags(["-Xcc", "-D_GNU_SOURCE"]),
    ] + (fuzz ? [.unsafeFlags(["-sanitize=fuzzer,address"])] : [])

/// Rooms that map memory: every unsafe use is marked, and says why it is sound.
let memory: [SwiftSetting] = strict + [.strictMemorySafety(), .enableExperimentalFeature("Lifetimes")]

/// Rooms that compile for the guest too: Embedded Swift, no Foundation, typed throws. Every module of an Embedded
/// program holds its own copy of what it uses; functions in sections of their own let the linker keep one.
let shared: [SwiftSetting] =
    memory
    + (guest
        ? [.enableExperimentalFeature("Embedded"), .unsafeFlags(["-wmo", "-Osize", "-Xfrontend", "-function-sections"])]
        : [.treatWarning("EmbeddedRestrictions", as: .error)])

let fuzzing: [SwiftSetting] = memory + [.unsafeFlags(["-parse-as-library"])]

// MARK: rooms

func room(_ name: String, _ dependencies: [Target.Dependency], _ settings: [SwiftSetting]) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: settings)
}

func program(_ name: String, _ dependencies: [Target.Dependency], _ settings: [SwiftSetting]) -> Target {
    .executableTarget(name: name, dependencies: dependencies, swiftSettings: settings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: name, dependencies: dependencies, swiftSettings: strict)
}

func fuzzer(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    // SwiftPM points `main` at a main of the target's own, which a fuzzer does not have: CFuzzEntry's takes both names.
    let main = "fuzz_" + name.replacingOccurrences(of: "-", with: "_") + "_main"
    return .executableTarget(
        name: "fuzz-\(name)", dependencies: dependencies + ["CFuzzEntry"], path: "Tests/Fuzz/\(name)", swiftSettings: fuzzing,
        linkerSettings: [
            .unsafeFlags(["-sanitize=fuzzer,address", "-Xlinker", "--defsym=\(main)=drover_fuzz_main"]),
            .unsafeFlags(["-Xlinker", "--defsym=main=drover_fuzz_main"]),
        ])
}

let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let subprocess = Target.Dependency.product(name: "Subprocess", package: "swift-subprocess")
let system = Target.Dependency.product(name: "SystemPackage", package: "swift-system")
let yams = Target.Dependency.product(name: "Yams", package: "Yams")
let lifecycle = Target.Dependency.product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let unixSignals = Target.Dependency.product(name: "UnixSignals", package: "swift-service-lifecycle")
let hummingbird = Target.Dependency.product(name: "Hummingbird", package: "hummingbird")
let httpClient = Target.Dependency.product(name: "AsyncHTTPClient", package: "async-http-client")
let httpTypes = Target.Dependency.product(name: "HTTPTypes", package: "swift-http-types")
let nio = ["NIOCore", "NIOHTTP1"].map { Target.Dependency.product(name: $0, package: "swift-nio") }
let histogram = Target.Dependency.product(name: "Histogram", package: "hdrhistogram-swift")

/// The rooms that both sides of the message path share. ◇ in the architecture picture.
let sharedRooms: [Target] = [
    .target(name: "CLinux"),
    room("LinuxSystem", ["CLinux"], shared),
    room("Virtqueue", ["CLinux"], shared),
    room("VirtioBlock", [], shared),
    room("VirtioNet", [], shared),
    room("VirtioMessage", [], shared),
    room("Netlink", ["CLinux", "LinuxSystem"], shared),
    room("ServerStub", ["CLinux", "LinuxSystem", "Netlink", "Virtqueue", "VirtioBlock", "VirtioMessage", "VirtioNet"], shared),
    .executableTarget(
        name: "drover-server-stub", dependencies: ["CLinux", "ServerStub", "LinuxSystem"], swiftSettings: shared,
        linkerSettings: guest ? [.unsafeFlags(["-static-executable"])] : []),
]

let hostRooms: [Target] = [
    .systemLibrary(name: "CLibvirt", pkgConfig: "libvirt", providers: [.apt(["libvirt-dev"])]),
    .target(name: "CPCI", linkerSettings: [.linkedLibrary("pci")]),

    // The message path on the host.
    room("VhostUser", ["LinuxSystem", "Virtqueue", "CLinux"], memory),
    room("StubControl", [], strict),
    room(
        "ClientStub", ["CLinux", "LinuxSystem", "StubControl", "Virtqueue", "VirtioBlock", "VirtioMessage", "VhostUser"],
        memory + [.enableExperimentalFeature("SuppressedAssociatedTypes")]),
    room("FrontEnds", ["CLinux", "ClientStub", "LinuxSystem"], memory),
    room(
        "NetworkStub",
        ["CLinux", "ClientStub", "LinuxSystem", "Netlink", "StubControl", "VhostUser", "VirtioMessage", "VirtioNet", "Virtqueue"], memory),
    program(
        "drover-client-stub", ["FrontEnds", "NetworkStub", "ClientStub", "StubControl", "CLinux", "LinuxSystem", argumentParser],
        strict),
    program("drover-bench", ["LinuxSystem", "StubControl", argumentParser], strict),

    // Policy: never on the data path.
    room("DroverConfiguration", [yams], strict),
    room("Installation", [], strict),
    room("Hypervisor", ["CLibvirt", "CLinux", "LinuxSystem", logging], strict),
    room("PCIInventory", ["CPCI"], strict),
    room("ImageBuilder", [subprocess, system, yams], strict),
    room("ControlModel", [], strict),
    room("Accounting", ["ControlModel", "LinuxSystem"], strict),
    room(
        "Supervision",
        [
            "DroverConfiguration", "Hypervisor", "ImageBuilder", "PCIInventory", "Accounting", "StubControl", "ControlModel",
            "CLinux", "Installation", "LinuxSystem", "Netlink", logging, lifecycle,
        ],
        strict),
    room("ControlAPI", ["ControlModel", hummingbird, httpClient, httpTypes, logging, lifecycle] + nio, strict),
    program(
        "droverd",
        [
            "Supervision", "ControlAPI", "ControlModel", "DroverConfiguration", "Hypervisor", argumentParser, logging, lifecycle,
            unixSignals,
        ],
        strict),
    program(
        "drover",
        [
            "ControlAPI", "ControlModel", "DroverConfiguration", "ImageBuilder", "Installation", "Hypervisor", "PCIInventory",
            argumentParser,
        ],
        strict),
    program("drover-demo", ["ControlAPI", "ControlModel", "Netlink", argumentParser], strict),
]

let testTargets: [Target] = [
    tests("ArchitectureTests", []),
    tests("ClientStubTests", ["ClientStub", "CLinux", "LinuxSystem", "StubControl", "VirtioBlock", "VirtioMessage", "Virtqueue"]),
    tests("ControlAPITests", ["ControlAPI", "ControlModel", logging]),
    tests("DroverConfigurationTests", ["DroverConfiguration"]),
    tests("EndToEndTests", ["ControlAPI", "ControlModel", "Netlink"]),
    tests("FrontEndsTests", ["FrontEnds", "ClientStub", "LinuxSystem", "CLinux"]),
    tests("HypervisorTests", ["Hypervisor", "CLinux", "LinuxSystem", logging]),
    tests("ImageBuilderTests", ["ImageBuilder"]),
    tests("LinuxSystemTests", ["LinuxSystem", "CLinux"]),
    tests(
        "NetworkStubTests",
        [
            "NetworkStub", "CLinux", "ClientStub", "LinuxSystem", "StubControl", "VhostUser", "VirtioMessage", "VirtioNet", "Virtqueue",
        ]),
    tests("NetlinkTests", ["Netlink", "CLinux", "LinuxSystem"]),
    tests("PCIInventoryTests", ["PCIInventory"]),
    tests(
        "SupervisionTests",
        [
            "Supervision", "Accounting", "ControlModel", "DroverConfiguration", "Hypervisor", "ImageBuilder", "Netlink", "PCIInventory",
            "StubControl", logging,
        ]),
    tests("StubPairTests", ["drover-client-stub", "drover-server-stub", "StubControl", "VirtioMessage", "LinuxSystem"]),
    tests(
        "ServerStubTests",
        ["ServerStub", "CLinux", "LinuxSystem", "Netlink", "VirtioBlock", "VirtioMessage", "VirtioNet", "Virtqueue"]),
    tests("VhostUserTests", ["VhostUser", "LinuxSystem", "Virtqueue", "CLinux"]),
    tests("VirtioBlockTests", ["VirtioBlock"]),
    tests("VirtioMessageTests", ["VirtioMessage"]),
    tests("VirtioNetTests", ["VirtioNet"]),
    tests("VirtqueueTests", ["Virtqueue"]),
]

let fuzzTargets: [Target] = [
    .target(name: "CFuzzEntry", path: "Tests/Fuzz/CFuzzEntry"),
    fuzzer("configuration", ["DroverConfiguration"]),
    fuzzer("nbd", ["FrontEnds"]),
    fuzzer("net-control", ["Netlink", "VirtioNet"]),
    fuzzer("vhost-net", ["NetworkStub", "VhostUser", "LinuxSystem", "Virtqueue", "CLinux"]),
    fuzzer("vhost-user", ["VhostUser", "LinuxSystem", "CLinux"]),
    fuzzer("vsock", ["VhostUser", "LinuxSystem", "Virtqueue", "CLinux"]),
    fuzzer("virtio-msg", ["ServerStub", "LinuxSystem", "VirtioMessage"]),
    fuzzer("virtqueue-device", ["Virtqueue"]),
    fuzzer("virtqueue-driver", ["Virtqueue"]),
]

// MARK: package

var targets = guest ? sharedRooms : sharedRooms + hostRooms + (fuzz ? fuzzTargets : testTargets)

if let only {
    var keep: Set<String> = []
    func add(_ name: String) {
        guard let target = targets.first(where: { $0.name == name }), keep.insert(name).inserted else { return }
        for case .byNameItem(let dependency, _) in target.dependencies { add(dependency) }
    }
    only.forEach(add)
    targets.removeAll { !keep.contains($0.name) }
}

let package = Package(
    name: "drover",
    products: [],
    dependencies: guest
        ? []
        : [
            .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
            .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
            .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
            .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
            .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2"),
            .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
            .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
            .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
            .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
            .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
            .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
            .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
        ],
    targets: targets,
    swiftLanguageModes: [.v6]
)

/// The rooms of Drover and the rooms each may import: README.md, "Architecture". Arrows point down only.
///
/// A new arrow is a decision: it is made here, in `Package.swift` and in the README's picture.
enum Arrows {
    /// Rooms that compile for the guest too: Embedded Swift, no Foundation.
    static let shared: Set<String> = [
        "LinuxSystem", "Virtqueue", "VirtioBlock", "VirtioMessage", "ServerStub", "drover-server-stub",
    ]

    static let rooms: [String: Set<String>] = [
        // The bottom: Linux, and the layouts that both sides of the message path share.
        "LinuxSystem": ["CLinux"],
        "Virtqueue": ["CLinux"],
        "VirtioBlock": [],
        "VirtioMessage": [],
        // The message path.
        "ServerStub": ["CLinux", "LinuxSystem", "Virtqueue", "VirtioBlock", "VirtioMessage"],
        "VhostUser": ["CLinux", "LinuxSystem", "Virtqueue"],
        "ClientStub": ["CLinux", "LinuxSystem", "Virtqueue", "VirtioBlock", "VirtioMessage", "VhostUser"],
        "FrontEnds": ["CLinux", "LinuxSystem", "ClientStub"],
        "StubControl": [],
        // Policy.
        "ControlModel": [],
        "DroverConfiguration": [],
        "Hypervisor": ["CLibvirt", "CLinux", "LinuxSystem"],
        "PCIInventory": ["CPCI"],
        "ImageBuilder": ["CZstd"],
        "Accounting": ["ControlModel", "LinuxSystem"],
        "Supervision": [
            "Accounting", "CLinux", "ControlModel", "DroverConfiguration", "Hypervisor", "ImageBuilder", "LinuxSystem",
            "PCIInventory", "StubControl",
        ],
        "ControlAPI": ["ControlModel"],
        // Programs.
        "drover": ["ControlAPI", "ControlModel", "DroverConfiguration", "Hypervisor", "ImageBuilder", "LinuxSystem", "PCIInventory"],
        "droverd": ["ControlAPI", "ControlModel", "DroverConfiguration", "Hypervisor", "LinuxSystem", "Supervision"],
        "drover-client-stub": ["CLinux", "ClientStub", "FrontEnds", "LinuxSystem", "StubControl"],
        "drover-server-stub": ["CLinux", "LinuxSystem", "ServerStub"],
        "drover-demo": ["ControlAPI", "ControlModel", "DroverConfiguration", "LinuxSystem"],
        "drover-bench": ["LinuxSystem"],
    ]

    /// Packages and toolchain modules, with the rooms that may use each. `nil`: every room that is not shared.
    static let outside: [String: Set<String>?] = [
        "Foundation": nil, "FoundationEssentials": nil, "Glibc": nil, "Dispatch": nil, "Logging": nil, "SystemPackage": nil,
        "Synchronization": nil, "DequeModule": nil, "OrderedCollections": nil,
        "ArgumentParser": ["drover", "droverd", "drover-client-stub", "drover-demo", "drover-bench"],
        "Subprocess": ["ImageBuilder", "drover-demo", "drover-bench", "drover"],
        "Yams": ["DroverConfiguration", "ImageBuilder"],
        "UnixSignals": ["droverd"], "ServiceLifecycle": ["Supervision", "ControlAPI", "droverd"],
        "Hummingbird": ["ControlAPI"], "AsyncHTTPClient": ["ControlAPI"],
        "NIOCore": ["ControlAPI"], "NIOPosix": ["ControlAPI"], "NIOHTTP1": ["ControlAPI"], "HTTPTypes": ["ControlAPI"],
        "NIOFoundationCompat": ["ControlAPI"],
        "Histogram": ["drover-bench", "drover-demo"],
    ]

    /// Toolchain modules that are part of Embedded Swift.
    static let embedded: Set<String> = ["Swift", "Synchronization", "_Volatile"]
}

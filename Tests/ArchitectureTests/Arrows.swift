/// The rooms of Drover and the rooms each may import: README.md, "Architecture". Arrows point down only.
///
/// A new arrow is a decision: it is made here, in `Package.swift` and in the README's picture.
enum Arrows {
    /// Rooms that compile for the guest too: Embedded Swift, no Foundation.
    static let shared: Set<String> = [
        "LinuxSystem", "Virtqueue", "VirtioBlock", "VirtioMessage", "Netlink", "VirtioNet", "ServerStub", "drover-server-stub",
    ]

    static let rooms: [String: Set<String>] = [
        // The bottom: Linux, and the layouts that both sides of the message path share.
        "LinuxSystem": ["CLinux"],
        "Virtqueue": ["CLinux"],
        "VirtioBlock": [],
        "VirtioMessage": [],
        "Netlink": ["CLinux", "LinuxSystem"],
        "VirtioNet": [],
        // The message path.
        "ServerStub": ["CLinux", "LinuxSystem", "Netlink", "Virtqueue", "VirtioBlock", "VirtioMessage", "VirtioNet"],
        "VhostUser": ["CLinux", "LinuxSystem", "Virtqueue"],
        "ClientStub": ["CLinux", "LinuxSystem", "StubControl", "Virtqueue", "VirtioBlock", "VirtioMessage", "VhostUser"],
        "FrontEnds": ["CLinux", "LinuxSystem", "ClientStub"],
        "NetworkStub": [
            "CLinux", "LinuxSystem", "Netlink", "ClientStub", "StubControl", "VhostUser", "VirtioMessage", "VirtioNet", "Virtqueue",
        ],
        "StubControl": [],
        // Policy.
        "ControlModel": [],
        "DroverConfiguration": [],
        "Installation": [],
        "Hypervisor": ["CLibvirt", "CLinux", "LinuxSystem"],
        "PCIInventory": ["CPCI"],
        "ImageBuilder": ["CZstd"],
        "Accounting": ["ControlModel", "LinuxSystem"],
        "Supervision": [
            "Accounting", "CLinux", "ControlModel", "DroverConfiguration", "Hypervisor", "ImageBuilder", "Installation", "LinuxSystem",
            "Netlink", "PCIInventory", "StubControl",
        ],
        "ControlAPI": ["ControlModel"],
        // Programs.
        "drover": [
            "ControlAPI", "ControlModel", "DroverConfiguration", "Hypervisor", "ImageBuilder", "Installation", "LinuxSystem",
            "PCIInventory",
        ],
        "droverd": ["ControlAPI", "ControlModel", "DroverConfiguration", "Hypervisor", "LinuxSystem", "Supervision"],
        "drover-client-stub": ["CLinux", "ClientStub", "FrontEnds", "LinuxSystem", "NetworkStub", "StubControl"],
        "drover-server-stub": ["CLinux", "LinuxSystem", "ServerStub"],
        "drover-demo": ["ControlAPI", "ControlModel", "DroverConfiguration", "LinuxSystem", "Netlink"],
        "drover-bench": ["LinuxSystem", "StubControl"],
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

import Foundation
import PCIInventory

/// A made-up machine: `/sys`, `/proc` and `/dev` in a directory of its own, with an IOMMU that is on.
final class FakeMachine: @unchecked Sendable {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent("drover-pci-\(UUID().uuidString)").path
    var root: MachineRoot { MachineRoot(directory) }
    var bus: String { "\(directory)/sys/bus/pci" }
    var inventory: PCIInventory { PCIInventory(root: root) }
    var journal: DeviceJournal { DeviceJournal(directory: directory + "/run/devices", root: root) }
    /// The driver that the made-up kernel binds where nothing else is asked for.
    private var natural: [String: String] = [:]

    init() throws {
        for path in ["devices", "drivers"] { try folder("sys/bus/pci/\(path)") }
        for driver in ["vfio-pci", "nvme", "e1000e", "pcieport"] { try addDriver(driver) }
        try write("", to: "sys/bus/pci/drivers_probe")
        try folder("sys/kernel/iommu_groups/0")
        try folder("sys/class/iommu/dmar0")
        try folder("sys/firmware/acpi/tables")
        try write("", to: "sys/firmware/acpi/tables/DMAR")
        try write("vendor_id\t: GenuineIntel\n", to: "proc/cpuinfo")
        try write("root=/dev/sda1 intel_iommu=on\n", to: "proc/cmdline")
        try write("  1:   10   IR-IO-APIC   1-edge   i8042\n", to: "proc/interrupts")
        try write("Iface\tDestination\n", to: "proc/net/route")
        try write("11111111-2222-3333-4444-555555555555\n", to: "proc/sys/kernel/random/boot_id")
    }

    deinit { try? FileManager.default.removeItem(atPath: directory) }

    // MARK: files

    func folder(_ name: String) throws {
        try FileManager.default.createDirectory(atPath: "\(directory)/\(name)", withIntermediateDirectories: true)
    }

    func write(_ text: String, to name: String) throws {
        try folder((name as NSString).deletingLastPathComponent)
        try Data(text.utf8).write(to: URL(fileURLWithPath: "\(directory)/\(name)"))
    }

    func read(_ name: String) -> String {
        FileManager.default.contents(atPath: "\(directory)/\(name)").map { String(decoding: $0, as: UTF8.self) } ?? ""
    }

    func link(_ name: String, to target: String) throws {
        try FileManager.default.createSymbolicLink(atPath: "\(directory)/\(name)", withDestinationPath: target)
    }

    func remove(_ name: String) throws { try FileManager.default.removeItem(atPath: "\(directory)/\(name)") }

    /// The machine starts anew: devices are with their own drivers, without overrides; the run directory stays.
    func reboot() throws {
        try write("\(UUID())\n", to: "proc/sys/kernel/random/boot_id")
        for (address, driver) in natural {
            let place = "sys/bus/pci/devices/\(address)"
            if self.driver(address) != nil { try remove("\(place)/driver") }
            try link("\(place)/driver", to: "../../drivers/\(driver)")
            try write("(null)\n", to: "\(place)/driver_override")
        }
    }

    // MARK: devices

    func addDriver(_ name: String) throws {
        for file in ["bind", "unbind"] { try write("", to: "sys/bus/pci/drivers/\(name)/\(file)") }
    }

    func add(
        _ address: String, vendor: UInt16 = 0x8086, device: UInt16 = 0x5845, classCode: UInt32 = 0x010802, driver: String? = nil,
        group: Int? = nil, modalias: String? = nil, reset: String = "flr bus", numaNode: Int = -1, resource: [String] = []
    ) throws {
        let place = "sys/bus/pci/devices/\(address)"
        func hex(_ value: some BinaryInteger, _ digits: Int) -> String {
            let text = String(value, radix: 16)
            return "0x" + String(repeating: "0", count: digits - text.count) + text
        }
        let empty = Array(repeating: "0x0000000000000000 0x0000000000000000 0x0000000000000000", count: 7 - resource.count)
        var files = [
            "vendor": hex(vendor, 4), "device": hex(device, 4), "class": hex(classCode, 6), "revision": "0x02",
            "subsystem_vendor": "0x1af4", "subsystem_device": "0x1100", "irq": "11", "numa_node": "\(numaNode)",
            "resource": (resource + empty).joined(separator: "\n"), "reset_method": reset, "driver_override": "(null)",
        ]
        files["modalias"] = modalias
        for (name, content) in files { try write(content + "\n", to: "\(place)/\(name)") }
        var config = [UInt8](repeating: 0, count: 64)
        config.replaceSubrange(
            0..<12,
            with: [
                UInt8(vendor & 0xff), UInt8(vendor >> 8), UInt8(device & 0xff), UInt8(device >> 8), 0, 0, 0, 0, 2,
                UInt8(classCode & 0xff), UInt8(classCode >> 8 & 0xff), UInt8(classCode >> 16),
            ])
        config.replaceSubrange(44..<48, with: [0xf4, 0x1a, 0x00, 0x11])
        try Data(config).write(to: URL(fileURLWithPath: "\(directory)/\(place)/config"))
        if let driver { try link("\(place)/driver", to: "../../drivers/\(driver)") }
        natural[address] = driver
        if let group { try link("\(place)/iommu_group", to: "../../groups/\(group)") }
    }

    func driver(_ address: String) -> String? {
        (try? FileManager.default.destinationOfSymbolicLink(atPath: "\(bus)/devices/\(address)/driver"))
            .map { ($0 as NSString).lastPathComponent }
    }

    func override(_ address: String) -> String {
        read("sys/bus/pci/devices/\(address)/driver_override").trimmingCharacters(in: .whitespacesAndNewlines)
    }

    // MARK: the kernel

    /// Does what a kernel does when somebody writes to `unbind`, `driver_override`, `bind` and `drivers_probe`, which are plain files here.
    func react() throws {
        for driver in try FileManager.default.contentsOfDirectory(atPath: "\(bus)/drivers") {
            if let address = try request("drivers/\(driver)/unbind"), self.driver(address) == driver {
                try remove("sys/bus/pci/devices/\(address)/driver")
            }
            if let address = try request("drivers/\(driver)/bind"), self.driver(address) == nil { try bind(address, driver) }
        }
        if let address = try request("drivers_probe"), self.driver(address) == nil, let driver = choice(address) {
            try bind(address, driver)
        }
    }

    private func choice(_ address: String) -> String? {
        let override = override(address)
        return override.isEmpty || override == "(null)" ? natural[address] : override
    }

    private func bind(_ address: String, _ driver: String) throws {
        let override = override(address)
        guard override.isEmpty || override == "(null)" || override == driver else { return }
        guard FileManager.default.fileExists(atPath: "\(bus)/drivers/\(driver)") else { return }
        try link("sys/bus/pci/devices/\(address)/driver", to: "../../drivers/\(driver)")
    }

    private func request(_ file: String) throws -> String? {
        let text = read("sys/bus/pci/\(file)")
        guard !text.isEmpty else { return nil }
        try write("", to: "sys/bus/pci/\(file)")
        return text
    }
}

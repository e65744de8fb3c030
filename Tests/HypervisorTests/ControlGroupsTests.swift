import Foundation
import Testing

@testable import Hypervisor

@Suite struct ControlGroupsTests {
    @Test func onlyGroupsOfMachinesThatAreNoMoreAreRemoved() throws {
        let root = TemporaryDirectory()
        let dead = "cpu/machine/qemu-embed-0123abcd-1-nvme0.libvirt-qemu"
        let alive = "cpu/machine/qemu-embed-0123abcd-2-nvme1.libvirt-qemu"
        let other = "machine/somebody-elses"
        for path in [dead + "/vcpu0", dead + "/emulator", alive, other] {
            try FileManager.default.createDirectory(atPath: root.path + "/" + path, withIntermediateDirectories: true)
        }
        try root.write("4711\n", to: alive + "/vcpu0/tasks")
        func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: root.path + "/" + path) }

        ControlGroups.sweep(root: root.path, age: 3600)
        #expect(exists(dead), "it may be about to start")
        ControlGroups.sweep(root: root.path, age: 0)
        #expect(!exists(dead))
        #expect(exists(alive + "/vcpu0") && exists(other))
    }
}

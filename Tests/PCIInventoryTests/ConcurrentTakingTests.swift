import Foundation
import PCIInventory
import Synchronization
import Testing

/// What devices that are taken at the same time have to do with each other: a driver that does not let go, and a group in common.
@Suite struct ConcurrentTakingTests {
    private let first = PCIAddress("0000:01:00.0")!
    private let second = PCIAddress("0000:02:00.0")!
    private let neighbour = PCIAddress("0000:01:00.1")!

    private func machine() throws -> FakeMachine {
        let machine = try FakeMachine()
        try machine.add("0000:01:00.0", group: 7)
        try machine.add("0000:01:00.1", group: 7)
        try machine.add("0000:02:00.0", driver: "nvme", group: 8)
        return machine
    }

    private func taking(
        _ machine: FakeMachine, loadModule: @escaping @Sendable (String) -> String? = { "there is no \($0)" },
        afterStep: @escaping @Sendable (TakingStep) -> Void = { _ in }
    ) -> DeviceTaking {
        DeviceTaking(
            journal: DeviceJournal(directory: machine.directory + "/run/devices", root: machine.root, patienceSeconds: 0.2),
            root: machine.root, patienceSeconds: 0.1,
            afterStep: { step throws(TakingError) in
                do { try machine.react() } catch { Issue.record(error) }
                afterStep(step)
            }, loadModule: loadModule)
    }

    @Test func aDriverThatDoesNotLetGoKeepsNobodyFromOtherDevices() throws {
        let machine = try machine()
        let stuck = DispatchSemaphore(value: 0)
        let letGo = DispatchSemaphore(value: 0)
        let ended = DispatchSemaphore(value: 0)
        let slow = taking(
            machine,
            afterStep: { step in
                guard step == .overridden else { return }
                stuck.signal()
                letGo.wait()
            })
        Thread {
            do { try slow.take(first, for: "first") } catch { Issue.record(error) }
            ended.signal()
        }.start()
        stuck.wait()
        let (_, _, changed) = try taking(machine).take(second, for: "second")
        #expect(changed)
        #expect(try taking(machine).giveBack(second).driver == "nvme")
        // But the same one is not for two at a time, nor another function of its group.
        #expect(throws: TakingError.occupied(address: first)) { try taking(machine).giveBack(first) }
        let refusal = #expect(throws: TakingError.self) { try taking(machine).take(neighbour, for: "neighbour") }
        #expect(try #require(refusal).description.contains("shared with 0000:01:00.0"))
        letGo.signal()
        ended.wait()
        #expect(machine.driver("0000:01:00.0") == "vfio-pci")
    }

    @Test func whatNobodyWaitsForAnyMoreIsNotTaken() throws {
        let machine = try machine()
        let claim = Claim()
        #expect(claim.abandon())
        #expect(throws: TakingError.abandoned(address: second)) { try taking(machine).take(second, for: "second", claim: claim) }
        #expect(machine.driver("0000:02:00.0") == "nvme")
        #expect(machine.override("0000:02:00.0") == "(null)")
        #expect(machine.journal.entries == [])
    }

    @Test(arguments: [TakingStep.journalled, .overridden, .unbound, .bound, .taken])
    func whatIsTakenTooLateIsGivenBack(_ late: TakingStep) throws {
        let machine = try machine()
        let claim = Claim()
        let slow = taking(machine, afterStep: { if $0 == late { #expect(claim.abandon()) } })
        #expect(throws: TakingError.abandoned(address: second)) { try slow.take(second, for: "second", claim: claim) }
        #expect(machine.driver("0000:02:00.0") == "nvme")
        #expect(machine.journal.entries == [])
    }

    /// The answer is on its way, and who waits has to wait for it.
    @Test func whatIsTakenCanNotBeAbandoned() throws {
        let machine = try machine()
        let claim = Claim()
        try taking(machine).take(second, for: "second", claim: claim)
        #expect(!claim.abandon())
    }

    /// What came too late may be the next one's by now.
    @Test func aGivingBackThatNobodyWaitsForIsNotBegun() throws {
        let machine = try machine()
        try taking(machine).take(second, for: "second")
        let claim = Claim()
        #expect(claim.abandon())
        #expect(throws: TakingError.abandoned(address: second)) { try taking(machine).giveBack(second, claim: claim) }
        #expect(machine.driver("0000:02:00.0") == "vfio-pci")
    }

    @Test func whatSomebodyElseGaveToVFIOIsLeftThere() throws {
        let machine = try machine()
        try taking(machine).take(second, for: "second")
        try machine.remove("run/devices/0000:02:00.0.json")
        #expect(throws: TakingError.notTaken(address: second, driver: "vfio-pci")) {
            try taking(machine).giveBack(second, onlyJournalled: true)
        }
        #expect(machine.driver("0000:02:00.0") == "vfio-pci")
    }

    /// Between the look at the group and the entry in the journal.
    @Test func aNeighbourThatIsTakenMeanwhileIsNoticed() throws {
        let machine = try machine()
        try machine.remove("sys/bus/pci/drivers/vfio-pci")
        let slow = taking(
            machine,
            loadModule: { [self] _ in
                do {
                    try machine.addDriver("vfio-pci")
                    try taking(machine).take(neighbour, for: "neighbour")
                } catch {
                    Issue.record(error)
                }
                return nil
            })
        let refusal = #expect(throws: TakingError.self) { try slow.take(first, for: "first") }
        #expect(try #require(refusal).description.contains("shared with 0000:01:00.1"))
        #expect(machine.driver("0000:01:00.0") == nil)
        #expect(machine.journal.entries.map(\.address) == [neighbour])
    }

    /// Reading these would wait for the driver that does not let go of another device.
    @Test func ofOtherDevicesOnlyWhatTheKernelTellsAtOnceIsRead() throws {
        let machine = try machine()
        for file in ["driver_override", "reset_method", "sriov_numvfs"] {
            let place = "sys/bus/pci/devices/0000:01:00.0/\(file)"
            try? machine.remove(place)
            try machine.folder(place)  // Reading it is an error.
        }
        #expect(throws: PCIError.self) { try machine.inventory.functions() }
        let (_, _, changed) = try taking(machine).take(second, for: "second")
        #expect(changed)
        #expect(try taking(machine).giveBack(second).driver == "nvme")
    }
}

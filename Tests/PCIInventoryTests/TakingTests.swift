import Foundation
import PCIInventory
import Testing

/// Taking and giving back on a made-up machine, whose kernel acts on what is written between the steps.
@Suite struct TakingTests {
    private let address = PCIAddress("0000:01:00.0")!
    private let text = "0000:01:00.0"

    private func machine(driver: String? = "nvme") throws -> FakeMachine {
        let machine = try FakeMachine()
        try machine.add(text, driver: driver, group: 7)
        return machine
    }

    /// - Parameter killedAfter: The supervisor is gone after this step.
    private func taking(_ machine: FakeMachine, killedAfter last: TakingStep? = nil) -> DeviceTaking {
        DeviceTaking(journal: machine.journal, root: machine.root, patienceSeconds: 0.1) { step throws(TakingError) in
            do { try machine.react() } catch { Issue.record(error) }
            if step == last { throw .interrupted(step) }
        }
    }

    @Test func aDeviceGoesToVFIOAndComesBackToItsDriver() throws {
        let machine = try machine()
        let (entry, _, changed) = try taking(machine).take(address, for: "nvme0")
        #expect(changed)
        #expect(entry.formerDriver == "nvme")
        #expect(entry.state == .taken)
        #expect(machine.driver(text) == "vfio-pci")
        #expect(machine.override(text) == "vfio-pci")
        #expect(try taking(machine).giveBack(address).driver == "nvme")
        #expect(machine.driver(text) == "nvme")
        #expect(machine.override(text) == "")
        #expect(taking(machine).journal.entries == [])
    }

    @Test func takingWhatIsTakenChangesNothing() throws {
        let machine = try machine()
        try taking(machine).take(address, for: "nvme0")
        let (entry, _, changed) = try taking(machine).take(address, for: "nvme0")
        #expect(!changed)
        #expect(entry.formerDriver == "nvme")
    }

    /// The heart of the matter: whatever the step, the next supervisor can finish.
    @Test(arguments: [TakingStep.journalled, .overridden, .unbound, .bound, .taken])
    func aTakingThatWasInterruptedIsFinishedByTakingAgain(_ step: TakingStep) throws {
        let machine = try machine()
        #expect(throws: TakingError.interrupted(step)) { try taking(machine, killedAfter: step).take(address, for: "nvme0") }
        let (entry, _, _) = try taking(machine).take(address, for: "nvme0")
        #expect(entry.formerDriver == "nvme")
        #expect(machine.driver(text) == "vfio-pci")
        #expect(try taking(machine).giveBack(address).driver == "nvme")
        #expect(machine.override(text) == "")
    }

    @Test(arguments: [TakingStep.journalled, .overridden, .unbound, .bound, .taken])
    func aTakingThatWasInterruptedIsUndoneByGivingBack(_ step: TakingStep) throws {
        let machine = try machine()
        #expect(throws: TakingError.interrupted(step)) { try taking(machine, killedAfter: step).take(address, for: "nvme0") }
        #expect(try taking(machine).giveBack(address).driver == "nvme")
        #expect(machine.driver(text) == "nvme")
        // Shown as (null) where it was not written to.
        #expect(["", "(null)"].contains(machine.override(text)))
        #expect(taking(machine).journal.entries == [])
    }

    @Test(arguments: [TakingStep.givingJournalled, .released, .overrideRestored, .rebound])
    func aGivingThatWasInterruptedIsFinished(_ step: TakingStep) throws {
        let machine = try machine()
        try taking(machine).take(address, for: "nvme0")
        #expect(throws: TakingError.interrupted(step)) { try taking(machine, killedAfter: step).giveBack(address) }
        #expect(taking(machine).journal.entry(address)?.state == .givingBack)
        #expect(try taking(machine).giveBack(address).driver == "nvme")
        #expect(machine.driver(text) == "nvme")
        #expect(taking(machine).journal.entries == [])
    }

    @Test(arguments: [TakingStep.givingJournalled, .released, .overrideRestored, .rebound])
    func aGivingThatWasInterruptedCanBeTakenAgain(_ step: TakingStep) throws {
        let machine = try machine()
        try taking(machine).take(address, for: "nvme0")
        #expect(throws: TakingError.interrupted(step)) { try taking(machine, killedAfter: step).giveBack(address) }
        let (entry, _, _) = try taking(machine).take(address, for: "nvme0")
        #expect(entry.formerDriver == "nvme")
        #expect(machine.driver(text) == "vfio-pci")
        #expect(try taking(machine).giveBack(address).driver == "nvme")
    }

    @Test func whatHadNoDriverGetsNone() throws {
        let machine = try machine(driver: nil)
        try taking(machine).take(address, for: "nvme0")
        #expect(machine.driver(text) == "vfio-pci")
        #expect(try taking(machine).giveBack(address).driver == nil)
        #expect(machine.driver(text) == nil)
        #expect(machine.override(text) == "")
    }

    @Test func whatVFIOHadBeforeStaysWithIt() throws {
        let machine = try machine(driver: "vfio-pci")
        try taking(machine).take(address, for: "nvme0")
        #expect(try taking(machine).giveBack(address).driver == "vfio-pci")
        #expect(machine.override(text) == "")
    }

    @Test func anOverrideOfSomebodysIsRestored() throws {
        let machine = try machine()
        try machine.write("nvme\n", to: "sys/bus/pci/devices/\(text)/driver_override")
        try taking(machine).take(address, for: "nvme0")
        try taking(machine).giveBack(address)
        #expect(machine.override(text) == "nvme")
        #expect(machine.driver(text) == "nvme")
    }

    @Test func withALostJournalTheKernelChooses() throws {
        let machine = try machine()
        try taking(machine).take(address, for: "nvme0")
        try machine.remove("run/devices/\(text).json")
        #expect(try taking(machine).giveBack(address).driver == "nvme")
    }

    @Test func whatWasNeverTakenIsNotGivenBack() throws {
        let machine = try machine()
        #expect(throws: TakingError.notTaken(address: address, driver: "nvme")) { try taking(machine).giveBack(address) }
    }

    @Test func whenVFIODoesNotTakeItTheDriverGetsItBack() throws {
        let machine = try machine()
        let refusing = DeviceTaking(
            journal: machine.journal, root: machine.root, patienceSeconds: 0.1
        ) { step throws(TakingError) in
            do {
                // This kernel's vfio-pci does not want the device.
                if step == .bound { try machine.write("", to: "sys/bus/pci/drivers_probe") }
                try machine.react()
            } catch {
                Issue.record(error)
            }
        }
        #expect(throws: TakingError.notBound(address: address, wanted: "vfio-pci", found: nil)) {
            try refusing.take(address, for: "nvme0")
        }
        #expect(machine.driver(text) == "nvme")
        #expect(machine.override(text) == "")
        #expect(refusing.journal.entries == [])
    }

    @Test func aDeviceTheHostUsesIsTakenOnlyByForce() throws {
        let machine = try FakeMachine()
        try machine.add(text, classCode: 0x020000, driver: "e1000e", group: 7)
        try machine.folder("sys/bus/pci/devices/\(text)/net/eth0")
        let header = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
        try machine.write(header + "eth0 00000000 0102A8C0 0003 0 0 100 00000000 0 0 0\n", to: "proc/net/route")
        let refusal = #expect(throws: TakingError.self) { try taking(machine).take(address, for: "net0") }
        #expect(try #require(refusal).description.contains("--force \(text)"))
        #expect(machine.driver(text) == "e1000e")
        #expect(machine.override(text) == "(null)")
        try taking(machine).take(address, for: "net0", forced: true)
        #expect(machine.driver(text) == "vfio-pci")
    }

    @Test func forceDoesNotOverrideIsolation() throws {
        let machine = try machine()
        try machine.add("0000:01:00.1", driver: "e1000e", group: 7)
        #expect(throws: TakingError.self) { try taking(machine).take(address, for: "nvme0", forced: true) }
        #expect(machine.driver(text) == "nvme")
    }

    @Test func anotherDeviceInTheSamePlaceIsNotGivenToTheOldOnesDriver() throws {
        let machine = try machine()
        try taking(machine).take(address, for: "nvme0")
        try machine.remove("sys/bus/pci/devices/\(text)")
        try machine.add(text, device: 0x1234, classCode: 0x020000, driver: "e1000e", group: 7)
        #expect(throws: TakingError.self) { try taking(machine).giveBack(address) }
        #expect(machine.driver(text) == "e1000e")
        #expect(taking(machine).journal.entries == [])
    }

    @Test func anUnpluggedDeviceIsForgotten() throws {
        let machine = try machine()
        try taking(machine).take(address, for: "nvme0")
        try machine.remove("sys/bus/pci/devices/\(text)")
        #expect(try taking(machine).giveBack(address).driver == nil)
        #expect(taking(machine).journal.entries == [])
    }

    @Test func aJournalThatIsNoJournalIsNoEntry() throws {
        let machine = try machine()
        try machine.write("{\"address\": 7", to: "run/devices/0000:01:00.0.json")
        #expect(taking(machine).journal.entries == [])
    }

    @Test func withoutAJournalNoDeviceIsTouched() throws {
        let machine = try machine()
        try machine.write("in the way", to: "run/devices")
        #expect(throws: TakingError.self) { try taking(machine).take(address, for: "nvme0") }
        #expect(machine.driver(text) == "nvme")
    }
}

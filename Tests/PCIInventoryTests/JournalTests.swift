import Foundation
import PCIInventory
import Testing

/// What the journal says, and when it is not to be believed.
@Suite struct JournalTests {
    private let address = PCIAddress("0000:01:00.0")!

    private func taking(_ machine: FakeMachine) -> DeviceTaking {
        DeviceTaking(journal: machine.journal, root: machine.root, patienceSeconds: 0.1) { _ throws(TakingError) in
            do { try machine.react() } catch { Issue.record(error) }
        }
    }

    private func machineWithATakenDevice() throws -> FakeMachine {
        let machine = try FakeMachine()
        try machine.add("0000:01:00.0", driver: "nvme", group: 7)
        try taking(machine).take(address, for: "nvme0")
        return machine
    }

    @Test func anEntryOfAnotherBootIsNone() throws {
        let machine = try machineWithATakenDevice()
        try machine.reboot()
        #expect(machine.journal.entries == [])
        #expect(throws: TakingError.notTaken(address: address, driver: "nvme")) { try taking(machine).giveBack(address) }
        let (entry, _, changed) = try taking(machine).take(address, for: "nvme0")
        #expect(changed)
        #expect(entry.formerDriver == "nvme")
    }

    @Test func entriesOfOtherBootsAreRemoved() throws {
        let machine = try machineWithATakenDevice()
        try machine.journal.dropOtherBoots()
        #expect(machine.journal.entries.count == 1)
        try machine.reboot()
        try machine.journal.dropOtherBoots()
        #expect(machine.read("run/devices/0000:01:00.0.json") == "")
    }

    /// Of an earlier version of Drover.
    @Test func anEntryWithoutABootIsBelieved() throws {
        let machine = try machineWithATakenDevice()
        let text = machine.read("run/devices/0000:01:00.0.json")
        let old = text.split(separator: "\n").filter { !$0.contains("bootID") }.joined(separator: "\n")
        #expect(old != text)
        try machine.write(old, to: "run/devices/0000:01:00.0.json")
        #expect(machine.journal.entry(address)?.formerDriver == "nvme")
    }
}

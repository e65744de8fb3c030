import Foundation
import PCIInventory
import Synchronization
import Testing

/// To whom a device goes back when its former driver is not what it was.
@Suite struct GivingTests {
    private let address = PCIAddress("0000:01:00.0")!
    private let text = "0000:01:00.0"
    private var place: String { "sys/bus/pci/devices/\(text)" }

    private func taking(
        _ machine: FakeMachine, loadModule: @escaping @Sendable (String) -> String? = { "there is no \($0)" }
    ) -> DeviceTaking {
        DeviceTaking(
            journal: machine.journal, root: machine.root, patienceSeconds: 0.1,
            afterStep: { _ throws(TakingError) in
                do { try machine.react() } catch { Issue.record(error) }
            }, loadModule: loadModule)
    }

    private func machineWithATakenDevice(modalias: String? = nil) throws -> FakeMachine {
        let machine = try FakeMachine()
        try machine.add(text, driver: "nvme", group: 7, modalias: modalias)
        try taking(machine).take(address, for: "nvme0")
        return machine
    }

    @Test func aFormerDriverThatIsUnloadedIsLoaded() throws {
        let machine = try machineWithATakenDevice()
        try machine.remove("sys/bus/pci/drivers/nvme")
        let loaded = Mutex<[String]>([])
        let given = try taking(machine) { name in
            loaded.withLock { $0.append(name) }
            do { try machine.addDriver("nvme") } catch { Issue.record(error) }
            return nil
        }.giveBack(address)
        #expect(given.driver == "nvme")
        #expect(given.formerDriver == "nvme")
        #expect(loaded.withLock { $0 } == ["nvme"])
    }

    @Test func aDriverWhoseModuleHasAnotherNameIsLoadedByModalias() throws {
        let machine = try machineWithATakenDevice(modalias: "pci:v00008086d00005845")
        try machine.remove("sys/bus/pci/drivers/nvme")
        let given = try taking(machine) { name in
            guard name == "pci:v00008086d00005845" else { return "modprobe \(name) failed" }
            do { try machine.addDriver("nvme") } catch { Issue.record(error) }
            return nil
        }.giveBack(address)
        #expect(given.driver == "nvme")
    }

    @Test func whereTheFormerDriverCannotBeHadTheJournalKeepsIt() throws {
        let machine = try machineWithATakenDevice()
        try machine.remove("sys/bus/pci/drivers/nvme")
        let error = #expect(throws: TakingError.self) { try taking(machine).giveBack(address) }
        #expect(error == .formerDriverGone(address: address, driver: "nvme", reason: "there is no nvme"))
        #expect(try #require(error).description.contains("drover release \(text)"))
        #expect(machine.journal.entry(address)?.formerDriver == "nvme")
        try machine.addDriver("nvme")
        #expect(try taking(machine).giveBack(address).driver == "nvme")
        #expect(machine.journal.entries == [])
    }

    /// It was bound by a dynamic id, for instance.
    @Test func whatTheFormerDriverRefusesGoesToTheKernelsChoice() throws {
        let machine = try machineWithATakenDevice()
        try machine.remove("sys/bus/pci/drivers/nvme/bind")
        try machine.folder("sys/bus/pci/drivers/nvme/bind")  // Nothing can be written to it.
        #expect(try taking(machine).giveBack(address).driver == "nvme")
        #expect(machine.journal.entries == [])
    }

    @Test func aDeviceThatAnotherDriverHasStaysWithIt() throws {
        let machine = try machineWithATakenDevice()
        try machine.remove("\(place)/driver")
        try machine.link("\(place)/driver", to: "../../drivers/e1000e")
        try machine.write("e1000e\n", to: "\(place)/driver_override")
        let given = try taking(machine).giveBack(address)
        #expect(given.driver == "e1000e")
        #expect(given.formerDriver == "nvme")
        #expect(given.description.contains("its driver is e1000e, and no longer nvme"))
        #expect(machine.override(text) == "e1000e")
        #expect(machine.journal.entries == [])
    }

    @Test func aDamagedEntryIsReportedAndGoesWithTheDevice() throws {
        let machine = try machineWithATakenDevice()
        let file = "run/devices/\(text).json"
        try machine.write("{\"address\": 7", to: file)
        #expect(machine.journal.unreadable == ["\(machine.directory)/\(file)"])
        #expect(try taking(machine).giveBack(address).driver == "nvme")
        #expect(machine.journal.unreadable == [])
        // Also where there is nothing to give back.
        try machine.write("", to: file)
        #expect(throws: TakingError.notTaken(address: address, driver: "nvme")) { try taking(machine).giveBack(address) }
        #expect(machine.journal.unreadable == [])
    }
}

public import ArgumentParser
import ControlModel
public import PCIInventory

struct Devices: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List the PCI devices of this machine, and say which of them a DD/OS can take.",
        discussion: """
            With addresses, tells everything about these. Needs no supervisor; as root it sees more of what the host is using. A device that \
            only '--force' would take is in use by the host: taking it breaks what uses it.
            """)

    @Argument(help: ArgumentHelp("Only these, in full.", valueName: "address")) var addresses: [PCIAddress] = []
    @OptionGroup var supervisor: SupervisorOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let reports = try Self.reports(runDirectory: supervisor.runDir)
        for address in addresses where !reports.contains(where: { $0.address == "\(address)" }) {
            throw Complaint("\(PCIError.noSuchDevice(address: address)).", status: 4)
        }
        let shown = addresses.isEmpty ? reports : reports.filter { report in addresses.contains { "\($0)" == report.address } }
        try output.print(shown) { addresses.isEmpty ? Self.table($0) : $0.map(\.text).joined(separator: "\n\n") }
    }

    static func reports(runDirectory: String) throws -> [DeviceReport] {
        do {
            let functions = try PCIInventory().functions()
            let taken = DeviceJournal(directory: runDirectory + "/devices").entries
            let iommu = IOMMUState.read()
            return functions.map { function in
                let entry = taken.first { $0.address == function.address }
                let obstacles =
                    entry == nil ? Obstacle.of(function, among: functions, iommu: iommu, taken: Set(taken.map(\.address))) : []
                return DeviceReport(function, among: functions, entry: entry, obstacles: obstacles)
            }
        } catch {
            throw Complaint("\(error).")
        }
    }

    private static func table(_ reports: [DeviceReport]) -> String {
        var table = Table([
            .text("ADDRESS"), .text("DEVICE"), .text("DRIVER"), .figure("GROUP"), .text("RESET"), .text("FOR A DD/OS"),
        ])
        for report in reports {
            table.add(
                report.address, report.name, report.driver ?? "-", report.iommuGroup.map { "\($0)" } ?? "-",
                report.resetMethods.isEmpty ? "-" : report.resetMethods.joined(separator: " "), report.verdict)
        }
        return table.text
    }
}

/// What `drover devices` tells of one function.
struct DeviceReport: Encodable {
    struct Objection: Encodable {
        var reason: String
        var remedy: String?
        /// `--force` overrides it.
        var yieldsToForce: Bool
    }

    enum Takeable: String, Encodable {
        case yes
        case onlyByForce
        case no
        /// A DD/OS has it already.
        case taken
    }

    var address: String
    var name: String
    var className: String?
    var vendor: UInt16
    var device: UInt16
    var classCode: UInt32
    var modalias: String
    var driver: String?
    var iommuGroup: Int?
    /// Addresses of all in the group, its own among them.
    var groupMembers: [String]
    var resetMethods: [String]
    var bars: [PCIBar]
    var numaNode: Int?
    var physicalFunction: String?
    var virtualFunctions: [String]
    var takeable: Takeable
    var objections: [Objection]
    /// The DD/OS that has it, and the host's driver that it was taken from.
    var takenFor: String?
    var takenFrom: String?

    init(_ function: PCIFunction, among all: [PCIFunction], entry: TakenDevice?, obstacles: [Obstacle]) {
        address = "\(function.address)"
        name = function.name
        className = function.className
        vendor = function.vendor
        device = function.device
        classCode = function.classCode
        modalias = function.modalias
        driver = function.driver
        iommuGroup = function.iommuGroup
        groupMembers = function.iommuGroup.map { group in all.filter { $0.iommuGroup == group }.map { "\($0.address)" } } ?? []
        resetMethods = function.resetMethods
        bars = function.bars
        numaNode = function.numaNode
        physicalFunction = function.physicalFunction.map { "\($0)" }
        virtualFunctions = function.virtualFunctions.map { "\($0)" }
        objections = obstacles.map { Objection(reason: $0.reason, remedy: $0.remedy, yieldsToForce: $0.yieldsToForce) }
        takeable = entry != nil ? .taken : obstacles.isEmpty ? .yes : obstacles.allSatisfy(\.yieldsToForce) ? .onlyByForce : .no
        takenFor = entry?.owner
        takenFrom = entry?.formerDriver
    }

    /// For a table: the first reason is enough.
    var verdict: String {
        switch takeable {
        case .yes: "yes"
        case .onlyByForce: "in use: " + (objections.first?.reason ?? "")
        case .no: "no: " + (objections.first?.reason ?? "")
        case .taken: "\(takenFor ?? "a DD/OS") has it"
        }
    }

    /// Everything, for people.
    var text: String {
        var lines = ["\(address)  \(name)"]
        func add(_ title: String, _ value: String?) {
            if let value, !value.isEmpty { lines.append("  \(title.padding(to: 12)) \(value)") }
        }
        add("class", className)
        add("driver", driver ?? "none")
        add("modalias", modalias)
        add("IOMMU group", iommuGroup.map { "\($0): \(groupMembers.joined(separator: ", "))" } ?? "none")
        add("reset", resetMethods.isEmpty ? "none" : resetMethods.joined(separator: ", else "))
        add("NUMA node", numaNode.map { "\($0)" })
        for bar in bars { add("BAR \(bar.index)", "\(bar.kind.rawValue) at 0x\(String(bar.start, radix: 16)), \(Figures.bytes(bar.size))") }
        add("function of", physicalFunction)
        add("functions", virtualFunctions.joined(separator: ", "))
        if let takenFor { add("taken", "for \(takenFor), from \(takenFrom.map { "the host's driver \($0)" } ?? "no driver")") }
        switch takeable {
        case .yes: add("for a DD/OS", "yes: device: { pci: \"\(address)\" }")
        case .taken: break
        case .onlyByForce, .no:
            for objection in objections {
                add("for a DD/OS", "no: \(objection.reason)")
                if let remedy = objection.remedy { add("", "→ \(remedy)") }
                if objection.yieldsToForce { add("", "→ or take it all the same: drover up --force \(address)") }
            }
        }
        return lines.joined(separator: "\n")
    }
}

extension PCIAddress: ExpressibleByArgument {
    /// `0000:01:00.0` or `01:00.0`.
    public init?(argument: String) { self.init(argument) }
}

extension String {
    fileprivate func padding(to width: Int) -> String { self + String(repeating: " ", count: max(0, width - count)) }
}

/// One DD/OS in a configuration that a test writes.
struct Plan: Sendable {
    var name: String
    var model: String
    var image = "debian-6.1"
    var mebibytes = 64
    /// nil: in the test's own folder.
    var file: String?
    var restart = "{ backoff: 0.2s..1s, stableAfter: 1s, quarantine: never }"
    /// The guests have no hardware to accelerate them, and share two CPUs with their clients.
    var requests = "{ deadline: 30s, whileDown: hold, pingTimeout: 2s }"

    var autostart = true
    var boot = "{ deadline: 2min }"
    /// Instead of a model: a PCI function of the machine.
    var address: String?

    /// nil: none.
    var limits: String?
    var frontEnds = "[ nbd ]"
    /// Instead of all of it.
    var text: String?

    init(_ name: String, _ model: String) {
        self.name = name
        self.model = model
    }

    func with(_ change: (inout Plan) -> Void) -> Plan {
        var plan = self
        change(&plan)
        return plan
    }

    private func emulated(_ folder: String) -> String {
        "{ emulated: \(model), backing: { file: \(file ?? "\(folder)/\(name).img"), size: \(mebibytes)MiB } }"
    }

    func yaml(folder: String) -> String { text ?? blockText(folder) }

    private func blockText(_ folder: String) -> String {
        """
          \(name):
            class: block
            device: \(address.map { "{ pci: \"\($0)\" }" } ?? emulated(folder))
            image: \(image)
            frontends: \(frontEnds)
            autostart: \(autostart)
            boot: \(boot)
            restart: \(restart)
            requests: \(requests)
        \(limits.map { "    limits: \($0)\n" } ?? "")
        """
    }
}

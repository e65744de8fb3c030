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

    init(_ name: String, _ model: String) {
        self.name = name
        self.model = model
    }

    func with(_ change: (inout Plan) -> Void) -> Plan {
        var plan = self
        change(&plan)
        return plan
    }

    func yaml(folder: String) -> String {
        """
          \(name):
            class: block
            device: { emulated: \(model), backing: { file: \(file ?? "\(folder)/\(name).img"), size: \(mebibytes)MiB } }
            image: \(image)
            frontends: [ nbd ]
            restart: \(restart)
            requests: \(requests)

        """
    }
}

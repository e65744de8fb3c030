import Yams

/// The configuration's grammar: which keys there are, and what their values may be.
struct Schema {
    let problems: Problems
    /// Of emulated disk controllers.
    let models: [String]
    /// Of emulated NICs.
    let nics: [String]

    func read(_ root: Node) -> [DDOSConfiguration] {
        guard var top = MappingReader(root, path: "", problems: problems) else { return [] }
        var template = DDOSConfiguration(name: "", device: .pci(address: ""))
        if var defaults = top.mapping("defaults") {
            common(&defaults, into: &template)
            defaults.finish()
        }
        var result: [DDOSConfiguration] = []
        if let node = top.required("ddos"), var names = MappingReader(node, path: "ddos", problems: problems) {
            var owners: [String: String] = [:]
            for (name, key, value) in names.names() {
                check(name: name, at: key)
                guard let ddos = ddos(name, value, template) else { continue }
                claim(ddos, at: value, owners: &owners)
                result.append(ddos)
            }
            if names.names().isEmpty { problems.add("'ddos' names no DD/OS; it needs at least one", at: node) }
        }
        top.finish()
        return result
    }

    private func ddos(_ name: String, _ node: Node, _ template: DDOSConfiguration) -> DDOSConfiguration? {
        guard var reader = MappingReader(node, path: "ddos.\(name)", problems: problems) else { return nil }
        var result = template
        result.name = name
        if let deviceClass = reader.choice("class", DeviceClass.self) { result.deviceClass = deviceClass }
        if let node = reader.required("device") {
            let path = reader.inner("device")
            if let device = device(node, path: path, of: name, result.deviceClass) { result.device = device }
        }
        checkKeys(&reader, of: result.deviceClass)
        switch result.deviceClass {
        case .block: if let node = reader.value("frontends") { result.frontEnds = frontEnds(node, path: reader.inner("frontends")) }
        case .network:
            result.network = network(&reader, of: name)
            result.frontEnds = []
        }
        common(&reader, into: &result)
        if result.deviceClass == .network { result.pool = ByteSize(bytes: 0) }
        reader.finish()
        // A pool that nobody named is as large as it can be.
        let beside = DDOSConfiguration.leastBesidePool
        if result.poolIsGiven, result.memory.bytes - result.pool.bytes < beside.bytes {
            problems.add("'\(reader.path)': memory (\(result.memory)) has to exceed pool (\(result.pool)) by \(beside) at least", at: node)
        }
        let least = ByteSize(bytes: result.memory.bytes + ResourceLimits.leastForVMM.bytes)
        if let limit = result.limits.memory, limit < least {
            problems.add(
                "'\(reader.inner("limits")).memory' is \(limit); the guest's \(result.memory) and the VMM need \(least) at least", at: node)
        }
        return result
    }

    /// What may stand under `defaults:` too.
    private func common(_ reader: inout MappingReader, into result: inout DDOSConfiguration) {
        let page = ByteSize.mebibytes(2)
        if let node = reader.value("image"), let image = reader.text(node, "image") {
            if isName(image) {
                result.image = image
            } else {
                problems.add(
                    "'\(reader.inner("image"))' is '\(image.prefix(64))'; it has to be the name of a recipe, such as debian-6.1", at: node)
            }
        }
        if let memory = reader.size("memory", .mebibytes(24)...(.mebibytes(65536)), multipleOf: .mebibytes(1)) { result.memory = memory }
        if let vcpus = reader.integer("vcpus", 1...64) { result.vcpus = vcpus }
        reader.limits(into: &result.limits)
        if let pool = reader.size("pool", page...(.mebibytes(4096)), multipleOf: page) { result.pool = pool }
        if let size = reader.integer("queueSize", 4...1024) {
            if size & (size - 1) == 0 {
                result.queueSize = size
            } else {
                problems.add("'\(reader.inner("queueSize"))' is \(size); it has to be a power of two", at: reader.value("queueSize"))
            }
        }
        if let autostart = reader.boolean("autostart") { result.autostart = autostart }
        if var boot = reader.mapping("boot") {
            if let deadline = boot.duration("deadline", Self.deadline) { result.bootDeadline = deadline }
            boot.finish()
        }
        if var restart = reader.mapping("restart") { self.restart(&restart, into: &result.restart) }
        if var requests = reader.mapping("requests") { self.requests(&requests, into: &result.requests) }
    }

    private static let deadline: ClosedRange<Duration> = .milliseconds(100)...(.seconds(86400))

    private func restart(_ reader: inout MappingReader, into policy: inout RestartPolicy) {
        if let range = reader.durationRange("backoff", .milliseconds(1)...(.seconds(86400))) {
            policy.backoffMinimum = range.lowerBound
            policy.backoffMaximum = range.upperBound
        }
        if let stable = reader.duration("stableAfter", .milliseconds(1)...(.seconds(86400))) { policy.stableAfter = stable }
        if let node = reader.value("quarantine") {
            if case .scalar(let scalar) = node, scalar.string == "never" {
                policy.quarantine = nil
            } else if var reader = MappingReader(node, path: reader.inner("quarantine"), problems: problems) {
                var quarantine = policy.quarantine ?? RestartPolicy().quarantine!
                if let failures = reader.integer("failures", 1...1000) { quarantine.failures = failures }
                if let within = reader.duration("within", .milliseconds(100)...(.seconds(86400))) { quarantine.within = within }
                reader.finish()
                policy.quarantine = quarantine
            }
        }
        if let choice = reader.choice("onQuarantine", RestartPolicy.OnQuarantine.self) { policy.onQuarantine = choice }
        reader.finish()
    }

    private func requests(_ reader: inout MappingReader, into policy: inout RequestPolicy) {
        if let deadline = reader.duration("deadline", Self.deadline) { policy.deadline = deadline }
        if let choice = reader.choice("whileDown", RequestPolicy.WhileDown.self) { policy.whileDown = choice }
        if let limit = reader.duration("holdLimit", Self.deadline) { policy.holdLimit = limit }
        if let timeout = reader.duration("pingTimeout", .milliseconds(100)...(.seconds(3600))) { policy.pingTimeout = timeout }
        reader.finish()
    }
}

extension ModuleIndex {
    /// A module to load.
    struct Step: Sendable, Equatable {
        var name: String
        /// Relative to the directory of the index.
        var path: String
    }

    /// The modules and what they need, each once, in an order in which every module finds what it needs. Built-in ones
    /// are left out.
    ///
    /// - Throws: ``ImageError/noSuchModule(name:kernelRelease:)`` for a name that is neither module nor built in.
    func loadOrder(of names: [String], kernelRelease: String) throws(ImageError) -> [Step] {
        var order: [Step] = []
        var seen: Set<String> = []
        for name in names {
            let name = Self.normalized(name)
            if modules[name] == nil, builtin.contains(name) { continue }
            guard modules[name] != nil else { throw .noSuchModule(name: name, kernelRelease: kernelRelease) }
            visit(name, &seen, &order)
        }
        return order
    }

    /// Depth first. A module is marked before its needs are visited, so that soft dependencies may go in circles (hard
    /// ones never do: depmod refuses them).
    private func visit(_ name: String, _ seen: inout Set<String>, _ order: inout [Step]) {
        guard let entry = modules[name], seen.insert(name).inserted else { return }
        let soft = softDependencies[name] ?? SoftDependencies()
        for wanted in soft.before { softTargets(wanted).forEach { visit($0, &seen, &order) } }
        for needed in entry.dependencies.reversed() { visit(needed, &seen, &order) }
        order.append(Step(name: name, path: entry.path))
        for wanted in soft.after { softTargets(wanted).forEach { visit($0, &seen, &order) } }
    }

    /// A soft dependency names a module or an alias (`crypto-crc32c`); what there isn't is not missed.
    ///
    /// Several modules may offer the same: the ones for certain processors (`kernel/arch/`) refuse to load on others, so
    /// they are left out where a generic one is there.
    private func softTargets(_ name: String) -> [String] {
        let direct = Self.normalized(name)
        if modules[direct] != nil { return [direct] }
        if builtin.contains(direct) { return [] }
        let found = drivers(for: name).modules
        let generic = found.filter { modules[$0]?.path.hasPrefix("kernel/arch/") == false }
        return generic.isEmpty ? found : generic
    }
}

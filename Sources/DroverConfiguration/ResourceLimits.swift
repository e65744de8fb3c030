/// What a DD/OS's virtual machine may take of the host: a driver that runs hot or a VMM that leaks harms nobody else. Kept by control groups.
public struct ResourceLimits: Sendable, Equatable {
    /// CPU time per time, as a share of one CPU: 0.5 is half a CPU, 2 are two. Guest and VMM together. Nil: as much as there is.
    public var cpu: Double?
    /// Of the guest and the VMM together. A machine that wants more is killed, and replaced like any other that died. Nil: no limit.
    public var memory: ByteSize?

    public init(cpu: Double? = nil, memory: ByteSize? = nil) {
        self.cpu = cpu
        self.memory = memory
    }

    /// What a VMM needs beside the guest's memory at the very least.
    static let leastForVMM = ByteSize.mebibytes(128)
}

extension DDOSConfiguration {
    /// What the kernel, the server stub and its page tables need of ``memory`` beside ``pool``, about.
    public static let leastBesidePool = ByteSize.mebibytes(16)
}

extension MappingReader {
    /// `limits: { cpu: 50%, memory: 1GiB }`
    mutating func limits(into limits: inout ResourceLimits) {
        guard var reader = mapping("limits") else { return }
        if let cpu = reader.percentage("cpu", 1...10000) { limits.cpu = cpu }
        if let memory = reader.size("memory", .mebibytes(64)...(.mebibytes(1 << 20)), multipleOf: .mebibytes(1)) { limits.memory = memory }
        reader.finish()
    }

    /// A whole number with '%' after it, as a share of 1.
    private mutating func percentage(_ key: String, _ range: ClosedRange<Int>) -> Double? {
        guard let node = value(key), let text = text(node, key) else { return nil }
        guard text.hasSuffix("%"), let number = Int(text.dropLast()) else {
            problems.add("'\(inner(key))' has to be a percentage of one CPU, such as 50%, not '\(text.prefix(64))'", at: node)
            return nil
        }
        guard range.contains(number) else {
            problems.add("'\(inner(key))' is \(number)%; it has to be from \(range.lowerBound)% to \(range.upperBound)%", at: node)
            return nil
        }
        return Double(number) / 100
    }
}

/// One way of using a disk.
struct Workload: Hashable {
    let name: String
    /// fio's `rw`.
    let mode: String
    /// Bytes.
    let block: Int
    let depth: Int

    var isWrite: Bool { mode.hasSuffix("write") }

    static let all = [
        Workload(name: "4 KiB random read, depth 1", mode: "randread", block: 4096, depth: 1),
        Workload(name: "4 KiB random write, depth 1", mode: "randwrite", block: 4096, depth: 1),
        Workload(name: "4 KiB random read, depth 32", mode: "randread", block: 4096, depth: 32),
        Workload(name: "4 KiB random write, depth 32", mode: "randwrite", block: 4096, depth: 32),
        Workload(name: "128 KiB random read, depth 8", mode: "randread", block: 131072, depth: 8),
        Workload(name: "128 KiB random write, depth 8", mode: "randwrite", block: 131072, depth: 8),
    ]
}

internal import Foundation

/// Which devices were taken from whom: a file for each, written and synced before the device is touched, so that whoever comes after a
/// SIGKILL knows what to finish or undo. Bindings don't outlive a reboot, so an entry of another boot is none.
public struct DeviceJournal: Sendable, Equatable {
    public let directory: String
    /// The running kernel's; nil where it can't be read.
    let bootID: String?
    /// How long to wait for who has a lock.
    let patienceSeconds: Double

    /// - Parameter directory: Made when the first device is taken.
    public init(directory: String, root: MachineRoot = MachineRoot(), patienceSeconds: Double = 60) {
        self.directory = directory
        self.patienceSeconds = patienceSeconds
        bootID = root.text("proc/sys/kernel/random/boot_id")?.split(whereSeparator: \.isWhitespace).first.map(String.init)
    }

    /// What is taken, by address.
    public var entries: [TakenDevice] {
        files.compactMap { file in file.entry.flatMap { isOfThisBoot($0) ? $0 : nil } }.sorted { $0.address < $1.address }
    }

    var addresses: Set<PCIAddress> { Set(entries.map(\.address)) }

    /// Every file: its path, and what it says; nil where that can't be made out.
    private var files: [(path: String, entry: TakenDevice?)] {
        directoryNames(directory).filter { $0.hasSuffix(".json") }.map { name in
            let path = "\(directory)/\(name)"
            let data = FileManager.default.contents(atPath: path)
            return (path, data.flatMap { try? JSONDecoder().decode(TakenDevice.self, from: $0) })
        }
    }

    /// Files that say nothing: of what is named in them it is not known any more from whom it was taken.
    public var unreadable: [String] { files.filter { $0.entry == nil }.map(\.path) }

    /// What an earlier version of Drover wrote says nothing of it.
    private func isOfThisBoot(_ entry: TakenDevice) -> Bool { entry.bootID == nil || bootID == nil || entry.bootID == bootID }

    /// Removes the entries of other boots.
    public func dropOtherBoots() throws(TakingError) {
        guard files.contains(where: { $0.entry.map { !isOfThisBoot($0) } ?? false }) else { return }
        // Looked at anew under the lock: one of them may just have been taken.
        try locked { () throws(TakingError) in
            for case let (_, entry?) in files where !isOfThisBoot(entry) { try remove(entry.address) }
        }
    }

    public func entry(_ address: PCIAddress) -> TakenDevice? { entries.first { $0.address == address } }

    /// On return it is on the disk.
    func record(_ device: TakenDevice) throws(TakingError) {
        try makeDirectory()
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        guard let data = try? encoder.encode(device) else { throw .journal(operation: "write", path: directory, errno: EINVAL) }
        let path = file(device.address)
        let temporary = path + ".new"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .journal(operation: "write", path: temporary, errno: errno) }
        let written = data.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        let code = written == data.count ? (fsync(descriptor) == 0 ? 0 : errno) : (written < 0 ? errno : ENOSPC)
        close(descriptor)
        guard code == 0 else { throw .journal(operation: "write", path: temporary, errno: code) }
        guard rename(temporary, path) == 0 else { throw .journal(operation: "replace", path: path, errno: errno) }
        try syncDirectory()
    }

    func forget(_ address: PCIAddress) throws(TakingError) {
        try locked { () throws(TakingError) in try remove(address) }
    }

    private func remove(_ address: PCIAddress) throws(TakingError) {
        let path = file(address)
        if unlink(path) != 0 {
            if errno == ENOENT { return }
            throw .journal(operation: "remove", path: path, errno: errno)
        }
        try syncDirectory()
    }

    // MARK: locks

    /// Runs `body` while nobody else, another supervisor or `drover release`, takes or gives back this function. That may last: a driver
    /// lets go when it likes. So there is a lock for each, and one that is stuck keeps nobody from the others.
    func locked<Value>(_ address: PCIAddress, _ body: () throws(TakingError) -> Value) throws(TakingError) -> Value {
        if let value = try holding("\(address).lock", body) { return value }
        throw .occupied(address: address)
    }

    /// Runs `body` while nobody else decides by what the journal has, and changes which functions it has. For short work that waits for no
    /// driver. Whoever has a function's lock may take this one, and not the other way round.
    func locked<Value>(_ body: () throws(TakingError) -> Value) throws(TakingError) -> Value {
        if let value = try holding("lock", body) { return value }
        throw .journal(operation: "lock", path: directory + "/lock", errno: EWOULDBLOCK)
    }

    /// Nil when somebody else has the lock, and keeps it.
    private func holding<Value>(_ lock: String, _ body: () throws(TakingError) -> Value) throws(TakingError) -> Value? {
        try makeDirectory()
        let path = "\(directory)/\(lock)"
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .journal(operation: "open", path: path, errno: errno) }
        defer {
            // A child that is being started has the descriptor too, until it runs its own program.
            flock(descriptor, LOCK_UN)
            close(descriptor)
        }
        for _ in 0..<max(1, Int(patienceSeconds * 20)) {
            if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { return try body() }
            let code = errno
            guard code == EWOULDBLOCK || code == EINTR else { throw .journal(operation: "lock", path: path, errno: code) }
            usleep(50_000)
        }
        return nil
    }

    private func file(_ address: PCIAddress) -> String { "\(directory)/\(address).json" }

    private func makeDirectory() throws(TakingError) {
        do {
            try FileManager.default.createDirectory(
                atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        } catch {
            let code = ((error as NSError).userInfo[NSUnderlyingErrorKey] as? NSError).map { Int32(truncatingIfNeeded: $0.code) }
            throw .journal(operation: "make the directory", path: directory, errno: code ?? EIO)
        }
    }

    private func syncDirectory() throws(TakingError) {
        let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .journal(operation: "open", path: directory, errno: errno) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw .journal(operation: "sync", path: directory, errno: errno) }
    }
}

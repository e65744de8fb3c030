import Glibc
import Hypervisor

/// Why the supervisor cannot do something. The description is one sentence for people: what happened, to what, what to do.
public enum SupervisionError: Error, Sendable, Equatable {
    /// Another supervisor works in this run directory.
    case secondSupervisor(pid: Int32?, runDirectory: String)
    case fileSystem(operation: String, path: String, errno: Int32)
    /// A socket's path would exceed what the kernel takes.
    case socketPathTooLong(path: String, limit: Int)
    case spawnFailed(program: String, errno: Int32)
    /// The stub ended while it should start. `log`: its last words.
    case stubEnded(name: String, log: String)
    case stubSilent(name: String, operation: String, seconds: Double)
    case stubRefused(name: String, operation: String, reason: String)
    case stubDisconnected(name: String)
    /// A VM that this supervisor's libvirt does not know runs on.
    case vmmElsewhere(name: String, pid: Int32)
    /// What could not be ended, each with its reason.
    case notEnded([String])
    /// Another program listens on a front end's socket.
    case socketInUse(name: String, path: String)
    case backingFileMissing(name: String, path: String)
    case deviceUnavailable(name: String, reason: String)
    /// KVM was asked for, and stock kernels do not run under this machine's.
    case acceleratorUnavailable(reason: String)
    /// The kernel does not come back from taking or giving back.
    case deviceStuck(reason: String)
}

extension SupervisionError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .secondSupervisor(let pid, let directory):
            "another droverd\(pid.map { " (pid \($0))" } ?? "") works in \(directory) already; talk to it with `drover`, or choose another --run-dir"
        case .fileSystem(let operation, let path, let code):
            "cannot \(operation) \(path): \(errorText(code))\(Self.advice(code))"
        case .socketPathTooLong(let path, let limit):
            "the socket path \(path) has \(path.utf8.count) bytes and the kernel takes \(limit); choose a shorter --run-dir or name"
        case .spawnFailed(let program, let code):
            "cannot run \(program): \(errorText(code))"
        case .stubEnded(let name, let log):
            "the client stub of \(name) ended at once\(log.isEmpty ? "" : ": \(log)")"
        case .stubSilent(let name, let operation, let seconds):
            "the client stub of \(name) did not answer '\(operation)' within \(DDOSMachine.text(seconds))"
        case .stubRefused(let name, let operation, let reason):
            "the client stub of \(name) refused '\(operation)': \(reason)"
        case .stubDisconnected(let name):
            "the client stub of \(name) is not connected"
        case .vmmElsewhere(let name, let pid):
            "the VM of \(name), pid \(pid), runs on under another libvirt; give its --libvirt-uri"
        case .notEnded(let left):
            left.joined(separator: "; ")
        case .socketInUse(let name, let path):
            "the socket \(path) of \(name) is in use by another program; stop that one (`fuser \(path)` finds it), or name another socket in 'frontends'"
        case .backingFileMissing(let name, let path):
            "the disk file \(path) of \(name) does not exist; create it, or give 'size' in its 'backing' and it will be created"
        case .acceleratorUnavailable(let reason):
            "KVM cannot be used here: \(reason); use --accelerator tcg, or auto, which is the default"
        case .deviceUnavailable(let name, let reason):
            "the device of \(name) cannot be used: \(reason)"
        case .deviceStuck(let reason): reason
        }
    }

    private static func advice(_ code: Int32) -> String {
        switch code {
        case EACCES, EPERM: "; run it as root, or choose directories you may write to"
        case ENOSPC: "; free some space"
        default: ""
        }
    }
}

/// An error as a person should read it: what happened, and where the error knows it, what to do.
public func explanation(of error: any Error) -> String {
    var text = "\(error)"
    if let remedy = (error as? HypervisorError)?.remedy { text += " \(remedy)" }
    // It becomes part of a sentence.
    return text.last == "." ? String(text.dropLast()) : text
}

func errorText(_ code: Int32) -> String { String(cString: strerror(code)) }

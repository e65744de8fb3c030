public import CLinux

/// A system call that failed: which one, and why.
///
/// Thrown by everything in LinuxSystem. The edges of the program say to which object it happened, and what to do.
public struct SystemError: Error, Equatable, Sendable {
    /// The errno value, such as `ENOENT`. Always positive.
    public let code: Int32

    /// The call as a person knows it, such as "mmap".
    public let call: StaticString

    public init(code: Int32, call: StaticString) {
        self.code = code
        self.call = call
    }

    /// What errno says now. Call at once after the failing call.
    @usableFromInline
    static func last(_ call: StaticString) -> SystemError {
        SystemError(code: clinux_errno(), call: call)
    }

    /// The kernel's own words for the code, such as "No such file or directory".
    public var reason: String {
        // SAFETY: the text is a constant of libc's, zero-terminated.
        unsafe String(cString: clinux_strerror(code))
    }

    /// "mmap: Cannot allocate memory".
    public var description: String { name + ": " + reason }

    private var name: String {
        var text = ""
        // SAFETY: the bytes are only read, inside the closure.
        call.withUTF8Buffer { bytes in
            text = unsafe String(decoding: bytes, as: UTF8.self)
        }
        return text
    }

    public static func == (left: SystemError, right: SystemError) -> Bool { left.code == right.code }
}

extension SystemError: CustomStringConvertible {}

/// Calls until the answer is not EINTR, and turns a negative answer into an error.
@inlinable
@discardableResult
func retrying<Result: SignedInteger>(_ call: StaticString, _ body: () -> Result) throws(SystemError) -> Result {
    while true {
        let result = body()
        if result >= 0 { return result }
        let code = clinux_errno()
        if code != EINTR { throw SystemError(code: code, call: call) }
    }
}

internal import LinuxSystem

/// A netlink request that did not succeed.
public struct NetlinkError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The errno value, always positive: `EOPNOTSUPP` when a driver has no such function, `ENODEV` when there is no such interface,
    /// `EBADMSG` when the answer makes no sense, `ETIME` when none came.
    public let code: Int32
    /// What was asked, such as "set link".
    public let request: StaticString
    /// The kernel's own words about it, such as "mtu greater than device maximum"; empty when it has none.
    public let detail: String

    /// An error of the given code.
    public init(code: Int32, request: StaticString, detail: String = "") {
        self.code = code
        self.request = request
        self.detail = detail
    }

    init(_ error: SystemError, _ request: StaticString) {
        self.init(code: error.code, request: request)
    }

    /// The kernel's words, or else those of the errno: for a sentence that says what was tried itself.
    public var reason: String { detail.utf8.isEmpty ? SystemError(code: code, call: request).reason : detail }

    /// "set link: mtu greater than device maximum".
    public var description: String {
        var text = ""
        // SAFETY: the bytes are only read, inside the closure.
        request.withUTF8Buffer { text = unsafe String(decoding: $0, as: UTF8.self) }
        return text + ": " + reason
    }

    /// Errors are the same when their code is: the texts are for people.
    public static func == (left: NetlinkError, right: NetlinkError) -> Bool { left.code == right.code }
}

import CLinux

/// The kernel's words.
enum SystemText {
    /// "No such file or directory".
    static func reason(_ errno: Int32) -> String { String(cString: clinux_strerror(errno)) }
}

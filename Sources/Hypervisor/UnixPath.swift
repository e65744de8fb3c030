/// Paths of Unix sockets.
enum UnixPath {
    /// The longest path in bytes: `sun_path` has 108, one of them for the zero.
    static let limit = 107
}

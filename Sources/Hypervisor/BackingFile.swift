/// The host file that holds an emulated controller's disk: raw, sparse.
public struct BackingFile: Sendable, Equatable {
    public var path: String
    /// Bytes.
    public var size: UInt64

    /// Creates the file when it is missing, else checks that it has the size and that the model can offer it.
    public static func prepare(path: String, size: UInt64, for model: DeviceModel) throws(HypervisorError) -> BackingFile {
        throw .invalidSpec(machine: path, reason: "not implemented")
    }
}

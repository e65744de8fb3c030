/// Sizes as people read them.
public enum ByteCount {
    /// "512 B", "1.5 GiB".
    public static func text(_ bytes: UInt64) -> String {
        var value = Double(bytes)
        for unit in ["B", "KiB", "MiB", "GiB"] {
            if value < 1024 { return number(value) + " " + unit }
            value /= 1024
        }
        return number(value) + " TiB"
    }

    private static func number(_ value: Double) -> String {
        let tenths = (value * 10).rounded() / 10
        return tenths == tenths.rounded() ? "\(Int(tenths))" : "\(tenths)"
    }
}

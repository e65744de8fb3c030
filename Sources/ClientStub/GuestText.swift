public import VirtioMessage

/// Text that a guest wrote, for people.
public enum GuestText {
    /// A part of a message, with everything that is not printable ASCII replaced.
    public static func printable(_ bytes: Span<UInt8>, _ data: MessageData) -> String {
        var text = ""
        for index in data.offset..<min(data.offset + data.count, bytes.count) {
            let byte = bytes[index]
            text.unicodeScalars.append(byte >= 0x20 && byte < 0x7F ? Unicode.Scalar(byte) : "?")
        }
        return text
    }
}

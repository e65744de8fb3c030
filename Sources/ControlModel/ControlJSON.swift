public import Foundation

/// The one JSON form of these types: on the socket, in `--json` output and in `events.jsonl`. Keys in camel case and
/// sorted, dates as ISO 8601 in UTC with milliseconds, durations in seconds, sizes in bytes, absent values left out.
public enum ControlJSON {
    /// `pretty` for people, otherwise everything in one line.
    public static func encoder(pretty: Bool = false) -> JSONEncoder {
        let encoder = JSONEncoder()
        encoder.outputFormatting =
            pretty ? [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted] : [.sortedKeys, .withoutEscapingSlashes]
        encoder.dateEncodingStrategy = .custom { date, encoder in
            var container = encoder.singleValueContainer()
            try container.encode(date.formatted(style))
        }
        return encoder
    }

    public static func decoder() -> JSONDecoder {
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .custom { decoder in
            let container = try decoder.singleValueContainer()
            let text = try container.decode(String.self)
            guard let date = try? Date(text, strategy: style) else {
                throw DecodingError.dataCorruptedError(in: container, debugDescription: "'\(text)' is no ISO 8601 date with milliseconds")
            }
            return date
        }
        return decoder
    }

    private static let style = Date.ISO8601FormatStyle(includingFractionalSeconds: true)
}

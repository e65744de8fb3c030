public import ControlModel

/// The requests of the control interface: HTTP/1.1 with JSON bodies over a Unix socket, version 1.
///
/// | request | answer |
/// |---|---|
/// | `GET /v1/info` | `SupervisorInfo` |
/// | `GET /v1/ddos` | array of `DDOSSummary` |
/// | `GET /v1/ddos/NAME` | `DDOSDetail` |
/// | `POST /v1/ddos/NAME/start`, `…/stop`, `…/restart` | `DDOSSummary` |
/// | `POST /v1/ddos/NAME/inject/FAULT` | `{}` |
/// | `GET /v1/ddos/NAME/interface` | `InterfaceDetail` |
/// | `PATCH /v1/ddos/NAME/interface`, an `InterfaceChange` as its body | `InterfaceDetail` |
/// | `GET /v1/events?from=N&follow=true` | one `Event` a line, as they happen |
/// | `GET /v1/report?interval=SECONDS` | `CPUReport` |
/// | `POST /v1/down` | `{}` |
///
/// An error has the status code that `ErrorBody.Code` names, and an `ErrorBody` as its body.
public enum ControlRoute: Sendable, Equatable {
    case info
    case list
    case inspect(String)
    case start(String)
    case stop(String)
    case restart(String)
    case inject(String, InjectedFault)
    case interface(String)
    case change(String, InterfaceChange)
    case events(from: UInt64, follow: Bool)
    case report(interval: Double?)
    case down

    /// `GET`, `POST` or `PATCH`.
    public var method: String {
        switch self {
        case .info, .list, .inspect, .interface, .events, .report: "GET"
        case .change: "PATCH"
        case .start, .stop, .restart, .inject, .down: "POST"
        }
    }

    /// Path and query.
    public var uri: String {
        switch self {
        case .info: "/v1/info"
        case .list: "/v1/ddos"
        case .inspect(let name): "/v1/ddos/\(Self.escape(name))"
        case .start(let name): "/v1/ddos/\(Self.escape(name))/start"
        case .stop(let name): "/v1/ddos/\(Self.escape(name))/stop"
        case .restart(let name): "/v1/ddos/\(Self.escape(name))/restart"
        case .inject(let name, let fault): "/v1/ddos/\(Self.escape(name))/inject/\(fault.rawValue)"
        case .interface(let name), .change(let name, _): "/v1/ddos/\(Self.escape(name))/interface"
        case .events(let from, let follow): "/v1/events?from=\(from)&follow=\(follow)"
        case .report(nil): "/v1/report"
        case .report(.some(let interval)): "/v1/report?interval=\(interval)"
        case .down: "/v1/down"
        }
    }

    /// RFC 3986 section 2.3: everything but unreserved characters is percent-encoded.
    private static func escape(_ name: String) -> String {
        var result = ""
        for byte in name.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: "~"):
                result.append(Character(UnicodeScalar(byte)))
            default:
                let digits = String(byte, radix: 16, uppercase: true)
                result += digits.count == 1 ? "%0\(digits)" : "%\(digits)"
            }
        }
        return result
    }
}

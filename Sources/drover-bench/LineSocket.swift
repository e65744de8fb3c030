import Foundation
import LinuxSystem

/// A connected Unix socket on which both sides speak in lines. Each wait has a deadline.
final class LineSocket {
    private let socket: OwnedDescriptor
    private let path: String
    private var received: [UInt8] = []

    init(path: String) throws {
        self.path = path
        do { socket = try UnixSocket.connect(path: path) } catch { throw BenchFailure(text: "\(path): \(error.description)") }
    }

    /// Sends a line, newline included.
    func send(_ line: [UInt8]) throws {
        do { try socket.writeAll(line) } catch { throw BenchFailure(text: "\(path): \(error.description)") }
    }

    /// The next line, without its end.
    func line(within seconds: Double) throws -> String {
        let deadline = Date(timeIntervalSinceNow: seconds)
        while true {
            if let end = received.firstIndex(of: 10) {
                let line = String(decoding: received[..<end], as: UTF8.self)
                received.removeFirst(end + 1)
                return line
            }
            var entry = pollfd(fd: socket.rawValue, events: Int16(POLLIN), revents: 0)
            let left = deadline.timeIntervalSinceNow
            guard left > 0 else { throw BenchFailure(text: "\(path): no answer within \(Int(seconds)) s") }
            guard poll(&entry, 1, Int32(left * 1000) + 1) > 0 else { continue }
            try receive()
        }
    }

    private func receive() throws {
        var part = [UInt8](repeating: 0, count: 65536)
        let count: Int
        do { count = try part.withUnsafeMutableBytes { bytes throws(SystemError) in try socket.read(into: bytes) } } catch {
            throw BenchFailure(text: "\(path): \(error)")
        }
        guard count > 0 else { throw BenchFailure(text: "\(path): the other side has closed the connection") }
        received += part[..<count]
    }
}

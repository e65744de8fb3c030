import Foundation
@testable import FrontEnds
import LinuxSystem
import Testing

/// A client that sends exactly the bytes it is told, for what well-behaved clients never do.
final class RawClient {
    let socket: OwnedDescriptor

    init(path: String) throws {
        socket = try UnixSocket.connect(path: path)
        var limit = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(socket.rawValue, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(socket.rawValue, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    /// In transmission on the export, with simple or structured replies.
    convenience init(path: String, export: String, structured: Bool = false) throws {
        try self.init(path: path)
        _ = try receive(18)
        try send(HandshakeClient.flags(3))
        if structured {
            try send(HandshakeClient.option(8))
            _ = try receive(20)
        }
        try send(HandshakeClient.option(1, Array(export.utf8)))
        _ = try receive(10)
    }

    func send(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            sent += try bytes.withUnsafeBytes { try socket.send(UnsafeRawBufferPointer(rebasing: $0[sent...])) }
        }
    }

    /// Exactly `count` bytes, or fewer when the server closes.
    func receive(_ count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var received = 0
        while received < count {
            let part = try bytes.withUnsafeMutableBytes {
                try socket.receive(into: UnsafeMutableRawBufferPointer(rebasing: $0[received...]))
            }
            if part == 0 { break }
            received += part
        }
        return Array(bytes.prefix(received))
    }

    /// Whether the server has closed: the stream ends, or is reset.
    func isClosed() -> Bool {
        while true {
            guard let bytes = try? receive(4096) else { return errno != EAGAIN }
            if bytes.count < 4096 { return true }
        }
    }

    static func request(_ type: UInt16, cookie: UInt64 = 1, offset: UInt64 = 0, length: UInt32, flags: UInt16 = 0) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendBigEndian(NBDMagic.request)
        bytes.appendBigEndian(flags)
        bytes.appendBigEndian(type)
        bytes.appendBigEndian(cookie)
        bytes.appendBigEndian(offset)
        bytes.appendBigEndian(length)
        return bytes
    }

    /// The reply to an option: its type, and its data as text.
    func optionReply() throws -> (type: NBDOptionReply?, text: String) {
        let header = try receive(20)
        let type = header.span.bigEndian(at: 12, as: UInt32.self) ?? 0
        let length = header.span.bigEndian(at: 16, as: UInt32.self) ?? 0
        return (NBDOptionReply(rawValue: type), String(decoding: try receive(Int(length)), as: UTF8.self))
    }

    /// A simple reply: its error and cookie.
    func simpleReply() throws -> (error: UInt32, cookie: UInt64) {
        let bytes = try receive(16)
        #expect(bytes.span.bigEndian(at: 0, as: UInt32.self) == NBDMagic.simpleReply)
        return (bytes.span.bigEndian(at: 4, as: UInt32.self) ?? 0, bytes.span.bigEndian(at: 8, as: UInt64.self) ?? 0)
    }
}

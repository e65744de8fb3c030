import CLinux
import FoundationEssentials
import LinuxSystem

/// One supervisor's connection: lines in, lines out. Never blocks.
final class ControlConnection {
    private let socket: OwnedDescriptor
    private var input = Data()
    private var output = Data()
    private var ends = false
    var isPolled = false

    /// The longest command, in bytes.
    private static let longestLine = 64 << 10
    /// How much a supervisor may leave unread, in bytes.
    private static let largestBacklog = 1 << 20
    private static let dontWait: Int32 = 0x40  // MSG_DONTWAIT

    init(_ socket: consuming OwnedDescriptor) { self.socket = socket }

    var descriptor: Int32 { socket.rawValue }
    var hasBacklog: Bool { !output.isEmpty }

    /// Nothing more comes, and nothing is left to send.
    var isOver: Bool { ends && output.isEmpty && unanswered == 0 }

    /// Commands taken and not answered yet.
    var unanswered = 0

    /// Nothing more is read; the connection ends when its answers are sent.
    func endAfterFlush() { ends = true }

    /// The complete lines that came; `nil` when the connection is over.
    func receive() -> [Data]? {
        if ends { return isOver ? nil : [] }
        var closed = false
        withUnsafeTemporaryAllocation(byteCount: 16 << 10, alignment: 1) { room in
            while input.count <= Self.longestLine * 4 {
                do throws(SystemError) {
                    let count = try socket.receive(into: room, flags: Self.dontWait)
                    if count == 0 {
                        closed = true
                        return
                    }
                    input.append(contentsOf: UnsafeRawBufferPointer(rebasing: room[..<count]))
                } catch {
                    closed = error.code != EAGAIN
                    return
                }
            }
        }
        var lines: [Data] = []
        while let end = input.firstIndex(of: UInt8(ascii: "\n")) {
            lines.append(Data(input[input.startIndex..<end]))
            input = Data(input[(end + 1)...])
        }
        if lines.isEmpty, closed || input.count > Self.longestLine { return nil }
        if closed { ends = true }
        return lines
    }

    /// Sends, or keeps for later. False: the connection is over.
    func send(_ bytes: Data) -> Bool {
        output.append(bytes)
        return flush() && output.count <= Self.largestBacklog
    }

    /// Sends what was kept. False: the connection is over.
    func flush() -> Bool {
        while !output.isEmpty {
            do {
                let count = try output.withUnsafeBytes { (bytes) throws(SystemError) in try socket.send(bytes, flags: Self.dontWait) }
                output = Data(output.dropFirst(count))
            } catch {
                return (error as? SystemError)?.code == EAGAIN
            }
        }
        return true
    }
}

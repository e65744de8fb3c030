import CLinux
import Foundation
import LinuxSystem
import Netlink
import ServerStub
import VirtioMessage
import VirtioNet

/// A network server stub on a thread of its own, in a network namespace of its own:
///
///     wire0 ═══ nic  ⇄ the server's redirection ⇄  channel ═══ host0        (═══ a pair of veth)
///
/// Ends with the fixture: the connection closes, the server notices, the thread is waited for; the namespace goes with all that is in it.
final class NetworkFixture {
    enum Failure: Error {
        case noAnswer(String)
        case unexpected(DeviceMessage)
        case connectionEnded
    }

    let client: OwnedDescriptor
    var links: LinkSocket
    private let namespace: NetworkNamespace
    private let outcome: Outcome
    var outbox = MessageOutbox()
    private var inbox = MessageInbox()
    private(set) var logs: [String] = []
    /// Configurations that came with EVENT_CONFIG, and how many there were.
    private(set) var configurations: [VirtioNetConfiguration] = []
    private(set) var hasPool = false

    /// - Parameter hasNIC: false: as in a DD/OS whose driver found nothing.
    init(hasNIC: Bool = true) throws {
        let (outcome, ready) = (Outcome(), DispatchSemaphore(value: 0))
        let pair = try UnixSocket.pair()
        let (near, far) = pair.split { (near, far) in Ends(near: near.release(), far: far.release()) }.both
        client = OwnedDescriptor(adopting: near)
        // A thread that leaves its namespace cannot be one of Swift's own.
        Thread { Self.serve(OwnedDescriptor(adopting: far), hasNIC, outcome, ready) }.start()
        guard ready.wait(timeout: .now() + 10) == .success, let namespace = outcome.namespace.take() else {
            throw Failure.noAnswer("a namespace")
        }
        links = try namespace.perform { () throws(NetlinkError) in try LinkSocket() }
        self.namespace = namespace
        self.outcome = outcome
    }

    deinit {
        client.shutdown()
        _ = end()
    }

    private struct Ends {
        let near: Int32
        let far: Int32
        var both: (Int32, Int32) { (near, far) }
    }

    private static func serve(_ socket: consuming OwnedDescriptor, _ hasNIC: Bool, _ outcome: Outcome, _ ready: DispatchSemaphore) {
        do throws(NetlinkError) {
            try NetworkNamespace.isolateThread()
            outcome.namespace = try NetworkNamespace.current()
            var links = try LinkSocket()
            try links.createPair("wire0", "nic")
            try links.createPair("host0", "channel")
            for name in ["wire0", "host0"] {
                var up = LinkChange()
                up.isUp = true
                up.usesARP = false
                up.mtu = 9000
                try links.change(try links.link(named: name).index, up)
            }
            var log = StubLog(output: OwnedDescriptor(adopting: clinux_open("/dev/null", O_WRONLY, 0)), sinceBoot: false)
            var path: NetworkPath?
            if hasNIC {
                var made = try NetworkPath(nic: "nic", channel: "channel")
                try made.setUp(log: &log)
                path = .some(consume made)
            }
            var server = try NetworkServer(socket: socket, path: path, log: log)
            try server.announce()
            ready.signal()
            outcome.set(.success(server.serve()))
        } catch {
            ready.signal()
            outcome.set(.failure(error))
        }
    }

    /// How serving ended; nil if it has not within ten seconds.
    func end() -> Result<StubServer.End, NetlinkError>? { outcome.wait() }

    /// Runs with the calling thread in the fixture's namespace.
    func inside<Value: ~Copyable>(_ body: () throws(NetlinkError) -> Value) throws(NetlinkError) -> Value {
        try namespace.perform(body)
    }

    func link(_ name: String) throws -> Link { try links.link(named: name) }

    func change(_ name: String, _ body: (inout LinkChange) -> Void) throws {
        var change = LinkChange()
        body(&change)
        try links.change(try links.link(named: name).index, change)
    }

    // MARK: messages

    /// Sends what was put together, and gives the next answer; logs and events that come before it are kept.
    func ask(_ body: (inout MessageOutbox) throws(MessageError) -> UInt16) throws -> (message: DeviceMessage, bytes: [UInt8]) {
        let token = try body(&outbox)
        try flush()
        while true {
            let answer = try nextAnswer()
            guard answer.header.token == token, answer.header.isResponse else { throw Failure.unexpected(answer.message) }
            return (answer.message, answer.bytes)
        }
    }

    func flush() throws {
        while !outbox.isEmpty { outbox.sent(try client.send(outbox.pending)) }
    }

    func nextAnswer() throws -> (header: MessageHeader, message: DeviceMessage, bytes: [UInt8]) {
        while true {
            if let header = try takeMessage() {
                let (message, bytes) = (try DeviceMessage(untrusted: header, inbox.message), inbox.copy())
                if !keep(message, bytes) { return (header, message, bytes) }
            } else {
                try receive("an answer")
            }
        }
    }

    /// Waits for EVENT_CONFIG that brings such a configuration.
    func waitForConfiguration(_ what: String, _ isIt: (VirtioNetConfiguration) -> Bool) throws -> VirtioNetConfiguration {
        var looked = 0
        while true {
            while looked < configurations.count {
                if isIt(configurations[looked]) { return configurations[looked] }
                looked += 1
            }
            if let header = try takeMessage() {
                _ = keep(try DeviceMessage(untrusted: header, inbox.message), inbox.copy())
            } else {
                try receive(what)
            }
        }
    }

    private func takeMessage() throws -> MessageHeader? { try inbox.next() }

    private func keep(_ message: DeviceMessage, _ bytes: [UInt8]) -> Bool {
        switch message {
        case .pool(let pool): hasPool = pool.extentCount == 0
        case .log(let text): logs.append(String(decoding: bytes[text.offset..<text.offset + text.count], as: UTF8.self))
        case .eventConfig(_, _, _, let data):
            let space = Array(bytes[data.offset..<data.offset + data.count])
            if let configuration = VirtioNetConfiguration(untrusted: space.span) { configurations.append(configuration) }
        default: return false
        }
        return true
    }

    private func receive(_ what: String) throws {
        var entry = pollfd(fd: client.rawValue, events: Int16(POLLIN), revents: 0)
        guard poll(&entry, 1, 10_000) == 1 else { throw Failure.noAnswer(what) }
        let count = try client.receive(into: inbox.unfilled)
        guard count > 0 else { throw Failure.connectionEnded }
        inbox.filled(count)
    }

    /// A control command and its answer.
    func control(_ command: NetControlCommand, device: UInt16 = 0) throws -> NetControlAnswer {
        let (message, bytes) = try ask { outbox throws(MessageError) in
            try outbox.netControl(device: device, command: command.encoded().span)
        }
        guard case .netControl(device, let place) = message else { throw Failure.unexpected(message) }
        return try NetControlAnswer(untrusted: Array(bytes[place.offset..<place.offset + place.count]).span)
    }

    func describe() throws -> NetDescription {
        guard case .done(let result) = try control(.describe) else { throw Failure.noAnswer("a description") }
        return try NetDescription(untrusted: result.span)
    }

    func setStatus(_ status: DeviceStatus) throws -> DeviceStatus {
        let answer = try ask { outbox throws(MessageError) in try outbox.setDeviceStatus(device: 0, status) }
        guard case .deviceStatusSet(let now) = answer.message else { return [] }
        return now
    }

    /// From ACKNOWLEDGE to DRIVER_OK, with these features.
    func start(features: VirtioNetFeatures = [.mac, .status, .mtu, .version1]) throws {
        _ = try setStatus([.acknowledge, .driver])
        _ = try ask { outbox throws(MessageError) in try outbox.setDriverFeatures(device: 0, features.rawValue) }
        let wanted: DeviceStatus = [.acknowledge, .driver, .featuresOK]
        guard try setStatus(wanted) == wanted else { throw Failure.noAnswer("FEATURES_OK") }
        _ = try setStatus(wanted.union(.driverOK))
    }

    /// A result that comes from another thread.
    private final class Outcome: @unchecked Sendable {
        private let condition = NSCondition()
        private var result: Result<StubServer.End, NetlinkError>?
        /// Written before the semaphore is signalled, read after.
        var namespace: NetworkNamespace?

        func set(_ result: Result<StubServer.End, NetlinkError>) {
            condition.withLock {
                self.result = result
                condition.broadcast()
            }
        }

        func wait() -> Result<StubServer.End, NetlinkError>? {
            let deadline = Date(timeIntervalSinceNow: 60)
            return condition.withLock {
                while result == nil, condition.wait(until: deadline) {}
                return result
            }
        }
    }
}

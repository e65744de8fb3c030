import CLinux
import ClientStub
import FoundationEssentials
import LinuxSystem
import StubControl

/// The control socket: StubControl's messages, one JSON object a line, for any number of supervisors.
///
/// A supervisor that goes away changes nothing; one that does not read what it is told is cut off.
struct ControlServer: SupervisorPort, ~Copyable {
    private let path: String
    private let listener: OwnedDescriptor
    private var connections: [UInt64: ControlConnection] = [:]
    private var nextConnection: UInt64 = 1
    private var commands: [(ticket: UInt64, command: StubCommand.Action)] = []
    /// For each ticket the connection and the id of the command.
    private var tickets: [UInt64: (connection: UInt64, id: UInt64)] = [:]
    private var nextTicket: UInt64 = 1
    private var isAccepting = false

    private static let listenerValue: UInt64 = 0
    /// More supervisors than that wait until one of them goes.
    private static let mostConnections = 16

    /// Listens at `path`; a file that a dead stub left there is replaced.
    init(path: String) throws(SystemError) {
        self.path = path
        let socket = try UnixSocket.listen(path: path)
        try socket.setNonBlocking(true)
        listener = socket
    }

    // MARK: SupervisorPort

    mutating func start(loop: inout EventLoop) { awaitConnection(&loop) }

    mutating func operationCompleted(_ value: UInt64, result: Int32, flags: UInt32, loop: inout EventLoop) {
        if result == -ECANCELED { return }
        if value == Self.listenerValue {
            isAccepting = false
            accept(&loop)
            awaitConnection(&loop)
            return
        }
        guard let connection = connections[value] else { return }
        connection.isPolled = false
        guard connection.flush(), let lines = connection.receive() else {
            connections[value] = nil
            awaitConnection(&loop)
            return
        }
        for line in lines { take(line, from: value, connection) }
        if connection.isOver { connections[value] = nil } else { awaitMessage(value, connection, &loop) }
        awaitConnection(&loop)
    }

    mutating func nextCommand() -> (ticket: UInt64, command: StubCommand.Action)? { commands.isEmpty ? nil : commands.removeFirst() }

    mutating func answer(_ ticket: UInt64, _ reply: StubReply, loop: inout EventLoop) {
        guard let (number, id) = tickets.removeValue(forKey: ticket), let connection = connections[number] else { return }
        connection.unanswered -= 1
        send(.reply(id: id, reply), to: number, connection, &loop)
        if connection.isOver {
            loop.cancel(EventTag(.control, number))
            connections[number] = nil
            awaitConnection(&loop)
        }
    }

    mutating func announce(_ event: StubEvent, loop: inout EventLoop) {
        StubLog.write(event)
        for (number, connection) in connections { send(.event(event), to: number, connection, &loop) }
    }

    mutating func close(loop: inout EventLoop) {
        loop.cancelAll(on: listener.rawValue)
        for (number, connection) in connections {
            _ = connection.flush()
            loop.cancel(EventTag(.control, number))
        }
        connections.removeAll()
        unlink(path)
    }

    // MARK: connections

    private mutating func awaitConnection(_ loop: inout EventLoop) {
        guard !isAccepting, connections.count < Self.mostConnections else { return }
        isAccepting = true
        loop.poll(listener.rawValue, events: Int16(POLLIN), EventTag(.control, Self.listenerValue))
    }

    private mutating func accept(_ loop: inout EventLoop) {
        while connections.count < Self.mostConnections, let socket = try? UnixSocket.accept(on: listener) {
            guard (try? socket.setNonBlocking(true)) != nil else { continue }
            let connection = ControlConnection(socket)
            connections[nextConnection] = connection
            awaitMessage(nextConnection, connection, &loop)
            nextConnection += 1
        }
    }

    private func awaitMessage(_ number: UInt64, _ connection: ControlConnection, _ loop: inout EventLoop) {
        guard !connection.isPolled else { return }
        connection.isPolled = true
        let events = connection.hasBacklog ? POLLIN | POLLOUT : POLLIN
        loop.poll(connection.descriptor, events: Int16(events), EventTag(.control, number))
    }

    private mutating func take(_ line: Data, from number: UInt64, _ connection: ControlConnection) {
        guard let command = try? JSONDecoder().decode(StubCommand.self, from: line) else {
            StubLog.write("a supervisor sent a line that is no command", .warning)
            connection.endAfterFlush()
            return
        }
        connection.unanswered += 1
        tickets[nextTicket] = (number, command.id)
        commands.append((nextTicket, command.action))
        nextTicket += 1
    }

    private mutating func send(_ message: StubMessage, to number: UInt64, _ connection: ControlConnection, _ loop: inout EventLoop) {
        guard var line = try? JSONEncoder().encode(message) else { return }
        line.append(UInt8(ascii: "\n"))
        guard connection.send(line) else {
            loop.cancel(EventTag(.control, number))
            connections[number] = nil
            return
        }
        if connection.hasBacklog, connection.isPolled {
            // Polled for reading only: poll anew, for both.
            loop.cancel(EventTag(.control, number))
            connection.isPolled = false
            awaitMessage(number, connection, &loop)
        }
    }
}

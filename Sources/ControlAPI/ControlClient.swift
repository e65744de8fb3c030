import AsyncHTTPClient
public import ControlModel
import Foundation
import NIOCore
import NIOHTTP1

/// A supervisor, seen over its socket: the client side of ``ControlRoute``.
///
/// Call ``shutdown()`` when done.
public struct ControlClient: ControlService {
    private let socketPath: String
    private let http: HTTPClient

    /// - Parameter socketPath: `RUN/drover.sock`.
    public init(socketPath: String) {
        self.socketPath = socketPath
        var configuration = HTTPClient.Configuration()
        configuration.httpVersion = .http1Only
        configuration.timeout.connect = .seconds(5)
        // A supervisor that is not there is an answer, not a reason to try again.
        configuration.connectionPool.retryConnectionEstablishment = false
        self.http = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    /// Closes the connections.
    public func shutdown() async {
        try? await http.shutdown()
    }

    public func info() async throws(ControlError) -> SupervisorInfo { try await ask(.info) }
    public func list() async throws(ControlError) -> [DDOSSummary] { try await ask(.list) }
    public func inspect(_ name: String) async throws(ControlError) -> DDOSDetail { try await ask(.inspect(name)) }
    public func start(_ name: String) async throws(ControlError) -> DDOSSummary { try await ask(.start(name)) }
    public func stop(_ name: String) async throws(ControlError) -> DDOSSummary { try await ask(.stop(name)) }
    public func restart(_ name: String) async throws(ControlError) -> DDOSSummary { try await ask(.restart(name)) }
    public func report(interval: Double?) async throws(ControlError) -> CPUReport {
        try await ask(.report(interval: interval), within: .seconds(60 + Int64(interval ?? 0)))
    }

    public func inject(_ name: String, _ fault: InjectedFault) async throws(ControlError) {
        let _: Empty = try await ask(.inject(name, fault))
    }

    public func interface(_ name: String) async throws(ControlError) -> InterfaceDetail { try await ask(.interface(name)) }
    public func change(_ name: String, _ change: InterfaceChange) async throws(ControlError) -> InterfaceDetail {
        try await ask(.change(name, change))
    }

    public func down() async throws(ControlError) {
        let _: Empty = try await ask(.down, within: .seconds(180))
    }

    public func events(from: UInt64, follow: Bool) async throws(ControlError) -> AsyncThrowingStream<Event, any Error> {
        // A year: a follower ends when its reader or the supervisor does.
        let body = try await send(.events(from: from, follow: follow), within: follow ? .hours(24 * 365) : .seconds(60))
        return AsyncThrowingStream { continuation in
            let task = Task {
                do {
                    var pending = ByteBuffer()
                    for try await part in body {
                        pending.writeImmutableBuffer(part)
                        while let end = pending.readableBytesView.firstIndex(of: UInt8(ascii: "\n")) {
                            let length = end - pending.readerIndex
                            let line = pending.readBytes(length: length) ?? []
                            pending.moveReaderIndex(forwardBy: 1)
                            if !line.isEmpty { continuation.yield(try ControlJSON.decoder().decode(Event.self, from: Data(line))) }
                        }
                        pending.discardReadBytes()
                    }
                    continuation.finish()
                } catch {
                    continuation.finish(throwing: ControlError(.unavailable, "droverd ended while its events were being read."))
                }
            }
            continuation.onTermination = { _ in task.cancel() }
        }
    }

    private struct Empty: Decodable {}

    private func ask<Value: Decodable>(_ route: ControlRoute, within limit: TimeAmount = .seconds(90)) async throws(ControlError) -> Value {
        let body = try await send(route, within: limit)
        let data: ByteBuffer
        do {
            data = try await body.collect(upTo: 16 << 20)
        } catch {
            throw ControlError(.unavailable, "droverd ended before it had answered.")
        }
        do {
            return try ControlJSON.decoder().decode(Value.self, from: Data(data.readableBytesView))
        } catch {
            throw ControlError(
                .failed, "droverd's answer to \(route.uri) was not understood: it may be of another version than this program.")
        }
    }

    private func send(_ route: ControlRoute, within limit: TimeAmount) async throws(ControlError) -> HTTPClientResponse.Body {
        guard let url = URL(httpURLWithSocketPath: socketPath, uri: route.uri) else {
            throw ControlError(.invalid, "\(socketPath) cannot be a socket's path.")
        }
        var request = HTTPClientRequest(url: url.absoluteString)
        request.method = HTTPMethod(rawValue: route.method)
        if case .change(_, let change) = route, let body = try? ControlJSON.encoder().encode(change) {
            request.headers.add(name: "content-type", value: "application/json")
            request.body = .bytes(ByteBuffer(bytes: body))
        }
        let response: HTTPClientResponse
        do {
            response = try await http.execute(request, timeout: limit)
        } catch let error as HTTPClientError where error == .deadlineExceeded || error == .readTimeout {
            throw ControlError(.timedOut, "droverd did not answer in time (\(route.uri)); 'drover doctor' looks at what it needs.")
        } catch {
            throw notThere()
        }
        guard response.status == .ok else {
            let data = try? await response.body.collect(upTo: 1 << 20)
            if let data, let body = try? ControlJSON.decoder().decode(ErrorBody.self, from: Data(data.readableBytesView)) {
                throw ControlError(body)
            }
            throw ControlError(.failed, "droverd answered \(route.uri) with HTTP status \(response.status.code).")
        }
        return response.body
    }

    private func notThere() -> ControlError {
        if access(socketPath, F_OK) != 0 {
            return ControlError(.unavailable, "droverd is not running (no socket \(socketPath)): start it with 'drover up -f FILE'.")
        }
        if access(socketPath, W_OK) != 0 {
            return ControlError(.unavailable, "No permission for \(socketPath): run this as root, or as the user who runs droverd.")
        }
        return ControlError(.unavailable, "droverd does not listen on \(socketPath): it has died; start it again with 'drover up -f FILE'.")
    }
}

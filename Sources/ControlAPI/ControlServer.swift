public import ControlModel
import Foundation
import HTTPTypes
import Hummingbird
public import Logging
import NIOCore
public import ServiceLifecycle

/// Serves a ``ControlService`` as ``ControlRoute`` describes, on a Unix socket with mode 0600.
///
/// The caller holds the supervisor's lock, so a socket found at the path is a dead predecessor's and is replaced.
public struct ControlServer: Service {
    private let service: any ControlService
    private let socketPath: String
    private let logger: Logger

    public init(service: any ControlService, socketPath: String, logger: Logger) {
        self.service = service
        self.socketPath = socketPath
        self.logger = logger
    }

    /// Serves until the task is cancelled or the process shuts down gracefully; then the socket is gone.
    public func run() async throws {
        // Nobody else may connect, not even between bind and chmod: the socket is made in a directory of the owner's and moved out.
        let path = socketPath
        let nursery = path + ".new"
        let newborn = nursery + "/s"
        unlink(newborn)
        guard mkdir(nursery, 0o700) == 0 || errno == EEXIST else {
            throw ControlError(.failed, "Cannot make the control socket \(path): \(String(cString: strerror(errno))).")
        }
        defer {
            unlink(newborn)
            rmdir(nursery)
            unlink(path)
        }
        var quiet = logger
        // A client that goes away in mid-answer is nobody's error.
        quiet.logLevel = .critical
        let application = Application(
            router: router(),
            configuration: ApplicationConfiguration(address: .unixDomainSocket(path: newborn), serverName: "droverd"),
            onServerRunning: { _ in
                chmod(newborn, 0o600)
                rename(newborn, path)
                rmdir(nursery)
            },
            logger: quiet)
        // The daemon's own service group handles signals; here only its shutdown counts.
        try await application.run()
    }

    private func router() -> Router<BasicRequestContext> {
        let router = Router()
        let service = service
        router.get("v1/info") { _, _ in await Self.answer { () async throws(ControlError) in try await service.info() } }
        router.get("v1/ddos") { _, _ in await Self.answer { () async throws(ControlError) in try await service.list() } }
        router.get("v1/ddos/:name") { _, context in
            let name = try Self.name(context)
            return await Self.answer { () async throws(ControlError) in try await service.inspect(name) }
        }
        router.post("v1/ddos/:name/:action") { _, context in
            let name = try Self.name(context)
            let action = try context.parameters.require("action")
            return await Self.answer { () async throws(ControlError) in
                switch action {
                case "start": try await service.start(name)
                case "stop": try await service.stop(name)
                case "restart": try await service.restart(name)
                default: throw ControlError(.invalid, "'\(action)' cannot be done to a DD/OS; start, stop and restart can.")
                }
            }
        }
        router.post("v1/ddos/:name/inject/:fault") { _, context in
            let name = try Self.name(context)
            let text = try context.parameters.require("fault")
            return await Self.answer { () async throws(ControlError) in
                guard let fault = InjectedFault(rawValue: text) else {
                    let faults = InjectedFault.allCases.map(\.rawValue).joined(separator: ", ")
                    throw ControlError(.invalid, "'\(text)' is no fault that can be injected; these are: \(faults).")
                }
                try await service.inject(name, fault)
                return Empty()
            }
        }
        router.get("v1/ddos/:name/interface") { _, context in
            let name = try Self.name(context)
            return await Self.answer { () async throws(ControlError) in try await service.interface(name) }
        }
        router.patch("v1/ddos/:name/interface") { request, context in
            let name = try Self.name(context)
            let body = try await request.body.collect(upTo: 1 << 16)
            return await Self.answer { () async throws(ControlError) in
                guard let change = try? ControlJSON.decoder().decode(InterfaceChange.self, from: Data(body.readableBytesView)) else {
                    throw ControlError(.invalid, "The body is no change of an interface in JSON.")
                }
                return try await service.change(name, change)
            }
        }
        router.get("v1/report") { request, _ in
            let text = request.uri.queryParameters["interval"].map(String.init)
            return await Self.answer { () async throws(ControlError) in
                try await service.report(interval: try Self.interval(text))
            }
        }
        router.get("v1/events") { request, _ in
            let from = request.uri.queryParameters["from"].map(String.init) ?? "0"
            let follow = request.uri.queryParameters["follow"] == "true"
            return await Self.stream(service, from: from, follow: follow)
        }
        router.post("v1/down") { _, _ in
            await Self.answer { () async throws(ControlError) in
                try await service.down()
                return Empty()
            }
        }
        return router
    }

    private struct Empty: Encodable {}

    /// The router hands path segments over as they came.
    private static func name(_ context: BasicRequestContext) throws -> String {
        let segment = try context.parameters.require("name")
        guard let name = segment.removingPercentEncoding else { throw HTTPError(.badRequest) }
        return name
    }

    private static func interval(_ text: String?) throws(ControlError) -> Double? {
        guard let text else { return nil }
        guard let seconds = Double(text), seconds >= 0.1, seconds <= 3600 else {
            throw ControlError(.invalid, "'\(text)' is no interval: give seconds from 0.1 to 3600.")
        }
        return seconds
    }

    private static func answer<Value: Encodable>(_ body: () async throws(ControlError) -> Value) async -> Response {
        do throws(ControlError) {
            return json(try await body(), status: .ok)
        } catch {
            return json(error.body, status: status(of: error.body.code))
        }
    }

    private static func json(_ value: some Encodable, status: HTTPResponse.Status) -> Response {
        guard let data = try? ControlJSON.encoder().encode(value) else { return Response(status: .internalServerError) }
        return Response(
            status: status, headers: [.contentType: "application/json"], body: ResponseBody(byteBuffer: ByteBuffer(bytes: data)))
    }

    private static func status(of code: ErrorBody.Code) -> HTTPResponse.Status {
        switch code {
        case .notFound: .notFound
        case .invalid: .badRequest
        case .conflict: .conflict
        case .failed: .internalServerError
        case .timedOut: .gatewayTimeout
        case .unavailable: .serviceUnavailable
        }
    }

    private static func stream(_ service: any ControlService, from text: String, follow: Bool) async -> Response {
        do throws(ControlError) {
            guard let from = UInt64(text) else { throw ControlError(.invalid, "'\(text)' is no sequence number of an event.") }
            let events = try await service.events(from: from, follow: follow)
            let body = ResponseBody { writer in
                for try await event in events.cancelOnGracefulShutdown() {
                    var line = try ControlJSON.encoder().encode(event)
                    line.append(UInt8(ascii: "\n"))
                    try await writer.write(ByteBuffer(bytes: line))
                }
                try await writer.finish(nil)
            }
            return Response(status: .ok, headers: [.contentType: "application/x-ndjson"], body: body)
        } catch {
            return json(error.body, status: status(of: error.body.code))
        }
    }
}

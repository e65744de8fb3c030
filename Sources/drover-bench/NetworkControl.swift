import Foundation
import StubControl

/// What a request to a DD/OS's driver costs, against the same thing done by a program in a plain guest.
struct NetworkControl: Encodable {
    struct Operation: Encodable {
        let name: String
        /// By a program that is started for it, without its start: the operation alone…
        let nativeMicroseconds: Double
        /// …and with the description that a change ends with in a DD/OS.
        let nativeWithDescriptionMicroseconds: Double
        let droverMicroseconds: Double
        /// To all that the request does.
        let ratio: RoundRatio?
        /// Of a change.
        let ratioToChangeAlone: RoundRatio?
    }

    /// The highest ratio that is aimed at.
    static let aim = 2.0

    var aims: [Aim] {
        operations.compactMap { operation in
            operation.ratio.map { Aim.atMost(Self.aim, "driver's control, \(operation.name): time over a native program's", $0.median) }
        }
    }

    /// Of each operation in a round; even, so that the last one restores what the first one changed.
    private static let times = 20
    /// After what resets the NIC, as in the guest: what it set going has come to an end when the next request is sent.
    private static let pause: UInt32 = 20_000

    private(set) var operations: [Operation] = []
    /// A request that asks nothing of the DD/OS: what of the others is the socket, the client stub and its JSON.
    private(set) var stubAloneMicroseconds = 0.0

    /// In the order, and with the names and values, of the server stub's own measurement.
    private static let requests: [(name: String, request: @Sendable (_ isEven: Bool) -> StubInterfaceRequest)] = [
        ("describe", { _ in .describe }), ("statistics", { _ in .statistics }),
        ("ring", { isEven in change { $0.receiveRing = isEven ? 512 : 256 } }),
        ("coalescing", { isEven in change { $0.coalescing = StubCoalescing(receiveMicroseconds: isEven ? 50 : 60) } }),
        ("mtu", { isEven in change { $0.mtu = isEven ? 1400 : 1500 } }),
        ("promiscuous", { isEven in change { $0.isPromiscuous = isEven } }),
    ]

    private static func change(_ set: (inout StubInterfaceSettings) -> Void) -> StubInterfaceRequest {
        var settings = StubInterfaceSettings()
        set(&settings)
        return .set(settings)
    }

    static func measure(
        _ machine: NetworkMachine, _ guest: NetworkGuest, programs: String, directory: String, rounds: Int, progress: (String?) -> Void
    ) throws -> NetworkControl {
        progress("control operations: a plain guest boots")
        let plain = try NetworkMachine(
            .native, guest: guest, mtu: 1500, directory: directory, programs: programs)
        defer { plain.stop() }
        var native: [String: [NetworkMachine.NativeCost]] = [:]
        var drover: [String: [Double]] = [:]
        func measureNative() throws {
            for (name, cost) in try plain.controlCosts(times: times) { native[name, default: []].append(cost) }
        }
        var stubAlone: [Double] = []
        func measureDrover() throws {
            for _ in 0..<times { stubAlone.append(try machine.ask(.status) * 1e6) }
            for (name, request) in requests {
                var taken: [Double] = []
                for turn in 0..<times {
                    taken.append(try machine.ask(.interface(request(turn % 2 == 0))) * 1e6)
                    if ["ring", "mtu"].contains(name) { usleep(pause) }
                }
                drover[name, default: []].append(taken.median)
            }
        }
        for round in 0..<rounds {
            progress("round \(round + 1)/\(rounds): control operations")
            let steps = [measureNative, measureDrover]
            for step in round % 2 == 0 ? steps : steps.reversed() { try step() }
        }
        var control = NetworkControl()
        control.stubAloneMicroseconds = stubAlone.median
        for (name, request) in requests {
            let (alone, whole) = ((native[name] ?? []).map { $0.alone / 1000 }, (native[name] ?? []).map { $0.whole / 1000 })
            let through = drover[name] ?? []
            let isChange = if case .set = request(true) { true } else { false }
            control.operations.append(
                Operation(
                    name: name, nativeMicroseconds: alone.median, nativeWithDescriptionMicroseconds: whole.median,
                    droverMicroseconds: through.median, ratio: RoundRatio(through, over: whole),
                    ratioToChangeAlone: isChange ? RoundRatio(through, over: alone) : nil))
        }
        return control
    }
}

import Foundation
import StubControl

// What control operations of the NIC cost: asked of the client stub, and done by a program in the guest.
extension NetworkMachine {
    /// Lets the DD/OS's only life connect.
    func openLife() throws {
        let socket = try LineSocket(path: directory + "/control.sock")
        try socket.send(Self.line(StubCommand(id: 0, action: .open(generation: 1))))
        control = socket
    }

    /// Asks the client stub on its control socket; seconds until the answer was there.
    @discardableResult
    func ask(_ action: StubCommand.Action) throws -> Double { try exchange(action).seconds }

    /// What the client stub has moved so far.
    func packets() throws -> StubInterfaceCounters {
        guard case .status(let status) = try exchange(.status).reply, let packets = status.packets else {
            throw BenchFailure(text: "the client stub does not count packets")
        }
        return packets
    }

    private func exchange(_ action: StubCommand.Action) throws -> (reply: StubReply, seconds: Double) {
        guard let control else { throw BenchFailure(text: "there is no connection to the client stub") }
        requests += 1
        let line = try Self.line(StubCommand(id: requests, action: action))
        let start = DispatchTime.now().uptimeNanoseconds
        try control.send(line)
        while true {
            let answer = try control.line(within: 30)
            let taken = DispatchTime.now().uptimeNanoseconds - start
            guard let message = try? JSONDecoder().decode(StubMessage.self, from: Data(answer.utf8)) else {
                throw BenchFailure(text: "the client stub said what cannot be read: \(answer.prefix(300))")
            }
            // News come in between.
            guard case .reply(requests, let reply) = message else { continue }
            if case .refused(let reason) = reply { throw BenchFailure(text: "the client stub refused: \(reason)") }
            return (reply, Double(taken) / 1e9)
        }
    }

    private static func line(_ command: StubCommand) throws -> [UInt8] { [UInt8](try JSONEncoder().encode(command)) + [10] }

    /// Nanoseconds of one operation, done by a program in a plain guest.
    struct NativeCost {
        /// The change alone…
        var alone: Double
        /// …and with the description that ends it in a DD/OS.
        var whole: Double
    }

    /// The median of each operation, in the guest that is the endpoint.
    func controlCosts(times: Int) throws -> [String: NativeCost] {
        let console = try LineSocket(path: directory + "/console.sock")
        try console.send(Array("\(times)\n".utf8))
        var costs: [String: NativeCost] = [:]
        var said = ""
        while true {
            // The terminal ends its lines in its own way, and echoes.
            let line = try console.line(within: 120).filter { $0 != "\r" }
            let words = line.split(separator: " ")
            if words.count == 3, words[0] == "control", words[1] == "end" {
                guard words[2] == "0" else { throw BenchFailure(text: "the guest could not measure its control operations: \(said)") }
                return costs
            }
            if words.count == 4, words[0] == "control", let alone = Double(words[2]), let whole = Double(words[3]) {
                costs[String(words[1])] = NativeCost(alone: alone, whole: whole)
            }
            said = line
        }
    }
}

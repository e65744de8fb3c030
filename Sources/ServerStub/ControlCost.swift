internal import CLinux
internal import LinuxSystem
internal import Netlink
internal import VirtioNet

/// What the operations of the slow path cost by themselves: the calls that serve a client stub's requests, without the messages.
///
/// In a plain machine that is their native cost, which `drover-bench` compares with. A line for each operation: its name, and in nanoseconds
/// the median of it alone and of all that a request for it does, which for a change ends with a description.
enum ControlCost {
    private static let operations = ["describe", "statistics", "ring", "coalescing", "mtu", "promiscuous"]
    private static let firstChange = 2
    /// After what resets the NIC: what it set going has come to an end when the next one begins. The others follow each other at once.
    private static let pause: UInt64 = 20_000_000

    /// Does each operation `times` times to the NIC of that name. The exit status.
    static func run(nic: String, times: Int) -> Int32 {
        // The process ends with this.
        let output = OwnedDescriptor(adopting: 1)
        var log = StubLog(output: OwnedDescriptor(adopting: 2), sinceBoot: false)
        do throws(NetlinkError) {
            // No packets are forwarded here; the loopback interface takes any MTU, and so is never changed.
            var path = try NetworkPath(nic: nic, channel: "lo")
            path.chooseOffloads(log: &log)
            for (number, name) in operations.enumerated() {
                var alone: [UInt64] = []
                var whole: [UInt64] = []
                for turn in 0..<times {
                    let command = command(number, turn)
                    let start = Clock.monotonic()
                    let answer = path.perform(command)
                    alone.append(Clock.monotonic() &- start)
                    if number >= firstChange { _ = path.perform(.describe) }
                    whole.append(Clock.monotonic() &- start)
                    if case .refused(_, let reason) = answer {
                        log.line(name + ": " + reason)
                        return 1
                    }
                    if name.isSame(as: "ring") || name.isSame(as: "mtu") { Clock.sleep(nanoseconds: pause) }
                }
                alone.sort()
                whole.sort()
                let figures = decimal(Int(alone[times / 2])) + " " + decimal(Int(whole[times / 2]))
                let line = Array(("control " + name + " " + figures + "\n").utf8)
                do throws(SystemError) { try output.writeAll(line) } catch { return 1 }
            }
            return 0
        } catch {
            log.line(nic + ": " + error.description)
            return 1
        }
    }

    /// Each turn changes something; an odd one leaves the MTU at 1500.
    private static func command(_ operation: Int, _ turn: Int) -> NetControlCommand {
        let isEven = turn % 2 == 0
        return switch operation {
        case 0: .describe
        case 1: .statistics(first: 0)
        case 2: .setRing(receive: isEven ? 512 : 256, transmit: NetControlCommand.leave)
        case 3: .setReceiveCoalescing(packets: NetControlCommand.leave, microseconds: isEven ? 50 : 60)
        case 4: .setMTU(isEven ? 1400 : 1500)
        default: .setPromiscuous(isEven)
        }
    }
}

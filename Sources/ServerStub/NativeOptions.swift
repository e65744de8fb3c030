/// The command line of the server stub outside a DD/OS: it serves files to a client stub on the same machine.
public struct NativeOptions: Equatable, Sendable {
    /// The Unix socket on which the client stub listens.
    public var socket = ""
    /// Files or block devices, one disk each.
    public var files: [String] = []
    public var isReadOnly = false
    public var isBuffered = false
    public var queueCount = 4
    public var poolMegabytes = 64
    public var pollMicroseconds = 50
    /// The network interface whose slow path is to be measured, instead of serving; empty: none.
    public var measuredInterface = ""
    public var times = 20

    public static let usage = """
        usage: drover-server-stub --socket PATH --file DISK [--file DISK …]
                                  [--read-only] [--buffered] [--queues N] [--pool MIB] [--poll MICROSECONDS]
               drover-server-stub --measure-control INTERFACE [--times N]

        Serves files or block devices to the client stub that listens on PATH, over virtio-msg and a memfd.
        As process 1 of a machine it does what a DD/OS needs instead.

          --read-only   offer the disks without writing to them
          --buffered    through the page cache instead of O_DIRECT
          --queues N    virtqueues of each disk, 1 to 64 (default 4)
          --pool MIB    shared memory, 2 to 65536 (default 64)
          --poll US     longest poll before sleeping, in microseconds, 0 to 1000000 (default 50)
          --measure-control INTERFACE
                        do to this network card what a client stub's control requests ask for, and print nanoseconds;
                        changes its ring, its coalescing and its MTU
          --times N     each of it so many times, 1 to 10000 (default 20)

        """

    public struct Problem: Error, Equatable {
        public let text: String

        public static func == (left: Problem, right: Problem) -> Bool { left.text.isSame(as: right.text) }
    }

    /// Reads the arguments after the program's name.
    public init(_ arguments: [String]) throws(Problem) {
        var rest = arguments[...]
        func value(_ name: String) throws(Problem) -> String {
            guard let value = rest.popFirst() else { throw Problem(text: name + " wants a value") }
            return value
        }
        func number(_ name: String, _ range: ClosedRange<Int>) throws(Problem) -> Int {
            let text = try value(name)
            guard let number = text.number, range.contains(number) else {
                throw Problem(
                    text: name + " wants a number from " + decimal(range.lowerBound) + " to " + decimal(range.upperBound)
                        + ", not " + text)
            }
            return number
        }
        while let argument = rest.popFirst() {
            if argument.isSame(as: "--socket") {
                socket = try value(argument)
            } else if argument.isSame(as: "--file") {
                files.append(try value(argument))
            } else if argument.isSame(as: "--read-only") {
                isReadOnly = true
            } else if argument.isSame(as: "--buffered") {
                isBuffered = true
            } else if argument.isSame(as: "--queues") {
                queueCount = try number(argument, 1...64)
            } else if argument.isSame(as: "--pool") {
                poolMegabytes = try number(argument, 2...65536)
            } else if argument.isSame(as: "--poll") {
                pollMicroseconds = try number(argument, 0...1_000_000)
            } else if argument.isSame(as: "--measure-control") {
                measuredInterface = try value(argument)
            } else if argument.isSame(as: "--times") {
                times = try number(argument, 1...10_000)
            } else {
                throw Problem(text: "unknown argument " + argument)
            }
        }
        if !measuredInterface.isEmpty { return }
        if socket.isEmpty { throw Problem(text: "--socket is missing") }
        if files.isEmpty { throw Problem(text: "--file is missing") }
        if files.count > 64 { throw Problem(text: "at most 64 disks") }
    }
}

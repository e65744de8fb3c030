import ControlModel
import Foundation

/// An error for the person at the terminal: one sentence, and the exit status.
struct Complaint: Error {
    var message: String
    var status: Int32

    init(_ message: String, status: Int32 = 1) {
        self.message = message
        self.status = status
    }

    static func print(_ message: String) {
        FileHandle.standardError.write(Data("drover: \(message)\n".utf8))
    }
}

extension ErrorBody.Code {
    /// The exit statuses that `drover --help` lists.
    var exitStatus: Int32 {
        switch self {
        case .failed: 1
        case .invalid: 2
        case .unavailable: 3
        case .notFound: 4
        case .conflict: 5
        case .timedOut: 6
        }
    }
}

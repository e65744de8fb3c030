import CLibvirt

/// What libvirt says about the last call that failed on this thread.
struct LibvirtError: Equatable {
    var code: UInt32
    var message: String

    init(code: virErrorNumber, message: String) {
        self.code = code.rawValue
        self.message = message
    }

    init(code: UInt32, message: String) {
        self.code = code
        self.message = message
    }

    /// To be read on the thread of the failed call, at once: libvirt keeps one error per thread.
    static func last() -> LibvirtError {
        guard let error = virGetLastError() else { return LibvirtError(code: VIR_ERR_INTERNAL_ERROR, message: "no reason given") }
        let message = error.pointee.message.map { String(cString: $0) } ?? "no reason given"
        return LibvirtError(code: virErrorNumber(rawValue: UInt32(error.pointee.code)), message: message)
    }

    func hasCode(_ number: virErrorNumber) -> Bool { code == number.rawValue }
}

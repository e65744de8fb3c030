import CLibvirt
import Foundation

/// libvirt's event loop: one for the process, on a thread of its own, for ever. It has to be there before any connection is opened.
enum EventLoop {
    private static let started: Bool = {
        guard virEventRegisterDefaultImpl() == 0 else { return false }
        // libvirt prints every error to stderr unless somebody takes them; Drover takes each one from the call that failed.
        virSetErrorFunc(nil) { _, _ in }
        let thread = Thread {
            while true {
                if virEventRunDefaultImpl() < 0 { Thread.sleep(forTimeInterval: 0.1) }
            }
        }
        thread.name = "libvirt events"
        thread.start()
        return true
    }()

    static func start() throws(HypervisorError) {
        guard started else { throw .libvirt(operation: "start its event loop", message: LibvirtError.last().message) }
    }
}

import CLinux
import Netlink
import Testing

@testable import ServerStub

@Suite struct ChangeWhileDownTests {
    /// An interface that takes an MTU only while it is down.
    private final class Interface {
        var isUp = true
        var mtu: UInt32 = 1500
        /// Refuses to come up with this MTU.
        var dislikes: UInt32?
        var refuses: UInt32?

        func apply(_ change: LinkChange) throws(NetlinkError) {
            if let mtu = change.mtu {
                if isUp { throw NetlinkError(code: EBUSY, request: "set link") }
                if mtu == refuses { throw NetlinkError(code: EINVAL, request: "set link") }
                self.mtu = mtu
            }
            if change.isUp == true, mtu == dislikes { throw NetlinkError(code: ENOMEM, request: "set link") }
            if let power = change.isUp { isUp = power }
        }
    }

    private func change(_ interface: Interface, to mtu: UInt32) -> NetlinkError? {
        var (change, before) = (LinkChange(), LinkChange())
        (change.mtu, before.mtu) = (mtu, interface.mtu)
        do throws(NetlinkError) {
            try ChangeWhileDown.perform(change, before: before, interface.apply)
            return nil
        } catch { return error }
    }

    @Test func theInterfaceIsUpAfterwards() {
        let interface = Interface()
        #expect(change(interface, to: 9000) == nil)
        #expect(interface.isUp && interface.mtu == 9000)
    }

    @Test func aRefusedChangeLeavesItUp() {
        let interface = Interface()
        interface.refuses = 9000
        #expect(change(interface, to: 9000)?.code == EINVAL)
        #expect(interface.isUp && interface.mtu == 1500)
    }

    @Test func anInterfaceThatDoesNotComeUpWithTheNewValueComesUpWithTheOldOne() {
        let interface = Interface()
        interface.dislikes = 9000
        #expect(change(interface, to: 9000)?.code == ENOMEM)
        #expect(interface.isUp && interface.mtu == 1500)
    }
}

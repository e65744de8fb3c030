internal import Netlink

/// A change that a driver takes only while its interface is down.
enum ChangeWhileDown {
    /// Takes the interface down, changes it, and brings it up again.
    ///
    /// An interface that does not come up with the new value gets the old one back, and comes up with that: a change that fails must not
    /// leave the DD/OS without its NIC.
    ///
    /// - Parameters:
    ///   - before: the change that undoes it.
    ///   - apply: asks the kernel for one step.
    static func perform(
        _ change: LinkChange, before: LinkChange, _ apply: (LinkChange) throws(NetlinkError) -> Void
    ) throws(NetlinkError) {
        var power = LinkChange()
        power.isUp = false
        try apply(power)
        power.isUp = true
        var refusal: NetlinkError?
        do throws(NetlinkError) { try apply(change) } catch { refusal = error }
        do throws(NetlinkError) { try apply(power) } catch {
            // With the value of before it was up; what it says now is no news.
            do throws(NetlinkError) { try apply(before) } catch {}
            do throws(NetlinkError) { try apply(power) } catch {}
            throw refusal ?? error
        }
        if let refusal { throw refusal }
    }
}

internal import CLinux

// Traffic control (tc(8)): packets that come in on one interface leave through another, in the kernel, whatever they are.

extension LinkSocket {
    /// From now on everything that `from` receives leaves through `to` (mirred redirect), and this machine's own network stack
    /// sees none of it. `from` keeps no other ingress filters.
    ///
    /// `ENOENT`: the kernel has neither cls_matchall nor cls_u32, or no act_mirred.
    public mutating func redirect(from: Int32, to: Int32) throws(NetlinkError) {
        do throws(NetlinkError) { try removeIngress(from) } catch {
            // ENOENT, EINVAL: there was none.
            if error.code == ENODEV { throw error }
        }
        var queue = trafficControl("add ingress queue", Int(RTM_NEWQDISC), from, flags: NLM_F_CREATE | NLM_F_EXCL)
        queue.attribute(Int(TCA_KIND), "ingress")
        try socket.perform(queue)
        do throws(NetlinkError) {
            try addFilter("matchall", from: from, to: to)
        } catch {
            guard error.code == ENOENT else { throw error }
            // The same with another classifier, for kernels that have only that.
            try addFilter("u32", from: from, to: to)
        }
    }

    /// Ends a redirection. `ENOENT` or `EINVAL`: there was none.
    public mutating func removeIngress(_ index: Int32) throws(NetlinkError) {
        try socket.perform(trafficControl("remove ingress queue", Int(RTM_DELQDISC), index))
    }

    /// Lets no more than so many bytes wait to be sent (bfifo), rather than a number of packets of any size.
    ///
    /// `EOPNOTSUPP`, `ENOENT`: the kernel has no traffic control.
    public mutating func limitQueue(_ index: Int32, bytes: UInt32) throws(NetlinkError) {
        var request = NetlinkRequest("limit queue", type: Int(RTM_NEWQDISC), flags: NLM_F_CREATE | NLM_F_REPLACE)
        request.put32(0)
        request.put32(UInt32(bitPattern: index))
        request.put32(0)
        request.put32(0xFFFF_FFFF)  // TC_H_ROOT
        request.put32(0)
        request.attribute(Int(TCA_KIND), "bfifo")
        request.attribute(Int(TCA_OPTIONS), bytes)  // struct tc_fifo_qopt
        try socket.perform(request)
    }

    /// struct tcmsg: family, padding, ifindex, handle, parent, info.
    private func trafficControl(
        _ name: StaticString, _ type: Int, _ index: Int32, flags: Int32 = 0, isFilter: Bool = false
    ) -> NetlinkRequest {
        var request = NetlinkRequest(name, type: type, flags: flags)
        request.put32(0)
        request.put32(UInt32(bitPattern: index))
        request.put32(isFilter ? 0 : 0xFFFF_0000)
        request.put32(isFilter ? 0xFFFF_0000 : UInt32(0xFFFF_FFF1))  // ffff:, TC_H_INGRESS
        // A filter's priority, and the protocol it looks at: ETH_P_ALL, in network order.
        request.put32(isFilter ? 1 << 16 | UInt32(UInt16(ETH_P_ALL).bigEndian) : 0)
        return request
    }

    private mutating func addFilter(_ kind: String, from: Int32, to: Int32) throws(NetlinkError) {
        var request = trafficControl("add redirection", Int(RTM_NEWTFILTER), from, flags: NLM_F_CREATE | NLM_F_EXCL, isFilter: true)
        request.attribute(Int(TCA_KIND), kind)
        let isMatchall = kind.utf8.elementsEqual("matchall".utf8)
        request.nest(Int(TCA_OPTIONS)) { options in
            if isMatchall {
                // A NIC that could redirect by itself would have to be this machine's both ends.
                options.attribute(Int(TCA_MATCHALL_FLAGS), UInt32(TCA_CLS_FLAGS_SKIP_HW))
            } else {
                // struct tc_u32_sel: terminal, one key; struct tc_u32_key: no bit of the word at 0 matters.
                options.attribute(Int(TCA_U32_SEL), [1, 0, 1] + [UInt8](repeating: 0, count: 13 + 16))
            }
            options.nest(isMatchall ? Int(TCA_MATCHALL_ACT) : Int(TCA_U32_ACT)) { actions in
                actions.nest(1) { action in
                    action.attribute(Int(TCA_ACT_KIND), "mirred")
                    action.nest(Int(TCA_ACT_OPTIONS)) { mirred in
                        // struct tc_mirred: index, capab, action, refcnt, bindcnt, eaction, ifindex.
                        var parameters: [UInt8] = []
                        for value in [0, 0, UInt32(TC_ACT_STOLEN), 0, 0, UInt32(TCA_EGRESS_REDIR), UInt32(bitPattern: to)] {
                            let value = value.littleEndian
                            for shift in 0..<4 { parameters.append(UInt8(truncatingIfNeeded: value >> UInt32(8 * shift))) }
                        }
                        mirred.attribute(Int(TCA_MIRRED_PARMS), parameters)
                    }
                }
            }
        }
        try socket.perform(request)
    }
}

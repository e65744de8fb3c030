// Netlink and network interfaces: constants (Swift sees the kernel's enums and plain macros), socket options, and the
// ioctls that have no netlink message.
#pragma once

#include <linux/ethtool.h>
#include <linux/ethtool_netlink.h>
#include <linux/genetlink.h>
#include <linux/if_ether.h>
#include <linux/netlink.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_mirred.h>
#include <linux/veth.h>
#include <net/if.h>

/// socket(AF_NETLINK), bound to a port of the kernel's choice, with extended acknowledgements (NETLINK_EXT_ACK, NETLINK_CAP_ACK).
int clinux_netlink_socket(int protocol);
/// NETLINK_ADD_MEMBERSHIP.
int clinux_netlink_join(int fd, unsigned group);
/// recvfrom(2) with MSG_TRUNC: the datagram's real length, which may be more than `count`. `*sender` gets the sender's port: 0 is
/// the kernel. (sockaddr_nl would have to be cast.)
int64_t clinux_netlink_receive(int fd, void *bytes, size_t count, int flags, uint32_t *sender);

/// SIOCETHTOOL for the interface `name`; `data` starts with an ETHTOOL_… command. ioctl(2) is variadic.
int clinux_ethtool(int fd, const char *name, void *data);

/// setns(2) and unshare(2) for network namespaces: the calling thread's.
int clinux_enter_network_namespace(int fd);
int clinux_unshare_network(void);

/// An AF_PACKET socket on one interface: whole frames, as they are. (sockaddr_ll would have to be cast; tests send with it what no
/// program on top of IP could.)
int clinux_packet_socket(int index);

#include "CLinux.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>

int clinux_netlink_socket(int protocol) {
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
    if (fd < 0) return -1;
    struct sockaddr_nl address;
    memset(&address, 0, sizeof address);
    address.nl_family = AF_NETLINK;
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        int code = errno;
        close(fd);
        errno = code;
        return -1;
    }
    // Kernels without them only say less when they refuse something.
    int on = 1;
    (void)setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
    (void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
    return fd;
}

int clinux_netlink_join(int fd, unsigned group) {
    return setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group);
}

int64_t clinux_netlink_receive(int fd, void *bytes, size_t count, int flags, uint32_t *sender) {
    struct sockaddr_nl address;
    socklen_t length = sizeof address;
    memset(&address, 0, sizeof address);
    ssize_t received = recvfrom(fd, bytes, count, flags | MSG_TRUNC, (struct sockaddr *)&address, &length);
    *sender = address.nl_pid;
    return received;
}

int clinux_ethtool(int fd, const char *name, void *data) {
    struct ifreq request;
    memset(&request, 0, sizeof request);
    size_t length = strlen(name);
    if (length == 0 || length >= sizeof request.ifr_name) {
        errno = ENODEV;
        return -1;
    }
    memcpy(request.ifr_name, name, length + 1);
    request.ifr_data = data;
    return ioctl(fd, SIOCETHTOOL, &request);
}

int clinux_enter_network_namespace(int fd) { return setns(fd, CLONE_NEWNET); }
int clinux_unshare_network(void) { return unshare(CLONE_NEWNET); }

int clinux_packet_socket(int index) {
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    struct sockaddr_ll address;
    memset(&address, 0, sizeof address);
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = index;
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        int code = errno;
        close(fd);
        errno = code;
        return -1;
    }
    return fd;
}

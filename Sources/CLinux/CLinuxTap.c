#include "CLinux.h"

#include <linux/if_tun.h>
#include <sys/ioctl.h>

static int set_interface(int fd, const char *name, int flags) {
    struct ifreq request;
    memset(&request, 0, sizeof request);
    if (strlen(name) >= sizeof request.ifr_name) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(request.ifr_name, name);
    request.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | flags);
    return ioctl(fd, TUNSETIFF, &request);
}

int clinux_tap_attach(int fd, const char *name, int multi_queue) {
    if (set_interface(fd, name, multi_queue ? IFF_MULTI_QUEUE : 0) != 0) return -1;
    // Where there is no interface of that name, TUNSETIFF makes one, which ends with the descriptor.
    struct ifreq found;
    memset(&found, 0, sizeof found);
    if (ioctl(fd, TUNGETIFF, &found) != 0) return -1;
    if ((found.ifr_flags & IFF_PERSIST) != 0) return 0;
    errno = ENODEV;
    return -1;
}

int clinux_tap_create(int fd, const char *name, int multi_queue) {
    if (set_interface(fd, name, IFF_TUN_EXCL | (multi_queue ? IFF_MULTI_QUEUE : 0)) != 0) return -1;
    return ioctl(fd, TUNSETOWNER, 0UL);
}

int clinux_tap_set_header_size(int fd, int size) { return ioctl(fd, TUNSETVNETHDRSZ, &size); }

int clinux_tap_set_offload(int fd, unsigned flags) { return ioctl(fd, TUNSETOFFLOAD, (unsigned long)flags); }

int clinux_tap_set_carrier(int fd, int on) {
    int value = on ? 1 : 0;
    return ioctl(fd, TUNSETCARRIER, &value);
}

int clinux_tap_set_queue(int fd, int attached) {
    struct ifreq request;
    memset(&request, 0, sizeof request);
    request.ifr_flags = attached ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE;
    return ioctl(fd, TUNSETQUEUE, &request);
}

int clinux_tap_set_persistent(int fd, int on) { return ioctl(fd, TUNSETPERSIST, (unsigned long)(on ? 1 : 0)); }

// TAP devices: request numbers are macros with sizeof, struct ifreq is a union, and ioctl(2) is variadic.
#pragma once

/// TUNSETIFF with IFF_TAP, IFF_NO_PI and IFF_VNET_HDR, and IFF_MULTI_QUEUE if asked for: an interface that is there, and is persistent. 0,
/// or -1 and errno; ENODEV: there is none, and one that came into being ends with the descriptor.
int clinux_tap_attach(int fd, const char *name, int multi_queue);
/// The same with IFF_TUN_EXCL: makes a new TAP device, which only root may attach to (TUNSETOWNER). EBUSY: the name is taken.
int clinux_tap_create(int fd, const char *name, int multi_queue);
/// TUNSETVNETHDRSZ.
int clinux_tap_set_header_size(int fd, int size);
/// TUNSETOFFLOAD. `flags`: TUN_F_…; EINVAL: the kernel does not know one of them.
int clinux_tap_set_offload(int fd, unsigned flags);
/// TUNSETCARRIER.
int clinux_tap_set_carrier(int fd, int on);
/// TUNSETQUEUE: an attached queue gets its share of the packets, a detached one none.
int clinux_tap_set_queue(int fd, int attached);
/// TUNSETPERSIST.
int clinux_tap_set_persistent(int fd, int on);

static const uint32_t CLINUX_TUN_F_CSUM = 0x01;
static const uint32_t CLINUX_TUN_F_TSO4 = 0x02;
static const uint32_t CLINUX_TUN_F_TSO6 = 0x04;
static const uint32_t CLINUX_TUN_F_TSO_ECN = 0x08;
static const uint32_t CLINUX_TUN_F_UFO = 0x10;
/// Linux 6.2; newer than Debian 12's headers.
static const uint32_t CLINUX_TUN_F_USO4 = 0x20;
static const uint32_t CLINUX_TUN_F_USO6 = 0x40;

// Sockets: addresses that need casts, and control messages, whose macros Swift does not import.
#pragma once

/// SOCK_STREAM is an enum in glibc; the flags are added here so that Swift needs no casts.
int clinux_socket_unix_stream(void);
int clinux_socketpair_stream(int fds[2]);
/// -1 and ENAMETOOLONG if the path does not fit in sun_path. Non-abstract paths only.
int clinux_bind_unix(int fd, const char *path);
int clinux_connect_unix(int fd, const char *path);
int clinux_accept_cloexec(int fd);

int clinux_socket_vsock_stream(void);
int clinux_connect_vsock(int fd, uint32_t cid, uint32_t port);
int clinux_bind_vsock(int fd, uint32_t cid, uint32_t port);
/// The CID of this machine (IOCTL_VM_SOCKETS_GET_LOCAL_CID), or -1 and errno.
int64_t clinux_vsock_local_cid(void);

/// sendmsg with SCM_RIGHTS. MSG_NOSIGNAL is always added.
int64_t clinux_send_with_fds(int fd, const void *bytes, size_t count, const int *fds, int fd_count, int flags);
/// recvmsg with MSG_CMSG_CLOEXEC. `*fd_count`: in, how many `fds` holds (at most 32); out, how many came.
/// If the peer sent more than fit, all are closed, and it fails with EMSGSIZE.
int64_t clinux_receive_with_fds(int fd, void *bytes, size_t count, int *fds, int *fd_count, int flags);

/// The peer's process id (SO_PEERCRED), or -1 and errno.
int clinux_peer_pid(int fd);
/// 1 for a socket that listens, 0 for any other (SO_ACCEPTCONN), or -1 and errno.
int clinux_is_listening(int fd);
int clinux_socket_error(int fd);
int clinux_set_buffer_sizes(int fd, int send, int receive);

/// CMSG_* are macros. For a recvmsg that io_uring makes: bytes of control buffer for `count` descriptors, and
/// the descriptors out of a filled-in msghdr (all closed and -1/EMSGSIZE when truncated or more than `capacity`).
size_t clinux_control_bytes(int count);
int clinux_control_descriptors(struct msghdr *message, int *fds, int capacity);

#include "CLinux.h"

#include <sys/ioctl.h>
#include <linux/vm_sockets.h>

enum { most_fds = 32 };

int clinux_socket_unix_stream(void) { return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0); }
int clinux_socketpair_stream(int fds[2]) { return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds); }

static int unix_address(struct sockaddr_un *address, const char *path) {
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof address->sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, path, length + 1);
    return 0;
}

int clinux_bind_unix(int fd, const char *path) {
    struct sockaddr_un address;
    if (unix_address(&address, path) != 0) return -1;
    return bind(fd, (struct sockaddr *)&address, sizeof address);
}

int clinux_connect_unix(int fd, const char *path) {
    struct sockaddr_un address;
    if (unix_address(&address, path) != 0) return -1;
    return connect(fd, (struct sockaddr *)&address, sizeof address);
}

int clinux_accept_cloexec(int fd) { return accept4(fd, NULL, NULL, SOCK_CLOEXEC); }

int clinux_socket_vsock_stream(void) { return socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0); }

static struct sockaddr_vm vsock_address(uint32_t cid, uint32_t port) {
    struct sockaddr_vm address;
    memset(&address, 0, sizeof address);
    address.svm_family = AF_VSOCK;
    address.svm_cid = cid;
    address.svm_port = port;
    return address;
}

int clinux_connect_vsock(int fd, uint32_t cid, uint32_t port) {
    struct sockaddr_vm address = vsock_address(cid, port);
    return connect(fd, (struct sockaddr *)&address, sizeof address);
}

int clinux_bind_vsock(int fd, uint32_t cid, uint32_t port) {
    struct sockaddr_vm address = vsock_address(cid, port);
    return bind(fd, (struct sockaddr *)&address, sizeof address);
}

int64_t clinux_vsock_local_cid(void) {
    int fd = open("/dev/vsock", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    unsigned cid = 0;
    int result = ioctl(fd, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid);
    int code = errno;
    close(fd);
    errno = code;
    return result < 0 ? -1 : (int64_t)cid;
}

int64_t clinux_send_with_fds(int fd, const void *bytes, size_t count, const int *fds, int fd_count, int flags) {
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int) * most_fds)];
    } control;
    if (fd_count < 0 || fd_count > most_fds) {
        errno = EINVAL;
        return -1;
    }
    struct iovec part = {(void *)bytes, count};
    struct msghdr message;
    memset(&message, 0, sizeof message);
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (fd_count > 0) {
        memset(&control, 0, sizeof control);
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)fd_count);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)fd_count);
        memcpy(CMSG_DATA(header), fds, sizeof(int) * (size_t)fd_count);
    }
    return sendmsg(fd, &message, flags | MSG_NOSIGNAL);
}

size_t clinux_control_bytes(int count) { return CMSG_SPACE(sizeof(int) * (size_t)count); }

int clinux_control_descriptors(struct msghdr *message, int *fds, int capacity) {
    int found = 0;
    int excess = (message->msg_flags & MSG_CTRUNC) != 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
            if (found < capacity) {
                fds[found++] = fd;
            } else {
                close(fd);
                excess = 1;
            }
        }
    }
    if (excess) {
        while (found > 0) close(fds[--found]);
        errno = EMSGSIZE;
        return -1;
    }
    return found;
}

int64_t clinux_receive_with_fds(int fd, void *bytes, size_t count, int *fds, int *fd_count, int flags) {
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int) * most_fds)];
    } control;
    int capacity = *fd_count;
    *fd_count = 0;
    if (capacity < 0 || capacity > most_fds) {
        errno = EINVAL;
        return -1;
    }
    struct iovec part = {bytes, count};
    struct msghdr message;
    memset(&message, 0, sizeof message);
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    int64_t received = recvmsg(fd, &message, flags | MSG_CMSG_CLOEXEC);
    if (received < 0) return -1;
    int found = clinux_control_descriptors(&message, fds, capacity);
    if (found < 0) return -1;
    *fd_count = found;
    return received;
}

int clinux_peer_pid(int fd) {
    struct ucred credentials;
    socklen_t length = sizeof credentials;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) return -1;
    return credentials.pid;
}

int clinux_is_listening(int fd) {
    int listens = 0;
    socklen_t length = sizeof listens;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) != 0) return -1;
    return listens;
}

int clinux_socket_error(int fd) {
    int code = 0;
    socklen_t length = sizeof code;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &length) != 0) return errno;
    return code;
}

int clinux_set_buffer_sizes(int fd, int send, int receive) {
    if (send > 0 && setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send, sizeof send) != 0) return -1;
    if (receive > 0 && setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive, sizeof receive) != 0) return -1;
    return 0;
}

#include "CLinux.h"

#include <linux/memfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

int clinux_errno(void) { return errno; }
void clinux_set_errno(int code) { errno = code; }

const char *clinux_strerror(int code) {
    // strerrordesc_np reads a constant table; strerror may not be called by two threads at once.
    const char *text = strerrordesc_np(code);
    return text ? text : "unknown error";
}

int clinux_open(const char *path, int flags, unsigned mode) { return open(path, flags | O_CLOEXEC, mode); }
int clinux_fcntl_getfl(int fd) { return fcntl(fd, F_GETFL); }
int clinux_fcntl_setfl(int fd, int flags) { return fcntl(fd, F_SETFL, flags); }
int clinux_fcntl_dup_cloexec(int fd) { return fcntl(fd, F_DUPFD_CLOEXEC, 0); }
int clinux_fcntl_add_seals(int fd, int seals) { return fcntl(fd, F_ADD_SEALS, seals); }
int clinux_fcntl_get_seals(int fd) { return fcntl(fd, F_GET_SEALS); }

void *clinux_mmap(void *address, size_t length, int protection, int flags, int fd, int64_t offset) {
    void *place = mmap(address, length, protection, flags, fd, (off_t)offset);
    return place == MAP_FAILED ? NULL : place;
}

int clinux_memfd_create(const char *name, unsigned flags) { return memfd_create(name, flags | MFD_CLOEXEC); }

int clinux_set_child_subreaper(int on) { return prctl(PR_SET_CHILD_SUBREAPER, (unsigned long)on, 0, 0, 0); }
int clinux_set_parent_death_signal(int signal) { return prctl(PR_SET_PDEATHSIG, (unsigned long)signal, 0, 0, 0); }
int clinux_set_name(const char *name) { return prctl(PR_SET_NAME, (unsigned long)name, 0, 0, 0); }

int clinux_pidfd_open(int pid, unsigned flags) { return (int)syscall(SYS_pidfd_open, pid, flags); }
int clinux_pidfd_send_signal(int pidfd, int signal) {
    return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
}

int clinux_pidfd_getfd(int pidfd, int target) { return (int)syscall(SYS_pidfd_getfd, pidfd, target, 0); }

static int wait_for(idtype_t type, id_t id, int options, int *code, int *status) {
    siginfo_t information;
    memset(&information, 0, sizeof information);
    if (waitid(type, id, &information, options | WEXITED) != 0) return -1;
    *code = information.si_code;
    *status = information.si_status;
    return information.si_pid;
}

int clinux_waitid_pidfd(int pidfd, int options, int *code, int *status) {
    int result = wait_for((idtype_t)P_PIDFD, (id_t)pidfd, options, code, status);
    return result > 0 ? 1 : result;
}

int clinux_waitid_pid(int pid, int options, int *code, int *status) {
    return wait_for(pid == 0 ? P_ALL : P_PID, (id_t)pid, options, code, status);
}

static void fill(struct clinux_stat *result, const struct stat *found) {
    result->size = (uint64_t)found->st_size;
    result->device = (uint64_t)found->st_rdev;
    result->inode = (uint64_t)found->st_ino;
    result->mode = (uint32_t)found->st_mode;
    result->_reserved = 0;
    result->file_system = (uint64_t)found->st_dev;
}

int clinux_fstat(int fd, struct clinux_stat *result) {
    struct stat found;
    if (fstat(fd, &found) != 0) return -1;
    fill(result, &found);
    return 0;
}

int clinux_stat_path(const char *path, struct clinux_stat *result) {
    struct stat found;
    if (stat(path, &found) != 0) return -1;
    fill(result, &found);
    return 0;
}

int clinux_lstat_path(const char *path, struct clinux_stat *result) {
    struct stat found;
    if (lstat(path, &found) != 0) return -1;
    fill(result, &found);
    return 0;
}

int clinux_ignore_signal(int signal_number) { return signal(signal_number, SIG_IGN) == SIG_ERR ? -1 : 0; }

int clinux_signalfd(const int *signals, int count) {
    sigset_t set;
    sigemptyset(&set);
    for (int i = 0; i < count; i++) sigaddset(&set, signals[i]);
    int failure = pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (failure != 0) {
        errno = failure;
        return -1;
    }
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

void clinux_sleep_nanoseconds(uint64_t nanoseconds) {
    struct timespec left = {(time_t)(nanoseconds / 1000000000ull), (long)(nanoseconds % 1000000000ull)};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {}
}

int clinux_io_uring_setup(unsigned entries, struct io_uring_params *parameters) {
    return (int)syscall(SYS_io_uring_setup, entries, parameters);
}
int clinux_io_uring_enter(int fd, unsigned submit, unsigned minimum, unsigned flags, const void *argument, size_t size) {
    return (int)syscall(SYS_io_uring_enter, fd, submit, minimum, flags, argument, size);
}
int clinux_io_uring_register(int fd, unsigned operation, const void *argument, unsigned count) {
    return (int)syscall(SYS_io_uring_register, fd, operation, argument, count);
}

// errno, variadics and raw system calls that any program of Drover needs.
#pragma once

/// `errno` is a macro around a function call, which Swift does not import.
int clinux_errno(void);
void clinux_set_errno(int code);
/// The text of an errno, from a table that never changes: safe on every thread.
const char *clinux_strerror(int code);

/// open(2) is variadic.
int clinux_open(const char *path, int flags, unsigned mode);
/// O_DIRECT is defined through another macro.
static const int32_t CLINUX_O_DIRECT = O_DIRECT;
/// fcntl(2) is variadic.
int clinux_fcntl_getfl(int fd);
int clinux_fcntl_setfl(int fd, int flags);
int clinux_fcntl_dup_cloexec(int fd);
int clinux_fcntl_add_seals(int fd, int seals);
int clinux_fcntl_get_seals(int fd);

/// MAP_FAILED is a cast macro: returns NULL on failure instead (no caller maps page zero).
void *clinux_mmap(void *address, size_t length, int protection, int flags, int fd, int64_t offset);

/// memfd_create(2), with the size set and, if asked for, growing and shrinking sealed.
int clinux_memfd_create(const char *name, unsigned flags);

/// prctl(2) is variadic.
int clinux_set_child_subreaper(int on);
int clinux_set_parent_death_signal(int signal);
int clinux_set_name(const char *name);

/// Debian 12's libc has no wrapper that Swift can rely on in a static guest: raw system calls.
int clinux_pidfd_open(int pid, unsigned flags);
int clinux_pidfd_send_signal(int pidfd, int signal);
/// A descriptor of its own for what another process has open under the number `target` (close-on-exec).
int clinux_pidfd_getfd(int pidfd, int target);

/// waitid(2) on a pidfd: siginfo_t is a union that Swift cannot read. `code` gets CLD_EXITED, CLD_KILLED or CLD_DUMPED,
/// `status` the exit status or the signal. Returns 1 when reaped, 0 when still running (WNOHANG), -1 and errno otherwise.
int clinux_waitid_pidfd(int pidfd, int options, int *code, int *status);
/// waitid(2) on a pid or (pid 0) on any child: returns the pid that was reaped, 0 when none, -1 and errno otherwise.
int clinux_waitid_pid(int pid, int options, int *code, int *status);

/// sizeof and flags of struct stat differ between machines; Drover wants these five.
struct clinux_stat {
    uint64_t size;
    uint64_t device;        // st_rdev
    uint64_t inode;
    uint32_t mode;
    uint32_t _reserved;
    uint64_t file_system;   // st_dev
};
int clinux_fstat(int fd, struct clinux_stat *result);
int clinux_stat_path(const char *path, struct clinux_stat *result);
/// Of a symbolic link itself.
int clinux_lstat_path(const char *path, struct clinux_stat *result);

/// SIG_IGN and SIG_DFL are cast macros.
int clinux_ignore_signal(int signal);

/// sigset_t, blocked for the calling thread, and a signalfd for it in one.
int clinux_signalfd(const int *signals, int count);

/// pause instruction, for a loop that polls shared memory.
static inline void clinux_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/// clock_gettime in nanoseconds: the vDSO does it, without a struct on the Swift side.
static inline uint64_t clinux_clock_nanoseconds(int clock) {
    struct timespec now;
    if (clock_gettime(clock, &now) != 0) return 0;
    return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}
/// The processor's time-stamp counter; 0 where it has none.
static inline uint64_t clinux_timestamp_counter(void) {
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#else
    return 0;
#endif
}
/// nanosleep that does not return early on a signal.
void clinux_sleep_nanoseconds(uint64_t nanoseconds);

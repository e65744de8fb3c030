#include "CLinux.h"

#include <linux/fs.h>
#include <linux/reboot.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

int clinux_block_limits(int fd, struct clinux_block_limits *limits) {
    memset(limits, 0, sizeof *limits);
    int logical = 0, read_only = 0;
    unsigned physical = 0, minimum = 0, optimal = 0;
    unsigned short rotational = 0, sectors = 0;
    if (ioctl(fd, BLKGETSIZE64, &limits->size) != 0) return -1;
    if (ioctl(fd, BLKSSZGET, &logical) != 0) return -1;
    if (ioctl(fd, BLKROGET, &read_only) != 0) return -1;
    // The rest is advice: a device that does not say is served without it.
    if (ioctl(fd, BLKPBSZGET, &physical) != 0) physical = (unsigned)logical;
    if (ioctl(fd, BLKIOMIN, &minimum) != 0) minimum = 0;
    if (ioctl(fd, BLKIOOPT, &optimal) != 0) optimal = 0;
    if (ioctl(fd, BLKROTATIONAL, &rotational) != 0) rotational = 0;
    if (ioctl(fd, BLKSECTGET, &sectors) != 0) sectors = 0;
    limits->logical_block_size = (uint32_t)logical;
    limits->physical_block_size = physical;
    limits->minimum_io_size = minimum;
    limits->optimal_io_size = optimal;
    limits->read_only = (uint32_t)read_only;
    limits->rotational = rotational;
    limits->max_sectors = sectors;
    return 0;
}

int clinux_block_discard(int fd, uint64_t offset, uint64_t length) {
    uint64_t range[2] = {offset, length};
    return ioctl(fd, BLKDISCARD, range);
}

int clinux_block_write_zeroes(int fd, uint64_t offset, uint64_t length) {
    uint64_t range[2] = {offset, length};
    return ioctl(fd, BLKZEROOUT, range);
}

int clinux_block_flush_partitions(int fd) { return ioctl(fd, BLKRRPART); }

int clinux_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data) {
    return mount(source, target, type, flags, data);
}

int clinux_finit_module(int fd, const char *parameters, int flags) {
    return (int)syscall(SYS_finit_module, fd, parameters, flags);
}

int clinux_power_off(void) { return reboot(RB_POWER_OFF); }
int clinux_restart(void) { return reboot(RB_AUTOBOOT); }

int clinux_panic(void) {
    int fd = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    ssize_t written = write(fd, "c", 1);
    close(fd);
    return written == 1 ? 0 : -1;
}

uint64_t clinux_make_device(unsigned major, unsigned minor) { return makedev(major, minor); }
int clinux_make_node(const char *path, unsigned mode, uint64_t device) { return mknod(path, mode, device); }

int clinux_list_directory(const char *path, void *context, int (*each)(void *context, const char *name)) {
    DIR *directory = opendir(path);
    if (!directory) return -1;
    struct dirent *entry;
    int code;
    for (;;) {
        errno = 0;
        entry = readdir(directory);
        code = errno;
        if (!entry) break;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (each(context, entry->d_name) != 0) break;
    }
    closedir(directory);
    if (!entry && code != 0) {
        errno = code;
        return -1;
    }
    return 0;
}

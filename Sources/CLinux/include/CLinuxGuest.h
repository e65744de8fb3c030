// What PID 1 of a DD/OS needs and an ordinary program does not.
#pragma once

int clinux_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data);
/// finit_module(2): libc has no wrapper.
int clinux_finit_module(int fd, const char *parameters, int flags);
/// reboot(2) commands, which are macros of the kernel's.
int clinux_power_off(void);
int clinux_restart(void);
int clinux_panic(void);
/// Device numbers for mknod-free set-ups: makedev is a macro.
uint64_t clinux_make_device(unsigned major, unsigned minor);
int clinux_make_node(const char *path, unsigned mode, uint64_t device);
/// readdir(3): struct dirent's name is an array that Swift imports as a tuple. Calls back with each name but . and ..;
/// stops when `each` returns non-zero. 0, or -1 and errno.
int clinux_list_directory(const char *path, void *context, int (*each)(void *context, const char *name));

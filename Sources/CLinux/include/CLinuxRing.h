// io_uring without liburing: the two system calls, and the numbers Debian 12's headers may lack.
#pragma once

#ifndef IORING_SETUP_SINGLE_ISSUER
#define IORING_SETUP_SINGLE_ISSUER (1U << 12)
#endif
#ifndef IORING_SETUP_DEFER_TASKRUN
#define IORING_SETUP_DEFER_TASKRUN (1U << 13)
#endif

int clinux_io_uring_setup(unsigned entries, struct io_uring_params *parameters);
int clinux_io_uring_enter(int fd, unsigned submit, unsigned minimum, unsigned flags, const void *argument, size_t size);
int clinux_io_uring_register(int fd, unsigned operation, const void *argument, unsigned count);

/// The submission entry has six anonymous unions: Swift would see only some of their names. Every field Drover sets, in one call.
static inline void clinux_sqe_fill(
    struct io_uring_sqe *entry, uint8_t operation, uint8_t flags, uint16_t priority, int32_t fd, uint64_t offset,
    uint64_t address, uint32_t length, uint32_t operation_flags, uint64_t user_data) {
    entry->opcode = operation;
    entry->flags = flags;
    entry->ioprio = priority;
    entry->fd = fd;
    entry->off = offset;
    entry->addr = address;
    entry->len = length;
    entry->rw_flags = (int32_t)operation_flags;
    entry->user_data = user_data;
    entry->buf_index = 0;
    entry->personality = 0;
    entry->file_index = 0;
    entry->addr3 = 0;
    entry->__pad2[0] = 0;
}
static inline void clinux_sqe_set_buffer_index(struct io_uring_sqe *entry, uint16_t index) { entry->buf_index = index; }

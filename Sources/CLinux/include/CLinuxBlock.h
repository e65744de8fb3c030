// Block device ioctls: request numbers are macros with sizeof, and ioctl(2) is variadic.
#pragma once

/// What a virtio-blk device has to know of a Linux block device. All sizes in bytes.
struct clinux_block_limits {
    uint64_t size;                  // BLKGETSIZE64
    uint32_t logical_block_size;    // BLKSSZGET
    uint32_t physical_block_size;   // BLKPBSZGET
    uint32_t minimum_io_size;       // BLKIOMIN, 0 unknown
    uint32_t optimal_io_size;       // BLKIOOPT, 0 unknown
    uint32_t read_only;             // BLKROGET
    uint32_t rotational;            // BLKROTATIONAL
    uint32_t max_sectors;           // BLKSECTGET, 512-byte sectors per request
    uint32_t _reserved;
};
/// 0, or -1 and errno (ENOTTY: not a block device).
int clinux_block_limits(int fd, struct clinux_block_limits *limits);
int clinux_block_discard(int fd, uint64_t offset, uint64_t length);
int clinux_block_write_zeroes(int fd, uint64_t offset, uint64_t length);
int clinux_block_flush_partitions(int fd);

// PID 1 of the images that EndToEndTests/Network/HostileGuest.swift builds. It holds Drover's own server stub, and becomes it.
//
// Where the kernel's command line says "hostile", a child keeps the virtio-net device at 0000:00:13.0 from the kernel's driver and drives it from
// user space: honestly at first, so that a session begins, and then as the frames that it receives tell it. The server stub is left a dummy
// interface to forward to, and is honest: what lies is what a person who has taken over the DD/OS's kernel could make lie.
//
//     frames to this program: type 0x88b5, then a word ("headers", "flood", the name of an attack, or anything that begins with "hello")
//     frames from it:         type 0x88b6, then the "hello…" that was heard
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

__asm__(".section .rodata\n.global stub_begin, stub_end\nstub_begin:\n.incbin \"" STUB "\"\nstub_end:\n.previous\n");
extern const uint8_t stub_begin[], stub_end[];

#define DEVICE "/sys/bus/pci/devices/0000:00:13.0/"
#define QUEUE 64
#define HUGE_PAGE (2u << 20)

static void say(const char *format, ...) {
    char line[200];
    va_list list;
    va_start(list, format);
    int count = vsnprintf(line, sizeof line, format, list);
    va_end(list);
    int file = open("/dev/kmsg", O_WRONLY);
    if (file >= 0) {
        (void)!write(file, line, (size_t)count);
        close(file);
    }
}

static _Noreturn void give_up(const char *what) {
    say("hostile guest: %s: %s", what, strerror(errno));
    exit(1);
}

static void put(const char *path, const void *bytes, size_t count) {
    int file = open(path, O_WRONLY | O_CREAT, 0755);
    if (file < 0 || write(file, bytes, count) != (ssize_t)count) give_up(path);
    close(file);
}

// MARK: the device (virtio 1.2, 4.1.4 and 2.7)

struct descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};
enum { NEXT = 1, WRITABLE = 2, INDIRECT = 4 };

struct queue {
    volatile struct descriptor *descriptors;
    volatile uint16_t *available;  // flags, index, ring
    volatile uint16_t *used;       // flags, index, then pairs of 32-bit words
    volatile uint16_t *bell;
    uint16_t number, next, seen;
};

static uint8_t *memory;
static uint64_t physical;
static struct queue receiving = {.number = 0}, sending = {.number = 1};

// Where things are in the huge page.
enum { RINGS = 0, SCRATCH = 0x8000, RECEIVE = 0x10000, RECEIVE_SIZE = 4096, SEND = 0x80000, SEND_SIZE = 4096 };

static void ring(struct queue *queue) {
    __sync_synchronize();
    *queue->bell = queue->number;
}

static void offer(struct queue *queue, uint16_t head) {
    queue->available[2 + queue->next % QUEUE] = head;
    __sync_synchronize();
    queue->available[1] = ++queue->next;
}

static void describe(struct queue *queue, uint16_t index, uint64_t address, uint32_t length, uint16_t flags, uint16_t next) {
    queue->descriptors[index].address = address;
    queue->descriptors[index].length = length;
    queue->descriptors[index].flags = flags;
    queue->descriptors[index].next = next;
}

static void find_memory(void) {
    put("/proc/sys/vm/nr_hugepages", "1", 1);
    memory = mmap(NULL, HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED) give_up("huge page");
    memory[0] = 0;
    int file = open("/proc/self/pagemap", O_RDONLY);
    uint64_t entry = 0;
    if (file < 0 || pread(file, &entry, 8, (off_t)((uintptr_t)memory / 4096 * 8)) != 8) give_up("pagemap");
    close(file);
    physical = (entry & ((1ull << 55) - 1)) * 4096;
    if (physical == 0) give_up("the physical address is hidden");
}

static volatile uint8_t *map(int bar) {
    char path[100];
    snprintf(path, sizeof path, DEVICE "resource%d", bar);
    int file = open(path, O_RDWR | O_SYNC);
    struct stat status;
    if (file < 0 || fstat(file, &status) != 0) give_up(path);
    void *place = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (place == MAP_FAILED) give_up("map the device");
    close(file);
    return place;
}

static void set_up(struct queue *queue, volatile uint8_t *common, volatile uint8_t *bells, uint32_t stride) {
    uint32_t at = RINGS + 0x3000u * queue->number;
    queue->descriptors = (void *)(memory + at);
    queue->available = (void *)(memory + at + 0x1000);
    queue->used = (void *)(memory + at + 0x2000);
    queue->available[0] = 1;  // No interrupts: nobody would take them.
    *(volatile uint16_t *)(common + 22) = queue->number;
    *(volatile uint16_t *)(common + 24) = QUEUE;
    *(volatile uint16_t *)(common + 26) = 0xffff;
    for (int part = 0; part < 3; part++) {
        uint64_t address = physical + at + 0x1000u * (unsigned)part;
        *(volatile uint32_t *)(common + 32 + 8 * part) = (uint32_t)address;
        *(volatile uint32_t *)(common + 36 + 8 * part) = (uint32_t)(address >> 32);
    }
    queue->bell = (void *)(bells + stride * *(volatile uint16_t *)(common + 30));
    *(volatile uint16_t *)(common + 28) = 1;
}

static void start(void) {
    uint8_t space[256];
    int file = open(DEVICE "config", O_RDWR);
    if (file < 0 || pread(file, space, sizeof space, 0) < 64) give_up("configuration space");
    uint16_t command = 2 | 4 | 0x400;  // memory, bus master, no interrupt line
    if (pwrite(file, &command, 2, 4) != 2 || pread(file, space, sizeof space, 0) != sizeof space) give_up("command register");
    close(file);
    volatile uint8_t *common = NULL, *bells = NULL;
    uint32_t stride = 0;
    for (uint8_t place = space[0x34]; place != 0 && place < 0xe8; place = space[place + 1]) {
        if (space[place] != 9) continue;
        uint32_t offset;
        memcpy(&offset, space + place + 8, 4);
        if (space[place + 3] == 1) common = map(space[place + 4]) + offset;
        if (space[place + 3] == 2) {
            bells = map(space[place + 4]) + offset;
            memcpy(&stride, space + place + 16, 4);
        }
    }
    if (common == NULL || bells == NULL) give_up("virtio capabilities");
    common[20] = 0;
    while (common[20] != 0) usleep(1000);
    common[20] = 1 | 2;
    uint32_t wanted[2] = {1u << 0 | 1u << 11 | 1u << 15 | 1u << 28, 1};  // CSUM, HOST_TSO4, MRG_RXBUF, INDIRECT_DESC; VERSION_1
    for (uint32_t word = 0; word < 2; word++) {
        *(volatile uint32_t *)(common + 0) = word;
        uint32_t offered = *(volatile uint32_t *)(common + 4);
        if ((offered & wanted[word]) != wanted[word]) say("hostile guest: features %u: %x of %x", word, offered, wanted[word]);
        *(volatile uint32_t *)(common + 8) = word;
        *(volatile uint32_t *)(common + 12) = offered & wanted[word];
    }
    common[20] = 1 | 2 | 8;
    if (!(common[20] & 8)) give_up("features");
    set_up(&receiving, common, bells, stride);
    set_up(&sending, common, bells, stride);
    for (uint16_t index = 0; index < QUEUE; index++) {
        describe(&receiving, index, physical + RECEIVE + RECEIVE_SIZE * index, RECEIVE_SIZE, WRITABLE, 0);
        offer(&receiving, index);
    }
    common[20] = 1 | 2 | 8 | 4;
    ring(&receiving);
}

// MARK: honest

// Everything that was sent has been taken: the whole ring is free.
static void drain(void) {
    for (int turn = 0; sending.used[1] != sending.next; turn++) {
        if (turn > 10000) give_up("the device takes no packets");
        ring(&sending);
        usleep(1000);
    }
}

static uint8_t *slot(uint16_t index) { return memory + SEND + SEND_SIZE * index; }
static uint64_t slot_address(uint16_t index) { return physical + SEND + SEND_SIZE * index; }

// A frame behind an empty vnet header, in slot `index`; its bytes with the header.
static uint32_t compose(uint16_t index, uint16_t type, const char *words) {
    uint8_t *place = slot(index);
    memset(place, 0, 128);
    uint8_t *frame = place + 12;
    memset(frame, 0xff, 6);
    memcpy(frame + 6, "\x02\0\0\0\x66\x01", 6);
    frame[12] = (uint8_t)(type >> 8);
    frame[13] = (uint8_t)type;
    strncpy((char *)frame + 14, words, 40);
    return 12 + 60;
}

static void answer(const char *words) {
    drain();
    describe(&sending, 0, slot_address(0), compose(0, 0x88b6, words), 0, 0);
    offer(&sending, 0);
    ring(&sending);
}

// MARK: hostile

// Packets whose vnet headers or lengths cannot be: dropped by the device, each of them, and nothing else.
static void malformed_headers(void) {
    struct {
        uint8_t flags, segmentation;
        uint16_t header, segment, start, offset;
        uint32_t bytes;  // with the header; 0: as a good packet
    } wrong[] = {
        {1, 0, 0, 0, 0xffff, 0xffff, 0}, {1, 0, 0, 0, 14, 45, 0},         {1, 0, 0, 0, 0, 16, 0},      {0, 0x7f, 0, 100, 0, 0, 0},
        {0, 1, 54, 100, 0, 0, 0},        {1, 1, 54, 0, 34, 16, 0},        {1, 1, 0xffff, 9, 34, 16, 0}, {1, 5, 42, 100, 34, 6, 0},
        {0, 0, 0, 0, 0, 0, 4},           {0, 0, 0, 0, 0, 0, 12},          {0, 0, 0, 0, 0, 0, 25},       {0, 0, 0, 0, 0, 0, 81920},
    };
    for (int round = 0; round < 20; round++) {
        for (size_t kind = 0; kind < sizeof wrong / sizeof wrong[0]; kind++) {
            drain();
            uint32_t bytes = compose(0, 0x88b7, "malformed");
            slot(0)[0] = wrong[kind].flags;
            slot(0)[1] = wrong[kind].segmentation;
            memcpy(slot(0) + 2, &wrong[kind].header, 8);
            if (wrong[kind].bytes != 0) bytes = wrong[kind].bytes;
            uint16_t pieces = (uint16_t)((bytes + SEND_SIZE - 1) / SEND_SIZE);
            for (uint16_t piece = 0; piece < pieces; piece++) {
                uint32_t rest = bytes - SEND_SIZE * piece;
                bool last = piece + 1 == pieces;
                describe(&sending, piece, slot_address(piece), last ? rest : SEND_SIZE, last ? 0 : NEXT, piece + 1);
            }
            offer(&sending, 0);
            ring(&sending);
        }
    }
}

// Frames as fast as the device takes them, and bells for nothing on both queues between them.
static void flood(void) {
    drain();
    for (uint16_t index = 0; index < QUEUE; index++)
        describe(&sending, index, slot_address(index), compose(index, 0x88b7, "flood"), 0, 0);
    struct timespec now, end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += 4;
    do {
        for (int turn = 0; turn < 1000; turn++) {
            if ((uint16_t)(sending.next - sending.used[1]) < QUEUE) offer(&sending, sending.next % QUEUE);
            ring(turn % 4 == 0 ? &receiving : &sending);
        }
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (now.tv_sec < end.tv_sec);
    say("hostile guest: flooded");
}

// Descriptors and indices that break the ring's rules: each ends the session. `index`: a receive buffer that was given back.
static bool attack(const char *word, uint16_t index) {
    bool receives = strncmp(word, "receive-", 8) == 0;
    uint64_t place = slot_address(0);
    uint16_t head = 0;
    if (strcmp(word, "circle") == 0) describe(&sending, 0, place, 64, NEXT, 0);
    else if (strcmp(word, "outside") == 0) describe(&sending, 0, 0x7ffffffff000, 64, 0, 0);
    else if (strcmp(word, "length") == 0) describe(&sending, 0, place, 0xffffffff, 0, 0);
    else if (strcmp(word, "number") == 0) head = QUEUE;
    else if (strcmp(word, "next") == 0) describe(&sending, 0, place, 64, NEXT, 0xffff);
    else if (strcmp(word, "table") == 0) describe(&sending, 0, physical + SCRATCH, 24, INDIRECT, 0);
    else if (strcmp(word, "writable") == 0) describe(&sending, 0, place, 64, WRITABLE, 0);
    else if (strcmp(word, "receive-readable") == 0) describe(&receiving, index, physical + RECEIVE, 2048, 0, 0);
    else if (strcmp(word, "receive-small") == 0) describe(&receiving, index, physical + RECEIVE, 8, WRITABLE, 0);
    else if (strcmp(word, "jump") != 0) return false;
    drain();
    say("hostile guest: %s", word);
    if (receives) {
        offer(&receiving, index);
        ring(&receiving);
        return true;
    }
    if (strcmp(word, "jump") == 0) sending.available[1] = sending.next = (uint16_t)(sending.next + QUEUE + 1);
    else offer(&sending, head);
    ring(&sending);
    return true;
}

static _Noreturn void drive(void) {
    find_memory();
    start();
    say("hostile guest: drives the network device");
    while (true) {
        while (receiving.seen != receiving.used[1]) {
            __sync_synchronize();
            volatile uint32_t *element = (volatile uint32_t *)(receiving.used + 2) + 2 * (receiving.seen++ % QUEUE);
            uint16_t index = (uint16_t)element[0];
            char word[41] = {0};
            const uint8_t *frame = memory + RECEIVE + RECEIVE_SIZE * (index % QUEUE) + 12;
            if (frame[12] == 0x88 && frame[13] == 0xb5) memcpy(word, frame + 14, 40);
            if (word[0] != 0 && attack(word, index)) continue;
            offer(&receiving, index);
            ring(&receiving);
            if (strncmp(word, "hello", 5) == 0) answer(word);
            if (strcmp(word, "headers") == 0) malformed_headers();
            if (strcmp(word, "flood") == 0) flood();
        }
        usleep(2000);
    }
}

// Gives PID 1 another command line to read. What is mounted stays on top: mount(2) says that it is there already.
static void change_command_line(void) {
    char line[4096 + 100];
    int file = open("/proc/cmdline", O_RDONLY);
    ssize_t length = file < 0 ? -1 : read(file, line, 4096);
    if (length <= 0) give_up("/proc/cmdline");
    close(file);
    // The later word counts.
    length += sprintf(line + length, " drover.channel=dummy0");
    put("/cmdline", line, (size_t)length);
    if (mount("/cmdline", "/proc/cmdline", NULL, MS_BIND, NULL) != 0) give_up("another /proc/cmdline");
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mount, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EBUSY),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = 4, .filter = steps};
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) give_up("seccomp");
}

int main(int count, char **words) {
    bool hostile = false;
    // The kernel hands on the words of its command line that it does not know.
    for (int index = 1; index < count; index++) hostile = hostile || strcmp(words[index], "hostile") == 0;
    put("/server-stub", stub_begin, (size_t)(stub_end - stub_begin));
    if (hostile) {
        mount("proc", "/proc", "proc", 0, "");
        mount("sysfs", "/sys", "sysfs", 0, "");
        mount("devtmpfs", "/dev", "devtmpfs", 0, "");
        // Before there is a driver that could take it.
        put(DEVICE "driver_override", "nobody", 6);
        if (fork() == 0) drive();
        change_command_line();
    }
    execl("/server-stub", "/server-stub", (char *)NULL);
    give_up("the server stub");
}

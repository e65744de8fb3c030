#pragma once
// The C fence around libpci. It exists for two things that Swift can't do: libpci's default error handler exits the
// process (and a replacement must not return, so it takes a longjmp), and pci_lookup_name is variadic.
#include <stddef.h>
#include <stdint.h>

struct drover_pci;

struct drover_pci_function {
    uint32_t domain;
    uint8_t bus, device, function;
    uint16_t vendor, device_id, subsystem_vendor, subsystem_device;
    // Base class, subclass, programming interface: 0xBBSSPP.
    uint32_t class_code;
    uint8_t revision;
};

// NULL on failure, with the reason in `error`. `sysfs_path` is a directory like /sys/bus/pci, or NULL for that one.
struct drover_pci *drover_pci_open(const char *sysfs_path, char *error, size_t error_size);
void drover_pci_close(struct drover_pci *pci);

// Number of functions, or -1 with the reason in `error`.
int drover_pci_count(const struct drover_pci *pci);
// Only the address, which was read with the list. 0, or -1 when there is no function number `index`.
int drover_pci_address(const struct drover_pci *pci, int index, struct drover_pci_function *function);
// 0, or -1 when there is no function number `index` or it can't be read (reason in `error`).
int drover_pci_get(struct drover_pci *pci, int index, struct drover_pci_function *function, char *error, size_t error_size);

// Names from pci.ids; the empty string when it has none. 0, or -1 when the buffer is too small.
int drover_pci_vendor_name(struct drover_pci *pci, uint16_t vendor, char *buffer, size_t size);
int drover_pci_device_name(struct drover_pci *pci, uint16_t vendor, uint16_t device, char *buffer, size_t size);
int drover_pci_class_name(struct drover_pci *pci, uint32_t class_code, char *buffer, size_t size);

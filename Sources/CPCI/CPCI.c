#include "CPCI.h"

#include <pci/pci.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct drover_pci {
    struct pci_access *access;
    struct pci_dev **functions;
    int count;
};

// libpci's error callback has no user argument and must not return, so where to go and what to say is per thread.
static _Thread_local struct {
    jmp_buf *target;
    char *text;
    size_t size;
} failure;

__attribute__((noreturn)) static void on_error(char *format, ...) {
    if (failure.text && failure.size) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(failure.text, failure.size, format, arguments);
        va_end(arguments);
    }
    if (failure.target) longjmp(*failure.target, 1);
    abort(); // Unreachable: every call into libpci below sets a target.
}

static void on_message(char *format, ...) { (void)format; }

static void enter(jmp_buf *target, char *text, size_t size) {
    if (text && size) text[0] = 0;
    failure.target = target;
    failure.text = text;
    failure.size = size;
}

static void leave(void) { failure.target = NULL; }

struct drover_pci *drover_pci_open(const char *sysfs_path, char *error, size_t error_size) {
    // volatile: assigned between setjmp and longjmp.
    struct drover_pci *volatile pci = calloc(1, sizeof *pci);
    if (!pci) {
        snprintf(error, error_size, "out of memory");
        return NULL;
    }
    jmp_buf target;
    if (setjmp(target)) {
        leave();
        // A half-initialised access can't be cleaned up safely after an error: pci_cleanup may fail again. What is
        // lost is a few hundred bytes, on a machine where PCI can't be read at all.
        free(pci->functions);
        free(pci);
        return NULL;
    }
    enter(&target, error, error_size);
    pci->access = pci_alloc();
    pci->access->error = on_error;
    pci->access->warning = on_message;
    pci->access->debug = on_message;
    pci->access->method = PCI_ACCESS_SYS_BUS_PCI;
    if (sysfs_path) pci_set_param(pci->access, "sysfs.path", (char *)sysfs_path);
    pci_init(pci->access);
    pci_scan_bus(pci->access);
    for (struct pci_dev *f = pci->access->devices; f; f = f->next) pci->count++;
    pci->functions = calloc(pci->count ? pci->count : 1, sizeof *pci->functions);
    if (!pci->functions) on_error("out of memory");
    int index = 0;
    for (struct pci_dev *f = pci->access->devices; f; f = f->next) pci->functions[index++] = f;
    leave();
    return pci;
}

void drover_pci_close(struct drover_pci *pci) {
    jmp_buf target;
    if (!setjmp(target)) {
        enter(&target, NULL, 0);
        pci_cleanup(pci->access);
    }
    leave();
    free(pci->functions);
    free(pci);
}

int drover_pci_count(const struct drover_pci *pci) { return pci->count; }

int drover_pci_address(const struct drover_pci *pci, int index, struct drover_pci_function *function) {
    if (index < 0 || index >= pci->count) return -1;
    const struct pci_dev *f = pci->functions[index];
    memset(function, 0, sizeof *function);
    function->domain = (uint32_t)f->domain;
    function->bus = f->bus;
    function->device = f->dev;
    function->function = f->func;
    return 0;
}

int drover_pci_get(struct drover_pci *pci, int index, struct drover_pci_function *function, char *error, size_t error_size) {
    if (index < 0 || index >= pci->count) {
        snprintf(error, error_size, "no function number %d", index);
        return -1;
    }
    jmp_buf target;
    if (setjmp(target)) {
        leave();
        return -1;
    }
    enter(&target, error, error_size);
    struct pci_dev *f = pci->functions[index];
    pci_fill_info(f, PCI_FILL_IDENT | PCI_FILL_CLASS | PCI_FILL_CLASS_EXT | PCI_FILL_SUBSYS);
    memset(function, 0, sizeof *function);
    function->domain = (uint32_t)f->domain;
    function->bus = f->bus;
    function->device = f->dev;
    function->function = f->func;
    function->vendor = f->vendor_id;
    function->device_id = f->device_id;
    function->subsystem_vendor = f->subsys_vendor_id;
    function->subsystem_device = f->subsys_id;
    function->class_code = (uint32_t)f->device_class << 8 | f->prog_if;
    function->revision = f->rev_id;
    leave();
    return 0;
}

static int lookup(struct drover_pci *pci, int kind, int a, int b, char *buffer, size_t size) {
    jmp_buf target;
    if (size == 0) return -1;
    buffer[0] = 0;
    if (setjmp(target)) {
        leave();
        return -1;
    }
    enter(&target, NULL, 0);
    // NO_NUMBERS: NULL for what pci.ids doesn't name, instead of "Device 1234".
    char *name = pci_lookup_name(pci->access, buffer, (int)size, kind | PCI_LOOKUP_NO_NUMBERS, a, b);
    leave();
    if (!name) {
        buffer[0] = 0;
        return 0;
    }
    // Where the buffer is too small libpci returns a text that says so, instead of the buffer.
    if (name != buffer) {
        buffer[0] = 0;
        return -1;
    }
    return 0;
}

int drover_pci_vendor_name(struct drover_pci *pci, uint16_t vendor, char *buffer, size_t size) {
    return lookup(pci, PCI_LOOKUP_VENDOR, vendor, 0, buffer, size);
}

int drover_pci_device_name(struct drover_pci *pci, uint16_t vendor, uint16_t device, char *buffer, size_t size) {
    return lookup(pci, PCI_LOOKUP_DEVICE, vendor, device, buffer, size);
}

int drover_pci_class_name(struct drover_pci *pci, uint32_t class_code, char *buffer, size_t size) {
    return lookup(pci, PCI_LOOKUP_CLASS, (int)(class_code >> 8), 0, buffer, size);
}

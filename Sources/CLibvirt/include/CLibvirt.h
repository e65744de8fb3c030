// The C fence around libvirt. Swift calls most of it directly; what stands here is what Swift cannot spell.
#pragma once
#include <stddef.h>
#include <libvirt/libvirt.h>
#include <libvirt/libvirt-qemu.h>
#include <libvirt/virterror.h>

// libvirt registers every kind of domain event through one generic function pointer and a cast macro
// (VIR_DOMAIN_EVENT_CALLBACK). These keep the pointer's real type up to the cast.

static inline int clibvirt_register_lifecycle(virConnectPtr connection, virConnectDomainEventCallback callback, void *box,
                                              virFreeCallback release) {
    return virConnectDomainEventRegisterAny(connection, NULL, VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(callback), box,
                                            release);
}

static inline int clibvirt_register_watchdog(virConnectPtr connection, virConnectDomainEventWatchdogCallback callback, void *box,
                                             virFreeCallback release) {
    return virConnectDomainEventRegisterAny(connection, NULL, VIR_DOMAIN_EVENT_ID_WATCHDOG, VIR_DOMAIN_EVENT_CALLBACK(callback), box,
                                            release);
}

static inline int clibvirt_register_reboot(virConnectPtr connection, virConnectDomainEventGenericCallback callback, void *box,
                                           virFreeCallback release) {
    return virConnectDomainEventRegisterAny(connection, NULL, VIR_DOMAIN_EVENT_ID_REBOOT, callback, box, release);
}

// VIR_UUID_STRING_BUFLEN is a macro of a cast expression.
enum { CLIBVIRT_UUID_TEXT_BYTES = VIR_UUID_STRING_BUFLEN };

// What libvirt does not say about KVM: ioctl(2) is variadic.
#include <linux/kvm.h>
#include <sys/ioctl.h>

/// KVM_CHECK_EXTENSION(KVM_CAP_X86_SMM) on an open /dev/kvm: positive when it is there.
static inline int clibvirt_kvm_has_smm(int descriptor) { return ioctl(descriptor, KVM_CHECK_EXTENSION, KVM_CAP_X86_SMM); }

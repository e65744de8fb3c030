# Drover: the commands of README.md. Run as root, or as a user with sudo.
#
#   make demo    install what is missing, build, and watch drivers crash and come back
#   make test    the same set-up, then every test
#   make lab     passthrough, proven in a machine with KVM, VFIO and an IOMMU in software; make lab-shell: a prompt in it
#   make bench   the figures of the README; make lab-bench: those of a real device, in the lab
#   make fuzz    the fuzz targets, FUZZ_SECONDS each (default 600)

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.PHONY: all help setup build guest images test unit end-to-end lab lab-bench lab-shell lint demo bench fuzz fuzz-build fuzz-short install clean

comma := ,
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
# For what starts virtual machines; keeps what this file exports.
AS_ROOT := $(if $(SUDO),sudo --preserve-env=DROVER_CACHE_DIR$(comma)DROVER_LIBEXEC$(comma)DROVER_IMAGES$(comma)DROVER_FAULT_ROUNDS)
SWIFT_BUILD := swift build -c release -Xswiftc -enable-testing
BIN := .build/release
GUEST := .build-guest
export DROVER_CACHE_DIR ?= /var/cache/drover
export DROVER_LIBEXEC := $(CURDIR)/$(BIN)
export DROVER_IMAGES := $(CURDIR)/Images
FUZZ_SECONDS ?= 600
PREFIX ?= /usr/local

# Lean kernels: a compiler and what their build asks for. Build: libvirt, libpci, zstd. Run: QEMU and libvirt's QEMU driver. Test and measure: real NBD clients and fio.
PACKAGES := libvirt-dev libpci-dev pkg-config binutils zstd xz-utils cpio kmod dpkg-dev \
	gcc make libc6-dev flex bison bc libelf-dev \
	libvirt-daemon-driver-qemu qemu-system-x86 qemu-utils fio nbdkit libnbd-bin \
	iperf3 iproute2 iputils-ping busybox-static

all: build

help:
	@sed -n 's/^#   //p' Makefile

setup:
	@command -v swift >/dev/null || { echo "drover: no Swift toolchain: install Swift 6.2 or newer from https://swift.org/install/linux and put it on PATH." >&2; exit 1; }
	@missing=(); for p in $(PACKAGES); do \
	    [ "$$(dpkg-query -W -f='$${db:Status-Status}' $$p 2>/dev/null)" = installed ] || missing+=($$p); done; \
	if [ $${#missing[@]} -gt 0 ]; then \
	    echo "==> installing $${missing[*]}"; \
	    $(SUDO) apt-get update -qq; \
	    udev="libudev-dev=$$(dpkg-query -W -f='$${Version}' libudev1)"; \
	    DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq --no-install-recommends "$${missing[@]}" $$udev </dev/null >.build-setup.log 2>&1 \
	        || { tail -20 .build-setup.log >&2; echo "drover: apt-get could not install: $${missing[*]} (log: .build-setup.log)" >&2; exit 1; }; \
	fi; rm -f .build-setup.log
	@getent passwd libvirt-qemu >/dev/null || $(SUDO) useradd --system --user-group --no-create-home --shell /usr/sbin/nologin libvirt-qemu

# One build for programs and tests: optimised, with testability, so that what is tested is what runs.
build: setup guest
	@echo "==> building Drover (the first build compiles its packages: some minutes)"
	@$(SWIFT_BUILD) --build-tests
	@cp $(GUEST)/drover-server-stub.guest $(BIN)/drover-server-stub.guest

guest: setup
	@echo "==> building the server stub for the guest"
	@DROVER_GUEST=1 swift build -c release --scratch-path $(GUEST) --product drover-server-stub
	@strip -s -o $(GUEST)/drover-server-stub.guest $(GUEST)/release/drover-server-stub

# The kernels that tests run their drivers in, one for each family of drivers: built here, where it is seen how far they are, and not within a test.
FAMILIES := nvme sdhci ahci sym53c8xx usb-storage virtio_blk virtio_net e1000e
images: build
	@echo "==> building images of DD/OSs (the first time: kernels, some minutes)"
	@for device in $(FAMILIES); do $(AS_ROOT) $(BIN)/drover image build lean-6.1 --for $$device; done

lint:
	@echo "==> swift format"
	@git ls-files -z '*.swift' | xargs -0 swift format lint --strict

test: LAB_FAULTS = 4
test: lint build images unit fuzz-short end-to-end lab

unit: images
	@echo "==> unit and stub-pair tests"
	@$(AS_ROOT) $(BIN)/droverPackageTests.xctest --testing-library swift-testing --skip EndToEndTests

end-to-end: images
	@echo "==> end-to-end tests: real kernels, real drivers, real clients"
	@$(AS_ROOT) $(BIN)/droverPackageTests.xctest --testing-library swift-testing --no-parallel --filter EndToEndTests --skip EndToEndTests.Lab

# Tests that take devices away from the machine they run on: in the lab's, which has devices to spare. Each line is a machine of its own. LAB_FAULTS:
# crashes of each device; fewer in 'make test', which is to end within the hour.
LAB = $(AS_ROOT) env $(1) Tests/Lab/lab run $(abspath $(BIN))/droverPackageTests.xctest --testing-library swift-testing --no-parallel --filter
LAB_FAULTS = 10

lab: images
	@echo "==> the passthrough lab: minutes, since all its processors are emulated"
	@$(call LAB) 'EndToEndTests.Lab/(Inventory|Refusals|DMAIsolation|Readme)/'
	@$(call LAB) EndToEndTests.Lab/KilledSupervisor/
	@$(call LAB,LAB_FAULTS=$(LAB_FAULTS)) EndToEndTests.Lab/Passthrough/
	@$(call LAB,LAB_FAULTS=$(LAB_FAULTS)) EndToEndTests.Lab/NetworkPassthrough/
	@echo "==> the lab without interrupt remapping"
	@$(call LAB,LAB_INTREMAP=off) EndToEndTests.Lab/WithoutInterruptRemapping/
	@echo "==> the lab with its IOMMU off"
	@$(call LAB,LAB_IOMMU=off) EndToEndTests.Lab/WithoutIOMMU/

# The paper's figures, native and through Drover, in the same machine.
lab-bench: images
	@$(AS_ROOT) env LAB_MINUTES=60 LAB_CPUS=2 Tests/Lab/lab run $(abspath $(BIN))/drover-bench passthrough --emulated --disk 0000:01:00.0 --nic 0000:02:00.0 --wire 0000:00:08.0

lab-shell: build
	@$(AS_ROOT) Tests/Lab/lab shell

demo: build
	@$(AS_ROOT) $(BIN)/drover-demo

bench: build
	@status=0; $(AS_ROOT) $(BIN)/drover-bench || status=1; $(AS_ROOT) $(BIN)/drover-bench memory || status=1; exit $$status

fuzz-build: setup
	@echo "==> building the fuzz targets"
	@DROVER_FUZZ=1 DROVER_ONLY=$$(.ci/fuzz-targets | paste -sd,) swift build -c release --scratch-path .build-fuzz

fuzz: fuzz-build
	@.ci/fuzz $(FUZZ_SECONDS)

fuzz-short: fuzz-build
	@.ci/fuzz 10

install: build
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/libexec/drover $(DESTDIR)$(PREFIX)/share/drover/images
	install $(BIN)/drover $(BIN)/droverd $(DESTDIR)$(PREFIX)/bin
	install $(BIN)/drover-client-stub $(BIN)/drover-server-stub.guest $(DESTDIR)$(PREFIX)/libexec/drover
	install -m 644 Images/*.yaml $(DESTDIR)$(PREFIX)/share/drover/images
	install -m 644 -D -t $(DESTDIR)$(PREFIX)/share/drover/images/lean Images/lean/*.config

clean:
	rm -rf .build .build-guest .build-fuzz

// The C fence: the only place where Drover meets C headers of libc and the kernel. Swift sees libc through
// this module (the guest build has no Glibc module), and everything Swift cannot call or spell itself
// (variadics, macros with casts, raw system calls, errno) as a `clinux_` function.
//
// Rule: nothing here decides anything. A function wraps one call, and says why Swift could not make it.
#pragma once

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <dirent.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <linux/io_uring.h>

#include "CLinuxBlock.h"
#include "CLinuxCalls.h"
#include "CLinuxGuest.h"
#include "CLinuxNetlink.h"
#include "CLinuxRing.h"
#include "CLinuxSocket.h"
#include "CLinuxTap.h"

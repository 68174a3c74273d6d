/* Preloaded into an emulated program: the kernel tells it of a chip as in the Pi 4, with neither AES nor
   PMULL nor SHA. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/auxv.h>

/* Bits 3 to 6 of what arm64's kernels say: AES, PMULL, SHA1, SHA2. */
static const unsigned long crypto = 0xfUL << 3;

unsigned long getauxval(unsigned long type) {
    unsigned long (*next)(unsigned long) = (unsigned long (*)(unsigned long))dlsym(RTLD_NEXT, "getauxval");
    unsigned long value = next(type);
    return type == AT_HWCAP ? value & ~crypto : value;
}

/* A faulty disk, for LD_PRELOAD. While the file named by STALL_WHILE exists, fsync and fdatasync wait;
   while the one named by READ_ONLY_WHILE exists, pwrite fails as on a file system that the kernel
   has made read-only. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static int is_on(const char *name) {
    const char *gate = getenv(name);
    return gate && access(gate, F_OK) == 0;
}

static void wait_for_the_disk(void) {
    struct timespec pause = {0, 10 * 1000 * 1000};
    while (is_on("STALL_WHILE")) nanosleep(&pause, NULL);
}

int fsync(int file) {
    wait_for_the_disk();
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(file);
}

int fdatasync(int file) {
    wait_for_the_disk();
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(file);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t offset) {
    if (is_on("READ_ONLY_WHILE")) {
        errno = EROFS;
        return -1;
    }
    return ((ssize_t(*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64"))(
        file, bytes, count, offset);
}

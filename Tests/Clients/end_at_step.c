/* Ends the process at its nth change of the file system, for LD_PRELOAD.

   STEP      the number of the change before which it is killed; 0 for none.
   STEPS     names a file that gets the number of changes so far, if it exists.

   Programs that it starts are not counted. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static atomic_long count;

static void step(void) {
    const char *wanted = getenv("STEP"), *file = getenv("STEPS");
    long number = atomic_fetch_add(&count, 1) + 1;
    if (wanted && number == atol(wanted)) kill(getpid(), SIGKILL);
    if (file) {
        char text[32];
        int length = snprintf(text, sizeof text, "%-20ld", number);
        long descriptor = syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CLOEXEC);
        if (descriptor >= 0) {
            syscall(SYS_write, descriptor, text, length);
            syscall(SYS_close, descriptor);
        }
    }
}

#define STEP(name, parameters, arguments)                                                          \
    int name parameters {                                                                          \
        static int(*next) parameters;                                                              \
        if (!next) next = (int(*) parameters)dlsym(RTLD_NEXT, #name);                              \
        step();                                                                                    \
        return next arguments;                                                                     \
    }

STEP(rename, (const char *from, const char *to), (from, to))
STEP(renameat, (int a, const char *from, int b, const char *to), (a, from, b, to))
STEP(link, (const char *from, const char *to), (from, to))
STEP(linkat, (int a, const char *from, int b, const char *to, int flags), (a, from, b, to, flags))
STEP(symlink, (const char *from, const char *to), (from, to))
STEP(unlink, (const char *path), (path))
STEP(unlinkat, (int a, const char *path, int flags), (a, path, flags))
STEP(mkdir, (const char *path, unsigned mode), (path, mode))
STEP(mkdirat, (int a, const char *path, unsigned mode), (a, path, mode))
STEP(fsync, (int file), (file))
STEP(syncfs, (int file), (file))

/* A machine that goes wrong, for LD_PRELOAD.

   HANGING   names a file. What is opened below a path that one of its lines names does not come back
             while the line stands there.
   CLOCK     names a file with a number of seconds that the time of day is off by; the clocks that
             nobody sets go on.
   UPTIME    names a file with a number of seconds that the machine is said to have run longer. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* The content of the file that a variable names; empty without one. */
static const char *told(const char *variable, char *text, size_t size) {
    const char *file = getenv(variable);
    long descriptor = file ? syscall(SYS_openat, AT_FDCWD, file, O_RDONLY | O_CLOEXEC) : -1;
    long count = 0;
    if (descriptor >= 0) {
        count = syscall(SYS_read, descriptor, text, size - 1);
        syscall(SYS_close, descriptor);
    }
    text[count > 0 ? count : 0] = 0;
    return text;
}

static int hangs(const char *path) {
    char text[4096], *rest = NULL;
    told("HANGING", text, sizeof text);
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        if (strncmp(path, line, strlen(line)) == 0) return 1;
    return 0;
}

static void hang(const char *path) {
    struct timespec pause = {0, 20 * 1000 * 1000};
    while (hangs(path)) syscall(SYS_nanosleep, &pause, NULL);
}

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int mode = va_arg(rest, int);
    va_end(rest);
    hang(path);
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int mode = va_arg(rest, int);
    va_end(rest);
    return open(path, flags, mode);
}

DIR *opendir(const char *path) {
    static DIR *(*next)(const char *);
    if (!next) next = (DIR * (*)(const char *))dlsym(RTLD_NEXT, "opendir");
    hang(path);
    return next(path);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    char text[64];
    int result = (int)syscall(SYS_clock_gettime, clock, time);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        time->tv_sec += atoll(told("CLOCK", text, sizeof text));
    if (result == 0 && clock == CLOCK_BOOTTIME)
        time->tv_sec += atoll(told("UPTIME", text, sizeof text));
    return result;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *result) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result) *result = now.tv_sec;
    return now.tv_sec;
}

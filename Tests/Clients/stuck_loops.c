/* Event loops that stand still, for LD_PRELOAD. While the file named by STUCK_WHILE exists, the
   threads that SwiftNIO calls NIO-ELT-… do not come back from epoll_wait, as if what they had last
   called never returned; all other threads go on.

   A loop that waits for nothing is not woken for it: ours have a timer of a second each. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

static int is_event_loop(void) {
    char name[16] = "";
    return pthread_getname_np(pthread_self(), name, sizeof name) == 0
        && strncmp(name, "NIO-ELT-", 8) == 0;
}

/* Leaves errno as the call before left it. */
static void stand_still(void) {
    const char *gate = getenv("STUCK_WHILE");
    struct timespec pause = {0, 10 * 1000 * 1000};
    int before = errno;
    if (gate && is_event_loop())
        while (access(gate, F_OK) == 0) nanosleep(&pause, NULL);
    errno = before;
}

int epoll_wait(int epoll, struct epoll_event *events, int count, int timeout) {
    static int (*next)(int, struct epoll_event *, int, int);
    if (!next) next = (int (*)(int, struct epoll_event *, int, int))dlsym(RTLD_NEXT, "epoll_wait");
    stand_still();
    int result = next(epoll, events, count, timeout);
    stand_still();
    return result;
}

int epoll_pwait(
    int epoll, struct epoll_event *events, int count, int timeout, const sigset_t *mask) {
    static int (*next)(int, struct epoll_event *, int, int, const sigset_t *);
    if (!next)
        next = (int (*)(int, struct epoll_event *, int, int, const sigset_t *))dlsym(
            RTLD_NEXT, "epoll_pwait");
    stand_still();
    int result = next(epoll, events, count, timeout, mask);
    stand_still();
    return result;
}

/*
 * floor - what forwarding costs when nothing else is done.
 *
 * A child process accepts plain TCP connections on 127.0.0.1 and forwards each
 * line to the other connection of its pair: epoll_wait(), recv(), send(), and
 * no more. The parent keeps --window lines of 230 bytes in flight per pair, or
 * sends them at --rate, and reports the child's CPU time per line. No server
 * on the same kernel can be cheaper per message with one thread.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LINE 230
#define SEC INT64_C(1000000000)

static int pairs = 50, window = 1;
static double duration = 5, warmup = 1, rate;

static void die(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * SEC + ts.tv_nsec;
}

static int tcp_socket(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) die("socket");
    return fd;
}

static void watch(int ep, int fd, uint32_t tag)
{
    int one = 1;
    struct epoll_event ev = { .events = EPOLLIN, .data.u32 = tag };
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one)) die("TCP_NODELAY");
    if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev)) die("epoll_ctl");
}

static void send_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t w = send(fd, p, n, MSG_NOSIGNAL);
        if (w < 0) die("send");
        p += w;
        n -= w;
    }
}

/* The server: connection i is paired with i ^ 1. Ends when a client closes. */
static void forward(int listener)
{
    int n = pairs * 2, *fds = calloc(n, sizeof *fds), ep = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event ev[64];
    char buffer[65536];
    if (!fds || ep < 0) die("forwarder");
    for (int i = 0; i < n; i++) {
        if ((fds[i] = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) < 0) die("accept");
        watch(ep, fds[i], i);
    }
    for (;;) {
        int ready = epoll_wait(ep, ev, 64, -1);
        for (int k = 0; k < ready; k++) {
            ssize_t r = recv(fds[ev[k].data.u32], buffer, sizeof buffer, 0);
            if (r <= 0) exit(0);
            send_all(fds[ev[k].data.u32 ^ 1], buffer, r);
        }
    }
}

/* CPU time of a process, user and system, in µs. */
static double cpu_us(pid_t pid)
{
    clockid_t clock;
    struct timespec ts;
    if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &ts)) die("clock_getcpuclockid");
    return ts.tv_sec * 1e6 + ts.tv_nsec / 1e3;
}

static struct { int ep, *fds, *partial; long sent, received; } load;

static void send_line(int pair)
{
    static char line[LINE];
    if (!line[0]) { memset(line, 'x', LINE - 1); line[LINE - 1] = '\n'; }
    send_all(load.fds[2 * pair], line, LINE);
    load.sent++;
}

/* Sends for so many seconds, at the rate or one line for each that arrives, and waits for the rest. */
static void run(double seconds)
{
    struct epoll_event ev[64];
    char buffer[65536];
    int64_t t0 = now_ns(), end = t0 + (int64_t)(seconds * SEC);
    long begun = load.sent;
    if (rate <= 0)
        for (int p = 0; p < pairs; p++)
            for (int w = 0; w < window; w++) send_line(p);
    for (;;) {
        int64_t now = now_ns(), wake = end;
        if (now >= end && load.received == load.sent) return;
        if (now >= end + 5 * SEC) { errno = ETIMEDOUT; die("lines"); }
        if (rate > 0 && now < end) {
            int64_t due;
            while ((due = t0 + (int64_t)((load.sent - begun) / rate * SEC)) <= now)
                send_line((load.sent - begun) % pairs);
            if (due < wake) wake = due;
        }
        if (wake <= now) wake = now + SEC / 100;
        struct timespec ts = { (wake - now) / SEC, (wake - now) % SEC };
        int ready = epoll_pwait2(load.ep, ev, 64, &ts, NULL);
        for (int k = 0; k < ready; k++) {
            int i = ev[k].data.u32;
            ssize_t r = recv(load.fds[i], buffer, sizeof buffer, 0);
            if (r <= 0) { errno = ECONNRESET; die("recv"); }
            load.partial[i] += r;
            for (; load.partial[i] >= LINE; load.partial[i] -= LINE) {
                load.received++;
                if (rate <= 0 && now_ns() < end) send_line(i / 2);
            }
        }
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "pairs", 1, 0, 'p' }, { "window", 1, 0, 'w' }, { "duration", 1, 0, 'd' },
        { "warmup", 1, 0, 'u' }, { "rate", 1, 0, 'r' }, { 0, 0, 0, 0 } };
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;)
        switch (o) {
        case 'p': pairs = atoi(optarg); break;
        case 'w': window = atoi(optarg); break;
        case 'd': duration = atof(optarg); break;
        case 'u': warmup = atof(optarg); break;
        case 'r': rate = atof(optarg); break;
        default:
            fputs("usage: floor [--pairs N] [--window N | --rate R] [--warmup S] [--duration S]\n", stderr);
            return 2;
        }
    if (pairs < 1 || window < 1 || duration <= 0) { errno = EINVAL; die("options"); }

    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof address;
    int listener = tcp_socket();
    if (bind(listener, (void *)&address, length) || listen(listener, 1024)) die("listen");
    if (getsockname(listener, (void *)&address, &length)) die("getsockname");

    pid_t server = fork();
    if (server < 0) die("fork");
    if (server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        forward(listener);
    }

    int n = pairs * 2;
    load.ep = epoll_create1(EPOLL_CLOEXEC);
    load.fds = calloc(n, sizeof *load.fds);
    load.partial = calloc(n, sizeof *load.partial);
    if (load.ep < 0 || !load.fds || !load.partial) die("load");
    for (int i = 0; i < n; i++) {
        load.fds[i] = tcp_socket();
        if (connect(load.fds[i], (void *)&address, sizeof address)) die("connect");
        watch(load.ep, load.fds[i], i);
    }
    run(warmup);
    long before = load.received;
    double cpu = cpu_us(server);
    int64_t start = now_ns();
    run(duration);
    double lines = load.received - before;
    printf("{\"cpu_us_per_msg\": %.3f, \"deliveries_per_s\": %.1f, \"messages\": %.0f}\n",
           (cpu_us(server) - cpu) / lines, lines / ((now_ns() - start) / 1e9), lines);
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    return 0;
}

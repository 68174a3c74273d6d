/*
 * xmppload - a load generator for XMPP servers (RFC 6120 / RFC 6121).
 *
 * One thread, one epoll loop, one small struct per connection, so that one
 * process can hold tens of thousands of client connections.  Nothing in here
 * is specific to any server: it negotiates from the advertised stream
 * features, as a client should.
 *
 * What is measured
 *   server CPU      user+system time of --pid and all its descendants, taken
 *                   from /proc/PID/stat at both ends of the measured window
 *   server memory   RSS and PSS summed over the same processes
 *   latency         histograms with < 1 % bucket width
 *   acknowledgement XEP-0198, per message: when its sender got an <a/> for it
 *   correctness     lost, duplicated and reordered messages
 *
 * Layout of this file
 *   1 options          5 SCRAM                 9 flows (chat, muc messages)
 *   2 utilities        6 connections and TLS  10 subcommands
 *   3 /proc sampling   7 stream negotiation   11 main
 *   4 XML              8 event loop, logins
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SEC  INT64_C(1000000000)
#define MSEC INT64_C(1000000)

/* ------------------------------------------------------------------ */
/* 1. Options                                                          */
/* ------------------------------------------------------------------ */

enum tls_mode { TLS_NONE, TLS_STARTTLS, TLS_DIRECT };

static struct {
    const char *host, *domain, *muc_host, *prefix, *password, *sasl, *resource;
    int    port, users, first, sources, concurrency, pid;
    /* the server of those who receive in chat, if it is another one */
    const char *peer_domain, *type;
    int    peer_port, peer_pid;
    enum tls_mode tls;
    double rate, duration, warmup, hold, settle, settle_after, drain, timeout, login_rate;
    long   count;
    int    pairs, window, bytes, rooms, occupants, page, rounds, sm_ack;
    bool   json, verbose, presence, session, sm, carbons, roster, to_full, window_ack;
} opt = {
    .host = "127.0.0.1", .domain = "localhost", .prefix = "u",
    .password = "secret", .sasl = "auto", .resource = "load",
    .port = 5222, .users = 100, .sources = 8, .concurrency = 32,
    .duration = 10, .warmup = 2, .hold = 10, .settle = 2, .drain = 5,
    .timeout = 300, .count = 100000000, .pairs = 50, .window = 1,
    .bytes = 100, .rooms = 1, .occupants = 50, .page = 50, .rounds = 1,
    .presence = true, .type = "chat",
};

/* ------------------------------------------------------------------ */
/* 2. Utilities                                                        */
/* ------------------------------------------------------------------ */

static int64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * SEC + ts.tv_nsec;
}

static void die(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("xmppload: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    exit(1);
}

static void *xrealloc(void *p, size_t n)
{
    p = realloc(p, n);
    if (!p) die("out of memory");
    return p;
}

static void *xcalloc(size_t n, size_t sz)
{
    void *p = calloc(n ? n : 1, sz);
    if (!p) die("out of memory");
    return p;
}

/* Log-linear histogram of nanoseconds: 128 buckets per power of two. */
#define H_SUB 7
struct hist { uint64_t n, max, bucket[64 << H_SUB]; double sum; };

static void hist_add(struct hist *h, int64_t v)
{
    uint64_t u = v < 1 ? 1 : (uint64_t)v;
    int e = 63 - __builtin_clzll(u);
    uint64_t m = e >= H_SUB ? (u >> (e - H_SUB)) & ((1 << H_SUB) - 1)
                            : (u << (H_SUB - e)) & ((1 << H_SUB) - 1);
    h->bucket[((uint64_t)e << H_SUB) | m]++;
    h->n++;
    h->sum += u;
    if (u > h->max) h->max = u;
}

static double hist_pct(const struct hist *h, double q)      /* -> ns */
{
    uint64_t want = (uint64_t)ceil(q * h->n), seen = 0;
    if (!h->n) return 0;
    for (size_t i = 0; i < (size_t)64 << H_SUB; i++)
        if ((seen += h->bucket[i]) >= want) {
            double lo = ldexp(1.0, i >> H_SUB);
            return lo * (1.0 + ((i & ((1 << H_SUB) - 1)) + 0.5) / (1 << H_SUB));
        }
    return h->max;
}

/* Output: the same key/value pairs as text lines or as one JSON object. */
static int out_n;
static void out_raw(const char *key, const char *val)
{
    if (opt.json) printf("%s\"%s\": %s", out_n ? ", " : "{", key, val);
    else          printf("%-28s %s\n", key, val);
    out_n++;
}
static void out_num(const char *key, const char *fmt, double v)
{
    char b[64];
    snprintf(b, sizeof b, fmt, isfinite(v) ? v : 0.0);
    out_raw(key, b);
}
static void out_int(const char *key, int64_t v) { char b[32]; snprintf(b, sizeof b, "%" PRId64, v); out_raw(key, b); }
static void out_str(const char *key, const char *v)
{
    char b[512]; size_t j = 0;
    if (opt.json) b[j++] = '"';
    for (; *v && j < sizeof b - 4; v++) {
        if (opt.json && (*v == '"' || *v == '\\')) b[j++] = '\\';
        b[j++] = (unsigned char)*v < 32 ? ' ' : *v;
    }
    if (opt.json) b[j++] = '"';
    b[j] = 0;
    out_raw(key, b);
}
static void out_end(void) { if (opt.json) puts("}"); fflush(stdout); }
static void out_hist(const char *name, const struct hist *h)
{
    char key[64];
    static const struct { const char *s; double q; } p[] = {
        { "p50", .5 }, { "p90", .9 }, { "p99", .99 }, { "p999", .999 } };
    for (size_t i = 0; i < 4; i++) {
        snprintf(key, sizeof key, "%s_%s_ms", name, p[i].s);
        out_num(key, "%.3f", hist_pct(h, p[i].q) / 1e6);
    }
    snprintf(key, sizeof key, "%s_max_ms", name);
    out_num(key, "%.3f", h->max / 1e6);
}

/* ------------------------------------------------------------------ */
/* 3. Sampling the server (and this process) through /proc              */
/* ------------------------------------------------------------------ */

struct sample {
    int64_t t;                       /* monotonic ns */
    double  user_us, sys_us;         /* server process tree */
    double  peer_us;                 /* the receivers' server, if it is another one */
    long    rss_kb, pss_kb;
    int     procs, threads;
    int64_t write_bytes, write_calls;
    double  self_us;                 /* this load generator */
    double  host_busy_us, host_steal_us;
};

/* Read a whole small /proc file; returns length or -1. */
static int slurp(const char *path, char *buf, size_t sz)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    size_t n = 0; ssize_t r;
    while (n < sz - 1 && (r = read(fd, buf + n, sz - 1 - n)) > 0) n += r;
    close(fd);
    buf[n] = 0;
    return (int)n;
}

/* Fields of /proc/PID/stat after the parenthesised command name. */
static bool read_stat(int pid, int *ppid, double *ut, double *st, int *threads)
{
    char path[64], b[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    if (slurp(path, b, sizeof b) <= 0) return false;
    char *p = strrchr(b, ')');
    if (!p) return false;
    long u, s, cu, cs, th; int pp;
    if (sscanf(p + 1, " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld %ld %ld %*d %*d %ld",
               &pp, &u, &s, &cu, &cs, &th) != 6) return false;
    double tick = 1e6 / sysconf(_SC_CLK_TCK);
    *ppid = pp;
    *ut = (u + cu) * tick;           /* cu/cs: children already reaped */
    *st = (s + cs) * tick;
    *threads = (int)th;
    return true;
}

static long grep_kb(const char *text, const char *key)
{
    const char *p = strstr(text, key);
    return p ? atol(p + strlen(key)) : 0;
}

static void sample_one(struct sample *s, int pid, double ut, double st, int threads)
{
    char path[64], b[8192];
    s->user_us += ut; s->sys_us += st; s->procs++; s->threads += threads;
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
    if (slurp(path, b, sizeof b) > 0) {
        s->rss_kb += grep_kb(b, "\nRss:");
        s->pss_kb += grep_kb(b, "\nPss:");
    }
    snprintf(path, sizeof path, "/proc/%d/io", pid);
    if (slurp(path, b, sizeof b) > 0) {
        const char *p = strstr(b, "\nwrite_bytes:"), *q = strstr(b, "syscw:");
        if (p) s->write_bytes += atoll(p + 13);
        if (q) s->write_calls += atoll(q + 6);
    }
}

static struct sample sample_now(void)
{
    struct sample s = { 0 };
    struct rusage ru;
    char b[4096];
    if (opt.pid > 0) {
        struct { int pid, ppid, th; double ut, st; bool in; } *pr = NULL;
        size_t n = 0, cap = 0;
        DIR *d = opendir("/proc");
        struct dirent *de;
        while (d && (de = readdir(d))) {
            if (!isdigit((unsigned char)de->d_name[0])) continue;
            if (n == cap) pr = xrealloc(pr, (cap = cap ? cap * 2 : 256) * sizeof *pr);
            pr[n].pid = atoi(de->d_name);
            pr[n].in = pr[n].pid == opt.pid;
            if (read_stat(pr[n].pid, &pr[n].ppid, &pr[n].ut, &pr[n].st, &pr[n].th)) n++;
        }
        if (d) closedir(d);
        for (bool grew = true; grew;) {          /* transitive closure over ppid */
            grew = false;
            for (size_t i = 0; i < n; i++)
                for (size_t j = 0; !pr[i].in && j < n; j++)
                    if (pr[j].in && pr[j].pid == pr[i].ppid) pr[i].in = grew = true;
        }
        for (size_t i = 0; i < n; i++)
            if (pr[i].in) sample_one(&s, pr[i].pid, pr[i].ut, pr[i].st, pr[i].th);
        free(pr);
    }
    if (opt.peer_pid > 0) {
        int parent, threads;
        double user, sys;
        if (read_stat(opt.peer_pid, &parent, &user, &sys, &threads)) s.peer_us = user + sys;
    }
    getrusage(RUSAGE_SELF, &ru);
    s.self_us = (ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) * 1e6 + ru.ru_utime.tv_usec + ru.ru_stime.tv_usec;
    if (slurp("/proc/stat", b, sizeof b) > 0) {
        unsigned long long u, ni, sy, id, io, ir, so, stl;
        if (sscanf(b, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &u, &ni, &sy, &id, &io, &ir, &so, &stl) == 8) {
            double tick = 1e6 / sysconf(_SC_CLK_TCK);
            s.host_busy_us = (u + ni + sy + ir + so) * tick;
            s.host_steal_us = stl * tick;
        }
    }
    s.t = now_ns();
    return s;
}

static double cpu_us(const struct sample *a, const struct sample *b)
{
    return b->user_us + b->sys_us - a->user_us - a->sys_us;
}

/* CPU and I/O fields common to every report; units = logins, messages, ... */
static void out_cpu(const struct sample *a, const struct sample *b, double units, const char *unit)
{
    char key[64];
    double wall = (b->t - a->t) / 1e3, self = b->self_us - a->self_us;
    if (opt.pid > 0) {
        double c = cpu_us(a, b);
        snprintf(key, sizeof key, "cpu_us_per_%s", unit);
        out_num(key, "%.2f", units > 0 ? c / units : 0);
        out_num("cpu_user_s", "%.2f", (b->user_us - a->user_us) / 1e6);
        out_num("cpu_sys_s", "%.2f", (b->sys_us - a->sys_us) / 1e6);
        out_num("cpu_cores_used", "%.3f", c / wall);
        out_int("rss_kb", b->rss_kb);
        out_int("pss_kb", b->pss_kb);
        snprintf(key, sizeof key, "disk_bytes_per_%s", unit);
        out_num(key, "%.1f", units > 0 ? (b->write_bytes - a->write_bytes) / units : 0);
        snprintf(key, sizeof key, "write_calls_per_%s", unit);
        out_num(key, "%.2f", units > 0 ? (b->write_calls - a->write_calls) / units : 0);
        double peer = b->peer_us - a->peer_us;
        if (opt.peer_pid > 0) {
            snprintf(key, sizeof key, "peer_cpu_us_per_%s", unit);
            out_num(key, "%.2f", units > 0 ? peer / units : 0);
        }
        out_num("host_other_cores", "%.3f",
                (b->host_busy_us - a->host_busy_us - c - peer - self) / wall);
    }
    out_num("host_steal_cores", "%.3f", (b->host_steal_us - a->host_steal_us) / wall);
    out_num("client_cores_used", "%.3f", self / wall);
}

/* ------------------------------------------------------------------ */
/* 4. XML: an incremental stanza splitter and a read-only element view   */
/* ------------------------------------------------------------------ */

/*
 * The splitter finds the stream header, complete top-level elements and the
 * stream end, however TCP or TLS cut the bytes.  It keeps its state between
 * reads, so no byte is looked at twice.
 */
enum { X_TEXT, X_LT, X_TAG, X_QUOTE, X_END, X_PI, X_BANG };
struct splitter { uint8_t st, quote; bool slash; int depth; size_t pos, start; };

enum xevent { XE_MORE, XE_HEADER, XE_STANZA, XE_CLOSE, XE_ERROR };

/* Advance over d[0..n); on an event, the element is d[x->start .. x->pos). */
static enum xevent split(struct splitter *x, const char *d, size_t n)
{
    const char *q;
    while (x->pos < n) {
        char ch = d[x->pos];
        switch (x->st) {
        case X_TEXT:
            q = memchr(d + x->pos, '<', n - x->pos);
            x->pos = q ? (size_t)(q - d) : n;
            if (x->depth <= 1) x->start = x->pos;   /* drop white-space pings */
            if (q) { x->pos++; x->st = X_LT; }
            break;
        case X_LT:
            x->pos++;
            x->slash = false;
            x->st = ch == '/' ? X_END : ch == '?' ? X_PI : ch == '!' ? X_BANG : X_TAG;
            break;
        case X_TAG:
            x->pos++;
            if (ch == '"' || ch == '\'') { x->quote = ch; x->st = X_QUOTE; }
            else if (ch == '>') {
                x->st = X_TEXT;
                if (x->slash) {
                    if (x->depth == 0) return XE_ERROR;
                    if (x->depth == 1) return XE_STANZA;
                } else if (++x->depth == 1) return XE_HEADER;
            } else x->slash = ch == '/';
            break;
        case X_QUOTE:
            q = memchr(d + x->pos, x->quote, n - x->pos);
            x->pos = q ? (size_t)(q - d) + 1 : n;
            if (q) { x->st = X_TAG; x->slash = false; }
            break;
        case X_END:
            q = memchr(d + x->pos, '>', n - x->pos);
            x->pos = q ? (size_t)(q - d) + 1 : n;
            if (!q) break;
            x->st = X_TEXT;
            if (--x->depth == 1) return XE_STANZA;
            if (x->depth <= 0) return XE_CLOSE;
            break;
        case X_PI:                                  /* the XML declaration */
            q = memchr(d + x->pos, '>', n - x->pos);
            x->pos = q ? (size_t)(q - d) + 1 : n;
            if (q) x->st = X_TEXT;
            break;
        case X_BANG:                                /* only CDATA is legal */
            q = memchr(d + x->pos, '>', n - x->pos);
            x->pos = q ? (size_t)(q - d) + 1 : n;
            if (q && q - d >= 2 && q[-1] == ']' && q[-2] == ']') x->st = X_TEXT;
            break;
        }
    }
    return XE_MORE;
}

/* View of one element inside a complete stanza; points into the buffer. */
struct xel { const char *name; size_t nlen; const char *attr, *aend, *body, *bend; };

/* Parse the start tag at p ('<').  Sets *after past '>' and *empty. */
static bool xel_tag(const char *p, const char *end, struct xel *e, const char **after, bool *empty)
{
    const char *q = p + 1;
    if (p >= end || *p != '<') return false;
    e->name = q;
    while (q < end && !isspace((unsigned char)*q) && *q != '>' && *q != '/') {
        if (*q == ':') e->name = q + 1;             /* keep the local name */
        q++;
    }
    e->nlen = q - e->name;
    e->attr = q;
    for (char quote = 0; q < end; q++) {
        if (quote) { if (*q == quote) quote = 0; }
        else if (*q == '"' || *q == '\'') quote = *q;
        else if (*q == '>') {
            *empty = q[-1] == '/';
            e->aend = q - *empty;
            *after = q + 1;
            e->body = e->bend = q + 1;
            return true;
        }
    }
    return false;
}

/* The root of a complete stanza: its end tag is simply the last tag. */
static bool xel_root(const char *p, size_t n, struct xel *e)
{
    const char *after; bool empty;
    if (!xel_tag(p, p + n, e, &after, &empty)) return false;
    if (!empty) {
        const char *q = memrchr(p, '<', n);
        e->bend = q && q >= after ? q : after;
    }
    return true;
}

/* Iterate over child elements: start with *it = parent->body. */
static bool xel_next(const struct xel *parent, const char **it, struct xel *e)
{
    const char *p = *it, *end = parent->bend, *after; bool empty;
    for (;;) {
        p = p < end ? memchr(p, '<', end - p) : NULL;
        if (!p) return false;
        if (end - p > 8 && !memcmp(p, "<![CDATA[", 9)) {
            p = memmem(p, end - p, "]]>", 3);
            if (!p) return false;
            continue;
        }
        break;
    }
    if (!xel_tag(p, end, e, &after, &empty)) return false;
    if (!empty) {
        int depth = 1;
        p = after;
        while (depth) {
            struct xel t; bool em;
            p = p < end ? memchr(p, '<', end - p) : NULL;
            if (!p) return false;
            if (end - p > 8 && !memcmp(p, "<![CDATA[", 9)) {
                if (!(p = memmem(p, end - p, "]]>", 3))) return false;
            } else if (p + 1 < end && p[1] == '/') {
                if (--depth == 0) e->bend = p;
                if (!(p = memchr(p, '>', end - p))) return false;
                after = ++p;
            } else {
                if (!xel_tag(p, end, &t, &p, &em)) return false;
                if (!em) depth++;
            }
        }
    }
    *it = after;
    return true;
}

static bool xel_is(const struct xel *e, const char *name)
{
    return strlen(name) == e->nlen && !memcmp(e->name, name, e->nlen);
}

static bool xel_child(const struct xel *parent, const char *name, struct xel *e)
{
    const char *it = parent->body;
    while (xel_next(parent, &it, e))
        if (xel_is(e, name)) return true;
    return false;
}

/* Copy text with the predefined entities and character references decoded. */
static size_t xml_decode(const char *p, const char *end, char *out, size_t sz)
{
    static const struct { const char *s; char c; } ent[] = {
        { "&lt;", '<' }, { "&gt;", '>' }, { "&amp;", '&' }, { "&apos;", '\'' }, { "&quot;", '"' } };
    size_t j = 0;
    while (p < end && j + 1 < sz) {
        bool hit = false;
        if (*p == '&') {
            for (size_t i = 0; i < 5 && !hit; i++) {
                size_t l = strlen(ent[i].s);
                if ((size_t)(end - p) >= l && !memcmp(p, ent[i].s, l)) { out[j++] = ent[i].c; p += l; hit = true; }
            }
            if (!hit && end - p > 3 && p[1] == '#') {
                unsigned long v = p[2] == 'x' ? strtoul(p + 3, NULL, 16) : strtoul(p + 2, NULL, 10);
                out[j++] = v < 128 ? (char)v : '?';
                p = memchr(p, ';', end - p);
                if (!p) break;
                p++; hit = true;
            }
        }
        if (!hit) out[j++] = *p++;
    }
    out[j] = 0;
    return j;
}

static bool xel_attr(const struct xel *e, const char *name, char *out, size_t sz)
{
    size_t l = strlen(name);
    const char *p = e->attr;
    out[0] = 0;
    while (p < e->aend) {
        while (p < e->aend && isspace((unsigned char)*p)) p++;
        const char *k = p;
        while (p < e->aend && *p != '=' && !isspace((unsigned char)*p)) p++;
        size_t kl = p - k;
        while (p < e->aend && *p != '"' && *p != '\'') p++;
        if (p >= e->aend) return false;
        const char *v = p + 1, *ve = memchr(v, *p, e->aend - v);
        if (!ve) return false;
        if (kl == l && !memcmp(k, name, l)) { xml_decode(v, ve, out, sz); return true; }
        p = ve + 1;
    }
    return false;
}

static bool attr_is(const struct xel *e, const char *name, const char *val)
{
    char b[256];
    return xel_attr(e, name, b, sizeof b) && !strcmp(b, val);
}

/* Text of an element that holds only text. */
static size_t xel_text(const struct xel *e, char *out, size_t sz)
{
    return xml_decode(e->body, e->bend, out, sz);
}

/* ------------------------------------------------------------------ */
/* 5. SASL SCRAM (RFC 5802, RFC 7677), client side                      */
/* ------------------------------------------------------------------ */

struct scram {
    const EVP_MD *md;
    char nonce[40], first_bare[160];
    unsigned char server_sig[EVP_MAX_MD_SIZE];
    unsigned siglen;
};

static void b64enc(const void *in, size_t n, char *out)
{
    EVP_EncodeBlock((unsigned char *)out, in, (int)n);
}

static int b64dec(const char *in, unsigned char *out, size_t sz)
{
    size_t l = strlen(in);
    if (l % 4 || l / 4 * 3 > sz) return -1;
    int n = EVP_DecodeBlock(out, (const unsigned char *)in, (int)l);
    if (n > 0 && l && in[l - 1] == '=') n -= 1 + (l > 1 && in[l - 2] == '=');
    return n;
}

static void scram_first(struct scram *s, const EVP_MD *md, const char *user, char *msg, size_t sz)
{
    unsigned char r[18];
    s->md = md;
    RAND_bytes(r, sizeof r);
    b64enc(r, sizeof r, s->nonce);                 /* base64 has no comma */
    snprintf(s->first_bare, sizeof s->first_bare, "n=%s,r=%s", user, s->nonce);
    snprintf(msg, sz, "n,,%s", s->first_bare);
}

/* Answer the server-first message; false when it is malformed. */
static bool scram_final(struct scram *s, const char *server_first, char *msg, size_t sz)
{
    char copy[1024], *save, *r = NULL, *salt64 = NULL; int iter = 0;
    snprintf(copy, sizeof copy, "%s", server_first);
    for (char *t = strtok_r(copy, ",", &save); t; t = strtok_r(NULL, ",", &save)) {
        if (!strncmp(t, "r=", 2)) r = t + 2;
        else if (!strncmp(t, "s=", 2)) salt64 = t + 2;
        else if (!strncmp(t, "i=", 2)) iter = atoi(t + 2);
    }
    unsigned char salt[256], salted[64], ckey[64], skey[64], stored[64], csig[64];
    unsigned l, hl = EVP_MD_get_size(s->md);
    int sl = salt64 ? b64dec(salt64, salt, sizeof salt) : -1;
    if (!r || sl < 1 || iter < 1 || strncmp(r, s->nonce, strlen(s->nonce))) return false;

    char without[384], auth[1200], proof64[128];
    PKCS5_PBKDF2_HMAC(opt.password, (int)strlen(opt.password), salt, sl, iter, s->md, hl, salted);
    HMAC(s->md, salted, hl, (const unsigned char *)"Client Key", 10, ckey, &l);
    HMAC(s->md, salted, hl, (const unsigned char *)"Server Key", 10, skey, &l);
    EVP_Digest(ckey, hl, stored, &l, s->md, NULL);
    snprintf(without, sizeof without, "c=biws,r=%s", r);
    int al = snprintf(auth, sizeof auth, "%s,%s,%s", s->first_bare, server_first, without);
    HMAC(s->md, stored, hl, (const unsigned char *)auth, al, csig, &l);
    for (unsigned i = 0; i < hl; i++) ckey[i] ^= csig[i];
    HMAC(s->md, skey, hl, (const unsigned char *)auth, al, s->server_sig, &s->siglen);
    b64enc(ckey, hl, proof64);
    snprintf(msg, sz, "%s,p=%s", without, proof64);
    return true;
}

static bool scram_verify(const struct scram *s, const char *server_final)
{
    unsigned char sig[96];
    if (strncmp(server_final, "v=", 2)) return false;
    return b64dec(server_final + 2, sig, sizeof sig) == (int)s->siglen && !memcmp(sig, s->server_sig, s->siglen);
}

/* ------------------------------------------------------------------ */
/* 6. Connections                                                      */
/* ------------------------------------------------------------------ */

enum state {
    ST_CLOSED, ST_CONNECTING, ST_TLS_HANDSHAKE, ST_FEATURES, ST_STARTTLS,
    ST_REG_GET, ST_REG_SET, ST_SASL, ST_BIND, ST_SESSION, ST_SM, ST_CARBONS,
    ST_ROSTER, ST_ONLINE, ST_CLOSING
};

struct conn {
    int      fd, user;
    uint8_t  state;
    bool     tls, authed, failed, want_out, joined, restart, sm_on;
    SSL     *ssl;
    struct splitter x;
    char    *in;  size_t inlen, incap;            /* only while a stanza is partial */
    char    *out; size_t outoff, outlen, outcap;  /* only while the socket is full */
    struct scram *scram;                          /* only during authentication */
    int64_t  t_start;
    char    *jid;                                 /* full JID given by the server */
    /* XEP-0198: stanzas received, sent since <enabled/>, highest h in an <a/> (all wrap) */
    uint32_t sm_in, sm_out, sm_h;
    bool     sm_next;
    /* message tracking, see section 9 */
    int      rx_flow, tx_flow;
    uint64_t *seen; uint32_t seen_cap, seen_max; bool seen_any;
    /* archive paging */
    int64_t  t_query; uint32_t mam_pages;
};

static struct conn *conns;
static int          nconns;
static int          ep;
static SSL_CTX     *tls_ctx;
static char         iobuf[65536];

static struct {
    int  in_progress, online, failed, closed, launched;
    long stanzas, stanza_errors;
    char first_error[256];
    struct hist login;
} st;

static bool registering;                          /* subcommand register */
static void on_online(struct conn *c);
static void on_stanza(struct conn *c, const char *p, size_t n);

static void conn_free(struct conn *c)
{
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
    if (c->ssl) SSL_free(c->ssl);
    free(c->in); free(c->out); free(c->scram); free(c->jid); free(c->seen);
    c->ssl = NULL; c->in = c->out = NULL; c->scram = NULL; c->jid = NULL; c->seen = NULL;
    c->inlen = c->incap = c->outoff = c->outlen = c->outcap = 0;
    c->seen_cap = 0;
}

/* End a connection; err == NULL means it ended as intended. */
static void conn_end(struct conn *c, const char *err)
{
    if (c->state == ST_CLOSED) return;
    if (c->state < ST_ONLINE) st.in_progress--;
    if (c->state == ST_ONLINE) st.online--;
    if (err && c->state != ST_CLOSING) {
        st.failed++;
        c->failed = true;
        if (!st.first_error[0])
            snprintf(st.first_error, sizeof st.first_error, "%s%d state %d: %s", opt.prefix, c->user, c->state, err);
        if (opt.verbose) fprintf(stderr, "%s%d state %d: %s\n", opt.prefix, c->user, c->state, err);
    } else st.closed++;
    c->state = ST_CLOSED;
    if (c->ssl) { SSL_set_quiet_shutdown(c->ssl, 1); SSL_shutdown(c->ssl); }
    if (c->fd >= 0) { close(c->fd); c->fd = -1; }
    /* Buffers are freed by the event loop: a caller may still hold pointers. */
}

static void conn_events(struct conn *c, bool out)
{
    struct epoll_event ev = { .events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = c };
    if (c->want_out == out) return;
    c->want_out = out;
    epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &ev);
}

/* Write once; >0 bytes written, 0 would block, -1 failed. */
static ssize_t conn_write(struct conn *c, const char *p, size_t n)
{
    if (c->ssl && c->tls) {
        int r = SSL_write(c->ssl, p, (int)n);
        if (r > 0) return r;
        int e = SSL_get_error(c->ssl, r);
        ERR_clear_error();
        return e == SSL_ERROR_WANT_WRITE || e == SSL_ERROR_WANT_READ ? 0 : -1;
    }
    ssize_t r = send(c->fd, p, n, MSG_NOSIGNAL);
    if (r >= 0) return r;
    return errno == EAGAIN || errno == EINTR ? 0 : -1;
}

static void conn_flush(struct conn *c)
{
    while (c->outoff < c->outlen) {
        ssize_t r = conn_write(c, c->out + c->outoff, c->outlen - c->outoff);
        if (r < 0) { conn_end(c, "write failed"); return; }
        if (r == 0) { conn_events(c, true); return; }
        c->outoff += r;
    }
    free(c->out);
    c->out = NULL;
    c->outoff = c->outlen = c->outcap = 0;
    conn_events(c, false);
}

static bool is_stanza(const char *p, size_t n)
{
    return (n > 3 && !memcmp(p, "<iq", 3)) || (n > 8 && !memcmp(p, "<message", 8)) ||
           (n > 9 && !memcmp(p, "<presence", 9));
}

/* Every call is one write() of at most one stanza, as from a real client: stanzas are not coalesced. */
static void conn_send(struct conn *c, const char *p, size_t n)
{
    if (c->state == ST_CLOSED) return;
    if (c->sm_on && is_stanza(p, n)) c->sm_out++;
    if (c->outlen == 0) {
        ssize_t r = conn_write(c, p, n);
        if (r < 0) { conn_end(c, "write failed"); return; }
        p += r; n -= r;
        if (!n) return;
    }
    if (c->outlen + n > c->outcap)
        c->out = xrealloc(c->out, c->outcap = (c->outlen + n) * 2);
    memcpy(c->out + c->outlen, p, n);
    c->outlen += n;
    conn_events(c, true);
}

__attribute__((format(printf, 2, 3)))
static void conn_printf(struct conn *c, const char *fmt, ...)
{
    char b[4096];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(b, sizeof b, fmt, ap);
    va_end(ap);
    if (n >= (int)sizeof b) die("stanza too long");
    conn_send(c, b, n);
}

/* Whether the user of a slot has an account on the receivers' server. */
static bool at_peer(const struct conn *c) { return opt.peer_port && (c - conns) % 2; }
static const char *domain_of(const struct conn *c) { return at_peer(c) ? opt.peer_domain : opt.domain; }

/* Open a TCP connection for user number u into slot c. */
static void conn_start(struct conn *c, int u)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(at_peer(c) ? opt.peer_port : opt.port) };
    struct sockaddr_in src = { .sin_family = AF_INET };
    int one = 1;
    conn_free(c);
    *c = (struct conn){ .fd = -1, .user = u, .state = ST_CONNECTING, .rx_flow = -1, .tx_flow = -1, .want_out = true };
    st.in_progress++;
    st.launched++;
    c->t_start = now_ns();
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) { conn_end(c, strerror(errno)); return; }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    inet_pton(AF_INET, opt.host, &a.sin_addr);
    if ((ntohl(a.sin_addr.s_addr) >> 24) == 127 && opt.sources > 1) {
        /* 127.0.1.1, 127.0.1.2, ... : each source address has its own ports */
        src.sin_addr.s_addr = htonl(0x7f000101u + (unsigned)(c - conns) % opt.sources);
        setsockopt(c->fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        if (bind(c->fd, (struct sockaddr *)&src, sizeof src)) { conn_end(c, "bind"); return; }
    }
    struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT, .data.ptr = c };
    if (connect(c->fd, (struct sockaddr *)&a, sizeof a) && errno != EINPROGRESS) { conn_end(c, strerror(errno)); return; }
    epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &ev);
}

/* ------------------------------------------------------------------ */
/* 7. Stream negotiation                                               */
/* ------------------------------------------------------------------ */

static void stream_open(struct conn *c)
{
    c->state = ST_FEATURES;
    conn_printf(c, "<?xml version='1.0'?><stream:stream to='%s' version='1.0' xml:lang='en' "
                   "xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>", domain_of(c));
}

static void tls_start(struct conn *c)
{
    static const unsigned char alpn[] = "\x0bxmpp-client";
    c->state = ST_TLS_HANDSHAKE;
    c->ssl = SSL_new(tls_ctx);
    if (!c->ssl) die("SSL_new failed");
    SSL_set_fd(c->ssl, c->fd);
    SSL_set_connect_state(c->ssl);
    SSL_set_tlsext_host_name(c->ssl, domain_of(c));
    if (opt.tls == TLS_DIRECT) SSL_set_alpn_protos(c->ssl, alpn, sizeof alpn - 1);
}

static void tls_step(struct conn *c)
{
    int r = SSL_do_handshake(c->ssl);
    if (r == 1) { c->tls = true; conn_events(c, false); stream_open(c); return; }
    int e = SSL_get_error(c->ssl, r);
    if (e == SSL_ERROR_WANT_READ) conn_events(c, false);
    else if (e == SSL_ERROR_WANT_WRITE) conn_events(c, true);
    else conn_end(c, "TLS handshake failed");
    ERR_clear_error();
}

/* SCRAM escapes ',' and '=' in user names; XML needs nothing for u0, u1, ... */
static void user_name(const struct conn *c, char *b, size_t sz) { snprintf(b, sz, "%s%d", opt.prefix, c->user); }

static void sasl_begin(struct conn *c, const struct xel *mechs)
{
    static const char *best[] = { "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN" };
    char user[64], name[64], msg[256], b64[512];
    const char *pick = NULL, *it;
    struct xel m;
    for (size_t i = 0; i < 3 && !pick; i++) {
        if (strcasecmp(opt.sasl, "auto") && strcasecmp(opt.sasl, best[i])) continue;
        for (it = mechs->body; xel_next(mechs, &it, &m);)
            if (xel_is(&m, "mechanism") && xel_text(&m, name, sizeof name) && !strcmp(name, best[i])) pick = best[i];
    }
    if (!pick) { conn_end(c, "no usable SASL mechanism offered"); return; }
    user_name(c, user, sizeof user);
    int n;
    if (!strcmp(pick, "PLAIN")) {
        n = snprintf(msg, sizeof msg, "%c%s%c%s", 0, user, 0, opt.password);
    } else {
        c->scram = xcalloc(1, sizeof *c->scram);
        scram_first(c->scram, strcmp(pick, "SCRAM-SHA-1") ? EVP_sha256() : EVP_sha1(), user, msg, sizeof msg);
        n = (int)strlen(msg);
    }
    b64enc(msg, n, b64);
    c->state = ST_SASL;
    conn_printf(c, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='%s'>%s</auth>", pick, b64);
}

static void on_sasl(struct conn *c, const struct xel *e)
{
    char b64[1024], msg[1024], out[1024];
    int n;
    xel_text(e, b64, sizeof b64);
    n = b64dec(b64, (unsigned char *)msg, sizeof msg - 1);
    msg[n > 0 ? n : 0] = 0;
    if (xel_is(e, "challenge")) {
        if (!c->scram) { conn_end(c, "unexpected SASL challenge"); return; }
        if (!strncmp(msg, "v=", 2)) {             /* server-final sent as a challenge */
            if (!scram_verify(c->scram, msg)) { conn_end(c, "bad server signature"); return; }
            conn_printf(c, "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
            return;
        }
        if (!scram_final(c->scram, msg, out, sizeof out)) { conn_end(c, "bad SCRAM challenge"); return; }
        b64enc(out, strlen(out), b64);
        conn_printf(c, "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>%s</response>", b64);
    } else if (xel_is(e, "success")) {
        if (c->scram && n > 0 && !scram_verify(c->scram, msg)) { conn_end(c, "bad server signature"); return; }
        free(c->scram);
        c->scram = NULL;
        c->authed = c->restart = true;
        stream_open(c);
    } else {
        struct xel why; const char *it = e->body;
        char t[128] = "SASL failure";
        if (xel_next(e, &it, &why)) snprintf(t, sizeof t, "SASL failure: %.*s", (int)why.nlen, why.name);
        conn_end(c, t);
    }
}

static void go_online(struct conn *c)
{
    if (opt.presence) conn_printf(c, "<presence/>");
    if (c->state == ST_CLOSED) return;
    c->state = ST_ONLINE;
    st.in_progress--;
    st.online++;
    hist_add(&st.login, now_ns() - c->t_start);
    on_online(c);
}

/* Optional steps between bind and online, in order. */
static void next_step(struct conn *c)
{
    if (c->state < ST_SM && opt.sm && c->sm_next) {
        c->state = ST_SM;
        conn_printf(c, "<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
    } else if (c->state < ST_CARBONS && opt.carbons) {
        c->state = ST_CARBONS;
        conn_printf(c, "<iq type='set' id='carbons'><enable xmlns='urn:xmpp:carbons:2'/></iq>");
    } else if (c->state < ST_ROSTER && opt.roster) {
        c->state = ST_ROSTER;
        conn_printf(c, "<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>");
    } else go_online(c);
}

static bool needs_session;                        /* legacy RFC 3921 session is required */

static void on_features(struct conn *c, const struct xel *f)
{
    struct xel e, o;
    if (!c->tls && opt.tls == TLS_STARTTLS) {
        if (!xel_child(f, "starttls", &e)) { conn_end(c, "STARTTLS not offered"); return; }
        c->state = ST_STARTTLS;
        conn_printf(c, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
    } else if (registering) {
        c->state = ST_REG_GET;
        conn_printf(c, "<iq type='get' id='reg1' to='%s'><query xmlns='jabber:iq:register'/></iq>", opt.domain);
    } else if (!c->authed) {
        if (!xel_child(f, "mechanisms", &e)) { conn_end(c, "no SASL mechanisms offered"); return; }
        sasl_begin(c, &e);
    } else {
        if (!xel_child(f, "bind", &e)) { conn_end(c, "bind not offered"); return; }
        needs_session = xel_child(f, "session", &e) && !xel_child(&e, "optional", &o);
        c->sm_next = xel_child(f, "sm", &e);
        c->state = ST_BIND;
        conn_printf(c, "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
                       "<resource>%s</resource></bind></iq>", opt.resource);
    }
}

static void error_text(const struct xel *iq, const char *what, char *b, size_t sz)
{
    struct xel err, cond; const char *it;
    snprintf(b, sz, "%s failed", what);
    if (!xel_child(iq, "error", &err)) return;
    it = err.body;
    if (xel_next(&err, &it, &cond)) snprintf(b, sz, "%s failed: %.*s", what, (int)cond.nlen, cond.name);
}

static long reg_created, reg_existed;

static void on_register(struct conn *c, const struct xel *iq)
{
    char user[64], why[128];
    bool ok = attr_is(iq, "type", "result");
    user_name(c, user, sizeof user);
    if (!ok) {
        struct xel err, e;
        if (c->state == ST_REG_SET && xel_child(iq, "error", &err) && xel_child(&err, "conflict", &e)) reg_existed++;
        else { error_text(iq, "registration", why, sizeof why); conn_end(c, why); return; }
    } else if (c->state == ST_REG_GET) {
        c->state = ST_REG_SET;
        conn_printf(c, "<iq type='set' id='reg2' to='%s'><query xmlns='jabber:iq:register'><username>%s</username>"
                       "<password>%s</password></query></iq>", opt.domain, user, opt.password);
        return;
    } else reg_created++;
    hist_add(&st.login, now_ns() - c->t_start);
    conn_printf(c, "</stream:stream>");
    conn_end(c, NULL);
}

static void on_negotiation(struct conn *c, const struct xel *e)
{
    char why[128], b[256];
    struct xel bind, jid;
    switch (c->state) {
    case ST_FEATURES:
        if (xel_is(e, "features")) on_features(c, e);
        return;
    case ST_STARTTLS:
        if (!xel_is(e, "proceed")) { conn_end(c, "STARTTLS refused"); return; }
        c->restart = true;
        tls_start(c);
        tls_step(c);
        return;
    case ST_SASL: on_sasl(c, e); return;
    case ST_REG_GET: case ST_REG_SET:
        if (xel_is(e, "iq")) on_register(c, e);
        return;
    case ST_SM:
        if (!xel_is(e, "enabled") && !xel_is(e, "failed")) return;
        c->sm_on = xel_is(e, "enabled");
        next_step(c);
        return;
    }
    if (!xel_is(e, "iq")) return;                 /* e.g. presence during login */
    if (!attr_is(e, "type", "result")) {
        if (c->state == ST_CARBONS && attr_is(e, "type", "error")) { next_step(c); return; }
        error_text(e, c->state == ST_BIND ? "bind" : "session setup", why, sizeof why);
        conn_end(c, why);
        return;
    }
    if (c->state == ST_BIND) {
        if (!xel_child(e, "bind", &bind) || !xel_child(&bind, "jid", &jid)) { conn_end(c, "no JID in bind result"); return; }
        xel_text(&jid, b, sizeof b);
        c->jid = strdup(b);
        if (needs_session || opt.session) {
            c->state = ST_SESSION;
            conn_printf(c, "<iq type='set' id='sess'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>");
            return;
        }
    }
    next_step(c);
}

/* ------------------------------------------------------------------ */
/* 8. Event loop and logins                                            */
/* ------------------------------------------------------------------ */

/* Feed received bytes through the splitter; keep only a partial stanza. */
static void conn_input(struct conn *c, char *d, size_t n)
{
    if (c->inlen) {
        if (c->inlen + n > c->incap) c->in = xrealloc(c->in, c->incap = (c->inlen + n) * 2);
        memcpy(c->in + c->inlen, d, n);
        n = c->inlen += n;
        d = c->in;
    }
    for (;;) {
        enum xevent ev = split(&c->x, d, n);
        if (ev == XE_MORE) break;
        if (ev == XE_STANZA) on_stanza(c, d + c->x.start, c->x.pos - c->x.start);
        if (ev == XE_CLOSE) {
            if (c->state != ST_CLOSING) conn_printf(c, "</stream:stream>");
            conn_end(c, c->state == ST_CLOSING ? NULL : "server closed the stream");
        }
        if (ev == XE_ERROR) conn_end(c, "XML error");
        if (c->state == ST_CLOSED) return;
        c->x.start = c->x.pos;
        if (c->restart) {                         /* new stream: forget the old one */
            c->restart = false;
            c->x = (struct splitter){ 0 };
            n = 0;
            break;
        }
    }
    size_t keep = n - (n ? c->x.start : 0);
    if (!keep) {
        free(c->in);
        c->in = NULL;
        c->inlen = c->incap = 0;
        c->x.pos = c->x.start = 0;
        return;
    }
    if (d == c->in) memmove(c->in, c->in + c->x.start, keep);
    else {
        if (keep > c->incap) c->in = xrealloc(c->in, c->incap = keep + 512);
        memcpy(c->in, d + c->x.start, keep);
    }
    c->inlen = keep;
    c->x.pos -= c->x.start;
    c->x.start = 0;
}

static void conn_read(struct conn *c)
{
    for (int i = 0; i < 8 && c->state != ST_CLOSED; i++) {
        ssize_t r;
        if (c->tls) {
            r = SSL_read(c->ssl, iobuf, sizeof iobuf);
            if (r <= 0) {
                int e = SSL_get_error(c->ssl, (int)r);
                ERR_clear_error();
                if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE) return;
                conn_end(c, "connection closed");
                return;
            }
            conn_input(c, iobuf, r);
            /* loop until WANT_READ: data may wait inside the TLS layer */
        } else {
            r = recv(c->fd, iobuf, sizeof iobuf, 0);
            if (r < 0 && (errno == EAGAIN || errno == EINTR)) return;
            if (r <= 0) { conn_end(c, r ? strerror(errno) : "connection closed"); return; }
            conn_input(c, iobuf, r);
            if (r < (ssize_t)sizeof iobuf || c->state == ST_TLS_HANDSHAKE) return;
        }
    }
}

static void conn_event(struct conn *c, uint32_t ev)
{
    if (c->state == ST_CLOSED) return;
    if (c->state == ST_CONNECTING) {
        int err = 0; socklen_t l = sizeof err;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &l);
        if (err) { conn_end(c, strerror(err)); return; }
        if (!(ev & EPOLLOUT)) return;
        if (opt.tls == TLS_DIRECT) { tls_start(c); tls_step(c); }
        else { conn_events(c, false); stream_open(c); }
        return;
    }
    if (c->state == ST_TLS_HANDSHAKE) { tls_step(c); return; }
    if (ev & EPOLLOUT) conn_flush(c);
    if (ev & (EPOLLIN | EPOLLHUP | EPOLLERR)) conn_read(c);
}

/*
 * Run until done() or the deadline.  tick(now) does timed work and returns
 * when it next wants to run.  Returns true when done() was reached.
 */
static bool loop(bool (*done)(void), int64_t deadline, int64_t (*tick)(int64_t))
{
    static struct epoll_event ev[1024];
    for (;;) {
        int64_t now = now_ns(), wake = deadline;
        if (done && done()) return true;
        if (now >= deadline) return false;
        if (tick) { int64_t w = tick(now); if (w < wake) wake = w; }
        if (done && done()) return true;
        int64_t d = wake - now_ns();
        if (d < 0) d = 0;
        if (d > 100 * MSEC) d = 100 * MSEC;
        struct timespec ts = { d / SEC, d % SEC };
        int n = epoll_pwait2(ep, ev, 1024, &ts, NULL);
        for (int i = 0; i < n; i++) conn_event(ev[i].data.ptr, ev[i].events);
        for (int i = 0; i < n; i++) {
            struct conn *c = ev[i].data.ptr;
            if (c->state == ST_CLOSED && (c->in || c->ssl || c->out)) conn_free(c);
        }
    }
}

/* Launch logins (or registrations) of users first..first+n-1, bounded. */
static struct { int first, n, next; int64_t t0; } launch;

static int64_t launch_tick(int64_t now)
{
    static int64_t last_scan;
    while (launch.next < launch.n && st.in_progress < opt.concurrency) {
        if (opt.login_rate > 0) {
            int64_t due = launch.t0 + (int64_t)(launch.next / opt.login_rate * 1e9);
            if (due > now) return due;
        }
        conn_start(&conns[launch.next], launch.first + launch.next);
        launch.next++;
    }
    if (now - last_scan > SEC) {                  /* a login that hangs for 60 s has failed */
        last_scan = now;
        for (int i = 0; i < launch.next; i++)
            if (conns[i].state != ST_CLOSED && conns[i].state < ST_ONLINE && now - conns[i].t_start > 60 * SEC)
                conn_end(&conns[i], "login timed out");
    }
    return now + 50 * MSEC;
}
static bool launch_done(void) { return launch.next >= launch.n && st.in_progress <= 0; }

static int64_t hard_deadline;
static int64_t cap_deadline(double seconds)
{
    int64_t d = now_ns() + (int64_t)(seconds * 1e9);
    return d < hard_deadline ? d : hard_deadline;
}

static bool login_all(int n)
{
    if (n > nconns) {
        int old = nconns;
        /* connection pointers are registered in epoll: only grow before first use */
        if (old) die("internal: connection table already in use");
        conns = xcalloc(n, sizeof *conns);
        for (int i = 0; i < n; i++) { conns[i].fd = -1; conns[i].rx_flow = conns[i].tx_flow = -1; }
        nconns = n;
    }
    launch.first = opt.first;
    launch.n = n;
    launch.next = 0;
    launch.t0 = now_ns();
    return loop(launch_done, hard_deadline, launch_tick);
}

static void logout_all(void)
{
    for (int i = 0; i < nconns; i++)
        if (conns[i].state == ST_ONLINE) conn_printf(&conns[i], "</stream:stream>");
    int64_t end = now_ns() + 10 * SEC;
    for (int i = 0; i < nconns; i++)
        if (conns[i].state == ST_ONLINE) conns[i].state = ST_CLOSING;
    /* ST_CLOSING connections leave st.online when they close */
    while (now_ns() < end) {
        int left = 0;
        for (int i = 0; i < nconns; i++) left += conns[i].state == ST_CLOSING;
        if (!left) break;
        loop(NULL, now_ns() + 20 * MSEC, NULL);
    }
    for (int i = 0; i < nconns; i++) { conn_end(&conns[i], NULL); conn_free(&conns[i]); }
    st.online = 0;
}

/* ------------------------------------------------------------------ */
/* 9. Flows: message streams from one sender to one or many receivers    */
/* ------------------------------------------------------------------ */

/*
 * A message is open until it was delivered to every receiver and, with --sm,
 * acknowledged to its sender.  Messages of the measured window are those with
 * a sequence number from win_lo up; they are followed to their end, also when
 * that comes after the window.
 */
struct flow {
    struct conn *sender;
    char     to[160];
    uint32_t sent, win_lo;
    uint32_t acked;                               /* messages 0 .. acked-1 are acknowledged */
    uint32_t asked;                               /* messages 0 .. asked-1 are covered by an <r/> */
    int64_t  asked_at;
    int      receivers;
    int64_t *sent_at;                             /* intended send time, by sequence number */
    uint32_t *got;                                /* deliveries so far, by sequence number */
    uint32_t *sm_no;                              /* sender's sm_out with this message */
    uint32_t cap;
};

static struct flow *flows;
static int      nflows;
static char     run_tag[16];                      /* tells this run's messages from older ones */
static bool     groupchat, sending, closed_loop, in_window, measuring;
static struct {
    long sent, delivered, dup, reordered, errors, foreign;
    long win_sent, win_delivered;
    long undelivered, unacked;                    /* open messages: of the warm-up, then of the window */
    long acked, bad_acks, reasked;
    struct hist lat, ack;
} m;
static char *filler;

static const char sm_r[] = "<r xmlns='urn:xmpp:sm:3'/>";

/* Send the flow's next message; `at` is when it was meant to go out. */
static void flow_send(struct flow *f, int64_t at)
{
    char b[16384], id[48];
    struct conn *c = f->sender;
    if (c->state != ST_ONLINE) return;
    if (f->sent == f->cap) {
        f->cap = f->cap ? f->cap * 2 : 256;
        f->sent_at = xrealloc(f->sent_at, f->cap * sizeof *f->sent_at);
        f->got = xrealloc(f->got, f->cap * sizeof *f->got);
        f->sm_no = xrealloc(f->sm_no, f->cap * sizeof *f->sm_no);
    }
    uint32_t seq = f->sent++;
    f->sent_at[seq] = at;
    f->got[seq] = 0;
    int idl = snprintf(id, sizeof id, "%s-%d-%u", run_tag, (int)(f - flows), seq);
    int pad = opt.bytes > idl + 1 ? opt.bytes - idl - 1 : 0;
    int n = snprintf(b, sizeof b, "<message to='%s' type='%s' id='%s'><body>%s %.*s</body></message>",
                     f->to, groupchat ? "groupchat" : opt.type, id, id, pad, filler);
    if (c->sm_on) {
        m.unacked++;
        if (f->sent - f->asked >= (uint32_t)opt.sm_ack) {    /* <r/> goes in the same write */
            memcpy(b + n, sm_r, sizeof sm_r - 1);
            n += sizeof sm_r - 1;
            f->asked = f->sent;
            f->asked_at = now_ns();
        }
    }
    m.undelivered++;
    m.sent++;
    if (in_window) m.win_sent++;
    conn_send(c, b, n);
    f->sm_no[seq] = c->sm_out;
}

/* One message of the flow is done with: the closed loop sends the next. */
static void flow_refill(struct flow *f, int64_t now)
{
    if (sending && closed_loop && m.sent < opt.count) flow_send(f, now);
}

/*
 * <a h='N'/> on c: h counts, modulo 2^32, the stanzas of ours that the server
 * has handled since stream management was enabled.  It may not go back, nor
 * past what was sent.
 */
static void flow_ack(struct conn *c, const struct xel *e)
{
    char t[16], *end;
    xel_attr(e, "h", t, sizeof t);
    unsigned long long v = strtoull(t, &end, 10);
    uint32_t h = (uint32_t)v;
    if (!isdigit((unsigned char)t[0]) || *end || v > UINT32_MAX || h - c->sm_h > c->sm_out - c->sm_h) {
        m.bad_acks++;
        return;
    }
    c->sm_h = h;
    if (c->tx_flow < 0) return;
    struct flow *f = &flows[c->tx_flow];
    int64_t now = now_ns();
    while (f->acked < f->sent && h - f->sm_no[f->acked] < UINT32_C(1) << 31) {
        uint32_t seq = f->acked++;
        m.acked++;
        if (seq >= f->win_lo) {
            m.unacked--;
            if (measuring) hist_add(&m.ack, now - f->sent_at[seq]);
        }
        if (opt.window_ack) flow_refill(f, now);
    }
}

/* Ask again for what an <r/> of a second ago covered and no <a/> has yet acknowledged. */
static int64_t reask_tick(int64_t now)
{
    static int64_t next;
    if (!opt.sm || now < next) return now + 100 * MSEC;
    next = now + 100 * MSEC;
    for (int i = 0; i < nflows; i++) {
        struct flow *f = &flows[i];
        if (f->acked >= f->asked || now - f->asked_at < SEC || f->sender->state != ST_ONLINE) continue;
        f->asked_at = now;
        m.reasked++;
        conn_send(f->sender, sm_r, sizeof sm_r - 1);
    }
    return next;
}

/* A message stanza arrived on c: match it to its flow and account for it. */
static void flow_receive(struct conn *c, const struct xel *e)
{
    char id[64], body[64];
    struct xel b;
    int fl; unsigned seq;
    size_t tl = strlen(run_tag);
    if (attr_is(e, "type", "error")) { m.errors++; return; }
    if (!xel_attr(e, "id", id, sizeof id) || strncmp(id, run_tag, tl) || id[tl] != '-') {
        /* a chat service may replace the id: fall back to the body */
        if (!xel_child(e, "body", &b)) { m.foreign++; return; }
        xml_decode(b.body, b.bend, body, sizeof body);
        if (strncmp(body, run_tag, tl) || body[tl] != '-') { m.foreign++; return; }
        memcpy(id, body, sizeof id);
    }
    if (sscanf(id + tl + 1, "%d-%u", &fl, &seq) != 2 || fl < 0 || fl >= nflows || fl != c->rx_flow || seq >= flows[fl].sent) {
        m.foreign++;
        return;
    }
    struct flow *f = &flows[fl];
    if (seq / 64 >= c->seen_cap) {
        uint32_t cap = seq / 64 * 2 + 16;
        c->seen = xrealloc(c->seen, cap * sizeof *c->seen);
        memset(c->seen + c->seen_cap, 0, (cap - c->seen_cap) * sizeof *c->seen);
        c->seen_cap = cap;
    }
    if (c->seen[seq / 64] >> (seq % 64) & 1) { m.dup++; return; }
    c->seen[seq / 64] |= UINT64_C(1) << (seq % 64);
    if (c->seen_any && seq < c->seen_max) m.reordered++;
    else c->seen_max = seq;
    c->seen_any = true;
    int64_t now = now_ns();
    bool all = ++f->got[seq] == (uint32_t)f->receivers;
    m.delivered++;
    if (seq >= f->win_lo) {
        if (measuring) hist_add(&m.lat, now - f->sent_at[seq]);
        if (in_window) m.win_delivered++;
        if (all) m.undelivered--;
    }
    if (all && !opt.window_ack) flow_refill(f, now);
}

/* Open loop: message k of the run is due at t0 + k / rate, on flow k mod nflows. */
static struct { int64_t t0; long k; bool overload; } pace;

static int64_t pace_tick(int64_t now)
{
    if (!sending || closed_loop) return now + 100 * MSEC;
    for (;;) {
        int64_t due = pace.t0 + (int64_t)(pace.k / opt.rate * 1e9);
        if (due > now) return due;
        if (m.sent >= opt.count) return now + 100 * MSEC;
        if (m.sent * (long)flows[0].receivers - m.delivered > 500000) { pace.overload = true; return now + 100 * MSEC; }
        flow_send(&flows[pace.k % nflows], due);
        pace.k++;
    }
}

static int64_t flow_tick(int64_t now)
{
    int64_t p = pace_tick(now), r = reask_tick(now);
    return p < r ? p : r;
}

static bool drained(void) { return !m.undelivered && !m.unacked; }

/* Send for this many seconds, then stop and ask for the acknowledgements not yet asked for. */
static void flows_send(double seconds)
{
    sending = true;
    pace.t0 = now_ns();
    pace.k = 0;
    if (closed_loop)
        for (int i = 0; i < nflows; i++)
            for (int w = 0; w < opt.window && m.sent < opt.count; w++) flow_send(&flows[i], now_ns());
    loop(NULL, cap_deadline(seconds), flow_tick);
    sending = false;
    for (int i = 0; i < nflows; i++) {
        struct flow *f = &flows[i];
        if (!f->sender->sm_on || f->asked == f->sent) continue;
        f->asked = f->sent;
        f->asked_at = now_ns();
        conn_send(f->sender, sm_r, sizeof sm_r - 1);
    }
}

/* Warm up, drain, measure for --duration, drain, and report. */
static void run_flows(const char *unit)
{
    if (opt.bytes > 8000) die("--bytes is limited to 8000");
    closed_loop = opt.rate <= 0;
    filler = xrealloc(NULL, opt.bytes + 1);
    for (int i = 0; i < opt.bytes; i++) filler[i] = "the quick brown fox jumps over a lazy dog "[i % 42];
    filler[opt.bytes] = 0;
    for (int i = 0; i < nflows; i++) {
        flows[i].sender->tx_flow = i;
        if (opt.sm && !flows[i].sender->sm_on) die("--sm: the server did not enable stream management");
    }

    if (opt.warmup > 0) {
        flows_send(opt.warmup);
        loop(drained, cap_deadline(opt.drain), flow_tick);
        loop(NULL, cap_deadline(opt.settle_after), NULL);
    }

    /* Nothing is open at either end of the window, so its cost is that of its messages. */
    long backlog = m.undelivered > m.unacked ? m.undelivered : m.unacked;
    m.undelivered = m.unacked = 0;
    for (int i = 0; i < nflows; i++) flows[i].win_lo = flows[i].sent;
    struct sample a = sample_now();
    in_window = measuring = true;
    flows_send(opt.duration);
    in_window = false;
    int64_t stop = now_ns();
    long undelivered = m.undelivered, unacked = m.unacked;
    bool done = loop(drained, cap_deadline(opt.drain), flow_tick);
    int64_t end = now_ns();
    measuring = false;
    struct sample b = sample_now(), c = b;
    if (opt.settle_after > 0) {
        loop(NULL, cap_deadline(opt.settle_after), NULL);
        c = sample_now();
    }

    /* What is still open has waited at least this long: it belongs in the histograms. */
    long expect = 0, complete = 0, acked_lost = 0;
    for (int i = 0; i < nflows; i++) {
        const struct flow *f = &flows[i];
        expect += (long)f->sent * f->receivers;
        for (uint32_t seq = 0; seq < f->sent; seq++) {
            bool all = f->got[seq] == (uint32_t)f->receivers, acked = seq < f->acked;
            if (acked && !all) acked_lost++;
            if (seq < f->win_lo) continue;
            if (all && (acked || !opt.sm)) complete++;
            for (uint32_t k = f->got[seq]; k < (uint32_t)f->receivers; k++) hist_add(&m.lat, end - f->sent_at[seq]);
            if (opt.sm && !acked) hist_add(&m.ack, end - f->sent_at[seq]);
        }
    }
    double wall = (stop - a.t) / 1e9, drain = (end - stop) / 1e9;
    double units = (double)m.win_sent * flows[0].receivers;
    out_str("loop", closed_loop ? "closed" : "open");
    out_int("flows", nflows);
    if (closed_loop) {
        out_int("window", opt.window);
        out_str("window_on", opt.window_ack ? "ack" : "delivery");
    } else out_num("rate", "%.1f", opt.rate);
    if (opt.sm) out_int("sm_ack", opt.sm_ack);
    out_int("body_bytes", opt.bytes);
    out_num("measured_s", "%.3f", wall);
    out_num("drain_s", "%.3f", drain);
    out_num("drain_bound_s", "%.3f", opt.drain);
    out_int("drained", done);
    out_int("backlog_at_start", backlog);
    out_int("measured_sent", m.win_sent);
    out_int("measured_delivered", m.win_delivered);
    out_int("undelivered_at_stop", undelivered);
    if (opt.sm) out_int("unacked_at_stop", unacked);
    out_num("deliveries_per_s", "%.1f", m.win_delivered / wall);
    out_num("completed_per_s", "%.1f", (double)complete * flows[0].receivers / (wall + drain));
    out_cpu(&a, &b, units, unit);
    if (opt.pid > 0) {
        char key[64];
        out_num("settle_after_s", "%.1f", opt.settle_after);
        snprintf(key, sizeof key, "disk_bytes_per_%s_settled", unit);
        out_num(key, "%.1f", units > 0 ? (c.write_bytes - a.write_bytes) / units : 0);
        snprintf(key, sizeof key, "cpu_us_per_%s_settled", unit);
        out_num(key, "%.2f", units > 0 ? cpu_us(&a, &c) / units : 0);
    }
    out_hist("latency", &m.lat);
    if (opt.sm) out_hist("ack", &m.ack);
    out_int("sent", m.sent);
    out_int("delivered", m.delivered);
    out_int("lost", expect - m.delivered);
    if (opt.sm) {
        out_int("acked", m.acked);
        out_int("unacked_at_end", m.sent - m.acked);
        out_int("acked_but_lost", acked_lost);
        out_int("bad_acks", m.bad_acks);
        out_int("reasked", m.reasked);
    }
    out_int("duplicated", m.dup);
    out_int("reordered", m.reordered);
    out_int("message_errors", m.errors);
    out_int("other_messages", m.foreign);
    if (pace.overload) out_int("overload", 1);
}

/* ------------------------------------------------------------------ */
/* 10. Subcommands                                                     */
/* ------------------------------------------------------------------ */

static void (*mode_online)(struct conn *);
static void (*mode_iq)(struct conn *, const struct xel *);
static void (*mode_presence)(struct conn *, const struct xel *);
static void (*mode_message)(struct conn *, const struct xel *);

static void on_online(struct conn *c) { if (mode_online) mode_online(c); }

/* Every complete top-level element ends up here. */
static void on_stanza(struct conn *c, const char *p, size_t n)
{
    struct xel e, ch;
    char id[256], from[512];
    if (!xel_root(p, n, &e)) { conn_end(c, "XML error"); return; }
    if (opt.verbose) fprintf(stderr, "<< u%d %.*s\n", c->user, (int)n, p);
    st.stanzas++;
    if (xel_is(&e, "error")) {                    /* <stream:error/> */
        const char *it = e.body; char t[128] = "stream error";
        if (xel_next(&e, &it, &ch)) snprintf(t, sizeof t, "stream error: %.*s", (int)ch.nlen, ch.name);
        conn_end(c, t);
        return;
    }
    bool counted = xel_is(&e, "message") || xel_is(&e, "presence") || xel_is(&e, "iq");
    if (c->sm_on && counted) c->sm_in++;
    if (c->sm_on && xel_is(&e, "r")) { conn_printf(c, "<a xmlns='urn:xmpp:sm:3' h='%u'/>", c->sm_in); return; }
    if (c->sm_on && xel_is(&e, "a")) { flow_ack(c, &e); return; }
    if (c->state < ST_ONLINE) { on_negotiation(c, &e); return; }
    if (xel_is(&e, "message")) { if (mode_message) mode_message(c, &e); return; }
    if (xel_is(&e, "presence")) { if (mode_presence) mode_presence(c, &e); return; }
    if (!xel_is(&e, "iq")) return;
    if (attr_is(&e, "type", "get") || attr_is(&e, "type", "set")) {
        /* RFC 6120 8.2.3: every request gets an answer */
        bool ping = xel_child(&e, "ping", &ch);
        char to[600] = "";
        xel_attr(&e, "id", id, sizeof id);
        if (xel_attr(&e, "from", from, sizeof from)) snprintf(to, sizeof to, " to='%s'", from);
        bool push = attr_is(&e, "type", "set") && xel_child(&e, "query", &ch) && attr_is(&ch, "xmlns", "jabber:iq:roster");
        if (ping || push) conn_printf(c, "<iq type='result' id='%s'%s/>", id, to);
        else conn_printf(c, "<iq type='error' id='%s'%s><error type='cancel'><service-unavailable "
                            "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>", id, to);
        return;
    }
    if (mode_iq) mode_iq(c, &e);
}

static void report_common(const char *cmd)
{
    static const char *tls[] = { "none", "starttls", "direct" };
    out_str("command", cmd);
    out_str("tls", tls[opt.tls]);
    out_str("sasl", opt.sasl);
}
static void report_errors(void)
{
    out_int("failed", st.failed);
    if (st.first_error[0]) out_str("first_error", st.first_error);
    out_end();
}

/* The password is the first line of standard input: arguments are public on the machine. */
static const char *read_password(void)
{
    static char line[1026];
    if (!fgets(line, sizeof line, stdin)) die("--password-stdin: no line on standard input");
    line[strcspn(line, "\r\n")] = 0;
    if (!*line) die("--password-stdin: the first line is empty");
    return line;
}

static int cmd_register(void)
{
    registering = true;
    struct sample a = sample_now();
    login_all(opt.users);
    struct sample b = sample_now();
    report_common("register");
    out_int("created", reg_created);
    out_int("existed", reg_existed);
    out_num("per_s", "%.1f", (reg_created + reg_existed) / ((b.t - a.t) / 1e9));
    out_cpu(&a, &b, reg_created + reg_existed, "registration");
    report_errors();
    return st.failed != 0;
}

/* Log in --users users, --rounds times; the logout is not in the window. */
static int cmd_login(void)
{
    double cpu = 0, wall = 0; long ok = 0;
    struct sample a = { 0 }, b = { 0 };
    double out_cpu_us = 0;
    for (int r = 0; r < opt.rounds && now_ns() < hard_deadline; r++) {
        a = sample_now();
        login_all(opt.users);
        b = sample_now();
        cpu += cpu_us(&a, &b);
        wall += (b.t - a.t) / 1e9;
        ok += st.online;
        logout_all();
        loop(NULL, cap_deadline(opt.settle), NULL);
        struct sample z = sample_now();
        out_cpu_us += cpu_us(&b, &z);
    }
    report_common("login");
    out_int("users", opt.users);
    out_int("rounds", opt.rounds);
    out_int("concurrency", opt.concurrency);
    out_int("logins", ok);
    out_num("logins_per_s", "%.1f", ok / wall);
    out_num("login_cpu_us", "%.1f", ok ? cpu / ok : 0);
    out_num("logout_cpu_us", "%.1f", ok ? out_cpu_us / ok : 0);
    out_cpu(&a, &b, ok / (double)opt.rounds, "last_round_login");
    out_hist("login", &st.login);
    report_errors();
    return st.failed != 0;
}

/* Hold --users connections for --hold seconds. */
static int cmd_idle(void)
{
    struct sample a = sample_now();
    login_all(opt.users);
    struct sample b = sample_now();
    int n = st.online;
    fprintf(stderr, "xmppload: %d online\n", n);
    loop(NULL, cap_deadline(opt.settle), NULL);
    struct sample c = sample_now();
    loop(NULL, cap_deadline(opt.hold), NULL);
    struct sample d = sample_now();
    report_common("idle");
    out_int("users", opt.users);
    out_int("online", n);
    out_int("online_at_end", st.online);
    out_num("login_wall_s", "%.2f", (b.t - a.t) / 1e9);
    out_num("login_cpu_us", "%.1f", n ? cpu_us(&a, &b) / n : 0);
    out_int("rss_before_kb", a.rss_kb);
    out_int("pss_before_kb", a.pss_kb);
    out_int("rss_settled_kb", c.rss_kb);
    out_int("rss_end_kb", d.rss_kb);
    out_int("pss_end_kb", d.pss_kb);
    out_num("rss_kb_per_conn_settled", "%.2f", n ? (double)(c.rss_kb - a.rss_kb) / n : 0);
    out_num("rss_kb_per_conn", "%.2f", n ? (double)(d.rss_kb - a.rss_kb) / n : 0);
    out_num("pss_kb_per_conn", "%.2f", n ? (double)(d.pss_kb - a.pss_kb) / n : 0);
    out_num("idle_s", "%.1f", (d.t - c.t) / 1e9);
    out_num("idle_cpu_cores", "%.5f", cpu_us(&c, &d) / ((d.t - c.t) / 1e3));
    out_num("idle_cpu_us_per_conn_s", "%.3f", n ? cpu_us(&c, &d) / n / ((d.t - c.t) / 1e9) : 0);
    out_num("client_rss_kb", "%.0f", ({ struct rusage ru; getrusage(RUSAGE_SELF, &ru); (double)ru.ru_maxrss; }));
    report_errors();
    logout_all();
    return st.failed != 0;
}

/* --- ping: one user pings the server on a fixed schedule (XEP-0199) --- */
static struct { int64_t t0, *due; long sent, answered, errors, limit; struct hist lat; } ping;

static int64_t ping_tick(int64_t now)
{
    for (;;) {
        if (ping.sent == ping.limit || conns[0].state != ST_ONLINE) return now + 100 * MSEC;
        int64_t due = ping.t0 + (int64_t)(ping.sent / opt.rate * 1e9);
        if (due > now) return due;
        ping.due[ping.sent] = due;
        conn_printf(&conns[0], "<iq type='get' id='ping%ld' to='%s'><ping xmlns='urn:xmpp:ping'/></iq>",
                    ping.sent++, opt.domain);
    }
}
static void ping_iq(struct conn *c, const struct xel *e)
{
    char id[32];
    long n;
    (void)c;
    if (!xel_attr(e, "id", id, sizeof id) || sscanf(id, "ping%ld", &n) != 1) return;
    if (n < 0 || n >= ping.sent || !ping.due[n]) return;
    hist_add(&ping.lat, now_ns() - ping.due[n]);
    ping.due[n] = 0;
    ping.answered++;
    if (!attr_is(e, "type", "result")) ping.errors++;
}
static bool ping_done(void) { return ping.answered == ping.sent; }

static int cmd_ping(void)
{
    if (opt.rate <= 0) opt.rate = 100;
    login_all(1);
    if (!st.online) die("not online: %s", st.first_error);
    mode_iq = ping_iq;
    loop(NULL, cap_deadline(opt.settle), NULL);
    fprintf(stderr, "xmppload: 1 online\n");
    ping.limit = (long)(opt.rate * opt.duration);
    ping.due = xcalloc(ping.limit, sizeof *ping.due);
    struct sample a = sample_now();
    ping.t0 = now_ns();
    loop(NULL, cap_deadline(opt.duration), ping_tick);
    loop(ping_done, cap_deadline(opt.drain), NULL);
    struct sample b = sample_now();
    for (long i = 0; i < ping.sent; i++)          /* unanswered: it has waited at least this long */
        if (ping.due[i]) hist_add(&ping.lat, b.t - ping.due[i]);
    report_common("ping");
    out_num("rate", "%.1f", opt.rate);
    out_int("sent", ping.sent);
    out_int("unanswered", ping.sent - ping.answered);
    out_int("ping_errors", ping.errors);
    out_cpu(&a, &b, ping.sent, "ping");
    out_hist("latency", &ping.lat);
    report_errors();
    logout_all();
    return st.failed != 0 || ping.answered < ping.sent;
}

/* Pair i: user 2i sends to user 2i+1, who may be on another server. */
static int cmd_chat(void)
{
    login_all(opt.pairs * 2);
    if (st.online < opt.pairs * 2) die("only %d of %d users came online: %s", st.online, opt.pairs * 2, st.first_error);
    nflows = opt.pairs;
    flows = xcalloc(nflows, sizeof *flows);
    for (int i = 0; i < nflows; i++) {
        struct conn *to = &conns[2 * i + 1];
        flows[i] = (struct flow){ .sender = &conns[2 * i], .receivers = 1 };
        if (opt.to_full) snprintf(flows[i].to, sizeof flows[i].to, "%s", to->jid);
        else snprintf(flows[i].to, sizeof flows[i].to, "%s%d@%s", opt.prefix, to->user, domain_of(to));
        to->rx_flow = i;
    }
    mode_message = flow_receive;
    loop(NULL, cap_deadline(opt.settle), NULL);
    report_common("chat");
    out_int("pairs", opt.pairs);
    run_flows("msg");
    report_errors();
    logout_all();
    return st.failed != 0;
}

/* --- muc: occupant k of room r is user r * occupants + k --- */
static int muc_joined, muc_errors;

static void muc_join(struct conn *c)
{
    int r = (int)(c - conns) / opt.occupants;
    conn_printf(c, "<presence to='load-%s-%d@%s/%s%d'><x xmlns='http://jabber.org/protocol/muc'>"
                   "<history maxstanzas='0'/></x></presence>", run_tag, r, opt.muc_host, opt.prefix, c->user);
}
static void muc_presence(struct conn *c, const struct xel *e)
{
    struct xel x, s; const char *it;
    bool self = false, created = false;
    char from[256], room[200];
    xel_attr(e, "from", from, sizeof from);
    snprintf(room, sizeof room, "load-%s-%d@", run_tag, (int)(c - conns) / opt.occupants);
    if (strncmp(from, room, strlen(room))) return;
    if (attr_is(e, "type", "error")) { muc_errors++; if (!st.first_error[0]) error_text(e, "join", st.first_error, sizeof st.first_error); return; }
    if (c->joined || !xel_child(e, "x", &x)) return;
    /* <x/> may appear more than once (e.g. vCard avatars): look at all of them */
    for (const char *i2 = e->body; xel_next(e, &i2, &x);)
        if (xel_is(&x, "x"))
            for (it = x.body; xel_next(&x, &it, &s);)
                if (xel_is(&s, "status")) {
                    if (attr_is(&s, "code", "110")) self = true;
                    if (attr_is(&s, "code", "201")) created = true;
                }
    if (!self) return;
    c->joined = true;
    if (created)                                  /* unlock it: an "instant room" */
        conn_printf(c, "<iq type='set' id='cfg' to='load-%s-%d@%s'><query xmlns='http://jabber.org/protocol/muc#owner'>"
                       "<x xmlns='jabber:x:data' type='submit'/></query></iq>",
                    run_tag, (int)(c - conns) / opt.occupants, opt.muc_host);
    else muc_joined++;
}
static void muc_iq(struct conn *c, const struct xel *e)
{
    if (!attr_is(e, "id", "cfg")) return;
    (void)c;
    if (attr_is(e, "type", "result")) muc_joined++;
    else { muc_errors++; error_text(e, "room configuration", st.first_error, sizeof st.first_error); }
}
static int muc_want;
static bool muc_done(void) { return muc_joined + muc_errors >= muc_want; }

static int cmd_muc(void)
{
    int n = opt.rooms * opt.occupants;
    login_all(n);
    if (st.online < n) die("only %d of %d users came online: %s", st.online, n, st.first_error);
    mode_presence = muc_presence;
    mode_iq = muc_iq;
    groupchat = true;
    struct sample a = sample_now();
    for (int r = 0; r < opt.rooms; r++) muc_join(&conns[r * opt.occupants]);   /* creators first */
    muc_want = opt.rooms;
    loop(muc_done, cap_deadline(30), NULL);
    for (int k = 1; k < opt.occupants && !muc_errors; k++) {                   /* then the others, in small steps */
        for (int r = 0; r < opt.rooms; r++) muc_join(&conns[r * opt.occupants + k]);
        muc_want += opt.rooms;
        if (k % 8 == 0) loop(muc_done, cap_deadline(60), NULL);
    }
    loop(muc_done, cap_deadline(60), NULL);
    if (muc_joined < n) die("only %d of %d occupants joined: %s", muc_joined, n, st.first_error);
    struct sample b = sample_now();
    nflows = opt.rooms;
    flows = xcalloc(nflows, sizeof *flows);
    for (int r = 0; r < nflows; r++) {
        flows[r] = (struct flow){ .sender = &conns[r * opt.occupants], .receivers = opt.occupants };
        snprintf(flows[r].to, sizeof flows[r].to, "load-%s-%d@%s", run_tag, r, opt.muc_host);
        for (int k = 0; k < opt.occupants; k++) conns[r * opt.occupants + k].rx_flow = r;
    }
    mode_message = flow_receive;
    loop(NULL, cap_deadline(opt.settle), NULL);
    report_common("muc");
    out_int("rooms", opt.rooms);
    out_int("occupants", opt.occupants);
    out_num("join_cpu_us", "%.1f", cpu_us(&a, &b) / n);
    out_num("join_wall_s", "%.2f", (b.t - a.t) / 1e9);
    run_flows("delivery");
    report_errors();
    logout_all();
    return st.failed != 0;
}

/* --- archive: page through each user's message archive (XEP-0313) --- */
static long mam_messages, mam_pages; static int mam_finished;
static struct hist mam_lat;

static void mam_query(struct conn *c, const char *after)
{
    c->t_query = now_ns();
    conn_printf(c, "<iq type='set' id='mam%u'><query xmlns='urn:xmpp:mam:2' queryid='q'>"
                   "<set xmlns='http://jabber.org/protocol/rsm'><max>%d</max>%s%s%s</set></query></iq>",
                c->mam_pages, opt.page, after ? "<after>" : "", after ? after : "", after ? "</after>" : "");
}
static void mam_message(struct conn *c, const struct xel *e)
{
    struct xel r;
    (void)c;
    if (xel_child(e, "result", &r) && attr_is(&r, "xmlns", "urn:xmpp:mam:2")) mam_messages++;
}
static void mam_iq(struct conn *c, const struct xel *e)
{
    struct xel fin, set, last;
    char id[32], after[256];
    if (!xel_attr(e, "id", id, sizeof id) || strncmp(id, "mam", 3)) return;
    if (!attr_is(e, "type", "result")) { error_text(e, "archive query", after, sizeof after); mam_finished++; conn_end(c, after); return; }
    hist_add(&mam_lat, now_ns() - c->t_query);
    mam_pages++;
    c->mam_pages++;
    if (!xel_child(e, "fin", &fin) || attr_is(&fin, "complete", "true") || mam_pages >= opt.count ||
        !xel_child(&fin, "set", &set) || !xel_child(&set, "last", &last)) { mam_finished++; return; }
    /* archive ids are opaque: copy them as they stand, still XML-escaped */
    snprintf(after, sizeof after, "%.*s", (int)(last.bend - last.body), last.body);
    mam_query(c, after);
}
static bool mam_done(void) { return mam_finished >= nconns; }

static int cmd_archive(void)
{
    login_all(opt.users);
    mode_message = mam_message;
    mode_iq = mam_iq;
    mam_finished = nconns - st.online;
    struct sample a = sample_now();
    for (int i = 0; i < nconns; i++) if (conns[i].state == ST_ONLINE) mam_query(&conns[i], NULL);
    bool done = loop(mam_done, hard_deadline, NULL);
    struct sample b = sample_now();
    report_common("archive");
    out_int("users", opt.users);
    out_int("page", opt.page);
    out_int("complete", done);
    out_int("messages", mam_messages);
    out_int("pages", mam_pages);
    out_num("messages_per_s", "%.1f", mam_messages / ((b.t - a.t) / 1e9));
    out_cpu(&a, &b, mam_messages, "message");
    out_hist("page", &mam_lat);
    report_errors();
    logout_all();
    return st.failed != 0;
}

/* ------------------------------------------------------------------ */
/* 11. main                                                            */
/* ------------------------------------------------------------------ */

static void usage(void)
{
    fputs(
"usage: xmppload COMMAND [options]\n"
"commands\n"
"  register   create users by in-band registration (XEP-0077)\n"
"  login      connect, authenticate, bind; CPU and rate per login\n"
"  idle       hold connections; memory per connection, CPU while idle\n"
"  ping       one user pings the server at --rate (100 a second); latency from the schedule\n"
"  chat       one-to-one messages between pairs of users\n"
"  muc        group chat: one sender per room, fan-out to all occupants\n"
"  archive    page through each user's message archive (XEP-0313)\n"
"target\n"
"  --host A --port N       server address (127.0.0.1 5222)\n"
"  --domain D              XMPP domain (localhost)\n"
"  --muc-host D            group chat service (conference.DOMAIN)\n"
"  --pid PID               server process: sample its CPU and memory, children included\n"
"  --peer-port N --peer-domain D --peer-pid PID\n"
"                          chat: those who receive are on this server, with its CPU apart\n"
"users and session\n"
"  --users N --first I     users PREFIX<I> .. PREFIX<I+N-1> (100, 0)\n"
"  --prefix S --password S --resource S\n"
"  --password-stdin        the password is the first line of standard input\n"
"  --tls none|starttls|direct     --sasl auto|PLAIN|SCRAM-SHA-1|SCRAM-SHA-256\n"
"  --no-presence --roster --carbons --session\n"
"  --sm                    enable stream management (XEP-0198)\n"
"  --sm-ack N              with --sm: request an acknowledgement every N messages (1)\n"
"load\n"
"  --concurrency N         logins in progress at once (32)    --login-rate R\n"
"  --rounds N              login: repeat\n"
"  --pairs N --bytes N     chat: pairs, body size (50, 100)   --to bare|full\n"
"  --type T                chat: of the messages (chat)\n"
"  --rooms N --occupants N muc (1, 50)\n"
"  --window N              closed loop: messages in flight per sender (1)\n"
"  --window-on delivery|ack  what ends a message's flight: delivery, or acknowledgement (needs --sm)\n"
"  --rate R                open loop: messages per second in total\n"
"  --warmup S --duration S --drain S   (2, 10, 5); the drain is an upper bound\n"
"  --settle-after S        stay idle S seconds after each drain, before the *_settled sample (0)\n"
"  --hold S --settle S     idle: seconds held, seconds before measuring (10, 2)\n"
"  --page N                archive: page size (50)\n"
"  --count N               stop after N messages (chat, muc) or pages (archive)\n"
"  --timeout S             hard limit on the whole run (300)\n"
"  --sources N             local 127.0.1.x source addresses (8)\n"
"output\n"
"  --json  --verbose\n", stderr);
    exit(2);
}

int main(int argc, char **argv)
{
    enum { O_HOST = 256, O_PORT, O_DOMAIN, O_MUC, O_PID, O_USERS, O_FIRST, O_PREFIX, O_PASSWORD, O_RESOURCE, O_TLS,
           O_SASL, O_NOPRES, O_ROSTER, O_CARBONS, O_SESSION, O_SM, O_SMACK, O_CONC, O_LRATE, O_ROUNDS, O_PAIRS,
           O_BYTES, O_TO, O_ROOMS, O_OCC, O_WINDOW, O_RATE, O_WARM, O_DUR, O_DRAIN, O_HOLD, O_SETTLE, O_PAGE,
           O_COUNT, O_TIMEOUT, O_SOURCES, O_JSON, O_VERBOSE, O_WINON, O_SETTLEAFTER, O_PASSIN,
           O_PEERPORT, O_PEERDOMAIN, O_PEERPID, O_TYPE };
    static const struct option lo[] = {
        { "host", 1, 0, O_HOST }, { "port", 1, 0, O_PORT }, { "domain", 1, 0, O_DOMAIN }, { "muc-host", 1, 0, O_MUC },
        { "pid", 1, 0, O_PID }, { "users", 1, 0, O_USERS }, { "first", 1, 0, O_FIRST }, { "prefix", 1, 0, O_PREFIX },
        { "password", 1, 0, O_PASSWORD }, { "resource", 1, 0, O_RESOURCE }, { "tls", 1, 0, O_TLS }, { "sasl", 1, 0, O_SASL },
        { "no-presence", 0, 0, O_NOPRES }, { "roster", 0, 0, O_ROSTER }, { "carbons", 0, 0, O_CARBONS },
        { "session", 0, 0, O_SESSION }, { "sm", 0, 0, O_SM }, { "sm-ack", 1, 0, O_SMACK }, { "concurrency", 1, 0, O_CONC },
        { "login-rate", 1, 0, O_LRATE }, { "rounds", 1, 0, O_ROUNDS }, { "pairs", 1, 0, O_PAIRS }, { "bytes", 1, 0, O_BYTES },
        { "to", 1, 0, O_TO }, { "rooms", 1, 0, O_ROOMS }, { "occupants", 1, 0, O_OCC }, { "window", 1, 0, O_WINDOW },
        { "rate", 1, 0, O_RATE }, { "warmup", 1, 0, O_WARM }, { "duration", 1, 0, O_DUR }, { "drain", 1, 0, O_DRAIN },
        { "hold", 1, 0, O_HOLD }, { "settle", 1, 0, O_SETTLE }, { "page", 1, 0, O_PAGE }, { "count", 1, 0, O_COUNT },
        { "password-stdin", 0, 0, O_PASSIN }, { "window-on", 1, 0, O_WINON }, { "settle-after", 1, 0, O_SETTLEAFTER },
        { "peer-port", 1, 0, O_PEERPORT }, { "peer-domain", 1, 0, O_PEERDOMAIN }, { "peer-pid", 1, 0, O_PEERPID },
        { "type", 1, 0, O_TYPE },
        { "timeout", 1, 0, O_TIMEOUT }, { "sources", 1, 0, O_SOURCES }, { "json", 0, 0, O_JSON }, { "verbose", 0, 0, O_VERBOSE },
        { 0, 0, 0, 0 } };
    static const struct { const char *name; int (*fn)(void); } cmds[] = {
        { "register", cmd_register }, { "login", cmd_login }, { "idle", cmd_idle }, { "ping", cmd_ping },
        { "chat", cmd_chat }, { "muc", cmd_muc }, { "archive", cmd_archive } };

    if (argc < 2) usage();
    int o;
    optind = 2;
    while ((o = getopt_long(argc, argv, "", lo, NULL)) != -1) switch (o) {
        case O_HOST: opt.host = optarg; break;
        case O_PORT: opt.port = atoi(optarg); break;
        case O_DOMAIN: opt.domain = optarg; break;
        case O_MUC: opt.muc_host = optarg; break;
        case O_PID: opt.pid = atoi(optarg); break;
        case O_PEERPORT: opt.peer_port = atoi(optarg); break;
        case O_PEERDOMAIN: opt.peer_domain = optarg; break;
        case O_TYPE: opt.type = optarg; break;
        case O_PEERPID: opt.peer_pid = atoi(optarg); break;
        case O_USERS: opt.users = atoi(optarg); break;
        case O_FIRST: opt.first = atoi(optarg); break;
        case O_PREFIX: opt.prefix = optarg; break;
        case O_PASSWORD: opt.password = optarg; break;
        case O_PASSIN: opt.password = read_password(); break;
        case O_RESOURCE: opt.resource = optarg; break;
        case O_TLS:
            opt.tls = !strcmp(optarg, "starttls") ? TLS_STARTTLS : !strcmp(optarg, "direct") ? TLS_DIRECT : TLS_NONE;
            if (opt.tls == TLS_NONE && strcmp(optarg, "none")) usage();
            break;
        case O_SASL: opt.sasl = optarg; break;
        case O_NOPRES: opt.presence = false; break;
        case O_ROSTER: opt.roster = true; break;
        case O_CARBONS: opt.carbons = true; break;
        case O_SESSION: opt.session = true; break;
        case O_SM: opt.sm = true; break;
        case O_SMACK: opt.sm_ack = atoi(optarg); if (opt.sm_ack < 1) usage(); break;
        case O_CONC: opt.concurrency = atoi(optarg); break;
        case O_LRATE: opt.login_rate = atof(optarg); break;
        case O_ROUNDS: opt.rounds = atoi(optarg); break;
        case O_PAIRS: opt.pairs = atoi(optarg); break;
        case O_BYTES: opt.bytes = atoi(optarg); break;
        case O_TO: opt.to_full = !strcmp(optarg, "full"); break;
        case O_ROOMS: opt.rooms = atoi(optarg); break;
        case O_OCC: opt.occupants = atoi(optarg); break;
        case O_WINDOW: opt.window = atoi(optarg); break;
        case O_WINON:
            opt.window_ack = !strcmp(optarg, "ack");
            if (!opt.window_ack && strcmp(optarg, "delivery")) usage();
            break;
        case O_RATE: opt.rate = atof(optarg); break;
        case O_WARM: opt.warmup = atof(optarg); break;
        case O_DUR: opt.duration = atof(optarg); break;
        case O_DRAIN: opt.drain = atof(optarg); break;
        case O_HOLD: opt.hold = atof(optarg); break;
        case O_SETTLE: opt.settle = atof(optarg); break;
        case O_SETTLEAFTER: opt.settle_after = atof(optarg); break;
        case O_PAGE: opt.page = atoi(optarg); break;
        case O_COUNT: opt.count = atol(optarg); break;
        case O_TIMEOUT: opt.timeout = atof(optarg); break;
        case O_SOURCES: opt.sources = atoi(optarg); break;
        case O_JSON: opt.json = true; break;
        case O_VERBOSE: opt.verbose = true; break;
        default: usage();
    }
    if (optind < argc) usage();
    if (opt.pairs < 1 || opt.rooms < 1 || opt.occupants < 1 || opt.users < 1 || opt.concurrency < 1 || opt.window < 1) usage();
    if ((opt.window_ack || opt.sm_ack) && !opt.sm) die("--window-on ack and --sm-ack need --sm");
    if (!opt.peer_port != !opt.peer_domain || (opt.peer_port && strcmp(argv[1], "chat")))
        die("--peer-port and --peer-domain come together, with chat");
    if (!opt.sm_ack) opt.sm_ack = 1;
    if (opt.window_ack && opt.rate <= 0 && opt.sm_ack > opt.window) die("--window-on ack: --sm-ack above --window would never refill");

    static char muc_default[256];
    if (!opt.muc_host) {
        snprintf(muc_default, sizeof muc_default, "conference.%s", opt.domain);
        opt.muc_host = muc_default;
    }
    signal(SIGPIPE, SIG_IGN);
    struct rlimit rl = { 1048576, 1048576 };
    if (setrlimit(RLIMIT_NOFILE, &rl)) {          /* not root: take what the hard limit gives */
        getrlimit(RLIMIT_NOFILE, &rl);
        rl.rlim_cur = rl.rlim_max;
        setrlimit(RLIMIT_NOFILE, &rl);
    }
    ep = epoll_create1(EPOLL_CLOEXEC);
    if (opt.tls != TLS_NONE) {
        tls_ctx = SSL_CTX_new(TLS_client_method());
        if (!tls_ctx) die("SSL_CTX_new failed");
        SSL_CTX_set_verify(tls_ctx, SSL_VERIFY_NONE, NULL);     /* self-signed test certificates */
        SSL_CTX_set_session_cache_mode(tls_ctx, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_mode(tls_ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    }
    snprintf(run_tag, sizeof run_tag, "x%05x", (unsigned)((now_ns() / 1000) ^ (getpid() * 7919)) & 0xfffff);
    hard_deadline = now_ns() + (int64_t)(opt.timeout * 1e9);

    for (size_t i = 0; i < sizeof cmds / sizeof *cmds; i++)
        if (!strcmp(argv[1], cmds[i].name)) return cmds[i].fn();
    usage();
}

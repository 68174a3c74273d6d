/* The Raspberry Pi firmware's device nodes, for LD_PRELOAD: what is opened as …/dev/vcio or
   …/dev/vcio_gencmd is a regular file, and its ioctl is answered here as the kernel and the firmware
   do. A buffer that they would not take is refused, and noted.

   VCIO names a folder:
     answers       what the firmware answers, in the form of a recorded tree's `mailbox`
     vcio.mode, vcio_gencmd.mode
                   how the node fails: `refused` (open: EPERM), `forbidden` (ioctl: EPERM),
                   `timeout` (ioctl: ETIMEDOUT), `failed` (the firmware's status says so), `noise`
                   (the whole buffer), `nonsense` (a good buffer with values that cannot be),
                   `hang` (while the file says so); answers when it does not exist
     questions     written: a line for each question, node, tag, number or command
     violations    written: what must not have been asked */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { GENCMD = 0x00030080, GENCMD_SIZE = 4096, ANSWERED = 0x80000000u };

static const struct tag {
    uint32_t number, size;
} tags[] = {{0x00000001, 4}, {0x00030003, 8}, {0x00030006, 8}, {0x0003000a, 8}, {0x00030046, 4},
            {0x00030047, 8}, {GENCMD, GENCMD_SIZE}};

static atomic_int asking;

static FILE *file(const char *name, const char *mode) {
    char path[4096];
    const char *folder = getenv("VCIO");
    if (!folder) return NULL;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return fopen(path, mode);
}

static void note(const char *name, const char *format, ...) {
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    FILE *to = file(name, "a");
    if (!to) return;
    fprintf(to, "%s\n", line);
    fclose(to);
}

static int violation(const char *what, uint32_t value, int code) {
    note("violations", "%s: 0x%08x", what, value);
    errno = code;
    return -1;
}

/* "vcio" or "vcio_gencmd" when the path is one of the nodes. */
static const char *node_of(const char *path) {
    const char *name = path ? strstr(path, "/dev/vcio") : NULL;
    if (!name || !getenv("VCIO")) return NULL;
    name += 5;
    return !strcmp(name, "vcio") || !strcmp(name, "vcio_gencmd") ? name : NULL;
}

static int is_in_mode(const char *node, const char *mode) {
    char name[64], word[64] = "";
    snprintf(name, sizeof name, "%s.mode", node);
    FILE *from = file(name, "r");
    if (!from) return 0;
    if (fscanf(from, "%63s", word) != 1) word[0] = 0;
    fclose(from);
    return !strcmp(word, mode);
}

static int opened(const char *symbol, const char *path, int flags, mode_t mode) {
    const char *node = node_of(path);
    if (node && is_in_mode(node, "refused")) {
        errno = EPERM;
        return -1;
    }
    int (*next)(const char *, int, ...) = dlsym(RTLD_NEXT, symbol);
    return next(path, flags, mode);
}

#define OPEN(name)                                     \
    int name(const char *path, int flags, ...) {       \
        va_list arguments;                             \
        va_start(arguments, flags);                    \
        mode_t mode = va_arg(arguments, unsigned int); \
        va_end(arguments);                             \
        return opened(#name, path, flags, mode);       \
    }
OPEN(open)
OPEN(open64)

/* The text after ` -> ` on the lines of this command. */
static int command_answer(const char *command, char *answer, size_t size) {
    char line[1024], start[512];
    int found = 0;
    size_t used = 0;
    snprintf(start, sizeof start, "gencmd %s -> ", command);
    FILE *from = file("answers", "r");
    while (from && fgets(line, sizeof line, from)) {
        if (strncmp(line, start, strlen(start))) continue;
        found = 1;
        used += snprintf(answer + used, size - used, "%s", line + strlen(start));
    }
    if (from) fclose(from);
    if (!found) snprintf(answer, size, "error=1 error_msg=\"Command not registered\"");
    return found;
}

/* The words on the line of this tag, and of this number where it has one. */
static int property_answer(uint32_t tag, uint32_t *value, uint32_t words) {
    char line[1024];
    int found = 0;
    FILE *from = file("answers", "r");
    while (!found && from && fgets(line, sizeof line, from)) {
        uint32_t number, answer[2] = {0, 0};
        int count = sscanf(line, "tag %x %x %x", &number, &answer[0], &answer[1]);
        if (count != (int)words + 1 || number != tag) continue;
        if (words == 2 && answer[0] != value[0]) continue;
        memcpy(value, answer, words * 4);
        found = 1;
    }
    if (from) fclose(from);
    return found;
}

/* Answers one tag in place; `value` has its size and no more. */
static int answer(const char *node, const struct tag *tag, uint32_t *value) {
    int is_nonsense = is_in_mode(node, "nonsense");
    if (tag->number == GENCMD) {
        char *text = (char *)(value + 1);
        size_t size = GENCMD_SIZE - 4;
        if (value[0] != 0) return violation("return code in a request", value[0], EINVAL);
        if (!memchr(text, 0, size)) return violation("command without end", 0, EINVAL);
        note("questions", "%s gencmd %s", node, text);
        char command[256];
        snprintf(command, sizeof command, "%s", text);
        if (is_nonsense) memset(text, 0xFF, size);
        else command_answer(command, text, size);
        return 0;
    }
    note("questions", "%s 0x%08x %u", node, tag->number, tag->size == 8 ? value[0] : 0);
    if (tag->number == 0x00030046 && value[0] != 0)
        return violation("history would be cleared", value[0], EINVAL);
    if (tag->size == 8 && value[1] != 0) return violation("a value to set", value[1], EINVAL);
    if (is_nonsense) memset(value, 0xFF, tag->size);
    else if (!property_answer(tag->number, value, tag->size / 4)) {
        errno = EINVAL;
        return -1;
    }
    return 0;
}

static int exchange(const char *node, uint32_t *words) {
    uint32_t size = words[0], end = size / 4 - 1;
    if (size % 4 || size < 12 || size > 8192) return violation("size", size, EINVAL);
    if (words[1] != 0) return violation("status in a request", words[1], EINVAL);
    if (words[end] != 0) return violation("no terminator", words[end], EINVAL);
    uint32_t at = 2;
    while (at < end && words[at] != 0) {
        const struct tag *tag = NULL;
        for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
            if (tags[i].number == words[at]) tag = &tags[i];
        if (!tag || (!strcmp(node, "vcio_gencmd") && tag->number != GENCMD))
            return violation("tag", words[at], EPERM);
        if (words[at + 1] != tag->size) return violation("size of value", words[at + 1], EINVAL);
        if (words[at + 2] != 0) return violation("length in a request", words[at + 2], EINVAL);
        if (at + 3 + tag->size / 4 > end) return violation("value beyond the end", at, EINVAL);
        if (answer(node, tag, words + at + 3)) return -1;
        words[at + 2] = ANSWERED | tag->size;
        at += 3 + tag->size / 4;
    }
    if (at != end) return violation("words behind the last tag", at, EINVAL);
    words[1] = ANSWERED;
    if (is_in_mode(node, "failed")) words[1] |= 1;
    /* Word 0 stays: the kernel copies as much as it said. */
    if (is_in_mode(node, "noise")) memset(words + 1, 0xA5, size - 4);
    return 0;
}

int ioctl(int descriptor, unsigned long request, ...) {
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    int (*next)(int, unsigned long, ...) = dlsym(RTLD_NEXT, "ioctl");
    if (!getenv("VCIO")) return next(descriptor, request, argument);
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length > 0 ? length : 0] = 0;
    const char *node = node_of(path);
    if (!node) return next(descriptor, request, argument);

    if (request != _IOWR(100, 0, char *)) return violation("request", (uint32_t)request, ENOTTY);
    if (is_in_mode(node, "forbidden")) {
        errno = EPERM;
        return -1;
    }
    if (is_in_mode(node, "timeout")) {
        note("questions", "%s timeout", node);
        errno = ETIMEDOUT;
        return -1;
    }
    if (atomic_fetch_add(&asking, 1) != 0) violation("two questions at a time", 0, 0);
    if (is_in_mode(node, "hang")) note("questions", "%s hangs", node);
    struct timespec pause = {0, 10 * 1000 * 1000};
    while (is_in_mode(node, "hang")) nanosleep(&pause, NULL);
    int result = exchange(node, argument);
    int code = errno;
    atomic_fetch_sub(&asking, 1);
    errno = code;
    return result;
}

/* A faulty disk, for LD_PRELOAD. It stands between SQLite and the files named kinglet.db*; other
   files are left alone. What it does is said by variables of the environment, each naming a file or
   a folder.

   STALL_WHILE: while the file exists, syncs wait.
   READ_ONLY_WHILE: while it exists, writes fail as on a file system that the kernel has made
     read-only.
   FAIL_WHILE: while it exists, one in N writes, truncations and syncs fails with EIO; N is the
     file's content. Every other failed write has left its first half behind.
   FORGET_INTO: a folder. Each write and truncation is noted there first, with the bytes before and
     after it, in one journal per file, which is emptied once the file was synced. Whoever kills the
     process finds there what a power cut could have cost, and takes it back (faulty_disk.py).

   THREADS: one lock around an operation and its note, so that a journal never disagrees with its
   file. A kill between the two leaves a note of something that never happened, and taking that back
   changes nothing; half a note at the journal's end is none. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { WRITE = 1, TRUNCATE = 2 };

/* A note's head; `before` bytes of the old content and `after` bytes of the new one follow. */
struct note {
    uint64_t kind, offset, size, before, after;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* The file's name, or NULL when it is none of the database's. */
static const char *database_file(int file, char path[4096]) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, 4095);
    if (length <= 0) return NULL;
    path[length] = 0;
    const char *name = strrchr(path, '/');
    return name && strncmp(name + 1, "kinglet.db", 10) == 0 ? name + 1 : NULL;
}

static int is_on(const char *variable) {
    const char *gate = getenv(variable);
    return gate && access(gate, F_OK) == 0;
}

static void wait_while_stalled(void) {
    struct timespec pause = {0, 10 * 1000 * 1000};
    while (is_on("STALL_WHILE")) nanosleep(&pause, NULL);
}

static uint64_t draw(void) {
    static uint64_t state;
    if (state == 0) state = ((uint64_t)time(NULL) << 20 ^ (uint64_t)getpid()) | 1;
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state;
}

/* One in N, while there is a gate. Called with the lock held. */
static int fails(void) {
    const char *gate = getenv("FAIL_WHILE");
    if (!gate) return 0;
    int file = open(gate, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    char text[16] = "";
    ssize_t count = read(file, text, sizeof text - 1);
    close(file);
    int one_in = count > 0 ? atoi(text) : 1;
    return one_in <= 1 || draw() % (uint64_t)one_in == 0;
}

/* The journal of a file, or -1 when nothing is to be forgotten. Shared memory does not outlive its
   processes anyway. */
static int journal_of(const char *name) {
    static struct { char name[64]; int file; } open_journals[8];
    const char *folder = getenv("FORGET_INTO");
    const char *dash = strrchr(name, '-');
    if (!folder || (dash && strcmp(dash, "-shm") == 0)) return -1;
    for (int index = 0; index < 8; index++) {
        if (strcmp(open_journals[index].name, name) == 0) return open_journals[index].file;
        if (open_journals[index].name[0]) continue;
        char path[4096];
        snprintf(path, sizeof path, "%s/unsynced-%s", folder, name);
        int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (file < 0 || strlen(name) >= sizeof open_journals[index].name) abort();
        strcpy(open_journals[index].name, name);
        return open_journals[index].file = file;
    }
    abort();
}

static void note_down(
    const char *name, int file, int kind, off_t offset, const void *bytes, size_t count) {
    int journal = journal_of(name);
    if (journal < 0) return;
    struct stat status;
    if (fstat(file, &status) != 0) abort();
    struct note note = {(uint64_t)kind, (uint64_t)offset, (uint64_t)status.st_size, 0, count};
    uint64_t end = kind == WRITE ? (uint64_t)offset + count : UINT64_MAX;
    if (note.offset < note.size) note.before = (end < note.size ? end : note.size) - note.offset;
    size_t length = sizeof note + note.before + note.after;
    char *text = malloc(length);
    if (!text) abort();
    memcpy(text, &note, sizeof note);
    if (note.before > 0) {
        /* Not through a descriptor of our own: closing it would drop the process's locks. */
        ssize_t got = pread(file, text + sizeof note, note.before, offset);
        if (got != (ssize_t)note.before) abort();
    }
    if (count > 0) memcpy(text + sizeof note + note.before, bytes, count);
    if (write(journal, text, length) != (ssize_t)length) abort();
    free(text);
}

static ssize_t real_write(int file, const void *bytes, size_t count, off_t offset) {
    return ((ssize_t(*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite64"))(
        file, bytes, count, offset);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off_t offset) {
    char path[4096];
    const char *name = database_file(file, path);
    if (!name) return real_write(file, bytes, count, offset);
    if (is_on("READ_ONLY_WHILE")) {
        errno = EROFS;
        return -1;
    }
    ssize_t written = -1;
    pthread_mutex_lock(&lock);
    int is_failing = fails();
    size_t part = is_failing ? (draw() % 2 ? count / 2 : 0) : count;
    if (part > 0) {
        note_down(name, file, WRITE, offset, bytes, part);
        written = real_write(file, bytes, part, offset);
    }
    pthread_mutex_unlock(&lock);
    if (!is_failing) return written;
    errno = EIO;
    return -1;
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t offset) {
    return pwrite64(file, bytes, count, offset);
}

int ftruncate64(int file, off_t length) {
    int (*real)(int, off_t) = (int (*)(int, off_t))dlsym(RTLD_NEXT, "ftruncate64");
    char path[4096];
    const char *name = database_file(file, path);
    if (!name) return real(file, length);
    int result = -1;
    pthread_mutex_lock(&lock);
    int is_failing = fails();
    if (!is_failing) {
        note_down(name, file, TRUNCATE, length, NULL, 0);
        result = real(file, length);
    }
    pthread_mutex_unlock(&lock);
    if (is_failing) errno = EIO;
    return result;
}

int ftruncate(int file, off_t length) { return ftruncate64(file, length); }

static int sync_file(int file, const char *function) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, function);
    char path[4096];
    const char *name = database_file(file, path);
    if (!name) return real(file);
    wait_while_stalled();
    int result = -1;
    pthread_mutex_lock(&lock);
    int is_failing = fails();
    if (!is_failing) {
        result = real(file);
        int journal = result == 0 ? journal_of(name) : -1;
        if (journal >= 0 && ftruncate64(journal, 0) != 0) abort();
    }
    pthread_mutex_unlock(&lock);
    if (is_failing) errno = EIO;
    return result;
}

int fsync(int file) { return sync_file(file, "fsync"); }

int fdatasync(int file) { return sync_file(file, "fdatasync"); }

/* A file of that name that comes later is another one. */
int unlink(const char *path) {
    int result = ((int (*)(const char *))dlsym(RTLD_NEXT, "unlink"))(path);
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    if (result == 0 && strncmp(name, "kinglet.db", 10) == 0) {
        pthread_mutex_lock(&lock);
        int journal = journal_of(name);
        if (journal >= 0 && ftruncate64(journal, 0) != 0) abort();
        pthread_mutex_unlock(&lock);
    }
    return result;
}

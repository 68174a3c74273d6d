/* Counts the instructions of an emulated program, for whoever reads the file while it runs:
   -plugin count.so,counts=PATH. The file is an array of 64-bit numbers, one for each thread that ever was.
   The interface is QEMU's for plugins, of which Debian has no header: what is used of it stands here
   (version 1, QEMU 4.2 and later). */

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SHOWN __attribute__((visibility("default")))

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
typedef void (*on_translation)(qemu_plugin_id_t, struct qemu_plugin_tb *);
typedef void (*on_execution)(unsigned int thread, void *data);

extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, on_translation);
extern void qemu_plugin_register_vcpu_tb_exec_cb(
    struct qemu_plugin_tb *, on_execution, int registers, void *data);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);

SHOWN int qemu_plugin_version = 1;

enum { threads = 4096 };
/* A thread writes its own number alone. Two never share one, nor a cache line: a lost addition would be a
   lost count. */
struct count { uint64_t instructions; uint64_t unused[7]; };
static struct count *counts;

static void executed(unsigned int thread, void *instructions) {
    counts[thread % threads].instructions += (uintptr_t)instructions;
}

/* A block is counted when it begins, whole: an exception in it counts too much by what follows. */
static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *block) {
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_cb(
        block, executed, 0, (void *)(uintptr_t)qemu_plugin_tb_n_insns(block));
}

SHOWN int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv) {
    (void)info;
    if (argc != 1 || strncmp(argv[0], "counts=", 7) != 0) {
        fprintf(stderr, "count: counts=PATH is missing\n");
        return 1;
    }
    int file = open(argv[0] + 7, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    size_t size = threads * sizeof *counts;
    if (file < 0 || ftruncate(file, size) != 0) {
        perror(argv[0] + 7);
        return 1;
    }
    counts = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (counts == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    return 0;
}

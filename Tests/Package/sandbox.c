// Runs a command under the part of a unit's sandbox that is a process's own: the system calls and the
// kinds of sockets that it leaves, denied by EPERM as systemd does, and no memory that is written and
// executed. sandbox FILTER PROGRAM ARGUMENTS…; FILTER holds a program of struct sock_filter.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif

int main(int count, char **arguments) {
    static struct sock_filter filter[4096];
    FILE *file = count > 2 ? fopen(arguments[1], "rb") : NULL;
    if (!file) return 125;
    struct sock_fprog program = {fread(filter, sizeof *filter, 4096, file), filter};
    fclose(file);
    // Kernels before 6.3 have none.
    prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
        perror("seccomp");
        return 125;
    }
    execv(arguments[2], arguments + 2);
    perror(arguments[2]);
    return 126;
}

/* Debian's static Swift libraries for arm64 were compiled with newer headers than Debian 12's C library
   has functions for. These are the ones that they call, passed on to what Debian 12 has. C23's strtol
   and sscanf differ from the older ones in reading "0b" as binary, which nobody here asks of them. */

#include <stdarg.h>
#include <stddef.h>
#include <string.h>

/* Seen by this program alone: a newer C library has its own. */
#define HIDDEN __attribute__((visibility("hidden")))

/* Declared here, for <stdlib.h> and <stdio.h> may rename them to the newer ones. */
extern long strtol(const char *, char **, int);
extern long long strtoll(const char *, char **, int);
extern unsigned long strtoul(const char *, char **, int);
extern unsigned long long strtoull(const char *, char **, int);
extern int __isoc99_vsscanf(const char *, const char *, va_list);

HIDDEN long __isoc23_strtol(const char *text, char **end, int base) {
    return strtol(text, end, base);
}

HIDDEN long long __isoc23_strtoll(const char *text, char **end, int base) {
    return strtoll(text, end, base);
}

HIDDEN unsigned long __isoc23_strtoul(const char *text, char **end, int base) {
    return strtoul(text, end, base);
}

HIDDEN unsigned long long __isoc23_strtoull(const char *text, char **end, int base) {
    return strtoull(text, end, base);
}

HIDDEN int __isoc23_sscanf(const char *text, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int count = __isoc99_vsscanf(text, format, arguments);
    va_end(arguments);
    return count;
}

HIDDEN size_t strlcpy(char *to, const char *from, size_t size) {
    size_t length = strlen(from);
    if (size > 0) {
        size_t kept = length < size ? length : size - 1;
        memcpy(to, from, kept);
        to[kept] = '\0';
    }
    return length;
}

HIDDEN size_t strlcat(char *to, const char *from, size_t size) {
    size_t length = strnlen(to, size);
    if (length == size) return size + strlen(from);
    return length + strlcpy(to + length, from, size - length);
}

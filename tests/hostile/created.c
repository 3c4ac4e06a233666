/* Preloaded into a process: notes every file and folder that it makes, with the mode it is made with, in CREATED_LOG.
 * A line: mode in octal, a space, the path. Calls that open what is there already are not noted. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void note(const char *path, mode_t mode) {
    const char *log = getenv("CREATED_LOG");
    char line[4200];
    if (log == NULL) return;
    int size = snprintf(line, sizeof line, "%o %s\n", (unsigned)mode & 07777, path);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) return;
    if (write(fd, line, (size_t)size) < 0) abort();
    close(fd);
}

static int is_new(int folder, const char *path) {
    struct stat found;
    return syscall(SYS_newfstatat, folder, path, &found, AT_SYMLINK_NOFOLLOW) != 0;
}

#define MODE(flags, last) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY))) { va_list rest; va_start(rest, last); mode = va_arg(rest, mode_t); va_end(rest); }

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        MODE(flags, flags) \
        if ((flags & O_CREAT) && is_new(AT_FDCWD, path)) note(path, mode); \
        int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, #name); \
        return real(path, flags, mode); \
    }
#define OPENAT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        MODE(flags, flags) \
        if ((flags & O_CREAT) && is_new(folder, path)) note(path, mode); \
        int (*real)(int, const char *, int, ...) = (int (*)(int, const char *, int, ...))dlsym(RTLD_NEXT, #name); \
        return real(folder, path, flags, mode); \
    }
#define FOPEN(name) \
    FILE *name(const char *path, const char *how) { \
        if (how[0] != 'r' && is_new(AT_FDCWD, path)) note(path, 0666); \
        FILE *(*real)(const char *, const char *) = (FILE * (*)(const char *, const char *))dlsym(RTLD_NEXT, #name); \
        return real(path, how); \
    }

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)
FOPEN(fopen)
FOPEN(fopen64)

int mkdir(const char *path, mode_t mode) {
    if (is_new(AT_FDCWD, path)) note(path, mode);
    return ((int (*)(const char *, mode_t))dlsym(RTLD_NEXT, "mkdir"))(path, mode);
}

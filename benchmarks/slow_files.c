/* A file system on which every call that asks for metadata takes SLOW_FILES_US microseconds more, as
   one that is on a network does. To be preloaded (LD_PRELOAD); /proc, /sys and /dev stay as they are. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void
wait_for(const char *path)
{
    static long delay = -1;
    if (delay < 0) {
        const char *text = getenv("SLOW_FILES_US");
        delay = text == NULL ? 1000 : atol(text);
    }
    if (path != NULL && (!strncmp(path, "/proc", 5) || !strncmp(path, "/sys", 4)
                         || !strncmp(path, "/dev", 4))) {
        return;
    }
    struct timespec left = {delay / 1000000, delay % 1000000 * 1000};
    int before = errno;
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
    errno = before;
}

#define REAL(name) \
    static __typeof__(name) *real = NULL; \
    if (real == NULL) { \
        real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name); \
    }

#define WRAP(type, name, path, parameters, arguments) \
    type name parameters \
    { \
        REAL(name) \
        wait_for(path); \
        return real arguments; \
    }

WRAP(int, stat, path, (const char *path, struct stat *result), (path, result))
WRAP(int, lstat, path, (const char *path, struct stat *result), (path, result))
WRAP(int, stat64, path, (const char *path, struct stat64 *result), (path, result))
WRAP(int, lstat64, path, (const char *path, struct stat64 *result), (path, result))
WRAP(int, fstatat, path, (int at, const char *path, struct stat *result, int flags),
     (at, path, result, flags))
WRAP(int, fstatat64, path, (int at, const char *path, struct stat64 *result, int flags),
     (at, path, result, flags))
WRAP(int, statx, path,
     (int at, const char *path, int flags, unsigned int mask, struct statx *result),
     (at, path, flags, mask, result))
WRAP(int, access, path, (const char *path, int mode), (path, mode))
WRAP(int, faccessat, path, (int at, const char *path, int mode, int flags), (at, path, mode, flags))
WRAP(ssize_t, readlink, path, (const char *path, char *buffer, size_t size), (path, buffer, size))
WRAP(ssize_t, readlinkat, path, (int at, const char *path, char *buffer, size_t size),
     (at, path, buffer, size))
WRAP(char *, realpath, path, (const char *path, char *buffer), (path, buffer))
WRAP(DIR *, opendir, path, (const char *path), (path))
WRAP(FILE *, fopen, path, (const char *path, const char *mode), (path, mode))
WRAP(FILE *, fopen64, path, (const char *path, const char *mode), (path, mode))

/* A directory is read in pieces of some 32 KB, of which each is a call: one for the whole is little. */
WRAP(DIR *, fdopendir, NULL, (int descriptor), (descriptor))

#define WRAP_OPEN(name, parameters, arguments) \
    int name parameters \
    { \
        REAL(name) \
        mode_t mode = 0; \
        if (flags & (O_CREAT | O_TMPFILE)) { \
            va_list rest; \
            va_start(rest, flags); \
            mode = va_arg(rest, mode_t); \
            va_end(rest); \
        } \
        wait_for(path); \
        return real arguments; \
    }

WRAP_OPEN(open, (const char *path, int flags, ...), (path, flags, mode))
WRAP_OPEN(open64, (const char *path, int flags, ...), (path, flags, mode))
WRAP_OPEN(openat, (int at, const char *path, int flags, ...), (at, path, flags, mode))
WRAP_OPEN(openat64, (int at, const char *path, int flags, ...), (at, path, flags, mode))

/* Makes one system call of the calling thread fail; to be loaded with LD_PRELOAD.

   arm(n, kind, errno): the nth call from now on fails (kind 0) with errno, moves half of the bytes that
   it was to move (kind 1), or kills the process before it is made (kind 2). disarm() gives how many
   calls there were. Calls are counted after the C library's, so that what it does itself is not. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

enum { FAIL, SHORT, KILL };
static __thread long left, calls;
static __thread int armed, how, number;

void arm(long nth, int kind, int error) { left = nth; calls = 0; how = kind; number = error; armed = 1; }
long disarm(void) { armed = 0; return calls; }

/* Whether this call is the one; `count` is that of the bytes, for a call that can be short. */
static int strike(size_t *count) {
    if (!armed) return 0;
    calls++;
    if (--left) return 0;
    if (how == KILL) kill(getpid(), SIGKILL);
    if (how == SHORT) {
        if (count && *count > 1) *count /= 2;
        return 0;
    }
    errno = number;
    return 1;
}

#define REAL(name) ((__typeof__(&name))find(&cached_##name, #name))
static void *find(void **cached, const char *name) {
    if (!*cached) *cached = dlsym(RTLD_NEXT, name);
    return *cached;
}

#define WRAP(type, name, parameters, arguments, failed, count) \
    static void *cached_##name; \
    type name parameters { \
        if (strike(count)) return failed; \
        return REAL(name) arguments; \
    }

WRAP(ssize_t, read, (int fd, void *to, size_t n), (fd, to, n), -1, &n)
WRAP(ssize_t, write, (int fd, const void *from, size_t n), (fd, from, n), -1, &n)
WRAP(ssize_t, pread, (int fd, void *to, size_t n, off_t at), (fd, to, n, at), -1, &n)
WRAP(ssize_t, pread64, (int fd, void *to, size_t n, off64_t at), (fd, to, n, at), -1, &n)
WRAP(int, fsync, (int fd), (fd), -1, NULL)
WRAP(int, fdatasync, (int fd), (fd), -1, NULL)
WRAP(int, stat, (const char *path, struct stat *to), (path, to), -1, NULL)
WRAP(int, stat64, (const char *path, struct stat64 *to), (path, to), -1, NULL)
WRAP(int, lstat, (const char *path, struct stat *to), (path, to), -1, NULL)
WRAP(int, lstat64, (const char *path, struct stat64 *to), (path, to), -1, NULL)
WRAP(int, fstat, (int fd, struct stat *to), (fd, to), -1, NULL)
WRAP(int, fstat64, (int fd, struct stat64 *to), (fd, to), -1, NULL)
WRAP(int, fstatat, (int fd, const char *path, struct stat *to, int flags), (fd, path, to, flags), -1, NULL)
WRAP(int, fstatat64, (int fd, const char *path, struct stat64 *to, int flags), (fd, path, to, flags), -1, NULL)
WRAP(int, rename, (const char *from, const char *to), (from, to), -1, NULL)
WRAP(int, renameat, (int a, const char *from, int b, const char *to), (a, from, b, to), -1, NULL)
WRAP(int, mkdir, (const char *path, mode_t mode), (path, mode), -1, NULL)
WRAP(int, utimensat, (int fd, const char *path, const struct timespec to[2], int flags), (fd, path, to, flags), -1, NULL)
WRAP(int, futimens, (int fd, const struct timespec to[2]), (fd, to), -1, NULL)
WRAP(int, fchmod, (int fd, mode_t mode), (fd, mode), -1, NULL)
WRAP(int, chmod, (const char *path, mode_t mode), (path, mode), -1, NULL)
WRAP(int, ftruncate, (int fd, off_t size), (fd, size), -1, NULL)
WRAP(int, ftruncate64, (int fd, off64_t size), (fd, size), -1, NULL)
WRAP(int, dup2, (int from, int to), (from, to), -1, NULL)
WRAP(int, dup3, (int from, int to, int flags), (from, to, flags), -1, NULL)
WRAP(off_t, lseek, (int fd, off_t at, int whence), (fd, at, whence), -1, NULL)
WRAP(off64_t, lseek64, (int fd, off64_t at, int whence), (fd, at, whence), -1, NULL)
WRAP(DIR *, opendir, (const char *path), (path), NULL, NULL)
WRAP(struct dirent *, readdir, (DIR *folder), (folder), NULL, NULL)
WRAP(struct dirent64 *, readdir64, (DIR *folder), (folder), NULL, NULL)
WRAP(char *, getcwd, (char *to, size_t size), (to, size), NULL, NULL)
WRAP(int, unlink, (const char *path), (path), -1, NULL)

/* A file is closed whatever close() says. */
static void *cached_close;
int close(int fd) {
    int struck = strike(NULL), error = errno, result = REAL(close)(fd);
    if (!struck) return result;
    errno = error;
    return -1;
}

#define WRAP_OPEN(name, parameters, arguments) \
    static void *cached_##name; \
    int name parameters { \
        mode_t mode = 0; \
        if (flags & (O_CREAT | O_TMPFILE)) { \
            va_list rest; \
            va_start(rest, flags); \
            mode = va_arg(rest, mode_t); \
            va_end(rest); \
        } \
        if (strike(NULL)) return -1; \
        return REAL(name) arguments; \
    }

WRAP_OPEN(open, (const char *path, int flags, ...), (path, flags, mode))
WRAP_OPEN(open64, (const char *path, int flags, ...), (path, flags, mode))
WRAP_OPEN(openat, (int fd, const char *path, int flags, ...), (fd, path, flags, mode))
WRAP_OPEN(openat64, (int fd, const char *path, int flags, ...), (fd, path, flags, mode))

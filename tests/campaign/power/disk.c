/* Stands between a process and its disk (LD_PRELOAD): writes down what is done to files below a directory, or fails flushes.

   POWER_ROOT  the directory, absolute
   POWER_LOG   where every change is written down, in the order in which the system saw it
   POWER_FAIL  while this file exists, every flush below POWER_ROOT fails with EIO
   POWER_NO_DIRECTORIES  where it is set, directories are not flushed, and nobody is told

   A record is: kind (1 byte), inode, offset, length of the path, length of the data (8 bytes each, little endian), path, data.
   Kinds: O made by opening, W data at an offset, T cut to a length, S flushed, U name removed, R renamed (data: new path),
   M directory made. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define FILES 4096

static pthread_mutex_t turn = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static const char *root;
static size_t root_length;
static int book = -1;
static const char *failing;
static int no_directories;
static char *paths[FILES]; /* of what is open below the root, by descriptor */

#define REAL(name, type, ...)                                        \
    static type (*real)(__VA_ARGS__);                                \
    if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name); \
    begin()

static void begin(void) {
    if (root) return;
    root = getenv("POWER_ROOT");
    if (!root) root = "";
    root_length = strlen(root);
    failing = getenv("POWER_FAIL");
    no_directories = getenv("POWER_NO_DIRECTORIES") != NULL;
    const char *log = getenv("POWER_LOG");
    if (log && root_length) book = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int ours(const char *path) {
    return root_length && path && !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]);
}

static void put(const void *data, size_t length) {
    const char *at = data;
    while (length) {
        ssize_t done = syscall(SYS_write, book, at, length);
        if (done <= 0) _exit(99);
        at += done;
        length -= done;
    }
}

static void note(char kind, int fd, int64_t offset, const char *path, const void *data, size_t length) {
    if (book < 0) return;
    struct stat facts = {0};
    if (fd >= 0) fstat(fd, &facts);
    uint64_t head[4] = {facts.st_ino, (uint64_t)offset, strlen(path), length};
    put(&kind, 1);
    put(head, sizeof head);
    put(path, strlen(path));
    if (length) put(data, length);
}

static const char *known(int fd) { return fd >= 0 && fd < FILES ? paths[fd] : NULL; }

static int opened(int fd, const char *path, int made) {
    char whole[PATH_MAX];
    if (fd < 0 || fd >= FILES) return fd;
    free(paths[fd]);
    paths[fd] = NULL;
    if (!realpath(path, whole) || !ours(whole)) return fd;
    paths[fd] = strdup(whole);
    if (made) note('O', fd, 0, whole, NULL, 0);
    return fd;
}

static int directory(int fd) {
    struct stat facts;
    return !fstat(fd, &facts) && S_ISDIR(facts.st_mode);
}

static int missing(const char *path) {
    struct stat facts;
    return syscall(SYS_newfstatat, AT_FDCWD, path, &facts, 0) != 0;
}

#define OPEN(name)                                                           \
    int name(const char *path, int flags, ...) {                             \
        REAL(name, int, const char *, int, ...);                             \
        va_list rest;                                                        \
        va_start(rest, flags);                                               \
        int mode = va_arg(rest, int);                                        \
        va_end(rest);                                                        \
        pthread_mutex_lock(&turn);                                           \
        int made = (flags & O_CREAT) && missing(path);                       \
        int fd = opened(real(path, flags, mode), path, made);                \
        if (fd >= 0 && known(fd) && (flags & O_TRUNC) && !made) note('T', fd, 0, known(fd), NULL, 0); \
        pthread_mutex_unlock(&turn);                                         \
        return fd;                                                           \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                         \
    int name(int at, const char *path, int flags, ...) {                     \
        REAL(name, int, int, const char *, int, ...);                        \
        va_list rest;                                                        \
        va_start(rest, flags);                                               \
        int mode = va_arg(rest, int);                                        \
        va_end(rest);                                                        \
        pthread_mutex_lock(&turn);                                           \
        int made = (flags & O_CREAT) && missing(path);                       \
        int fd = opened(real(at, path, flags, mode), path, made);            \
        if (fd >= 0 && known(fd) && (flags & O_TRUNC) && !made) note('T', fd, 0, known(fd), NULL, 0); \
        pthread_mutex_unlock(&turn);                                         \
        return fd;                                                           \
    }
OPENAT(openat)
OPENAT(openat64)

int close(int fd) {
    REAL(close, int, int);
    pthread_mutex_lock(&turn);
    if (known(fd)) {
        free(paths[fd]);
        paths[fd] = NULL;
    }
    int result = real(fd);
    pthread_mutex_unlock(&turn);
    return result;
}

#define PWRITE(name, offset_type)                                            \
    ssize_t name(int fd, const void *data, size_t length, offset_type at) {  \
        REAL(name, ssize_t, int, const void *, size_t, offset_type);         \
        pthread_mutex_lock(&turn);                                           \
        ssize_t done = real(fd, data, length, at);                           \
        if (done > 0 && known(fd)) note('W', fd, at, known(fd), data, done); \
        pthread_mutex_unlock(&turn);                                         \
        return done;                                                         \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t write(int fd, const void *data, size_t length) {
    REAL(write, ssize_t, int, const void *, size_t);
    pthread_mutex_lock(&turn);
    ssize_t done = real(fd, data, length);
    if (done > 0 && known(fd)) note('W', fd, lseek(fd, 0, SEEK_CUR) - done, known(fd), data, done);
    pthread_mutex_unlock(&turn);
    return done;
}

#define TRUNCATE(name, offset_type)                                     \
    int name(int fd, offset_type length) {                              \
        REAL(name, int, int, offset_type);                              \
        pthread_mutex_lock(&turn);                                      \
        int result = real(fd, length);                                  \
        if (!result && known(fd)) note('T', fd, length, known(fd), NULL, 0); \
        pthread_mutex_unlock(&turn);                                    \
        return result;                                                  \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define FLUSH(name)                                              \
    int name(int fd) {                                           \
        REAL(name, int, int);                                    \
        pthread_mutex_lock(&turn);                               \
        int result = -1;                                         \
        int skipped = no_directories && known(fd) && directory(fd); \
        if (known(fd) && failing && !missing(failing)) errno = EIO; \
        else result = skipped ? 0 : real(fd);                    \
        if (!result && !skipped && known(fd)) note('S', fd, 0, known(fd), NULL, 0); \
        pthread_mutex_unlock(&turn);                             \
        return result;                                           \
    }
FLUSH(fsync)
FLUSH(fdatasync)

int unlink(const char *path) {
    REAL(unlink, int, const char *);
    char whole[PATH_MAX];
    pthread_mutex_lock(&turn);
    int mine = realpath(path, whole) && ours(whole);
    int result = real(path);
    if (!result && mine) note('U', -1, 0, whole, NULL, 0);
    pthread_mutex_unlock(&turn);
    return result;
}

int rename(const char *path, const char *other) {
    REAL(rename, int, const char *, const char *);
    char whole[PATH_MAX], target[PATH_MAX];
    pthread_mutex_lock(&turn);
    int mine = realpath(path, whole) && ours(whole);
    int result = real(path, other);
    if (!result && mine && realpath(other, target)) note('R', -1, 0, whole, target, strlen(target));
    pthread_mutex_unlock(&turn);
    return result;
}

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir, int, const char *, mode_t);
    char whole[PATH_MAX];
    pthread_mutex_lock(&turn);
    int result = real(path, mode);
    if (!result && realpath(path, whole) && ours(whole)) note('M', -1, 0, whole, NULL, 0);
    pthread_mutex_unlock(&turn);
    return result;
}

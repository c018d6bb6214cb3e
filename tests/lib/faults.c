/* Faults for a program that is started with LD_PRELOAD: a wall clock that is set, and a disk that refuses.
 *
 * Two files in the folder $FAULTS_FOLDER say what is wrong at the moment; they are read at each call, so a test
 * changes them while the program runs.
 *
 *   clock    seconds to add to the wall clock, e.g. "86400" or "-3600"
 *   disk     number of an errno, e.g. "30" (EROFS): writes and flushes of files whose name has "strowger.db" fail with it
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static long long told(const char *name) {
    const char *folder = getenv("FAULTS_FOLDER");
    char path[4096], text[32];
    if (!folder || snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return 0;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return 0;
    ssize_t count = read(file, text, sizeof text - 1);
    close(file);
    text[count > 0 ? count : 0] = 0;
    return atoll(text);
}

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) \
    real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

int clock_gettime(clockid_t clock, struct timespec *now) {
    REAL(clock_gettime);
    int kept = errno, result = real(clock, now);
    if (result == 0 && clock == CLOCK_REALTIME) {
        now->tv_sec += told("clock");
        errno = kept;
    }
    return result;
}

static int refused(int file) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t count = readlink(link, path, sizeof path - 1);
    if (count <= 0)
        return 0;
    path[count] = 0;
    return strstr(path, "strowger.db") ? (int)told("disk") : 0;
}

#define UNLESS_REFUSED(file, call) \
    int why = refused(file); \
    if (why) { \
        errno = why; \
        return -1; \
    } \
    return call

ssize_t write(int file, const void *bytes, size_t count) {
    REAL(write);
    UNLESS_REFUSED(file, real(file, bytes, count));
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t at) {
    REAL(pwrite);
    UNLESS_REFUSED(file, real(file, bytes, count, at));
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at) {
    REAL(pwrite64);
    UNLESS_REFUSED(file, real(file, bytes, count, at));
}

int fsync(int file) {
    REAL(fsync);
    UNLESS_REFUSED(file, real(file));
}

int fdatasync(int file) {
    REAL(fdatasync);
    UNLESS_REFUSED(file, real(file));
}

int ftruncate64(int file, off64_t length) {
    REAL(ftruncate64);
    UNLESS_REFUSED(file, real(file, length));
}

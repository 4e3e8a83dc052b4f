/* LD_PRELOAD shim: makes a process's own system calls fail, or kills it there. For tests only.
 *
 *   CK_FAULT_CALL     pwrite | fdatasync | fsync | rename | send      which call
 *   CK_FAULT_PATH     substring of the file's path (not for send)      which file; empty: any
 *   CK_FAULT_NTH      N                                                the N-th such call of a process, and all after it
 *   CK_FAULT_HOW      kill-before | kill-after | EIO | ENOSPC |         what happens
 *                     short | slow
 *   CK_FAULT_SHARED   path of a file, `struct shared`                  only while `armed` is set in it; counting starts then
 *
 * CLOCK_REALTIME is `ahead_s` seconds ahead.
 *
 * The file is mapped at the beginning, and never looked at by its path again: a process that became another user, that is shut off
 * from files, or that closed every descriptor that it did not know, is told all the same, and its faults are counted. A process
 * that cannot map it does not run: a test of a fault that can never happen would prove nothing.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

struct shared { /* as in tests/e2e/faults.py */
    unsigned armed;
    unsigned injected; /* how often the fault happened, in whichever process */
    unsigned blind;    /* how often an armed call was let through because its file could not be told */
    unsigned unused;
    long long ahead_s;
};

static int calls;
static volatile struct shared *shared;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("CK_FAULT_SHARED");
    if (!path) return;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    void *found = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (found == MAP_FAILED) {
        perror(path);
        abort();
    }
    close(fd);
    shared = found;
}

static int hits(const char *call, int fd, const char *path) {
    char link[64], target[4096];
    const char *wanted = getenv("CK_FAULT_CALL"), *where = getenv("CK_FAULT_PATH");
    if (!wanted || strcmp(wanted, call) != 0) return 0;
    if (!shared || !shared->armed) return 0;
    if (!path && fd >= 0 && where && *where) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, target, sizeof target - 1);
        if (n < 0) {
            __sync_fetch_and_add(&shared->blind, 1);
            return 0;
        }
        target[n] = 0;
        path = target;
    }
    if (path && where && *where && !strstr(path, where)) return 0;
    if (++calls < atoi(getenv("CK_FAULT_NTH"))) return 0;
    __sync_fetch_and_add(&shared->injected, 1);
    return 1;
}

static int is(const char *how) {
    const char *wanted = getenv("CK_FAULT_HOW");
    return wanted && strcmp(wanted, how) == 0;
}

static void die(void) { kill(getpid(), SIGKILL); }

/* Longer than a stop waits for anything else, with two of them. */
static void nap(void) {
    struct timespec rest = {1, 200000000};
    nanosleep(&rest, NULL);
}

static int fails(void) {
    if (is("EIO")) errno = EIO;
    else if (is("ENOSPC")) errno = ENOSPC;
    else return 0;
    return 1;
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define FAULTY(call, fd, path, expression)                  \
    int hit = hits(call, fd, path);                         \
    if (hit && is("kill-before")) die();                    \
    if (hit && is("slow")) nap();                           \
    if (hit && fails()) return -1;                          \
    __typeof__(expression) result = (expression);           \
    if (hit && is("kill-after")) die();                     \
    return result

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    REAL(pwrite64);
    if (getenv("CK_FAULT_HOW") && is("short") && hits("pwrite", fd, NULL)) return real(fd, data, size / 2, offset);
    FAULTY("pwrite", fd, NULL, real(fd, data, size, offset));
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return pwrite64(fd, data, size, offset); }
int fdatasync(int fd) { REAL(fdatasync); FAULTY("fdatasync", fd, NULL, real(fd)); }
int fsync(int fd) { REAL(fsync); FAULTY("fsync", fd, NULL, real(fd)); }
int renameat(int there, const char *from, int here, const char *to) {
    REAL(renameat);
    FAULTY("rename", -1, to, real(there, from, here, to));
}
int rename(const char *from, const char *to) { REAL(rename); FAULTY("rename", -1, to, real(from, to)); }
ssize_t send(int fd, const void *data, size_t size, int flags) { REAL(send); FAULTY("send", -1, NULL, real(fd, data, size, flags)); }

int clock_gettime(clockid_t clock, struct timespec *now) {
    REAL(clock_gettime);
    int result = real(clock, now);
    if (clock == CLOCK_REALTIME && shared && result == 0) now->tv_sec += shared->ahead_s;
    return result;
}

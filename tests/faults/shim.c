/* LD_PRELOAD shim: makes a process's own system calls fail, or kills it there. For tests only.
 *
 *   CK_FAULT_CALL     pwrite | fdatasync | fsync | rename | send      which call
 *   CK_FAULT_PATH     substring of the file's path (not for send)      which file; empty: any
 *   CK_FAULT_NTH      N                                                the N-th such call of a process, and all after it
 *   CK_FAULT_HOW      kill-before | kill-after | EIO | ENOSPC | short  what happens
 *   CK_FAULT_ARMED    path of a file                                   only while that file exists; counting starts then
 *   CK_CLOCK_FILE     path of a symbolic link to a number              CLOCK_REALTIME is so many seconds ahead while it exists
 *
 * No file is opened: a process that is shut off from files can still look whether one is there, and where a link points. One that
 * became another user has no way there by the path; the directory is open from the beginning, and everybody may look into it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static int calls;
static int armed_in = -1, clock_in = -1; /* directories */

static int open_directory_of(const char *path) {
    char folder[4096];
    struct stat found;
    if (!path || strlen(path) >= sizeof folder || !strrchr(path, '/')) return -1;
    strcpy(folder, path);
    *strrchr(folder, '/') = 0;
    if (stat(folder, &found) == 0) (void)!chmod(folder, (found.st_mode & 07777) | 0111);
    return open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

__attribute__((constructor)) static void begin(void) {
    armed_in = open_directory_of(getenv("CK_FAULT_ARMED"));
    clock_in = open_directory_of(getenv("CK_CLOCK_FILE"));
}

static int is_there(int folder, const char *path) {
    return access(path, F_OK) == 0 || (folder >= 0 && faccessat(folder, strrchr(path, '/') + 1, F_OK, 0) == 0);
}

static int hits(const char *call, int fd, const char *path) {
    char link[64], target[4096];
    const char *wanted = getenv("CK_FAULT_CALL"), *where = getenv("CK_FAULT_PATH"), *armed = getenv("CK_FAULT_ARMED");
    if (!wanted || strcmp(wanted, call) != 0) return 0;
    if (armed && !is_there(armed_in, armed)) return 0;
    if (!path && fd >= 0 && where && *where) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, target, sizeof target - 1);
        if (n < 0) return 0;
        target[n] = 0;
        path = target;
    }
    if (path && where && *where && !strstr(path, where)) return 0;
    return ++calls >= atoi(getenv("CK_FAULT_NTH"));
}

static int is(const char *how) {
    const char *wanted = getenv("CK_FAULT_HOW");
    return wanted && strcmp(wanted, how) == 0;
}

static void die(void) { kill(getpid(), SIGKILL); }

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
    const char *path = getenv("CK_CLOCK_FILE");
    char ahead[32] = "";
    if (clock == CLOCK_REALTIME && path &&
        (readlink(path, ahead, sizeof ahead - 1) > 0 ||
         (clock_in >= 0 && readlinkat(clock_in, strrchr(path, '/') + 1, ahead, sizeof ahead - 1) > 0)))
        now->tv_sec += atol(ahead);
    return result;
}

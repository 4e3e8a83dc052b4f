/* What the fast path asks of the world: four system calls and the time. They stand in a table, so
 * that the simulation's disk, network and clock can take the kernel's place and what is simulated
 * is the very code that ships (tests/sim/calls.py).
 *
 * The program has one table, ck_libc, which is constant; the functions that make a path set it, and
 * nothing else in the program names the field (tests/unit/state/test_hot.py). */
#ifndef CK_CALLS_H
#define CK_CALLS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct ck_calls {
    /* Each as POSIX has it: -1 and errno, or how many bytes. */
    ssize_t (*recv)(int fd, void *into, size_t size, int flags);
    ssize_t (*send)(int fd, const void *from, size_t size, int flags);
    ssize_t (*pwrite)(int fd, const void *from, size_t size, off_t offset);
    int (*fdatasync)(int fd);
    /* CLOCK_MONOTONIC in nanoseconds. */
    uint64_t (*now_ns)(void);
} ck_calls;

extern const ck_calls ck_libc;

/* Its address, for those who make a path. */
const ck_calls *ck_calls_of_libc(void);

#endif

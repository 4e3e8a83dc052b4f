/* csrc/calls.h as cffi reads it. */
typedef struct ck_calls {
    ssize_t (*recv)(int, void *, size_t, int); ssize_t (*send)(int, const void *, size_t, int);
    ssize_t (*pwrite)(int, const void *, size_t, int64_t); int (*fdatasync)(int); uint64_t (*now_ns)(void);
} ck_calls;
const ck_calls *ck_calls_of_libc(void);

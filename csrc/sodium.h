/* libsodium, as PyNaCl ships it: its functions, resolved at load from PyNaCl's own
   extension file. */
#ifndef CK_SODIUM_H
#define CK_SODIUM_H

#include <stddef.h>
#include <stdint.h>

#include "status.h"

/* crypto_hash_sha256_state: eight words, a count of bits, a block; the same in every
   libsodium since 1.0. */
typedef struct ck_sha256 {
    uint32_t state[8];
    uint64_t count;
    uint8_t buffer[64];
} ck_sha256;

typedef struct ck_sodium_table {
    int (*init)(void);
    void *(*malloc)(size_t);
    void (*free)(void *);
    void (*memzero)(void *, size_t);
    int (*mprotect_readonly)(void *);
    int (*base642bin)(uint8_t *, size_t, const char *, size_t, const char *, size_t *, const char **, int);
    char *(*bin2base64)(char *, size_t, const uint8_t *, size_t, int);
    int (*argon2id)(uint8_t *, unsigned long long, const char *, unsigned long long, const uint8_t *,
                    unsigned long long, size_t, int);
    int (*sign_detached)(uint8_t *, unsigned long long *, const uint8_t *, unsigned long long, const uint8_t *);
    int (*verify_detached)(const uint8_t *, const uint8_t *, unsigned long long, const uint8_t *);
    int (*seed_keypair)(uint8_t *, uint8_t *, const uint8_t *);
    int (*scalarmult)(uint8_t *, const uint8_t *, const uint8_t *);
    int (*scalarmult_base)(uint8_t *, const uint8_t *);
    void (*random)(void *, size_t);
    int (*blake2b)(uint8_t *, size_t, const uint8_t *, unsigned long long, const uint8_t *, size_t);
    int (*hmac_sha256)(uint8_t *, const uint8_t *, unsigned long long, const uint8_t *);
    size_t (*sha256_statebytes)(void);
    int (*sha256_init)(ck_sha256 *);
    int (*sha256_update)(ck_sha256 *, const uint8_t *, unsigned long long);
    int (*sha256_final)(ck_sha256 *, uint8_t *);
    int (*aead_encrypt)(uint8_t *, unsigned long long *, const uint8_t *, unsigned long long, const uint8_t *,
                        unsigned long long, const uint8_t *, const uint8_t *, const uint8_t *);
    int (*aead_decrypt)(uint8_t *, unsigned long long *, uint8_t *, const uint8_t *, unsigned long long,
                        const uint8_t *, unsigned long long, const uint8_t *, const uint8_t *);
    int (*xaead_encrypt)(uint8_t *, unsigned long long *, const uint8_t *, unsigned long long, const uint8_t *,
                         unsigned long long, const uint8_t *, const uint8_t *, const uint8_t *);
    int (*xaead_decrypt)(uint8_t *, unsigned long long *, uint8_t *, const uint8_t *, unsigned long long,
                         const uint8_t *, unsigned long long, const uint8_t *, const uint8_t *);
} ck_sodium_table;

extern ck_sodium_table ck_sodium;

/* Resolve every symbol from the shared object at `path`. On failure `error` says which file or
   symbol; nothing is set. */
CK_MUST_CHECK int ck_sodium_load(const char *path, char *error, size_t error_cap);

#endif

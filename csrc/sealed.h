/* A validator's seed sealed with a passphrase: Argon2id13 makes the key, XChaCha20-Poly1305 (IETF) seals. The seed is only ever in
 * memory of the caller's: locked (the key slot) or wiped by it. */
#ifndef CK_SEALED_H
#define CK_SEALED_H

#include "privval.h"

#define CK_SEED_BASE64 89 /* base64 of seed and public key, and a zero byte */

typedef struct ck_sealed {
    uint8_t public_key[32];
    uint64_t passes; /* Argon2id: over so many bytes of memory */
    uint64_t memory;
    uint8_t salt[16];
    uint8_t nonce[24];
    uint8_t ciphertext[48]; /* seed and tag; all of the above is authenticated with it */
} ck_sealed;

/* Seal the seed of `base64` (seed and public key, wiped whatever happens). The caller has set passes, memory, salt and nonce.
 * CK_MALFORMED: no such key. CK_TOO_LARGE: passes or memory out of bounds. CK_NO_ROOM: the memory is not to be had. */
CK_MUST_CHECK int ck_seal(ck_sealed *sealed, char *base64, size_t base64_len, ck_bytes passphrase);

/* Open into 64 bytes of the caller's: seed and public key; zeros unless CK_OK. CK_BAD_TAG: another passphrase, or a changed file. */
CK_MUST_CHECK int ck_unseal(const ck_sealed *sealed, ck_bytes passphrase, uint8_t secret[64]);

/* The same as text, for the operator who takes the passphrase off. */
CK_MUST_CHECK int ck_unseal_base64(const ck_sealed *sealed, ck_bytes passphrase, char base64[CK_SEED_BASE64]);

/* base64 of 64 bytes whose second half is the public key of the first, into memory of the caller's; wipes `base64`. */
CK_MUST_CHECK int ck_decode_secret(char *base64, size_t base64_len, uint8_t secret[64]);

#endif

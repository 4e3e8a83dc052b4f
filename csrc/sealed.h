/* A validator's seed sealed with a passphrase: Argon2id13 makes the key, XChaCha20-Poly1305 (IETF)
 * seals. The seed is only ever in memory of the caller's: locked (the key slot) or wiped by it. */
#ifndef CK_SEALED_H
#define CK_SEALED_H

#include "keytype.h"

#define CK_SEED_BASE64 (4 * ((CK_SECRET_MAX + 2) / 3) + 1) /* base64 of the longest secret, and a zero byte */

typedef struct ck_sealed {
    int32_t type;                          /* enum ck_key_number */
    uint8_t public_key[CK_PUBLIC_KEY_MAX]; /* the first public_len of the type */
    uint64_t passes;                       /* Argon2id: over so many bytes of memory */
    uint64_t memory;
    uint8_t salt[16];
    uint8_t nonce[24];
    uint8_t ciphertext[48]; /* seed and tag; all of the above is authenticated with it */
} ck_sealed;

/* Seal the seed of `base64` (a key file's secret, wiped whatever happens). The caller has set type,
 * passes, memory, salt and nonce. CK_MALFORMED: no such key. CK_TOO_LARGE: passes or memory out of
 * bounds. CK_NO_ROOM: the memory is not to be had. CK_NO_LIBRARY: of that type. */
CK_MUST_CHECK int ck_seal(ck_sealed *sealed, char *base64, size_t base64_len, ck_bytes passphrase);

/* Open into secret_len bytes of the caller's: what a key file's secret is; zeros unless CK_OK.
 * CK_BAD_TAG: another passphrase, or a changed file. */
CK_MUST_CHECK int ck_unseal(const ck_sealed *sealed, ck_bytes passphrase, uint8_t *secret);

/* The same as text, for the operator who takes the passphrase off. */
CK_MUST_CHECK int ck_unseal_base64(const ck_sealed *sealed, ck_bytes passphrase, char base64[CK_SEED_BASE64]);

/* The secret of a key file into secret_len bytes of the caller's, and its public key; wipes
 * `base64`. CK_MALFORMED: not base64 of so many bytes, no private key of this type, or (ed25519)
 * the second half is not the public key of the first. */
CK_MUST_CHECK int ck_decode_secret(const ck_key_type *type, char *base64, size_t base64_len, uint8_t *secret,
                                   uint8_t *public_key);

#endif

/* secp256k1 and secp256k1eth keys: libsecp256k1, as coincurve ships it, resolved at load from
 * coincurve's own extension file.
 *
 * secp256k1 signs the SHA-256 of the bytes and gives r and s; secp256k1eth signs their Keccak-256
 * (the one before FIPS 202) and gives r, s and the recovery id. Both have a low s and the nonce of
 * RFC 6979, so that there is one signature for each text. Sources: CometBFT crypto/secp256k1 and
 * crypto/secp256k1eth. */
#ifndef CK_SECP256K1_H
#define CK_SECP256K1_H

#include <stddef.h>
#include <stdint.h>

#include "status.h"

/* Resolve every symbol from the shared object at `path`, and sign a known text. Once: later calls
 * do nothing. On failure `error` says which file or symbol; nothing is set. */
CK_MUST_CHECK int ck_secp256k1_load(const char *path, char *error, size_t error_cap);

/* The members of ck_key_type. */
int ck_secp256k1_ready(void);
int ck_secp256k1_public_of(const uint8_t *seed, uint8_t *public_key);
int ck_secp256k1_sign(const uint8_t *secret, const uint8_t *bytes, size_t len, const uint8_t *prepared,
                      uint8_t *signature);
int ck_secp256k1_verify(const uint8_t *public_key, const uint8_t *bytes, size_t len, const uint8_t *signature);
int ck_secp256k1eth_sign(const uint8_t *secret, const uint8_t *bytes, size_t len, const uint8_t *prepared,
                         uint8_t *signature);
int ck_secp256k1eth_verify(const uint8_t *public_key, const uint8_t *bytes, size_t len, const uint8_t *signature);

#endif

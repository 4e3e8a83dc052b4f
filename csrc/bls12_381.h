/* bls12_381 keys: blst, as ckzg ships it, resolved at load from ckzg's own extension file.
 *
 * Public keys are points of G1 in their 96 bytes uncompressed, signatures points of G2 in their 96
 * bytes compressed. The bytes are hashed to G2 as they are (RFC 9380,
 * BLS12381G2_XMD:SHA-256_SSWU_RO), which needs no key and is half of the work: ck_bls12_381_prepare
 * does it while the majority is asked. There is one signature for each text. Sources: CometBFT
 * v1.0.1 crypto/bls12381; draft-irtf-cfrg-bls-signature, the basic scheme; supranational/blst
 * bindings/blst.h. */
#ifndef CK_BLS12_381_H
#define CK_BLS12_381_H

#include <stddef.h>
#include <stdint.h>

#include "status.h"

/* Resolve every symbol from the shared object at `path`, and sign a known text. Once: later calls
 * do nothing. On failure `error` says which file or symbol; nothing is set. */
CK_MUST_CHECK int ck_bls12_381_load(const char *path, char *error, size_t error_cap);

/* The members of ck_key_type. */
int ck_bls12_381_ready(void);
int ck_bls12_381_public_of(const uint8_t *seed, uint8_t *public_key);
int ck_bls12_381_sign(const uint8_t *secret, const uint8_t *bytes, size_t len, const uint8_t *prepared,
                      uint8_t *signature);
int ck_bls12_381_verify(const uint8_t *public_key, const uint8_t *bytes, size_t len, const uint8_t *signature);
int ck_bls12_381_prepare(const uint8_t *bytes, size_t len, uint8_t *prepared);

#endif

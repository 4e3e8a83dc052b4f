/* What a key's type decides: sizes, and the library's functions. Twin of the table in
 * cometkms/keytypes.py; a test compares them. */
#ifndef CK_KEYTYPE_H
#define CK_KEYTYPE_H

#include "privval.h"

#define CK_SEED_BYTES 32 /* of every type: what is sealed, and what the key is derived from */
#define CK_PREPARED_BYTES \
    288 /* what a type may work out of the bytes alone, before the permit (bls12_381: a point of G2) */

/* The numbers are those of the members of CometBFT's PublicKey (crypto/v1/keys.proto). */
enum ck_key_number { CK_ED25519 = 1, CK_SECP256K1 = 2, CK_BLS12_381 = 3, CK_SECP256K1ETH = 5 };

typedef struct ck_key_type {
    int32_t number;    /* enum ck_key_number */
    const char *name;  /* v1.x's pub_key_type: KeyType of crypto/<type> */
    size_t secret_len; /* in the key file and in locked memory: the seed, and for ed25519 the public key behind it */
    size_t public_len;
    size_t signature_len;
    uint8_t amino[4]; /* v0.33: the prefix of its registered name; zeros: v0.33 has no such key */

    /* Whether the library is loaded. Nothing below is called unless it is. */
    int (*ready)(void);

    /* The public key of a seed. CK_MALFORMED: it is no private key of this type. */
    int (*public_of)(const uint8_t *seed, uint8_t *public_key);

    /* Deterministic. `secret`: secret_len bytes. `prepared`: what prepare() made of exactly these
     * bytes; NULL: nothing did. */
    int (*sign)(const uint8_t *secret, const uint8_t *bytes, size_t len, const uint8_t *prepared, uint8_t *signature);

    /* CK_OK, or anything else. */
    int (*verify)(const uint8_t *public_key, const uint8_t *bytes, size_t len, const uint8_t *signature);

    /* What signing these bytes needs and no key is needed for, while the majority is asked. NULL:
       nothing is worth it. */
    int (*prepare)(const uint8_t *bytes, size_t len, uint8_t *prepared);
} ck_key_type;

/* NULL: no such type here. */
const ck_key_type *ck_key_type_of(int32_t number);

/* CK_OK: the signature is the key's over these bytes, and has the size of its type's.
   CK_NO_LIBRARY; else CK_REFUSED. */
CK_MUST_CHECK int ck_verify(int32_t number, ck_bytes public_key, ck_bytes bytes, ck_bytes signature);

#endif

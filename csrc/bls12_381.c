#include "bls12_381.h"

#include <stdio.h>
#include <string.h>

#include "cursor.h"
#include "keytype.h"
#include "library.h"
#include "sodium.h"

/* blst's structs, whose sizes its header fixes: limbs of coordinates, and a scalar's 32 bytes,
   little-endian. */
typedef struct affine_g1 {
    uint64_t limbs[12];
} affine_g1;
typedef struct affine_g2 {
    uint64_t limbs[24];
} affine_g2;
typedef struct point_g1 {
    uint64_t limbs[18];
} point_g1;
typedef struct point_g2 {
    uint64_t limbs[36];
} point_g2;
typedef struct scalar {
    uint8_t bytes[32];
} scalar;
_Static_assert(sizeof(point_g2) == CK_PREPARED_BYTES, "what is prepared is a point of G2");

enum { BLST_SUCCESS = 0, HASH_TO_CURVE = 1, PUBLIC_KEY_BYTES = 96, FLAG_BITS = 0xe0 };

/* Of the basic scheme: CometBFT has this one, an Ethereum validator ..._POP_. */
static const uint8_t DST[] = "BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_NUL_";
enum { DST_LEN = sizeof DST - 1 };

typedef struct table {
    void (*scalar_of)(scalar *, const uint8_t *);
    int (*scalar_check)(const scalar *); /* a bool in its header, an int in its source: the lowest bit is both's */
    void (*public_of)(point_g1 *, const scalar *);
    void (*serialize_g1)(uint8_t *, const point_g1 *);
    int (*deserialize_g1)(affine_g1 *, const uint8_t *);
    void (*hash_to_g2)(point_g2 *, const uint8_t *, size_t, const uint8_t *, size_t, const uint8_t *, size_t);
    void (*sign)(point_g2 *, const point_g2 *, const scalar *);
    void (*compress_g2)(uint8_t *, const point_g2 *);
    int (*uncompress_g2)(affine_g2 *, const uint8_t *);
    int (*verify)(const affine_g1 *, const affine_g2 *, int, const uint8_t *, size_t, const uint8_t *, size_t,
                  const uint8_t *, size_t);
} table;

static table lib;
static int loaded;

int ck_bls12_381_ready(void) { return loaded; }

/* CK_MALFORMED: zero, or not below the order. */
static int read_secret(const uint8_t *secret, scalar *out) {
    lib.scalar_of(out, secret);
    return lib.scalar_check(out) & 1 ? CK_OK : CK_MALFORMED;
}

int ck_bls12_381_public_of(const uint8_t *seed, uint8_t *public_key) {
    scalar secret; /* secret */
    point_g1 made;
    const int rc = read_secret(seed, &secret);
    if (rc == CK_OK) {
        lib.public_of(&made, &secret);
        lib.serialize_g1(public_key, &made);
    }
    ck_sodium.memzero(&secret, sizeof secret);
    return rc;
}

int ck_bls12_381_prepare(const uint8_t *bytes, size_t len, uint8_t *prepared) {
    point_g2 hash;
    lib.hash_to_g2(&hash, bytes, len, DST, DST_LEN, NULL, 0);
    memcpy(prepared, &hash, sizeof hash);
    return CK_OK;
}

int ck_bls12_381_sign(const uint8_t *secret, const uint8_t *bytes, size_t len, const uint8_t *prepared,
                      uint8_t *signature) {
    scalar key; /* secret */
    point_g2 hash, made;
    if (prepared) memcpy(&hash, prepared, sizeof hash);
    else lib.hash_to_g2(&hash, bytes, len, DST, DST_LEN, NULL, 0);
    const int rc = read_secret(secret, &key);
    if (rc == CK_OK) {
        lib.sign(&made, &hash, &key);
        lib.compress_g2(signature, &made);
    }
    ck_sodium.memzero(&key, sizeof key);
    return rc == CK_OK ? CK_OK : CK_REFUSED;
}

/* blst tests that both are points of their groups and that the key is not the point at infinity. A
 * key with a flag is another form. */
int ck_bls12_381_verify(const uint8_t *public_key, const uint8_t *bytes, size_t len, const uint8_t *signature) {
    affine_g1 key;
    affine_g2 point;
    if (public_key[0] & FLAG_BITS || lib.deserialize_g1(&key, public_key) != BLST_SUCCESS) return CK_REFUSED;
    if (lib.uncompress_g2(&point, signature) != BLST_SUCCESS) return CK_REFUSED;
    return lib.verify(&key, &point, HASH_TO_CURVE, bytes, len, DST, DST_LEN, NULL, 0) == BLST_SUCCESS ? CK_OK
                                                                                                      : CK_REFUSED;
}

/* A signature that CometBFT v1.0.1 made (tests/vectors/v1/keys_v1.json): the library
   must make the same. */
static const uint8_t SEED[] = {
    0x00, 0x53, 0x42, 0xce, 0x64, 0xc9, 0x05, 0x39, 0x9e, 0x93, 0xc9, 0x04, 0x7d, 0xd9, 0x8d, 0xf7,
    0x6c, 0xae, 0xfe, 0xd2, 0x01, 0x74, 0x81, 0x6f, 0x77, 0xf5, 0x7d, 0xe5, 0x6e, 0x6b, 0x26, 0xf7,
};
static const uint8_t PUBLIC_KEY[] = {
    0x05, 0x5b, 0xa5, 0x6c, 0x1d, 0x70, 0xa1, 0xce, 0x76, 0x68, 0x66, 0xd6, 0x5f, 0xab, 0xc2, 0x61,
    0xcd, 0x7c, 0xa7, 0x61, 0xa3, 0x7e, 0x42, 0x77, 0x98, 0xba, 0x6c, 0x91, 0x6c, 0x37, 0xed, 0x20,
    0xcb, 0x6f, 0xb5, 0x6e, 0x0a, 0xa0, 0x1f, 0x46, 0xe9, 0xa5, 0x98, 0xc0, 0x65, 0x85, 0x76, 0x99,
    0x01, 0xa1, 0x0a, 0x7e, 0xdf, 0x3f, 0x6d, 0x07, 0xe3, 0x96, 0xa9, 0x4e, 0xa5, 0xb6, 0xdb, 0x71,
    0x21, 0x37, 0x06, 0x20, 0x1e, 0xb1, 0xf6, 0x0e, 0x98, 0x96, 0x53, 0x90, 0xa6, 0xd7, 0x89, 0x5b,
    0xaf, 0xae, 0x69, 0x4c, 0x94, 0xb8, 0x03, 0x21, 0xb5, 0xe4, 0x7d, 0x9c, 0xbd, 0x60, 0xb0, 0x20,
};
static const uint8_t TEXT[] = {
    0x38, 0x08, 0x02, 0x11, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x19, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x2a, 0x0c, 0x08, 0x84, 0xc1, 0xcd, 0xef, 0x02, 0x10, 0x99, 0xb9, 0xf6, 0x87, 0x03, 0x32, 0x14, 0x6d,
    0x61, 0x69, 0x6e, 0x6e, 0x65, 0x74, 0x2d, 0x62, 0x65, 0x61, 0x63, 0x6f, 0x6e, 0x2d, 0x38, 0x30, 0x30, 0x39, 0x34,
};
static const uint8_t SIGNATURE[] = {
    0xaa, 0x8d, 0x04, 0x6a, 0xea, 0x87, 0x78, 0x84, 0xba, 0xb7, 0x42, 0x3e, 0x50, 0xe5, 0x92, 0x5d,
    0x82, 0x74, 0x71, 0xbf, 0x78, 0x8c, 0x88, 0x7a, 0x20, 0x76, 0x90, 0xbb, 0x92, 0x5c, 0x57, 0xbc,
    0x2f, 0xbe, 0x87, 0x38, 0x8e, 0xda, 0x43, 0x0f, 0x34, 0x87, 0x1f, 0xe1, 0xee, 0xe9, 0x15, 0x79,
    0x06, 0xd8, 0x20, 0xb7, 0xc7, 0xb9, 0x88, 0x76, 0x88, 0x8b, 0x23, 0xc2, 0xbf, 0x7f, 0xff, 0x3c,
    0x5e, 0xd1, 0x05, 0x62, 0x4d, 0x68, 0xd8, 0x6f, 0xe3, 0xf7, 0x03, 0x9f, 0xbe, 0x3d, 0x4a, 0x33,
    0xf4, 0x0f, 0x90, 0xa9, 0x9f, 0x3c, 0xfb, 0x6a, 0x41, 0x80, 0xa5, 0x79, 0x7e, 0x89, 0x1e, 0xe0,
};

/* Both ways, with the hash beforehand and without: the export of these functions is no
   promise of ckzg's. */
static int signs_as_it_should(void) {
    uint8_t key[PUBLIC_KEY_BYTES], made[96], prepared[CK_PREPARED_BYTES];
    return ck_bls12_381_public_of(SEED, key) == CK_OK && memcmp(key, PUBLIC_KEY, sizeof key) == 0 &&
           ck_bls12_381_sign(SEED, TEXT, sizeof TEXT, NULL, made) == CK_OK &&
           memcmp(made, SIGNATURE, sizeof SIGNATURE) == 0 &&
           ck_bls12_381_prepare(TEXT, sizeof TEXT, prepared) == CK_OK &&
           ck_bls12_381_sign(SEED, TEXT, sizeof TEXT, prepared, made) == CK_OK &&
           memcmp(made, SIGNATURE, sizeof SIGNATURE) == 0 &&
           ck_bls12_381_verify(key, TEXT, sizeof TEXT, made) == CK_OK &&
           ck_bls12_381_verify(key, TEXT, sizeof TEXT - 1, made) != CK_OK;
}

int ck_bls12_381_load(const char *path, char *error, size_t error_cap) {
    const ck_symbol wanted[] = {
        {"blst_scalar_from_bendian", &lib.scalar_of},
        {"blst_sk_check", &lib.scalar_check},
        {"blst_sk_to_pk_in_g1", &lib.public_of},
        {"blst_p1_serialize", &lib.serialize_g1},
        {"blst_p1_deserialize", &lib.deserialize_g1},
        {"blst_hash_to_g2", &lib.hash_to_g2},
        {"blst_sign_pk_in_g1", &lib.sign},
        {"blst_p2_compress", &lib.compress_g2},
        {"blst_p2_uncompress", &lib.uncompress_g2},
        {"blst_core_verify_pk_in_g1", &lib.verify},
    };
    if (loaded) return CK_OK;
    if (!ck_sodium.malloc) return CK_NO_SODIUM;
    CK_TRY(ck_resolve(path, wanted, sizeof wanted / sizeof wanted[0], error, error_cap));
    if (!signs_as_it_should()) {
        snprintf(error, error_cap, "%s signs a known text otherwise than CometBFT does", path);
        return CK_NO_LIBRARY;
    }
    loaded = 1;
    return CK_OK;
}

#include "secp256k1.h"

#include <stdio.h>
#include <string.h>

#include "cursor.h"
#include "library.h"
#include "merlin.h"
#include "sodium.h"

/* libsecp256k1's flags and opaque structs, whose sizes are a promise of its headers. */
enum { CONTEXT_NONE = 1, EC_COMPRESSED = 258 };
typedef struct parsed_key {
    uint8_t data[64];
} parsed_key;
typedef struct parsed_signature {
    uint8_t data[64];
} parsed_signature;
typedef struct recoverable {
    uint8_t data[65];
} recoverable;

typedef struct table {
    void *(*create)(unsigned);
    int (*randomize)(void *, const uint8_t *);
    int (*seckey_verify)(const void *, const uint8_t *);
    int (*pubkey_create)(const void *, parsed_key *, const uint8_t *);
    int (*pubkey_parse)(const void *, parsed_key *, const uint8_t *, size_t);
    int (*pubkey_serialize)(const void *, uint8_t *, size_t *, const parsed_key *, unsigned);
    int (*sign)(const void *, parsed_signature *, const uint8_t *, const uint8_t *, void *, const void *);
    int (*verify)(const void *, const parsed_signature *, const uint8_t *, const parsed_key *);
    int (*serialize)(const void *, uint8_t *, const parsed_signature *);
    int (*parse)(const void *, parsed_signature *, const uint8_t *);
    int (*sign_recoverable)(const void *, recoverable *, const uint8_t *, const uint8_t *, void *, const void *);
    int (*serialize_recoverable)(const void *, uint8_t *, int *, const recoverable *);
    int (*parse_recoverable)(const void *, recoverable *, const uint8_t *, int);
    int (*recover)(const void *, parsed_key *, const recoverable *, const uint8_t *);
} table;

static table lib;
static void *context; /* NULL: not loaded */

static int hash_sha256(const uint8_t *bytes, size_t len, uint8_t digest[32]) {
    ck_sha256 state;
    return ck_sodium.sha256_init(&state) == 0 && ck_sodium.sha256_update(&state, bytes, len) == 0 &&
                   ck_sodium.sha256_final(&state, digest) == 0
               ? CK_OK
               : CK_REFUSED;
}

/* Keccak-256 with the padding of the competition, not FIPS 202's: what Ethereum hashes with. */
static void hash_keccak256(const uint8_t *bytes, size_t len, uint8_t digest[32]) {
    enum { RATE = 136 };
    uint64_t lanes[25] = {0};
    size_t at = 0;
    for (size_t i = 0; i < len; i++) {
        lanes[at / 8] ^= (uint64_t)bytes[i] << (8 * (at % 8));
        if (++at == RATE) {
            ck_keccak_f1600(lanes);
            at = 0;
        }
    }
    lanes[at / 8] ^= (uint64_t)0x01 << (8 * (at % 8));
    lanes[(RATE - 1) / 8] ^= (uint64_t)0x80 << 56;
    ck_keccak_f1600(lanes);
    for (unsigned i = 0; i < 32; i++) digest[i] = (uint8_t)(lanes[i / 8] >> (8 * (i % 8)));
}

int ck_secp256k1_ready(void) { return context != NULL; }

int ck_secp256k1_public_of(const uint8_t *seed, uint8_t *public_key) {
    parsed_key parsed;
    size_t len = 33;
    if (!lib.seckey_verify(context, seed) || !lib.pubkey_create(context, &parsed, seed)) return CK_MALFORMED;
    return lib.pubkey_serialize(context, public_key, &len, &parsed, EC_COMPRESSED) && len == 33 ? CK_OK : CK_MALFORMED;
}

int ck_secp256k1_sign(const uint8_t *secret, const uint8_t *bytes, size_t len, const uint8_t *prepared,
                      uint8_t *signature) {
    uint8_t digest[32];
    parsed_signature made;
    (void)prepared;
    if (hash_sha256(bytes, len, digest) != CK_OK) return CK_REFUSED;
    if (!lib.sign(context, &made, digest, secret, NULL, NULL)) return CK_REFUSED; /* NULL: RFC 6979; s is low already */
    return lib.serialize(context, signature, &made) ? CK_OK : CK_REFUSED;
}

/* libsecp256k1 accepts no high s: neither does CometBFT. */
int ck_secp256k1_verify(const uint8_t *public_key, const uint8_t *bytes, size_t len, const uint8_t *signature) {
    uint8_t digest[32];
    parsed_key key;
    parsed_signature parsed;
    if (!lib.pubkey_parse(context, &key, public_key, 33) || !lib.parse(context, &parsed, signature)) return CK_REFUSED;
    if (hash_sha256(bytes, len, digest) != CK_OK) return CK_REFUSED;
    return lib.verify(context, &parsed, digest, &key) ? CK_OK : CK_REFUSED;
}

int ck_secp256k1eth_sign(const uint8_t *secret, const uint8_t *bytes, size_t len, const uint8_t *prepared,
                         uint8_t *signature) {
    uint8_t digest[32];
    recoverable made;
    int id = 0;
    (void)prepared;
    hash_keccak256(bytes, len, digest);
    if (!lib.sign_recoverable(context, &made, digest, secret, NULL, NULL)) return CK_REFUSED;
    if (!lib.serialize_recoverable(context, signature, &id, &made) || id < 0 || id > 1) return CK_REFUSED;
    signature[64] = (uint8_t)id;
    return CK_OK;
}

/* The signature is ECDSA's, with a low s, and the key that it recovers is this one: there is no
   second id that passes. */
int ck_secp256k1eth_verify(const uint8_t *public_key, const uint8_t *bytes, size_t len, const uint8_t *signature) {
    uint8_t digest[32], recovered[33];
    size_t recovered_len = sizeof recovered;
    parsed_key key;
    parsed_signature parsed;
    recoverable whole;
    if (!lib.pubkey_parse(context, &key, public_key, 33) || !lib.parse(context, &parsed, signature)) return CK_REFUSED;
    hash_keccak256(bytes, len, digest);
    if (signature[64] > 1 || !lib.verify(context, &parsed, digest, &key)) return CK_REFUSED;
    if (!lib.parse_recoverable(context, &whole, signature, signature[64]) ||
        !lib.recover(context, &key, &whole, digest))
        return CK_REFUSED;
    if (!lib.pubkey_serialize(context, recovered, &recovered_len, &key, EC_COMPRESSED)) return CK_REFUSED;
    return memcmp(recovered, public_key, sizeof recovered) == 0 ? CK_OK : CK_REFUSED;
}

/* Two signatures that CometBFT v0.40.0 made (tests/vectors/v040/signatures_v040.json): the library
   must make the same. */
static const uint8_t SEED[] = {
    0x2a, 0xa4, 0x8d, 0x16, 0xc3, 0x3b, 0x25, 0x23, 0x37, 0xed, 0xe5, 0x4b, 0xcb, 0x68, 0xff, 0xff,
    0xb6, 0xc9, 0x4b, 0x8e, 0x4b, 0x12, 0x1d, 0x80, 0xd5, 0x9e, 0x94, 0xfd, 0xa0, 0x28, 0x41, 0xb0,
};
static const uint8_t PUBLIC_KEY[] = {
    0x02, 0x79, 0x87, 0x65, 0xa0, 0x0d, 0x62, 0x72, 0x2e, 0xc4, 0xc1, 0x1b, 0xf4, 0xbd, 0x3b, 0xb0, 0x8e,
    0x7d, 0x06, 0x96, 0xaf, 0xeb, 0xcd, 0x69, 0xa0, 0xc6, 0xfe, 0xdd, 0xdc, 0x91, 0xcb, 0x12, 0x74,
};
static const uint8_t TEXT[] = {
    0x26, 0x08, 0x02, 0x11, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x2a,
    0x0c, 0x08, 0x9f, 0xb7, 0xc5, 0x97, 0x05, 0x10, 0x8d, 0x87, 0xb6, 0x82, 0x02,
    0x32, 0x0b, 0x63, 0x6f, 0x73, 0x6d, 0x6f, 0x73, 0x68, 0x75, 0x62, 0x2d, 0x34,
};
static const uint8_t SIGNATURE[] = {
    0x9e, 0x5d, 0xc2, 0x49, 0x55, 0x43, 0x84, 0xab, 0x96, 0xe4, 0x3c, 0x48, 0x9d, 0x0a, 0x5c, 0x94,
    0xf0, 0x2c, 0xf9, 0xc8, 0x7b, 0x4e, 0x73, 0xa6, 0x29, 0x13, 0xbd, 0x38, 0x49, 0xbd, 0x04, 0xff,
    0x52, 0xf5, 0x0c, 0xb5, 0x84, 0x98, 0xbe, 0x67, 0x87, 0xfd, 0xd3, 0x41, 0x7f, 0x6a, 0xa3, 0x6c,
    0x55, 0x2b, 0x29, 0x46, 0xc2, 0xed, 0x9f, 0x30, 0x80, 0xc7, 0x47, 0x2a, 0x71, 0x43, 0x79, 0x6b,
};
static const uint8_t ETH_SEED[] = {
    0x5b, 0x40, 0x48, 0x4d, 0x34, 0xae, 0xe8, 0xb3, 0xa9, 0xf8, 0xd0, 0xd3, 0x4a, 0x91, 0x60, 0xf5,
    0x7f, 0xea, 0x0a, 0xbe, 0x87, 0xdc, 0x51, 0xd0, 0xd2, 0x5d, 0x5a, 0x64, 0xa7, 0xaa, 0xaf, 0x0d,
};
static const uint8_t ETH_PUBLIC_KEY[] = {
    0x03, 0x40, 0xcc, 0x13, 0x2d, 0x6a, 0x0f, 0xa7, 0x2a, 0xd6, 0x01, 0x56, 0xd5, 0x3c, 0x6e, 0x0f, 0x41,
    0x86, 0xa1, 0x48, 0xf4, 0xbc, 0xec, 0xb5, 0x3a, 0x91, 0x7a, 0x40, 0x62, 0x97, 0x38, 0xb6, 0x38,
};
static const uint8_t ETH_TEXT[] = {
    0x1e, 0x08, 0x01, 0x11, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x19, 0x80, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x2a, 0x00, 0x32, 0x06, 0x74, 0x65, 0x73, 0x74, 0x2d, 0x31,
};
static const uint8_t ETH_SIGNATURE[] = {
    0xe1, 0x19, 0x6e, 0x6d, 0x58, 0xf3, 0x4d, 0x68, 0x8b, 0xf1, 0x68, 0x3b, 0x6d, 0xdc, 0xeb, 0xdf, 0x8e,
    0x0c, 0x15, 0x65, 0xe9, 0x6d, 0x1e, 0xa0, 0x76, 0x6a, 0x95, 0xb6, 0xf0, 0xbf, 0x78, 0x69, 0x72, 0xe5,
    0xc0, 0x92, 0x1b, 0xa0, 0x23, 0xbc, 0x26, 0x7b, 0xdb, 0x59, 0xea, 0x5d, 0x4c, 0xac, 0x9d, 0x26, 0x22,
    0xa6, 0xba, 0x05, 0xcb, 0xc6, 0xb8, 0x0d, 0x10, 0xa1, 0xfd, 0x94, 0xa7, 0x6c, 0x00,
};

/* Both types, both ways: the export of these functions is no promise of coincurve's. */
static int signs_as_it_should(void) {
    uint8_t key[33], made[65];
    return ck_secp256k1_public_of(SEED, key) == CK_OK && memcmp(key, PUBLIC_KEY, sizeof key) == 0 &&
           ck_secp256k1_sign(SEED, TEXT, sizeof TEXT, NULL, made) == CK_OK &&
           memcmp(made, SIGNATURE, sizeof SIGNATURE) == 0 &&
           ck_secp256k1_verify(key, TEXT, sizeof TEXT, made) == CK_OK &&
           ck_secp256k1_verify(key, TEXT, sizeof TEXT - 1, made) != CK_OK &&
           ck_secp256k1_public_of(ETH_SEED, key) == CK_OK && memcmp(key, ETH_PUBLIC_KEY, sizeof key) == 0 &&
           ck_secp256k1eth_sign(ETH_SEED, ETH_TEXT, sizeof ETH_TEXT, NULL, made) == CK_OK &&
           memcmp(made, ETH_SIGNATURE, sizeof ETH_SIGNATURE) == 0 &&
           ck_secp256k1eth_verify(key, ETH_TEXT, sizeof ETH_TEXT, made) == CK_OK &&
           ck_secp256k1eth_verify(key, ETH_TEXT, sizeof ETH_TEXT - 1, made) != CK_OK;
}

int ck_secp256k1_load(const char *path, char *error, size_t error_cap) {
    const ck_symbol wanted[] = {
        {"secp256k1_context_create", &lib.create},
        {"secp256k1_context_randomize", &lib.randomize},
        {"secp256k1_ec_seckey_verify", &lib.seckey_verify},
        {"secp256k1_ec_pubkey_create", &lib.pubkey_create},
        {"secp256k1_ec_pubkey_parse", &lib.pubkey_parse},
        {"secp256k1_ec_pubkey_serialize", &lib.pubkey_serialize},
        {"secp256k1_ecdsa_sign", &lib.sign},
        {"secp256k1_ecdsa_verify", &lib.verify},
        {"secp256k1_ecdsa_signature_serialize_compact", &lib.serialize},
        {"secp256k1_ecdsa_signature_parse_compact", &lib.parse},
        {"secp256k1_ecdsa_sign_recoverable", &lib.sign_recoverable},
        {"secp256k1_ecdsa_recoverable_signature_serialize_compact", &lib.serialize_recoverable},
        {"secp256k1_ecdsa_recoverable_signature_parse_compact", &lib.parse_recoverable},
        {"secp256k1_ecdsa_recover", &lib.recover},
    };
    uint8_t blinding[32];
    if (context) return CK_OK;
    if (!ck_sodium.malloc) return CK_NO_SODIUM;
    CK_TRY(ck_resolve(path, wanted, sizeof wanted / sizeof wanted[0], error, error_cap));
    void *made = lib.create(CONTEXT_NONE);
    ck_sodium.random(blinding, sizeof blinding);
    if (!made || !lib.randomize(made, blinding)) {
        snprintf(error, error_cap, "%s makes no context", path);
        return CK_NO_LIBRARY;
    }
    context = made;
    if (!signs_as_it_should()) {
        context = NULL;
        snprintf(error, error_cap, "%s signs a known text otherwise than CometBFT does", path);
        return CK_NO_LIBRARY;
    }
    return CK_OK;
}

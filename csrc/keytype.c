#include "keytype.h"

#include "bls12_381.h"
#include "secp256k1.h"
#include "sodium.h"

static int ed25519_ready(void) { return ck_sodium.malloc != NULL; }

static int ed25519_public_of(const uint8_t *seed, uint8_t *public_key) {
    uint8_t scratch[64]; /* secret */
    ck_sodium.seed_keypair(public_key, scratch, seed);
    ck_sodium.memzero(scratch, sizeof scratch);
    return CK_OK;
}

static int ed25519_sign(const uint8_t *secret, const uint8_t *bytes, size_t len, const uint8_t *prepared,
                        uint8_t *signature) {
    (void)prepared;
    return ck_sodium.sign_detached(signature, NULL, bytes, len, secret) == 0 ? CK_OK : CK_REFUSED;
}

static int ed25519_verify(const uint8_t *public_key, const uint8_t *bytes, size_t len, const uint8_t *signature) {
    return ck_sodium.verify_detached(signature, bytes, len, public_key) == 0 ? CK_OK : CK_REFUSED;
}

static const ck_key_type TYPES[] = {
    {CK_ED25519,
     "ed25519",
     64,
     32,
     64,
     {0x16, 0x24, 0xde, 0x64},
     ed25519_ready,
     ed25519_public_of,
     ed25519_sign,
     ed25519_verify,
     NULL},
    {CK_SECP256K1,
     "secp256k1",
     32,
     33,
     64,
     {0xeb, 0x5a, 0xe9, 0x87},
     ck_secp256k1_ready,
     ck_secp256k1_public_of,
     ck_secp256k1_sign,
     ck_secp256k1_verify,
     NULL},
    {CK_BLS12_381,
     "bls12_381",
     32,
     96,
     96,
     {0},
     ck_bls12_381_ready,
     ck_bls12_381_public_of,
     ck_bls12_381_sign,
     ck_bls12_381_verify,
     ck_bls12_381_prepare},
    {CK_SECP256K1ETH,
     "secp256k1eth",
     32,
     33,
     65,
     {0},
     ck_secp256k1_ready,
     ck_secp256k1_public_of,
     ck_secp256k1eth_sign,
     ck_secp256k1eth_verify,
     NULL},
};

const ck_key_type *ck_key_type_of(int32_t number) {
    for (size_t i = 0; i < sizeof TYPES / sizeof TYPES[0]; i++)
        if (TYPES[i].number == number) return &TYPES[i];
    return NULL;
}

int ck_verify(int32_t number, ck_bytes public_key, ck_bytes bytes, ck_bytes signature) {
    const ck_key_type *type = ck_key_type_of(number);
    if (!type || !type->ready()) return CK_NO_LIBRARY;
    if (public_key.len != type->public_len || signature.len != type->signature_len) return CK_REFUSED;
    return type->verify(public_key.at, bytes.at, bytes.len, signature.at);
}

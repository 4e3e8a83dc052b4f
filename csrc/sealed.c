#include "sealed.h"

#include <string.h>

#include "sodium.h"

#define BASE64_ORIGINAL 1
#define ARGON2ID13 2
#define LABEL "cometkms sealed key v1" /* ed25519 */
#define LABEL_TYPED "cometkms sealed key v2"
_Static_assert(sizeof LABEL == sizeof LABEL_TYPED, "each fits the other's room");
#define HEADER_MAX (sizeof LABEL + 1 + CK_PUBLIC_KEY_MAX + 8 + 8 + 16 + 24)

static void put_le64(uint8_t *out, uint64_t value) {
    for (int i = 0; i < 8; i++) out[i] = (uint8_t)(value >> (8 * i));
}

/* Everything of a sealed key that is not secret; returns its length. A type but ed25519 stands
   before its public key. */
static size_t header(const ck_key_type *type, const ck_sealed *sealed, uint8_t out[HEADER_MAX]) {
    uint8_t *at = out;
    const int typed = type->number != CK_ED25519;
    memcpy(at, typed ? LABEL_TYPED : LABEL, sizeof LABEL);
    at += sizeof LABEL;
    if (typed) *at++ = (uint8_t)type->number;
    memcpy(at, sealed->public_key, type->public_len);
    at += type->public_len;
    put_le64(at, sealed->passes);
    put_le64(at + 8, sealed->memory);
    memcpy(at + 16, sealed->salt, 16);
    memcpy(at + 32, sealed->nonce, 24);
    return (size_t)(at + 56 - out);
}

/* NULL: no such type, or its library is not loaded. */
static const ck_key_type *type_of(const ck_sealed *sealed) {
    const ck_key_type *type = ck_key_type_of(sealed->type);
    return type && type->ready() ? type : NULL;
}

static int derive(const ck_sealed *sealed, ck_bytes passphrase, uint8_t key[32]) {
    if (sealed->passes < 1 || sealed->passes > CK_SEAL_PASSES_MAX) return CK_TOO_LARGE;
    if (sealed->memory < CK_SEAL_MEMORY_MIN || sealed->memory > CK_SEAL_MEMORY_MAX) return CK_TOO_LARGE;
    const char *text = passphrase.len ? (const char *)passphrase.at : "";
    const int failed = ck_sodium.argon2id(key, 32, text, passphrase.len, sealed->salt, sealed->passes,
                                          (size_t)sealed->memory, ARGON2ID13);
    return failed ? CK_NO_ROOM : CK_OK;
}

int ck_decode_secret(const ck_key_type *type, char *base64, size_t base64_len, uint8_t *secret, uint8_t *public_key) {
    uint8_t made[CK_PUBLIC_KEY_MAX];
    size_t n = 0;
    int rc = CK_MALFORMED;
    if (ck_sodium.base642bin(secret, type->secret_len, base64, base64_len, NULL, &n, NULL, BASE64_ORIGINAL) == 0 &&
        n == type->secret_len) {
        rc = type->public_of(secret, made);
        if (rc == CK_OK && n > CK_SEED_BYTES && memcmp(made, secret + CK_SEED_BYTES, n - CK_SEED_BYTES) != 0)
            rc = CK_MALFORMED;
    }
    ck_sodium.memzero(base64, base64_len);
    if (rc == CK_OK) memcpy(public_key, made, type->public_len);
    else ck_sodium.memzero(secret, type->secret_len);
    return rc;
}

int ck_seal(ck_sealed *sealed, char *base64, size_t base64_len, ck_bytes passphrase) {
    uint8_t key[32], secret[CK_SECRET_MAX]; /* secret: both */
    uint8_t aad[HEADER_MAX];
    if (!ck_sodium.malloc) return CK_NO_SODIUM;
    const ck_key_type *type = type_of(sealed);
    if (!type) {
        ck_sodium.memzero(base64, base64_len);
        return CK_NO_LIBRARY;
    }
    int rc = ck_decode_secret(type, base64, base64_len, secret, sealed->public_key);
    if (rc == CK_OK) rc = derive(sealed, passphrase, key);
    if (rc == CK_OK) {
        const size_t aad_len = header(type, sealed, aad);
        const int failed = ck_sodium.xaead_encrypt(sealed->ciphertext, NULL, secret, CK_SEED_BYTES, aad, aad_len, NULL,
                                                   sealed->nonce, key);
        if (failed) rc = CK_NO_ROOM;
    }
    ck_sodium.memzero(key, sizeof key);
    ck_sodium.memzero(secret, sizeof secret);
    return rc;
}

int ck_unseal(const ck_sealed *sealed, ck_bytes passphrase, uint8_t *secret) {
    uint8_t key[32]; /* secret */
    uint8_t aad[HEADER_MAX], public_key[CK_PUBLIC_KEY_MAX];
    if (!ck_sodium.malloc) return CK_NO_SODIUM;
    const ck_key_type *type = type_of(sealed);
    if (!type) return CK_NO_LIBRARY;
    int rc = derive(sealed, passphrase, key);
    if (rc == CK_OK) {
        const size_t aad_len = header(type, sealed, aad);
        const int failed = ck_sodium.xaead_decrypt(secret, NULL, NULL, sealed->ciphertext, sizeof sealed->ciphertext,
                                                   aad, aad_len, sealed->nonce, key);
        if (failed) rc = CK_BAD_TAG;
    }
    if (rc == CK_OK) rc = type->public_of(secret, public_key);
    if (rc == CK_OK && memcmp(public_key, sealed->public_key, type->public_len) != 0) rc = CK_MALFORMED;
    if (rc == CK_OK) memcpy(secret + CK_SEED_BYTES, public_key, type->secret_len - CK_SEED_BYTES);
    ck_sodium.memzero(key, sizeof key);
    if (rc != CK_OK) ck_sodium.memzero(secret, type->secret_len);
    return rc;
}

int ck_unseal_base64(const ck_sealed *sealed, ck_bytes passphrase, char base64[CK_SEED_BASE64]) {
    uint8_t secret[CK_SECRET_MAX]; /* secret */
    const int rc = ck_unseal(sealed, passphrase, secret);
    if (rc == CK_OK)
        ck_sodium.bin2base64(base64, CK_SEED_BASE64, secret, ck_key_type_of(sealed->type)->secret_len, BASE64_ORIGINAL);
    ck_sodium.memzero(secret, sizeof secret);
    return rc;
}

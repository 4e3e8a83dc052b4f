#include "sealed.h"

#include <string.h>

#include "sodium.h"

#define BASE64_ORIGINAL 1
#define ARGON2ID13 2
#define LABEL "cometkms sealed key v1"
#define HEADER (sizeof LABEL + 32 + 8 + 8 + 16 + 24)

static void put_le64(uint8_t *out, uint64_t value) {
    for (int i = 0; i < 8; i++) out[i] = (uint8_t)(value >> (8 * i));
}

/* Everything of a sealed key that is not secret. */
static void header(const ck_sealed *sealed, uint8_t out[HEADER]) {
    uint8_t *at = out;
    memcpy(at, LABEL, sizeof LABEL);
    at += sizeof LABEL;
    memcpy(at, sealed->public_key, 32);
    put_le64(at + 32, sealed->passes);
    put_le64(at + 40, sealed->memory);
    memcpy(at + 48, sealed->salt, 16);
    memcpy(at + 64, sealed->nonce, 24);
}

static int derive(const ck_sealed *sealed, ck_bytes passphrase, uint8_t key[32]) {
    if (sealed->passes < 1 || sealed->passes > CK_SEAL_PASSES_MAX) return CK_TOO_LARGE;
    if (sealed->memory < CK_SEAL_MEMORY_MIN || sealed->memory > CK_SEAL_MEMORY_MAX) return CK_TOO_LARGE;
    const char *text = passphrase.len ? (const char *)passphrase.at : "";
    const int failed = ck_sodium.argon2id(key, 32, text, passphrase.len, sealed->salt, sealed->passes,
                                          (size_t)sealed->memory, ARGON2ID13);
    return failed ? CK_NO_ROOM : CK_OK;
}

/* The public key of the seed in the first half of `secret`. */
static void public_of(const uint8_t secret[64], uint8_t public_key[32]) {
    uint8_t scratch[64]; /* secret */
    ck_sodium.seed_keypair(public_key, scratch, secret);
    ck_sodium.memzero(scratch, sizeof scratch);
}

int ck_decode_secret(char *base64, size_t base64_len, uint8_t secret[64]) {
    uint8_t public_key[32];
    size_t n = 0;
    int rc = CK_MALFORMED;
    if (ck_sodium.base642bin(secret, 64, base64, base64_len, NULL, &n, NULL, BASE64_ORIGINAL) == 0 && n == 64) {
        public_of(secret, public_key);
        if (memcmp(public_key, secret + 32, 32) == 0) rc = CK_OK;
    }
    ck_sodium.memzero(base64, base64_len);
    if (rc != CK_OK) ck_sodium.memzero(secret, 64);
    return rc;
}

int ck_seal(ck_sealed *sealed, char *base64, size_t base64_len, ck_bytes passphrase) {
    uint8_t key[32], secret[64]; /* secret: both */
    uint8_t aad[HEADER];
    if (!ck_sodium.malloc) return CK_NO_SODIUM;
    int rc = ck_decode_secret(base64, base64_len, secret);
    if (rc == CK_OK) rc = derive(sealed, passphrase, key);
    if (rc == CK_OK) {
        memcpy(sealed->public_key, secret + 32, 32);
        header(sealed, aad);
        const int failed = ck_sodium.xaead_encrypt(sealed->ciphertext, NULL, secret, 32, aad, sizeof aad, NULL,
                                                   sealed->nonce, key);
        if (failed) rc = CK_NO_ROOM;
    }
    ck_sodium.memzero(key, sizeof key);
    ck_sodium.memzero(secret, sizeof secret);
    return rc;
}

int ck_unseal(const ck_sealed *sealed, ck_bytes passphrase, uint8_t secret[64]) {
    uint8_t key[32]; /* secret */
    uint8_t aad[HEADER], public_key[32];
    if (!ck_sodium.malloc) return CK_NO_SODIUM;
    int rc = derive(sealed, passphrase, key);
    if (rc == CK_OK) {
        header(sealed, aad);
        const int failed = ck_sodium.xaead_decrypt(secret, NULL, NULL, sealed->ciphertext, sizeof sealed->ciphertext,
                                                   aad, sizeof aad, sealed->nonce, key);
        if (failed) rc = CK_BAD_TAG;
    }
    if (rc == CK_OK) {
        public_of(secret, public_key);
        memcpy(secret + 32, public_key, 32);
        if (memcmp(public_key, sealed->public_key, 32) != 0) rc = CK_MALFORMED;
    }
    ck_sodium.memzero(key, sizeof key);
    if (rc != CK_OK) ck_sodium.memzero(secret, 64);
    return rc;
}

int ck_unseal_base64(const ck_sealed *sealed, ck_bytes passphrase, char base64[CK_SEED_BASE64]) {
    uint8_t secret[64]; /* secret */
    const int rc = ck_unseal(sealed, passphrase, secret);
    if (rc == CK_OK) ck_sodium.bin2base64(base64, CK_SEED_BASE64, secret, sizeof secret, BASE64_ORIGINAL);
    ck_sodium.memzero(secret, sizeof secret);
    return rc;
}

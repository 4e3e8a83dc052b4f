#include "sodium.h"

#include <stdio.h>

#include "library.h"

ck_sodium_table ck_sodium;

int ck_sodium_load(const char *path, char *error, size_t error_cap) {
    ck_sodium_table table;
    const ck_symbol wanted[] = {
        {"sodium_init", &table.init},
        {"sodium_malloc", &table.malloc},
        {"sodium_free", &table.free},
        {"sodium_memzero", &table.memzero},
        {"sodium_mprotect_readonly", &table.mprotect_readonly},
        {"sodium_base642bin", &table.base642bin},
        {"sodium_bin2base64", &table.bin2base64},
        {"crypto_pwhash", &table.argon2id},
        {"crypto_sign_ed25519_detached", &table.sign_detached},
        {"crypto_sign_ed25519_verify_detached", &table.verify_detached},
        {"crypto_sign_ed25519_seed_keypair", &table.seed_keypair},
        {"crypto_scalarmult_curve25519", &table.scalarmult},
        {"crypto_scalarmult_curve25519_base", &table.scalarmult_base},
        {"randombytes_buf", &table.random},
        {"crypto_generichash_blake2b", &table.blake2b},
        {"crypto_auth_hmacsha256", &table.hmac_sha256},
        {"crypto_hash_sha256_statebytes", &table.sha256_statebytes},
        {"crypto_hash_sha256_init", &table.sha256_init},
        {"crypto_hash_sha256_update", &table.sha256_update},
        {"crypto_hash_sha256_final", &table.sha256_final},
        {"crypto_aead_chacha20poly1305_ietf_encrypt", &table.aead_encrypt},
        {"crypto_aead_chacha20poly1305_ietf_decrypt", &table.aead_decrypt},
        {"crypto_aead_xchacha20poly1305_ietf_encrypt", &table.xaead_encrypt},
        {"crypto_aead_xchacha20poly1305_ietf_decrypt", &table.xaead_decrypt},
    };
    if (ck_resolve(path, wanted, sizeof wanted / sizeof wanted[0], error, error_cap) != CK_OK) return CK_NO_SODIUM;
    if (table.init() < 0) {
        snprintf(error, error_cap, "sodium_init failed");
        return CK_NO_SODIUM;
    }
    if (table.sha256_statebytes() != sizeof(ck_sha256)) {
        snprintf(error, error_cap, "a SHA-256 state of %zu bytes, not %zu", table.sha256_statebytes(),
                 sizeof(ck_sha256));
        return CK_NO_SODIUM;
    }
    ck_sodium = table;
    return CK_OK;
}

/* A cipher that changes nothing, so that the fuzzer reaches what stands behind it. */
#ifndef CK_FUZZ_CIPHER_H
#define CK_FUZZ_CIPHER_H

#include <stdint.h>
#include <string.h>

#include "../sodium.h"

static int failing; /* a tag that ends with this byte does not verify; -1: every tag does */

static int encrypt(uint8_t *out, unsigned long long *out_len, const uint8_t *plain, unsigned long long len,
                   const uint8_t *ad, unsigned long long ad_len, const uint8_t *nsec, const uint8_t *nonce,
                   const uint8_t *key) {
    (void)out_len, (void)ad, (void)ad_len, (void)nsec, (void)nonce, (void)key;
    memcpy(out, plain, len);
    memset(out + len, 0, 16);
    return 0;
}

static int decrypt(uint8_t *plain, unsigned long long *plain_len, uint8_t *nsec, const uint8_t *in,
                   unsigned long long len, const uint8_t *ad, unsigned long long ad_len, const uint8_t *nonce,
                   const uint8_t *key) {
    (void)plain_len, (void)nsec, (void)ad, (void)ad_len, (void)nonce, (void)key;
    memcpy(plain, in, len - 16);
    return in[len - 1] == failing ? -1 : 0;
}

static void use_plain_cipher(int failing_byte) {
    failing = failing_byte;
    ck_sodium.aead_encrypt = encrypt;
    ck_sodium.aead_decrypt = decrypt;
}

#endif

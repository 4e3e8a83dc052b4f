#include "noise.h"

#include <string.h>

#include "sodium.h"

enum { LENGTH = 2, TAG = 16 };

_Static_assert(CK_NOISE_SEALED == LENGTH + 65535 && CK_NOISE_PLAIN + TAG == 65535,
               "a message's length takes two bytes");

static void nonce_of(uint64_t counter, uint8_t nonce[12]) {
    memset(nonce, 0, 12);
    for (unsigned i = 0; i < 8; i++) nonce[4 + i] = (uint8_t)(counter >> (8 * i));
}

static size_t messages_of(size_t len) { return (len + CK_NOISE_PLAIN - 1) / CK_NOISE_PLAIN; }

size_t ck_noise_sealed_size(size_t len) { return len + messages_of(len) * (LENGTH + TAG); }

int ck_noise_seal(ck_noise *noise, const uint8_t *data, size_t len, uint8_t *out, size_t cap, size_t *out_len) {
    const size_t needed = ck_noise_sealed_size(len);
    uint8_t nonce[12];
    if (needed > cap) return CK_NO_ROOM;
    if (noise->send_counter >= UINT64_MAX - messages_of(len)) return CK_EXHAUSTED;
    while (len > 0) {
        const size_t n = len < CK_NOISE_PLAIN ? len : CK_NOISE_PLAIN;
        *out++ = (uint8_t)((n + TAG) >> 8);
        *out++ = (uint8_t)(n + TAG);
        nonce_of(noise->send_counter++, nonce);
        ck_sodium.aead_encrypt(out, NULL, data, n, NULL, 0, NULL, nonce, noise->send_key);
        out += n + TAG;
        data += n;
        len -= n;
    }
    *out_len = needed;
    return CK_OK;
}

/* `sealed`: the ciphertext of one message. */
static int open_one(ck_noise *noise, const uint8_t *sealed, size_t size, uint8_t *out, size_t cap, size_t *len) {
    uint8_t nonce[12];
    if (size < TAG) return CK_MALFORMED;
    if (noise->recv_counter == UINT64_MAX) return CK_EXHAUSTED;
    if (size - TAG > cap - *len) return CK_NO_ROOM;
    nonce_of(noise->recv_counter, nonce);
    if (ck_sodium.aead_decrypt(out + *len, NULL, NULL, sealed, size, NULL, 0, nonce, noise->recv_key) != 0)
        return CK_BAD_TAG;
    noise->recv_counter++;
    *len += size - TAG;
    return CK_OK;
}

/* The size of a message whose first two bytes are there, its length included. */
static size_t whole(const uint8_t *at) { return LENGTH + ((size_t)at[0] << 8 | at[1]); }

static size_t keep(ck_noise *noise, const uint8_t *input, size_t left, size_t wanted) {
    const size_t missing = wanted - noise->partial_len, n = left < missing ? left : missing;
    memcpy(noise->partial + noise->partial_len, input, n);
    noise->partial_len += n;
    return n;
}

int ck_noise_open(ck_noise *noise, const uint8_t *input, size_t left, uint8_t *out, size_t cap, size_t *out_len) {
    size_t len = 0;
    while (left > 0) {
        int rc;
        size_t used;
        if (noise->partial_len == 0 && left >= LENGTH && left >= whole(input)) {
            used = whole(input);
            rc = open_one(noise, input + LENGTH, used - LENGTH, out, cap, &len);
        } else {
            const size_t wanted = noise->partial_len < LENGTH ? LENGTH
                                                              : whole(noise->partial); /* at most CK_NOISE_SEALED */
            used = keep(noise, input, left, wanted);
            rc = CK_OK;
            if (noise->partial_len >= LENGTH && noise->partial_len == whole(noise->partial)) {
                noise->partial_len = 0;
                rc = open_one(noise, noise->partial + LENGTH, wanted - LENGTH, out, cap, &len);
            }
        }
        if (rc != CK_OK) return rc;
        input += used;
        left -= used;
    }
    *out_len = len;
    return CK_OK;
}

size_t ck_noise_opened_max(const ck_noise *noise, size_t len) { return noise->partial_len + len; }

void ck_noise_wipe(ck_noise *noise) { ck_sodium.memzero(noise, offsetof(ck_noise, partial) + noise->partial_len); }

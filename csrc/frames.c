#include "frames.h"

#include <string.h>

#include "merlin.h"
#include "sodium.h"

#define LABEL(text) (const uint8_t *)(text), sizeof(text) - 1

void ck_hkdf_sha256(const uint8_t *secret, size_t secret_len, const uint8_t *info, size_t info_len, uint8_t *out,
                    size_t len) {
    uint8_t prk[32] = {0}, block[32 + 128 + 1]; /* secret; T(i-1) | info | i */
    uint8_t zero_salt[32] = {0};
    size_t previous = 0;
    if (info_len > 128) info_len = 128; /* our labels are below 64 bytes */
    ck_sodium.hmac_sha256(prk, secret, secret_len, zero_salt);
    for (uint8_t i = 1; len > 0; i++) {
        memcpy(block + previous, info, info_len);
        block[previous + info_len] = i;
        ck_sodium.hmac_sha256(block, block, previous + info_len + 1, prk);
        size_t n = len < 32 ? len : 32;
        memcpy(out, block, n);
        out += n;
        len -= n;
        previous = 32;
    }
    ck_sodium.memzero(prk, sizeof prk);
    ck_sodium.memzero(block, sizeof block);
}

int ck_key_schedule(const uint8_t secret[32], const uint8_t public_key[32], const uint8_t remote[32], ck_frames *out,
                    uint8_t challenge[32]) {
    uint8_t dh[32], keys[96]; /* secret */
    const int order = memcmp(public_key, remote, 32);
    if (!ck_sodium.scalarmult) return CK_NO_SODIUM;
    if (order == 0) return CK_MALFORMED;
    const uint8_t *lower = order < 0 ? public_key : remote, *upper = order < 0 ? remote : public_key;
    if (ck_sodium.scalarmult(dh, secret, remote) != 0) { /* libsodium itself rejects the all-zero result */
        ck_sodium.memzero(dh, sizeof dh);
        return CK_LOW_ORDER;
    }
    ck_merlin transcript;
    ck_merlin_init(&transcript, LABEL("TENDERMINT_SECRET_CONNECTION_TRANSCRIPT_HASH"));
    ck_merlin_append(&transcript, "EPHEMERAL_LOWER_PUBLIC_KEY", lower, 32);
    ck_merlin_append(&transcript, "EPHEMERAL_UPPER_PUBLIC_KEY", upper, 32);
    ck_merlin_append(&transcript, "DH_SECRET", dh, 32);
    ck_merlin_challenge(&transcript, "SECRET_CONNECTION_MAC", challenge, 32);
    ck_hkdf_sha256(dh, sizeof dh, LABEL("TENDERMINT_SECRET_CONNECTION_KEY_AND_CHALLENGE_GEN"), keys, sizeof keys);
    memset(out, 0, sizeof *out);
    memcpy(out->recv_key, order < 0 ? keys : keys + 32, 32);
    memcpy(out->send_key, order < 0 ? keys + 32 : keys, 32);
    ck_sodium.memzero(dh, sizeof dh);
    ck_sodium.memzero(keys, sizeof keys);
    ck_sodium.memzero(&transcript, sizeof transcript);
    return CK_OK;
}

static void nonce_of(uint64_t counter, uint8_t nonce[12]) {
    memset(nonce, 0, 12);
    for (unsigned i = 0; i < 8; i++) nonce[4 + i] = (uint8_t)(counter >> (8 * i));
}

size_t ck_sealed_size(size_t len) {
    size_t frames = len == 0 ? 1 : (len + CK_FRAME_DATA - 1) / CK_FRAME_DATA;
    return frames * CK_FRAME_SEALED;
}

int ck_frames_seal(ck_frames *f, const uint8_t *data, size_t len, uint8_t *out, size_t cap, size_t *out_len) {
    const size_t needed = ck_sealed_size(len);
    uint8_t plain[CK_FRAME_PLAIN], nonce[12];
    if (needed > cap) return CK_NO_ROOM;
    if (f->send_counter >= UINT64_MAX - needed / CK_FRAME_SEALED) return CK_EXHAUSTED;
    for (size_t at = 0; at < needed; at += CK_FRAME_SEALED) {
        const size_t n = len < CK_FRAME_DATA ? len : CK_FRAME_DATA;
        memset(plain, 0, sizeof plain);
        plain[0] = (uint8_t)n;
        plain[1] = (uint8_t)(n >> 8);
        if (n) memcpy(plain + 4, data, n);
        nonce_of(f->send_counter++, nonce);
        ck_sodium.aead_encrypt(out + at, NULL, plain, sizeof plain, NULL, 0, NULL, nonce, f->send_key);
        data += n;
        len -= n;
    }
    *out_len = needed;
    return CK_OK;
}

static int open_one(ck_frames *f, const uint8_t *sealed, uint8_t *out, size_t cap, size_t *len) {
    uint8_t plain[CK_FRAME_PLAIN], nonce[12];
    if (f->recv_counter == UINT64_MAX) return CK_EXHAUSTED;
    nonce_of(f->recv_counter, nonce);
    if (ck_sodium.aead_decrypt(plain, NULL, NULL, sealed, CK_FRAME_SEALED, NULL, 0, nonce, f->recv_key) != 0)
        return CK_BAD_TAG;
    f->recv_counter++;
    const size_t n = (size_t)plain[0] | (size_t)plain[1] << 8 | (size_t)plain[2] << 16 | (size_t)plain[3] << 24;
    if (n > CK_FRAME_DATA) return CK_MALFORMED;
    if (n > cap - *len) return CK_NO_ROOM;
    memcpy(out + *len, plain + 4, n);
    *len += n;
    return CK_OK;
}

size_t ck_opened_max(size_t len) { return (len / CK_FRAME_SEALED + 1) * CK_FRAME_DATA; }

int ck_frames_open(ck_frames *f, const uint8_t *input, size_t left, uint8_t *out, size_t cap, size_t *out_len) {
    size_t len = 0;
    while (left > 0) {
        int rc;
        if (f->partial_len == 0 && left >= CK_FRAME_SEALED) {
            rc = open_one(f, input, out, cap, &len);
            input += CK_FRAME_SEALED;
            left -= CK_FRAME_SEALED;
        } else {
            const size_t room = CK_FRAME_SEALED - f->partial_len, n = left < room ? left : room;
            memcpy(f->partial + f->partial_len, input, n);
            f->partial_len += n;
            input += n;
            left -= n;
            if (f->partial_len < CK_FRAME_SEALED) break;
            f->partial_len = 0;
            rc = open_one(f, f->partial, out, cap, &len);
        }
        if (rc != CK_OK) return rc;
    }
    *out_len = len;
    return CK_OK;
}

void ck_frames_wipe(ck_frames *f) { ck_sodium.memzero(f, sizeof *f); }

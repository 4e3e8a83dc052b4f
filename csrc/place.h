/* A place (height, round, step), and the messages between signer and state as cometkms/wire/queue_messages.py packs
 * them: tag u8, nonce u64, request id u64, chain u16, height i64, round i32, step u8, flag u8, length of the sign bytes
 * u16, of the signature u8, little-endian; then both. */
#ifndef CK_PLACE_H
#define CK_PLACE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "bounds.h"

typedef struct ck_hrs {
    int64_t height;
    int32_t round;
    int32_t step;
} ck_hrs;

static inline int ck_above(ck_hrs a, ck_hrs b) {
    if (a.height != b.height) return a.height > b.height;
    if (a.round != b.round) return a.round > b.round;
    return a.step > b.step;
}

static inline void ck_put_le(uint8_t **out, uint64_t value, unsigned size) {
    for (unsigned i = 0; i < size; i++) *(*out)++ = (uint8_t)(value >> (8 * i));
}

static inline uint64_t ck_get_le(const uint8_t *at, unsigned size) {
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++) value |= (uint64_t)at[i] << (8 * i);
    return value;
}

enum { CK_TAG_RESERVE = 2, CK_TAG_SIGNED = 3, CK_TAG_PERMIT = 19 };
enum { CK_QUEUE_HEAD = 36, CK_QUEUE_MESSAGE_MAX = CK_QUEUE_HEAD + CK_SIGN_BYTES_MAX + CK_SIGNATURE_MAX };
_Static_assert(CK_QUEUE_MESSAGE_MAX <= CK_QUEUE_SLOT - 8, "every message fits a slot of the ring");
#define CK_HOT_IDS (1ull << 50) /* request ids from here on are the C core's; the twin's are below */

typedef struct ck_queue_message {
    uint8_t tag;
    uint64_t nonce, request_id;
    uint16_t chain;
    ck_hrs at;
    const uint8_t *bytes;
    size_t bytes_len;
    const uint8_t *signature; /* NULL: none */
    size_t signature_len;
} ck_queue_message;

static inline size_t ck_pack_message(const ck_queue_message *m, uint8_t out[CK_QUEUE_MESSAGE_MAX]) {
    uint8_t *at = out;
    ck_put_le(&at, m->tag, 1);
    ck_put_le(&at, m->nonce, 8);
    ck_put_le(&at, m->request_id, 8);
    ck_put_le(&at, m->chain, 2);
    ck_put_le(&at, (uint64_t)m->at.height, 8);
    ck_put_le(&at, (uint32_t)m->at.round, 4);
    ck_put_le(&at, (uint8_t)m->at.step, 1);
    ck_put_le(&at, 0, 1);
    ck_put_le(&at, m->bytes_len, 2);
    ck_put_le(&at, m->signature_len, 1);
    memcpy(at, m->bytes, m->bytes_len), at += m->bytes_len;
    if (m->signature_len) memcpy(at, m->signature, m->signature_len), at += m->signature_len;
    return (size_t)(at - out);
}

/* 0: not a whole message with sign bytes and without a signature or flag. Borrows from `in`. */
static inline int ck_unpack_message(const uint8_t *in, size_t len, ck_queue_message *m) {
    if (len < CK_QUEUE_HEAD || in[32] != 0 || in[35] != 0) return 0;
    m->tag = in[0];
    m->nonce = ck_get_le(in + 1, 8);
    m->request_id = ck_get_le(in + 9, 8);
    m->chain = (uint16_t)ck_get_le(in + 17, 2);
    m->at = (ck_hrs){(int64_t)ck_get_le(in + 19, 8), (int32_t)ck_get_le(in + 27, 4), in[31]};
    m->bytes = in + CK_QUEUE_HEAD;
    m->bytes_len = (size_t)ck_get_le(in + 33, 2);
    m->signature = NULL;
    m->signature_len = 0;
    return m->bytes_len == len - CK_QUEUE_HEAD && m->bytes_len <= CK_SIGN_BYTES_MAX;
}

#endif

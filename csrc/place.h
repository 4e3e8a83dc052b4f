/* A place (height, round, step), and the messages between signer and state as
 * cometkms/wire/queue_messages.py packs them. */
#ifndef CK_PLACE_H
#define CK_PLACE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "bounds.h"
#include "layouts.h"

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

/* A field of a record: ck_set(record, CK_ROW_HEIGHT, height), ck_get(record, CK_ROW_HEIGHT). */
static inline void ck_set(uint8_t *record, unsigned at, unsigned size, uint64_t value) {
    uint8_t *out = record + at;
    ck_put_le(&out, value, size);
}

static inline void ck_copy(uint8_t *record, unsigned at, unsigned size, const uint8_t *from) {
    memcpy(record + at, from, size);
}

static inline uint64_t ck_get(const uint8_t *record, unsigned at, unsigned size) {
    return ck_get_le(record + at, size);
}

enum { CK_TAG_RESERVE = 2, CK_TAG_SIGNED = 3, CK_TAG_PERMIT = 19 };
enum { CK_QUEUE_MESSAGE_MAX = CK_QUEUE_HEAD + CK_SIGN_BYTES_MAX + CK_SIGNATURE_MAX };
_Static_assert(CK_QUEUE_MESSAGE_MAX <= CK_QUEUE_SLOT - 8, "every message fits a slot of the ring");
#define CK_HOT_IDS (1ull << 50) /* request ids from here on are the C core's; the general path's are below */

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
    uint8_t *at = out + CK_QUEUE_HEAD;
    ck_set(out, CK_QUEUE_TAG, m->tag);
    ck_set(out, CK_QUEUE_NONCE, m->nonce);
    ck_set(out, CK_QUEUE_REQUEST_ID, m->request_id);
    ck_set(out, CK_QUEUE_CHAIN, m->chain);
    ck_set(out, CK_QUEUE_HEIGHT, (uint64_t)m->at.height);
    ck_set(out, CK_QUEUE_ROUND, (uint64_t)m->at.round);
    ck_set(out, CK_QUEUE_STEP, (uint64_t)m->at.step);
    ck_set(out, CK_QUEUE_FLAG, 0);
    ck_set(out, CK_QUEUE_BYTES, m->bytes_len);
    ck_set(out, CK_QUEUE_SIGNATURE, m->signature_len);
    memcpy(at, m->bytes, m->bytes_len), at += m->bytes_len;
    if (m->signature_len) memcpy(at, m->signature, m->signature_len), at += m->signature_len;
    return (size_t)(at - out);
}

/* 0: not a whole message with sign bytes and without a signature or flag. Borrows from `in`. */
static inline int ck_unpack_message(const uint8_t *in, size_t len, ck_queue_message *m) {
    if (len < CK_QUEUE_HEAD || ck_get(in, CK_QUEUE_FLAG) != 0 || ck_get(in, CK_QUEUE_SIGNATURE) != 0) return 0;
    m->tag = (uint8_t)ck_get(in, CK_QUEUE_TAG);
    m->nonce = ck_get(in, CK_QUEUE_NONCE);
    m->request_id = ck_get(in, CK_QUEUE_REQUEST_ID);
    m->chain = (uint16_t)ck_get(in, CK_QUEUE_CHAIN);
    m->at = (ck_hrs){(int64_t)ck_get(in, CK_QUEUE_HEIGHT), (int32_t)ck_get(in, CK_QUEUE_ROUND),
                     (int32_t)ck_get(in, CK_QUEUE_STEP)};
    m->bytes = in + CK_QUEUE_HEAD;
    m->bytes_len = (size_t)ck_get(in, CK_QUEUE_BYTES);
    m->signature = NULL;
    m->signature_len = 0;
    return m->bytes_len == len - CK_QUEUE_HEAD && m->bytes_len <= CK_SIGN_BYTES_MAX;
}

#endif

/* The few forms of msgpack that messages on the hot paths have, in the shortest encoding, as
 * Python's packer writes them. Reading: 1 and past it, or 0; what is not of these forms is no error
 * here but the general path's to judge. */
#ifndef CK_MSGPACK_H
#define CK_MSGPACK_H

#include <string.h>

#include "cursor.h"

static inline void ck_pack_be(uint8_t **out, uint64_t value, unsigned size) {
    for (unsigned shift = 8u * size; shift > 0; shift -= 8) *(*out)++ = (uint8_t)(value >> (shift - 8));
}

static inline void ck_pack_uint(uint8_t **out, uint64_t value) {
    const unsigned size = value < 1ull << 8 ? 1 : value < 1ull << 16 ? 2 : value < 1ull << 32 ? 4 : 8;
    if (value < 128) {
        *(*out)++ = (uint8_t)value;
        return;
    }
    *(*out)++ = (uint8_t)(size == 1 ? 0xcc : size == 2 ? 0xcd : size == 4 ? 0xce : 0xcf);
    ck_pack_be(out, value, size);
}

/* The head of `len` bytes, which the caller puts behind it. len < 2^16. */
static inline void ck_pack_bin_head(uint8_t **out, size_t len) {
    *(*out)++ = len < 256 ? 0xc4 : 0xc5;
    ck_pack_be(out, len, len < 256 ? 1 : 2);
}

static inline void ck_pack_bin(uint8_t **out, const uint8_t *bytes, size_t len) {
    ck_pack_bin_head(out, len);
    memcpy(*out, bytes, len);
    *out += len;
}

static inline void ck_pack_str(uint8_t **out, ck_bytes text) { /* len < 256 */
    if (text.len < 32) *(*out)++ = (uint8_t)(0xa0 | text.len);
    else *(*out)++ = 0xd9, *(*out)++ = (uint8_t)text.len;
    memcpy(*out, text.at, text.len);
    *out += text.len;
}

static inline int ck_unpack_byte(ck_reader *in, uint8_t expected) {
    if (in->left == 0 || in->at[0] != expected) return 0;
    in->at++, in->left--;
    return 1;
}

static inline int ck_unpack_uint(ck_reader *in, uint64_t *value) {
    if (in->left == 0) return 0;
    const uint8_t mark = in->at[0];
    const size_t size = mark < 128 ? 0 : mark >= 0xcc && mark <= 0xcf ? (size_t)1 << (mark - 0xcc) : 99;
    if (in->left < 1 + size) return 0;
    *value = mark;
    if (size) *value = 0;
    for (size_t i = 0; i < size; i++) *value = *value << 8 | in->at[1 + i];
    in->at += 1 + size, in->left -= 1 + size;
    return 1;
}

/* What follows a head of `head` bytes that announced `len`. */
static inline int ck_unpack_body(ck_reader *in, size_t head, size_t len, ck_bytes *bytes) {
    if (in->left < head || in->left - head < len) return 0;
    *bytes = (ck_bytes){in->at + head, len};
    in->at += head + len, in->left -= head + len;
    return 1;
}

static inline int ck_unpack_bin(ck_reader *in, ck_bytes *bytes) {
    if (in->left >= 2 && in->at[0] == 0xc4) return ck_unpack_body(in, 2, in->at[1], bytes);
    if (in->left >= 3 && in->at[0] == 0xc5) return ck_unpack_body(in, 3, (size_t)in->at[1] << 8 | in->at[2], bytes);
    return 0;
}

static inline int ck_unpack_str(ck_reader *in, ck_bytes *text) {
    if (in->left >= 1 && (in->at[0] & 0xe0) == 0xa0) return ck_unpack_body(in, 1, in->at[0] & 0x1f, text);
    if (in->left >= 2 && in->at[0] == 0xd9) return ck_unpack_body(in, 2, in->at[1], text);
    return 0;
}

#endif

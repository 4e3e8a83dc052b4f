/* Bounded reading and writing of protobuf's wire format. All pointer arithmetic of the codec lives here.
 * A reader tests `size > left`, then advances. A writer that runs out of room stays `failed`; its caller asks once. */
#ifndef CK_CURSOR_H
#define CK_CURSOR_H

#include <string.h>

#include "privval.h"

typedef struct ck_reader {
    const uint8_t *at;
    size_t left;
} ck_reader;

typedef struct ck_writer {
    uint8_t *at;
    size_t cap;
    size_t len;
    int failed;
} ck_writer;

enum ck_wire { CK_VARINT = 0, CK_FIXED64 = 1, CK_LENGTH = 2, CK_GROUP = 3, CK_GROUP_END = 4, CK_FIXED32 = 5 };

#define CK_GROUP_DEPTH_MAX 16 /* nested unknown groups; no known validator sends even one */

CK_MUST_CHECK static inline int ck_take(ck_reader *r, size_t n, ck_bytes *out) {
    if (n > r->left) return CK_MALFORMED;
    out->at = r->at;
    out->len = n;
    r->at += n;
    r->left -= n;
    return CK_OK;
}

/* At most ten bytes; bits beyond 64 are dropped, as gogoproto does. */
CK_MUST_CHECK static inline int ck_take_varint(ck_reader *r, uint64_t *out) {
    uint64_t value = 0;
    for (unsigned i = 0; i < 10; i++) {
        if (i >= r->left) return CK_MALFORMED;
        uint8_t byte = r->at[i];
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            r->at += i + 1;
            r->left -= i + 1;
            *out = value;
            return CK_OK;
        }
    }
    return CK_MALFORMED;
}

CK_MUST_CHECK static inline int ck_take_fixed64(ck_reader *r, uint64_t *out) {
    ck_bytes b;
    if (ck_take(r, 8, &b) != CK_OK) return CK_MALFORMED;
    uint64_t value = 0;
    for (unsigned i = 0; i < 8; i++) value |= (uint64_t)b.at[i] << (8 * i);
    *out = value;
    return CK_OK;
}

CK_MUST_CHECK static inline int ck_take_length(ck_reader *r, ck_bytes *out) {
    uint64_t n;
    if (ck_take_varint(r, &n) != CK_OK || n > r->left) return CK_MALFORMED;
    return ck_take(r, (size_t)n, out);
}

/* A field's tag: number 1..2^29-1 as an int32 of gogoproto, any wire type but "end of group". */
CK_MUST_CHECK static inline int ck_take_tag(ck_reader *r, uint32_t *field, uint32_t *wire) {
    uint64_t tag;
    if (ck_take_varint(r, &tag) != CK_OK) return CK_MALFORMED;
    uint32_t number = (uint32_t)(tag >> 3);
    if ((int32_t)number <= 0 || (tag & 7) == CK_GROUP_END) return CK_MALFORMED;
    *field = number;
    *wire = (uint32_t)(tag & 7);
    return CK_OK;
}

/* Skip an unknown field of this wire type, groups included. */
CK_MUST_CHECK static inline int ck_skip(ck_reader *r, uint32_t wire) {
    unsigned depth = 0;
    for (;;) {
        uint64_t ignored;
        ck_bytes bytes;
        int rc = CK_OK;
        switch (wire) {
            case CK_VARINT: rc = ck_take_varint(r, &ignored); break;
            case CK_FIXED64: rc = ck_take(r, 8, &bytes); break;
            case CK_LENGTH: rc = ck_take_length(r, &bytes); break;
            case CK_FIXED32: rc = ck_take(r, 4, &bytes); break;
            case CK_GROUP:
                if (++depth > CK_GROUP_DEPTH_MAX) return CK_MALFORMED;
                break;
            case CK_GROUP_END:
                if (depth == 0) return CK_MALFORMED;
                depth--;
                break;
            default: return CK_MALFORMED;
        }
        if (rc != CK_OK) return rc;
        if (depth == 0) return CK_OK;
        uint64_t tag;
        if (ck_take_varint(r, &tag) != CK_OK) return CK_MALFORMED;
        wire = (uint32_t)(tag & 7);
    }
}

static inline ck_writer ck_writer_over(uint8_t *out, size_t cap) {
    ck_writer w = {out, cap, 0, 0};
    return w;
}

static inline void ck_put(ck_writer *w, const void *bytes, size_t n) {
    if (w->failed || n > w->cap - w->len) {
        w->failed = 1;
        return;
    }
    if (n) memcpy(w->at + w->len, bytes, n);
    w->len += n;
}

static inline void ck_put_varint(ck_writer *w, uint64_t value) {
    uint8_t bytes[10];
    size_t n = 0;
    while (value >= 0x80) {
        bytes[n++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    bytes[n++] = (uint8_t)value;
    ck_put(w, bytes, n);
}

static inline size_t ck_varint_size(uint64_t value) {
    size_t n = 1;
    while (value >= 0x80) {
        value >>= 7;
        n++;
    }
    return n;
}

static inline void ck_put_tag(ck_writer *w, uint32_t field, uint32_t wire) {
    ck_put_varint(w, (uint64_t)field << 3 | wire);
}

/* Zero scalars and empty bytes are omitted, as proto3 does. Negative numbers sign-extend to ten bytes. */
static inline void ck_put_int(ck_writer *w, uint32_t field, int64_t value) {
    if (value == 0) return;
    ck_put_tag(w, field, CK_VARINT);
    ck_put_varint(w, (uint64_t)value);
}

static inline void ck_put_sfixed64(ck_writer *w, uint32_t field, int64_t value) {
    if (value == 0) return;
    uint8_t bytes[8];
    for (unsigned i = 0; i < 8; i++) bytes[i] = (uint8_t)((uint64_t)value >> (8 * i));
    ck_put_tag(w, field, CK_FIXED64);
    ck_put(w, bytes, 8);
}

static inline void ck_put_bytes(ck_writer *w, uint32_t field, ck_bytes value) {
    if (value.len == 0) return;
    ck_put_tag(w, field, CK_LENGTH);
    ck_put_varint(w, value.len);
    ck_put(w, value.at, value.len);
}

/* Embedded messages: open, write the content, close. The length goes in front of it by a small move; contents that
 * matter for speed are below 200 bytes. */
static inline size_t ck_open(ck_writer *w, uint32_t field) {
    ck_put_tag(w, field, CK_LENGTH);
    return w->len;
}

static inline void ck_close(ck_writer *w, size_t start) {
    if (w->failed) return;
    size_t n = w->len - start;
    size_t prefix = ck_varint_size(n);
    if (prefix > w->cap - w->len) {
        w->failed = 1;
        return;
    }
    memmove(w->at + start + prefix, w->at + start, n);
    ck_writer front = {w->at + start, prefix, 0, 0};
    ck_put_varint(&front, n);
    w->len += prefix;
}

CK_MUST_CHECK static inline int ck_finish(const ck_writer *w, size_t *len) {
    if (w->failed) return CK_NO_ROOM;
    *len = w->len;
    return CK_OK;
}

/* --- shared by proto.c and amino.c: votes and proposals --- */

/* Merge one encoded vote or proposal into `ballot`. */
CK_MUST_CHECK int ck_take_ballot(int dialect, int is_vote, ck_bytes body, ck_ballot *ballot);
void ck_put_ballot(ck_writer *w, int dialect, int is_vote, const ck_ballot *ballot);
/* The ballot before any field arrived: Go's zero time (PROTO) or the Unix epoch (AMINO). */
void ck_zero_ballot(int dialect, ck_ballot *ballot);
void ck_put_timestamp(ck_writer *w, uint32_t field, ck_timestamp t);
CK_MUST_CHECK int ck_take_timestamp(ck_bytes body, ck_timestamp *out);
/* Merge {1 code, 2 description} into the message's error. */
CK_MUST_CHECK int ck_take_error(ck_bytes body, ck_message *out);
void ck_put_error(ck_writer *w, uint32_t field, const ck_message *message);
int ck_is_vote_kind(int kind);

CK_MUST_CHECK int ck_proto_decode(const uint8_t *body, size_t len, ck_message *out);
CK_MUST_CHECK int ck_amino_decode(const uint8_t *body, size_t len, ck_message *out);
CK_MUST_CHECK int ck_proto_encode(ck_writer *w, const ck_message *message);
CK_MUST_CHECK int ck_amino_encode(ck_writer *w, const ck_message *message);

#endif

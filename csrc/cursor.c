/* Bounded reading and writing: test, then advance. */
#include "cursor.h"

#include <string.h>

enum { VARINT_MAX_BYTES = 10 };

ck_reader ck_reader_over(ck_bytes range) {
    ck_reader reader = {range.at, range.len};
    return reader;
}

int ck_take(ck_reader *reader, uint64_t size, ck_bytes *out) {
    if (size > reader->left) {
        return CK_MALFORMED;
    }
    out->at = reader->at;
    out->len = (size_t)size;
    if (size > 0) { /* an empty range may have no address, and NULL + 0 is undefined in C */
        reader->at += size;
        reader->left -= (size_t)size;
    }
    return CK_OK;
}

int ck_take_fixed64(ck_reader *reader, uint64_t *out) {
    ck_bytes bytes;
    CK_TRY(ck_take(reader, 8, &bytes));
    uint64_t value = 0;
    for (size_t i = 8; i > 0; i--) {
        value = value << 8 | bytes.at[i - 1];
    }
    *out = value;
    return CK_OK;
}

/* The shared walk; `*last` is the tenth byte's value where there is one, else 0. */
static int take_base128(ck_reader *reader, uint64_t *out, uint8_t *last) {
    uint64_t value = 0;
    for (size_t i = 0; i < VARINT_MAX_BYTES; i++) {
        if (i >= reader->left) {
            return CK_MALFORMED;
        }
        uint8_t byte = reader->at[i];
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            reader->at += i + 1;
            reader->left -= i + 1;
            *last = i == VARINT_MAX_BYTES - 1 ? byte : 0;
            *out = value;
            return CK_OK;
        }
    }
    return CK_MALFORMED;
}

int ck_take_varint(ck_reader *reader, uint64_t *out) {
    uint8_t last;
    return take_base128(reader, out, &last);
}

int ck_take_uvarint(ck_reader *reader, uint64_t *out) {
    uint8_t last;
    uint64_t value;
    CK_TRY(take_base128(reader, &value, &last));
    if (last > 1) {
        return CK_MALFORMED;
    }
    *out = value;
    return CK_OK;
}

int ck_read_length(const uint8_t *at, size_t left, size_t max, size_t *length, size_t *used) {
    uint64_t value = 0;
    for (size_t i = 0; i < VARINT_MAX_BYTES; i++) {
        if (i >= left) {
            return CK_MORE;
        }
        uint8_t byte = at[i];
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte >= 0x80) {
            continue;
        }
        if ((i > 0 && byte == 0) || (i == VARINT_MAX_BYTES - 1 && byte > 1)) {
            return CK_MALFORMED; /* not minimal, or over 64 bits */
        }
        if (value > max) {
            return CK_TOO_LARGE;
        }
        *length = (size_t)value;
        *used = i + 1;
        return CK_OK;
    }
    return CK_MALFORMED;
}

ck_writer ck_writer_over(uint8_t *out, size_t cap) {
    ck_writer writer = {out, 0, cap, CK_OK};
    return writer;
}

/* Whether `size` more bytes may be written; the failure sticks. */
static int has_room(ck_writer *writer, size_t size) {
    if (writer->status != CK_OK) {
        return 0;
    }
    if (size > writer->cap - writer->used) {
        writer->status = CK_NO_ROOM;
        return 0;
    }
    return 1;
}

void ck_put(ck_writer *writer, ck_bytes bytes) {
    if (bytes.len > 0 && has_room(writer, bytes.len)) {
        memcpy(writer->out + writer->used, bytes.at, bytes.len);
        writer->used += bytes.len;
    }
}

void ck_put_byte(ck_writer *writer, uint8_t byte) {
    if (has_room(writer, 1)) {
        writer->out[writer->used] = byte;
        writer->used += 1;
    }
}

static size_t encode_varint(uint64_t value, uint8_t out[VARINT_MAX_BYTES]) {
    size_t used = 0;
    while (value >= 0x80) {
        out[used++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    out[used++] = (uint8_t)value;
    return used;
}

void ck_put_varint(ck_writer *writer, uint64_t value) {
    uint8_t bytes[VARINT_MAX_BYTES];
    ck_bytes range = {bytes, encode_varint(value, bytes)};
    ck_put(writer, range);
}

void ck_put_fixed64(ck_writer *writer, uint64_t value) {
    uint8_t bytes[8];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(value >> (8 * i));
    }
    ck_bytes range = {bytes, sizeof bytes};
    ck_put(writer, range);
}

size_t ck_put_open(ck_writer *writer) {
    size_t mark = writer->used;
    ck_put_byte(writer, 0); /* most parts are under 128 bytes: their length fits here and nothing moves */
    return mark;
}

size_t ck_put_since(const ck_writer *writer, size_t mark) {
    return writer->status == CK_OK ? writer->used - mark - 1 : 0;
}

void ck_put_close(ck_writer *writer, size_t mark) {
    if (writer->status != CK_OK) {
        return;
    }
    size_t size = ck_put_since(writer, mark);
    uint8_t prefix[VARINT_MAX_BYTES];
    size_t prefix_len = encode_varint(size, prefix);
    if (!has_room(writer, prefix_len - 1)) {
        return;
    }
    uint8_t *part = writer->out + mark;
    if (prefix_len > 1) {
        memmove(part + prefix_len, part + 1, size);
        writer->used += prefix_len - 1;
    }
    memcpy(part, prefix, prefix_len);
}

void ck_put_rewind(ck_writer *writer, size_t used) {
    if (writer->status == CK_OK) {
        writer->used = used;
    }
}

int ck_written(const ck_writer *writer, size_t *len) {
    if (writer->status == CK_OK) {
        *len = writer->used;
    }
    return writer->status;
}

int ck_same_bytes(ck_bytes a, ck_bytes b) { return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0); }

/* Bounded reading and writing. All pointer arithmetic of the codec lives in cursor.c. */
#ifndef CK_CURSOR_H
#define CK_CURSOR_H

#include "privval.h"

/* What is still to be read. */
typedef struct ck_reader {
    const uint8_t *at;
    size_t left;
} ck_reader;

/* What has been written. The first failure sticks: later writes do nothing,
   ck_written() reports it. */
typedef struct ck_writer {
    uint8_t *out;
    size_t used;
    size_t cap;
    int status;
} ck_writer;

#define CK_TRY(call)                  \
    do {                              \
        int ck_try_status = (call);   \
        if (ck_try_status != CK_OK) { \
            return ck_try_status;     \
        }                             \
    } while (0)

/* Readers: CK_MALFORMED at the end of the range, because the range holds a whole message. */
ck_reader ck_reader_over(ck_bytes range);
CK_MUST_CHECK int ck_take(ck_reader *reader, uint64_t size, ck_bytes *out);
CK_MUST_CHECK int ck_take_fixed64(ck_reader *reader, uint64_t *out);
/* gogoproto's varint: at most ten bytes; bits that do not fit 64 are dropped. */
CK_MUST_CHECK int ck_take_varint(ck_reader *reader, uint64_t *out);
/* Go's encoding/binary (amino): at most ten bytes; a value over 64 bits is malformed. */
CK_MUST_CHECK int ck_take_uvarint(ck_reader *reader, uint64_t *out);

ck_writer ck_writer_over(uint8_t *out, size_t cap);
void ck_put(ck_writer *writer, ck_bytes bytes);
void ck_put_byte(ck_writer *writer, uint8_t byte);
void ck_put_varint(ck_writer *writer, uint64_t value);
void ck_put_fixed64(ck_writer *writer, uint64_t value);
/* A length-delimited part: everything written between open and close; close puts its
   length in front. */
size_t ck_put_open(ck_writer *writer);
void ck_put_close(ck_writer *writer, size_t mark);
/* The length of the part written since `mark`. */
size_t ck_put_since(const ck_writer *writer, size_t mark);
/* Take back everything behind `used`, an earlier value of writer->used. */
void ck_put_rewind(ck_writer *writer, size_t used);
CK_MUST_CHECK int ck_written(const ck_writer *writer, size_t *len);

int ck_same_bytes(ck_bytes a, ck_bytes b);

#endif

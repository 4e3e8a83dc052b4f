/* Protobuf fields as gogoproto's generated code reads them, and as it writes them. */
#ifndef CK_WIRE_H
#define CK_WIRE_H

#include "cursor.h"

enum ck_wire { CK_VARINT = 0, CK_FIXED64 = 1, CK_DELIMITED = 2, CK_GROUP = 3, CK_END_GROUP = 4, CK_FIXED32 = 5 };

/* Go's zero time, what an absent timestamp means in protobuf. */
#define CK_GO_ZERO_SECONDS (-62135596800LL)
#define CK_SECONDS_MIN (-62135596800LL) /* 0001-01-01 */
#define CK_SECONDS_END 253402300800LL   /* 10000-01-01, the first second that is too late */
#define CK_NANOS_MAX 999999999

/* One field, its value read whole: `value` for varint and fixed64, `bytes` for delimited. */
typedef struct ck_field {
    int32_t number;
    int wire;
    uint64_t value;
    ck_bytes bytes;
} ck_field;

/* Read the next field of a non-empty reader. A group is skipped whole: its wire is CK_GROUP and it
   has no value. */
CK_MUST_CHECK int ck_next_field(ck_reader *reader, ck_field *out);

/* The value of a field whose wire type must be the one named; otherwise CK_MALFORMED. int32 and
   uint32 truncate. */
CK_MUST_CHECK int ck_field_int64(const ck_field *field, int64_t *out);
CK_MUST_CHECK int ck_field_int32(const ck_field *field, int32_t *out);
CK_MUST_CHECK int ck_field_uint32(const ck_field *field, uint32_t *out);
CK_MUST_CHECK int ck_field_fixed64(const ck_field *field, int64_t *out);
CK_MUST_CHECK int ck_field_bytes(const ck_field *field, ck_bytes *out);

/* A google.protobuf.Timestamp. It replaces *out: gogoproto's stdtime does not merge. */
CK_MUST_CHECK int ck_decode_timestamp(ck_bytes body, ck_timestamp *out);

/* Writers; the *_nonzero and *_nonempty ones leave the field out where proto3 does. */
void ck_put_tag(ck_writer *writer, int number, int wire);
void ck_put_int_nonzero(ck_writer *writer, int number, int64_t value);
void ck_put_fixed64_nonzero(ck_writer *writer, int number, int64_t value);
void ck_put_bytes(ck_writer *writer, int number, ck_bytes bytes);
void ck_put_bytes_nonempty(ck_writer *writer, int number, ck_bytes bytes);
size_t ck_put_open_field(ck_writer *writer, int number);
void ck_put_timestamp(ck_writer *writer, int number, ck_timestamp timestamp);

#endif

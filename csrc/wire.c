/* Protobuf fields by gogoproto's rules, which are looser than the specification in two places: a
 * tag's number is cut to 32 bits, and an end of group closes whichever group is open. */
#include "wire.h"

static int take_delimited(ck_reader *reader, ck_bytes *out) {
    uint64_t size;
    CK_TRY(ck_take_varint(reader, &size));
    return ck_take(reader, size, out);
}

static int take_value(ck_reader *reader, int wire, ck_field *field) {
    ck_bytes ignored;
    switch (wire) {
    case CK_VARINT:
        return ck_take_varint(reader, &field->value);
    case CK_FIXED64:
        return ck_take_fixed64(reader, &field->value);
    case CK_DELIMITED:
        return take_delimited(reader, &field->bytes);
    case CK_FIXED32:
        return ck_take(reader, 4, &ignored);
    default:
        return CK_MALFORMED;
    }
}

/* Behind a start of group: read to its end. A counter, no recursion; each level costs
   the sender a byte. */
static int skip_group(ck_reader *reader) {
    size_t depth = 1;
    while (depth > 0) {
        uint64_t tag;
        ck_field ignored;
        CK_TRY(ck_take_varint(reader, &tag));
        int wire = (int)(tag & 7);
        if (wire == CK_GROUP) {
            depth++;
        } else if (wire == CK_END_GROUP) {
            depth--;
        } else {
            CK_TRY(take_value(reader, wire, &ignored));
        }
    }
    return CK_OK;
}

int ck_next_field(ck_reader *reader, ck_field *out) {
    uint64_t tag;
    CK_TRY(ck_take_varint(reader, &tag));
    ck_field field = {(int32_t)(uint32_t)(tag >> 3), (int)(tag & 7), 0, {0, 0}};
    if (field.number <= 0) {
        return CK_MALFORMED;
    }
    if (field.wire == CK_GROUP) {
        CK_TRY(skip_group(reader));
    } else {
        CK_TRY(take_value(reader, field.wire, &field));
    }
    *out = field;
    return CK_OK;
}

int ck_field_int64(const ck_field *field, int64_t *out) {
    if (field->wire != CK_VARINT) {
        return CK_MALFORMED;
    }
    *out = (int64_t)field->value;
    return CK_OK;
}

int ck_field_int32(const ck_field *field, int32_t *out) {
    if (field->wire != CK_VARINT) {
        return CK_MALFORMED;
    }
    *out = (int32_t)(uint32_t)field->value;
    return CK_OK;
}

int ck_field_uint32(const ck_field *field, uint32_t *out) {
    if (field->wire != CK_VARINT) {
        return CK_MALFORMED;
    }
    *out = (uint32_t)field->value;
    return CK_OK;
}

int ck_field_fixed64(const ck_field *field, int64_t *out) {
    if (field->wire != CK_FIXED64) {
        return CK_MALFORMED;
    }
    *out = (int64_t)field->value;
    return CK_OK;
}

int ck_field_bytes(const ck_field *field, ck_bytes *out) {
    if (field->wire != CK_DELIMITED) {
        return CK_MALFORMED;
    }
    *out = field->bytes;
    return CK_OK;
}

int ck_decode_timestamp(ck_bytes body, ck_timestamp *out) {
    ck_timestamp timestamp = {0, 0};
    ck_reader reader = ck_reader_over(body);
    while (reader.left > 0) {
        ck_field field;
        CK_TRY(ck_next_field(&reader, &field));
        switch (field.number) {
        case 1:
            CK_TRY(ck_field_int64(&field, &timestamp.seconds));
            break;
        case 2:
            CK_TRY(ck_field_int32(&field, &timestamp.nanos));
            break;
        default:
            break;
        }
    }
    *out = timestamp;
    return CK_OK;
}

void ck_put_tag(ck_writer *writer, int number, int wire) {
    ck_put_varint(writer, (uint64_t)number << 3 | (uint64_t)wire);
}

void ck_put_int_nonzero(ck_writer *writer, int number, int64_t value) {
    if (value != 0) {
        ck_put_tag(writer, number, CK_VARINT);
        ck_put_varint(writer, (uint64_t)value);
    }
}

void ck_put_fixed64_nonzero(ck_writer *writer, int number, int64_t value) {
    if (value != 0) {
        ck_put_tag(writer, number, CK_FIXED64);
        ck_put_fixed64(writer, (uint64_t)value);
    }
}

void ck_put_bytes(ck_writer *writer, int number, ck_bytes bytes) {
    ck_put_tag(writer, number, CK_DELIMITED);
    ck_put_varint(writer, bytes.len);
    ck_put(writer, bytes);
}

void ck_put_bytes_nonempty(ck_writer *writer, int number, ck_bytes bytes) {
    if (bytes.len > 0) {
        ck_put_bytes(writer, number, bytes);
    }
}

size_t ck_put_open_field(ck_writer *writer, int number) {
    ck_put_tag(writer, number, CK_DELIMITED);
    return ck_put_open(writer);
}

void ck_put_timestamp(ck_writer *writer, int number, ck_timestamp timestamp) {
    size_t mark = ck_put_open_field(writer, number);
    ck_put_int_nonzero(writer, 1, timestamp.seconds);
    ck_put_int_nonzero(writer, 2, timestamp.nanos);
    ck_put_close(writer, mark);
}

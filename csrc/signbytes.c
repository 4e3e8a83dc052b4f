/* What ed25519 signs: canonical vote, proposal and vote extension, length-delimited. PROTOCOL §4.
 *
 * The two dialects' bytes differ in three places: amino writes a part set header as (hash, total),
 * pol_round as fixed64, and leaves out a timestamp of 1970. Reading accepts either: it decodes
 * loosely, then writes what it understood in both dialects, and only bytes equal to one of the two
 * are canonical. */
#include "codec.h"
#include "cursor.h"
#include "wire.h"

enum { PROPOSAL = 32 };

static void put_block_id(ck_writer *writer, int dialect, int number, const ck_block_id *block_id) {
    if (ck_block_is_nil(block_id)) {
        return;
    }
    size_t block = ck_put_open_field(writer, number);
    ck_put_bytes_nonempty(writer, 1, block_id->hash);
    size_t header = ck_put_open_field(writer, 2);
    if (dialect == CK_AMINO) {
        ck_put_bytes_nonempty(writer, 1, block_id->parts_hash);
        ck_put_int_nonzero(writer, 2, block_id->parts_total);
    } else {
        ck_put_int_nonzero(writer, 1, block_id->parts_total);
        ck_put_bytes_nonempty(writer, 2, block_id->parts_hash);
    }
    ck_put_close(writer, header);
    ck_put_close(writer, block);
}

int ck_canonical(int dialect, const ck_ballot *ballot, ck_bytes chain_id, uint8_t *out, size_t cap, size_t *len) {
    if (chain_id.len > CK_CHAIN_ID_MAX) {
        return CK_TOO_LARGE;
    }
    ck_writer writer = ck_writer_over(out, cap);
    size_t whole = ck_put_open(&writer);
    ck_put_int_nonzero(&writer, 1, ballot->type);
    ck_put_fixed64_nonzero(&writer, 2, ballot->height);
    ck_put_fixed64_nonzero(&writer, 3, ballot->round);
    int next = 4;
    if (ballot->type == PROPOSAL) {
        if (dialect == CK_AMINO) {
            ck_put_fixed64_nonzero(&writer, next++, ballot->pol_round);
        } else {
            ck_put_int_nonzero(&writer, next++, ballot->pol_round);
        }
    }
    put_block_id(&writer, dialect, next++, &ballot->block_id);
    if (dialect == CK_PROTO || ballot->timestamp.seconds != 0 || ballot->timestamp.nanos != 0) {
        ck_put_timestamp(&writer, next, ballot->timestamp);
    }
    ck_put_bytes_nonempty(&writer, next + 1, chain_id);
    ck_put_close(&writer, whole);
    return ck_written(&writer, len);
}

int ck_extension_sign_bytes(ck_bytes chain_id, int64_t height, int32_t round, ck_bytes extension, uint8_t *out,
                            size_t cap, size_t *len) {
    if (chain_id.len > CK_CHAIN_ID_MAX || extension.len > CK_VOTE_EXTENSION_MAX) {
        return CK_TOO_LARGE;
    }
    ck_writer writer = ck_writer_over(out, cap);
    size_t whole = ck_put_open(&writer);
    ck_put_bytes_nonempty(&writer, 1, extension);
    ck_put_fixed64_nonzero(&writer, 2, height);
    ck_put_fixed64_nonzero(&writer, 3, round);
    ck_put_bytes_nonempty(&writer, 4, chain_id);
    ck_put_close(&writer, whole);
    return ck_written(&writer, len);
}

/* Either dialect's part set header: the wire types tell total from hash. */
static int read_part_set_header(ck_bytes body, ck_block_id *out) {
    ck_reader reader = ck_reader_over(body);
    while (reader.left > 0) {
        ck_field field;
        CK_TRY(ck_next_field(&reader, &field));
        if (field.wire == CK_VARINT) {
            CK_TRY(ck_field_uint32(&field, &out->parts_total));
        } else {
            CK_TRY(ck_field_bytes(&field, &out->parts_hash));
        }
    }
    return CK_OK;
}

static int read_block_id(ck_bytes body, ck_block_id *out) {
    ck_reader reader = ck_reader_over(body);
    while (reader.left > 0) {
        ck_field field;
        ck_bytes part;
        CK_TRY(ck_next_field(&reader, &field));
        CK_TRY(ck_field_bytes(&field, &part));
        if (field.number == 1) {
            out->hash = part;
        } else {
            CK_TRY(read_part_set_header(part, out));
        }
    }
    return CK_OK;
}

/* A 64-bit value that must fit 32 bits, from a fixed64 or (pol_round in protobuf) a varint. */
static int narrow(const ck_field *field, int32_t *out) {
    int64_t value = (int64_t)field->value;
    if ((field->wire != CK_VARINT && field->wire != CK_FIXED64) || value < INT32_MIN || value > INT32_MAX) {
        return CK_MALFORMED;
    }
    *out = (int32_t)value;
    return CK_OK;
}

typedef struct reading {
    ck_ballot ballot;
    ck_bytes chain_id;
    size_t timestamp_len; /* with its tag and length; 0 if absent */
} reading;

/* One field behind the type. A vote lacks pol_round, so its later fields are one lower. `size`: the
   field's bytes. */
static int read_field(const ck_field *field, size_t size, reading *out) {
    ck_bytes part;
    int32_t number = field->number;
    if (number >= 4 && out->ballot.type != PROPOSAL) {
        number++;
    }
    switch (number) {
    case 2:
        return ck_field_fixed64(field, &out->ballot.height);
    case 3:
        return narrow(field, &out->ballot.round);
    case 4:
        return narrow(field, &out->ballot.pol_round);
    case 5:
        CK_TRY(ck_field_bytes(field, &part));
        return read_block_id(part, &out->ballot.block_id);
    case 6:
        CK_TRY(ck_field_bytes(field, &part));
        out->timestamp_len = size;
        return ck_decode_timestamp(part, &out->ballot.timestamp);
    case 7:
        return ck_field_bytes(field, &out->chain_id);
    default:
        return CK_MALFORMED;
    }
}

static int read_body(ck_bytes body, reading *out) {
    ck_reader reader = ck_reader_over(body);
    ck_field field;
    CK_TRY(ck_next_field(&reader, &field));
    if (field.number != 1) {
        return CK_MALFORMED;
    }
    CK_TRY(ck_field_int32(&field, &out->ballot.type));
    while (reader.left > 0) {
        size_t before = reader.left;
        CK_TRY(ck_next_field(&reader, &field));
        CK_TRY(read_field(&field, before - reader.left, out));
    }
    return CK_OK;
}

static int is_canonical_in(int dialect, const reading *read, ck_bytes bytes) {
    uint8_t again[CK_SIGN_BYTES_MAX];
    ck_bytes range = {again, 0};
    return ck_canonical(dialect, &read->ballot, read->chain_id, again, sizeof again, &range.len) == CK_OK &&
           ck_same_bytes(range, bytes);
}

int ck_parse_sign_bytes(const uint8_t *bytes, size_t len, ck_sign_bytes *out) {
    ck_bytes whole = {bytes, len};
    ck_reader reader = ck_reader_over(whole);
    ck_bytes prefix;
    ck_bytes body;
    size_t length;
    size_t used;
    if (len > CK_SIGN_BYTES_MAX || ck_read_length(bytes, len, len, &length, &used) != CK_OK || length != len - used) {
        return CK_MALFORMED;
    }
    CK_TRY(ck_take(&reader, used, &prefix));
    CK_TRY(ck_take(&reader, length, &body));
    reading read = {.timestamp_len = 0};
    CK_TRY(read_body(body, &read));
    if (ck_judge_ballot(read.ballot.type == PROPOSAL, 0, &read.ballot) != CK_REASON_NONE ||
        !(is_canonical_in(CK_PROTO, &read, whole) || is_canonical_in(CK_AMINO, &read, whole))) {
        return CK_MALFORMED;
    }
    /* Canonical: the chain id comes last, in at most CK_CHAIN_ID_MAX bytes behind a tag and a
       length of one byte each. */
    size_t behind = read.chain_id.len > 0 ? 2 + read.chain_id.len : 0;
    ck_sign_bytes result = {
        .type = read.ballot.type,
        .round = read.ballot.round,
        .height = read.ballot.height,
        .step = ck_step_of(read.ballot.type),
        .pol_round = read.ballot.pol_round,
        .timestamp = read.ballot.timestamp,
        .block_hash = read.ballot.block_id.hash,
        .chain_id = read.chain_id,
        .timestamp_at = len - behind - read.timestamp_len,
        .timestamp_len = read.timestamp_len,
    };
    *out = result;
    return CK_OK;
}

/* The body without its timestamp, as the two ranges around it. The length prefix grows
   with the timestamp. */
static int around_timestamp(const uint8_t *bytes, size_t len, ck_bytes *before, ck_bytes *behind) {
    ck_sign_bytes parsed;
    ck_bytes whole = {bytes, len};
    ck_reader reader = ck_reader_over(whole);
    ck_bytes part;
    size_t length;
    size_t used;
    CK_TRY(ck_parse_sign_bytes(bytes, len, &parsed));
    CK_TRY(ck_read_length(bytes, len, len, &length, &used));
    CK_TRY(ck_take(&reader, used, &part));
    CK_TRY(ck_take(&reader, parsed.timestamp_at - used, before));
    CK_TRY(ck_take(&reader, parsed.timestamp_len, &part));
    return ck_take(&reader, reader.left, behind);
}

int ck_same_but_timestamp(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len) {
    ck_bytes a_before, a_behind, b_before, b_behind;
    return around_timestamp(a, a_len, &a_before, &a_behind) == CK_OK &&
           around_timestamp(b, b_len, &b_before, &b_behind) == CK_OK && ck_same_bytes(a_before, b_before) &&
           ck_same_bytes(a_behind, b_behind);
}

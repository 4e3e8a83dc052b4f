/* Privval messages of v0.33 (go-amino 0.14). Stricter than protobuf: field numbers only ever rise,
 * so nothing repeats; a varint over 64 bits is an error; embedded values that encode to nothing are
 * left out, and an absent timestamp is 1970. A message starts with four bytes derived from its
 * registered name. Integers are Go's 64-bit int: one that does not fit our 32-bit fields is
 * malformed, since no chain gets there. */
#include "codec.h"
#include "wire.h"

#include <string.h>

enum { PREFIX_BYTES = 4, FIELD_NUMBER_MAX = (1 << 29) - 1 };

typedef struct prefix {
    uint8_t bytes[PREFIX_BYTES];
} prefix;

/* By enum ck_kind. */
static const prefix PREFIXES[] = {
    [CK_PUB_KEY_REQUEST] = {{0xcb, 0x94, 0xd6, 0x20}},          /* tendermint/remotesigner/PubKeyRequest */
    [CK_PUB_KEY_RESPONSE] = {{0x17, 0x0e, 0xd5, 0x7c}},         /* …/PubKeyResponse */
    [CK_SIGN_VOTE_REQUEST] = {{0xf3, 0xf4, 0x12, 0x04}},        /* …/SignVoteRequest */
    [CK_SIGNED_VOTE_RESPONSE] = {{0xb2, 0x48, 0xa6, 0x16}},     /* …/SignedVoteResponse */
    [CK_SIGN_PROPOSAL_REQUEST] = {{0xbd, 0xe4, 0x98, 0xe2}},    /* …/SignProposalRequest */
    [CK_SIGNED_PROPOSAL_RESPONSE] = {{0x4a, 0x04, 0xfb, 0x87}}, /* …/SignedProposalResponse */
    [CK_PING_REQUEST] = {{0x1b, 0xad, 0xb6, 0x0d}},             /* …/PingRequest */
    [CK_PING_RESPONSE] = {{0xa2, 0x9a, 0x03, 0x1a}},            /* …/PingResponse */
};

/* Read the next field, whose number must be above *last, and move *last. */
static int next_field(ck_reader *reader, int32_t *last, ck_field *out) {
    uint64_t tag;
    uint64_t size;
    ck_bytes ignored;
    CK_TRY(ck_take_uvarint(reader, &tag));
    if (tag >> 3 > FIELD_NUMBER_MAX) {
        return CK_MALFORMED;
    }
    ck_field field = {(int32_t)(tag >> 3), (int)(tag & 7), 0, {0, 0}};
    if (field.number <= *last) {
        return CK_MALFORMED;
    }
    switch (field.wire) {
    case CK_VARINT:
        CK_TRY(ck_take_uvarint(reader, &field.value));
        break;
    case CK_FIXED64:
        CK_TRY(ck_take_fixed64(reader, &field.value));
        break;
    case CK_DELIMITED:
        CK_TRY(ck_take_uvarint(reader, &size));
        CK_TRY(ck_take(reader, size, &field.bytes));
        break;
    case CK_FIXED32:
        CK_TRY(ck_take(reader, 4, &ignored));
        break;
    default:
        return CK_MALFORMED;
    }
    *last = field.number;
    *out = field;
    return CK_OK;
}

static int field_int32(const ck_field *field, int32_t *out) {
    int64_t value;
    CK_TRY(ck_field_int64(field, &value));
    if (value < INT32_MIN || value > INT32_MAX) {
        return CK_MALFORMED;
    }
    *out = (int32_t)value;
    return CK_OK;
}

static int field_uint32(const ck_field *field, uint32_t *out) {
    int64_t value;
    CK_TRY(ck_field_int64(field, &value));
    if (value < 0 || value > UINT32_MAX) {
        return CK_MALFORMED;
    }
    *out = (uint32_t)value;
    return CK_OK;
}

/* SignedMsgType is a byte. */
static int field_type(const ck_field *field, int32_t *out) {
    int64_t value;
    CK_TRY(ck_field_int64(field, &value));
    if (value < 0 || value > UINT8_MAX) {
        return CK_MALFORMED;
    }
    *out = (int32_t)value;
    return CK_OK;
}

/* go-amino itself refuses a time outside the years 1 to 9999, and knows no fields but these. */
static int decode_timestamp(ck_bytes body, ck_timestamp *out) {
    ck_timestamp timestamp = {0, 0};
    ck_reader reader = ck_reader_over(body);
    int32_t last = 0;
    while (reader.left > 0) {
        ck_field field;
        CK_TRY(next_field(&reader, &last, &field));
        switch (field.number) {
        case 1:
            CK_TRY(ck_field_int64(&field, &timestamp.seconds));
            break;
        case 2:
            CK_TRY(field_int32(&field, &timestamp.nanos));
            break;
        default:
            return CK_MALFORMED;
        }
    }
    if (timestamp.seconds < CK_SECONDS_MIN || timestamp.seconds >= CK_SECONDS_END || timestamp.nanos < 0 ||
        timestamp.nanos > CK_NANOS_MAX) {
        return CK_MALFORMED;
    }
    *out = timestamp;
    return CK_OK;
}

static int decode_part_set_header(ck_bytes body, ck_block_id *out) {
    ck_reader reader = ck_reader_over(body);
    int32_t last = 0;
    while (reader.left > 0) {
        ck_field field;
        CK_TRY(next_field(&reader, &last, &field));
        switch (field.number) {
        case 1:
            CK_TRY(field_uint32(&field, &out->parts_total));
            break;
        case 2:
            CK_TRY(ck_field_bytes(&field, &out->parts_hash));
            break;
        default:
            break;
        }
    }
    return CK_OK;
}

static int decode_block_id(ck_bytes body, ck_block_id *out) {
    ck_reader reader = ck_reader_over(body);
    int32_t last = 0;
    while (reader.left > 0) {
        ck_field field;
        ck_bytes header;
        CK_TRY(next_field(&reader, &last, &field));
        switch (field.number) {
        case 1:
            CK_TRY(ck_field_bytes(&field, &out->hash));
            break;
        case 2:
            CK_TRY(ck_field_bytes(&field, &header));
            CK_TRY(decode_part_set_header(header, out));
            break;
        default:
            break;
        }
    }
    return CK_OK;
}

static int decode_vote(ck_bytes body, ck_ballot *out) {
    ck_reader reader = ck_reader_over(body);
    int32_t last = 0;
    while (reader.left > 0) {
        ck_field field;
        ck_bytes part;
        CK_TRY(next_field(&reader, &last, &field));
        switch (field.number) {
        case 1:
            CK_TRY(field_type(&field, &out->type));
            break;
        case 2:
            CK_TRY(ck_field_int64(&field, &out->height));
            break;
        case 3:
            CK_TRY(field_int32(&field, &out->round));
            break;
        case 4:
            CK_TRY(ck_field_bytes(&field, &part));
            CK_TRY(decode_block_id(part, &out->block_id));
            break;
        case 5:
            CK_TRY(ck_field_bytes(&field, &part));
            CK_TRY(decode_timestamp(part, &out->timestamp));
            break;
        case 6:
            CK_TRY(ck_field_bytes(&field, &out->validator_address));
            break;
        case 7:
            CK_TRY(field_int32(&field, &out->validator_index));
            break;
        case 8:
            CK_TRY(ck_field_bytes(&field, &out->signature));
            break;
        default:
            break;
        }
    }
    return CK_OK;
}

static int decode_proposal(ck_bytes body, ck_ballot *out) {
    ck_reader reader = ck_reader_over(body);
    int32_t last = 0;
    while (reader.left > 0) {
        ck_field field;
        ck_bytes part;
        CK_TRY(next_field(&reader, &last, &field));
        switch (field.number) {
        case 1:
            CK_TRY(field_type(&field, &out->type));
            break;
        case 2:
            CK_TRY(ck_field_int64(&field, &out->height));
            break;
        case 3:
            CK_TRY(field_int32(&field, &out->round));
            break;
        case 4:
            CK_TRY(field_int32(&field, &out->pol_round));
            break;
        case 5:
            CK_TRY(ck_field_bytes(&field, &part));
            CK_TRY(decode_block_id(part, &out->block_id));
            break;
        case 6:
            CK_TRY(ck_field_bytes(&field, &part));
            CK_TRY(decode_timestamp(part, &out->timestamp));
            break;
        case 7:
            CK_TRY(ck_field_bytes(&field, &out->signature));
            break;
        default:
            break;
        }
    }
    return CK_OK;
}

/* The type whose key has this prefix; NULL: none of ours. */
static const ck_key_type *type_of(const uint8_t name[PREFIX_BYTES]) {
    static const int32_t NUMBERS[] = {CK_ED25519, CK_SECP256K1};
    for (size_t i = 0; i < sizeof NUMBERS / sizeof NUMBERS[0]; i++) {
        const ck_key_type *type = ck_key_type_of(NUMBERS[i]);
        if (memcmp(type->amino, name, PREFIX_BYTES) == 0) {
            return type;
        }
    }
    return NULL;
}

/* A registered key: four bytes of prefix and a byte array. A key of another type
   leaves it empty. */
static int decode_pub_key(ck_bytes body, ck_message *out) {
    ck_reader reader = ck_reader_over(body);
    ck_bytes name;
    uint64_t size;
    CK_TRY(ck_take(&reader, PREFIX_BYTES, &name));
    const ck_key_type *type = type_of(name.at);
    if (!type) {
        return CK_OK;
    }
    CK_TRY(ck_take_uvarint(&reader, &size));
    if (size != type->public_len || reader.left != type->public_len) {
        return CK_MALFORMED;
    }
    CK_TRY(ck_take(&reader, size, &out->pub_key));
    out->pub_key_number = type->number;
    return CK_OK;
}

static int decode_error(ck_bytes body, ck_message *out) {
    ck_reader reader = ck_reader_over(body);
    int32_t last = 0;
    out->has_error = 1;
    while (reader.left > 0) {
        ck_field field;
        CK_TRY(next_field(&reader, &last, &field));
        switch (field.number) {
        case 1:
            CK_TRY(field_int32(&field, &out->error_code));
            break;
        case 2:
            CK_TRY(ck_field_bytes(&field, &out->error_text));
            break;
        default:
            break;
        }
    }
    return CK_OK;
}

/* Field 1 of a message of this kind. */
static int decode_first(ck_bytes body, ck_message *out) {
    switch (out->kind) {
    case CK_PUB_KEY_RESPONSE:
        return decode_pub_key(body, out);
    case CK_SIGN_VOTE_REQUEST:
    case CK_SIGNED_VOTE_RESPONSE:
        out->has_ballot = 1;
        return decode_vote(body, &out->ballot);
    default:
        out->has_ballot = 1;
        return decode_proposal(body, &out->ballot);
    }
}

/* How many fields a message of this kind knows. */
static int32_t known_fields(int32_t kind) {
    switch (kind) {
    case CK_SIGN_VOTE_REQUEST:
    case CK_SIGN_PROPOSAL_REQUEST:
        return 1;
    case CK_PUB_KEY_RESPONSE:
    case CK_SIGNED_VOTE_RESPONSE:
    case CK_SIGNED_PROPOSAL_RESPONSE:
        return 2;
    default:
        return 0;
    }
}

static int32_t kind_of(ck_bytes name) {
    for (int32_t kind = CK_PUB_KEY_REQUEST; kind <= CK_PING_RESPONSE; kind++) {
        if (memcmp(PREFIXES[kind].bytes, name.at, PREFIX_BYTES) == 0) {
            return kind;
        }
    }
    return CK_UNKNOWN;
}

/* An empty body is amino's nil, and a name we do not know is a message we do not know:
   both CK_UNKNOWN. */
int ck_amino_decode(ck_bytes body, ck_message *out) {
    ck_message message = {.kind = CK_UNKNOWN};
    ck_reader reader = ck_reader_over(body);
    int32_t last = 0;
    if (reader.left > 0) {
        ck_bytes name;
        CK_TRY(ck_take(&reader, PREFIX_BYTES, &name));
        message.kind = kind_of(name);
        message.has_pub_key = message.kind == CK_PUB_KEY_RESPONSE; /* a field that has no other form */
    }
    while (message.kind != CK_UNKNOWN && reader.left > 0) {
        ck_field field;
        ck_bytes part;
        CK_TRY(next_field(&reader, &last, &field));
        if (field.number > known_fields(message.kind)) {
            continue;
        }
        CK_TRY(ck_field_bytes(&field, &part));
        CK_TRY(field.number == 1 ? decode_first(part, &message) : decode_error(part, &message));
    }
    *out = message;
    return CK_OK;
}

/* Close an embedded value; one that holds nothing leaves no trace. */
static void put_close_nonempty(ck_writer *writer, size_t before, size_t mark) {
    if (ck_put_since(writer, mark) == 0) {
        ck_put_rewind(writer, before);
    } else {
        ck_put_close(writer, mark);
    }
}

static void put_timestamp(ck_writer *writer, int number, ck_timestamp timestamp) {
    if (timestamp.seconds != 0 || timestamp.nanos != 0) {
        ck_put_timestamp(writer, number, timestamp);
    }
}

static void put_block_id(ck_writer *writer, int number, const ck_block_id *block_id) {
    size_t before = writer->used;
    size_t block = ck_put_open_field(writer, number);
    ck_put_bytes_nonempty(writer, 1, block_id->hash);
    size_t before_header = writer->used;
    size_t header = ck_put_open_field(writer, 2);
    ck_put_int_nonzero(writer, 1, block_id->parts_total);
    ck_put_bytes_nonempty(writer, 2, block_id->parts_hash);
    put_close_nonempty(writer, before_header, header);
    put_close_nonempty(writer, before, block);
}

static void put_vote(ck_writer *writer, const ck_ballot *vote) {
    size_t mark = ck_put_open_field(writer, 1);
    ck_put_int_nonzero(writer, 1, vote->type);
    ck_put_int_nonzero(writer, 2, vote->height);
    ck_put_int_nonzero(writer, 3, vote->round);
    put_block_id(writer, 4, &vote->block_id);
    put_timestamp(writer, 5, vote->timestamp);
    ck_put_bytes_nonempty(writer, 6, vote->validator_address);
    ck_put_int_nonzero(writer, 7, vote->validator_index);
    ck_put_bytes_nonempty(writer, 8, vote->signature);
    ck_put_close(writer, mark);
}

static void put_proposal(ck_writer *writer, const ck_ballot *proposal) {
    size_t mark = ck_put_open_field(writer, 1);
    ck_put_int_nonzero(writer, 1, proposal->type);
    ck_put_int_nonzero(writer, 2, proposal->height);
    ck_put_int_nonzero(writer, 3, proposal->round);
    ck_put_int_nonzero(writer, 4, proposal->pol_round);
    put_block_id(writer, 5, &proposal->block_id);
    put_timestamp(writer, 6, proposal->timestamp);
    ck_put_bytes_nonempty(writer, 7, proposal->signature);
    ck_put_close(writer, mark);
}

static void put_prefix(ck_writer *writer, const prefix *name) {
    ck_bytes bytes = {name->bytes, PREFIX_BYTES};
    ck_put(writer, bytes);
}

static void put_pub_key(ck_writer *writer, const ck_message *message) {
    if (message->pub_key.len == 0) {
        return;
    }
    size_t mark = ck_put_open_field(writer, 1);
    ck_put(writer, (ck_bytes){ck_key_type_of(message->pub_key_number)->amino, PREFIX_BYTES});
    ck_put_varint(writer, message->pub_key.len);
    ck_put(writer, message->pub_key);
    ck_put_close(writer, mark);
}

static void put_error(ck_writer *writer, const ck_message *message) {
    if (!message->has_error) {
        return;
    }
    size_t mark = ck_put_open_field(writer, 2);
    ck_put_int_nonzero(writer, 1, message->error_code);
    ck_put_bytes_nonempty(writer, 2, message->error_text);
    ck_put_close(writer, mark);
}

static void put_fields(ck_writer *writer, const ck_message *message) {
    switch (message->kind) {
    case CK_PUB_KEY_RESPONSE:
        put_pub_key(writer, message);
        break;
    case CK_SIGN_VOTE_REQUEST:
    case CK_SIGNED_VOTE_RESPONSE:
        if (message->has_ballot) {
            put_vote(writer, &message->ballot);
        }
        break;
    case CK_SIGN_PROPOSAL_REQUEST:
    case CK_SIGNED_PROPOSAL_RESPONSE:
        if (message->has_ballot) {
            put_proposal(writer, &message->ballot);
        }
        break;
    default:
        break; /* the others have no fields */
    }
    if (known_fields(message->kind) == 2) {
        put_error(writer, message);
    }
}

int ck_amino_encode(const ck_message *message, uint8_t *out, size_t cap, size_t *len) {
    if (message->kind < CK_UNKNOWN || message->kind > CK_PING_RESPONSE || message->has_others) {
        return CK_REFUSED;
    }
    if (message->pub_key.len != 0 && ck_key_type_of(message->pub_key_number)->amino[0] == 0) {
        return CK_REFUSED; /* v0.33 knows no such key */
    }
    ck_writer writer = ck_writer_over(out, cap);
    size_t whole = ck_put_open(&writer);
    if (message->kind != CK_UNKNOWN) {
        put_prefix(&writer, &PREFIXES[message->kind]);
        put_fields(&writer, message);
    }
    ck_put_close(&writer, whole);
    return ck_written(&writer, len);
}

/* Privval messages of v0.34 to v0.40 (package tendermint.privval) and of v1.x
 * (cometbft.privval.v1), which has more fields and no other meaning for any, as gogoproto's
 * generated code reads and writes them: unknown fields are skipped, a repeated scalar's last value
 * wins, repeated messages merge, each member of the oneof starts afresh and the last one wins, and
 * embedded messages that are not nullable are always written. */
#include "codec.h"
#include "wire.h"

static const ck_ballot EMPTY_BALLOT = {.timestamp = {CK_GO_ZERO_SECONDS, 0}};

static int decode_part_set_header(ck_bytes body, ck_block_id *out) {
    ck_reader reader = ck_reader_over(body);
    while (reader.left > 0) {
        ck_field field;
        CK_TRY(ck_next_field(&reader, &field));
        switch (field.number) {
        case 1:
            CK_TRY(ck_field_uint32(&field, &out->parts_total));
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
    while (reader.left > 0) {
        ck_field field;
        ck_bytes header;
        CK_TRY(ck_next_field(&reader, &field));
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
    while (reader.left > 0) {
        ck_field field;
        ck_bytes part;
        CK_TRY(ck_next_field(&reader, &field));
        switch (field.number) {
        case 1:
            CK_TRY(ck_field_int32(&field, &out->type));
            break;
        case 2:
            CK_TRY(ck_field_int64(&field, &out->height));
            break;
        case 3:
            CK_TRY(ck_field_int32(&field, &out->round));
            break;
        case 4:
            CK_TRY(ck_field_bytes(&field, &part));
            CK_TRY(decode_block_id(part, &out->block_id));
            break;
        case 5:
            CK_TRY(ck_field_bytes(&field, &part));
            CK_TRY(ck_decode_timestamp(part, &out->timestamp));
            break;
        case 6:
            CK_TRY(ck_field_bytes(&field, &out->validator_address));
            break;
        case 7:
            CK_TRY(ck_field_int32(&field, &out->validator_index));
            break;
        case 8:
            CK_TRY(ck_field_bytes(&field, &out->signature));
            break;
        case 9:
            CK_TRY(ck_field_bytes(&field, &out->extension));
            break;
        case 10:
            CK_TRY(ck_field_bytes(&field, &out->extension_signature));
            break;
        default:
            break;
        }
    }
    return CK_OK;
}

static int decode_proposal(ck_bytes body, ck_ballot *out) {
    ck_reader reader = ck_reader_over(body);
    while (reader.left > 0) {
        ck_field field;
        ck_bytes part;
        CK_TRY(ck_next_field(&reader, &field));
        switch (field.number) {
        case 1:
            CK_TRY(ck_field_int32(&field, &out->type));
            break;
        case 2:
            CK_TRY(ck_field_int64(&field, &out->height));
            break;
        case 3:
            CK_TRY(ck_field_int32(&field, &out->round));
            break;
        case 4:
            CK_TRY(ck_field_int32(&field, &out->pol_round));
            break;
        case 5:
            CK_TRY(ck_field_bytes(&field, &part));
            CK_TRY(decode_block_id(part, &out->block_id));
            break;
        case 6:
            CK_TRY(ck_field_bytes(&field, &part));
            CK_TRY(ck_decode_timestamp(part, &out->timestamp));
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

/* PublicKey's oneof. A member that no type of ours is (mldsa65 4) leaves the key empty. */
static int decode_pub_key(ck_bytes body, ck_message *out) {
    enum { KEYS_END = 5 };
    ck_reader reader = ck_reader_over(body);
    while (reader.left > 0) {
        ck_field field;
        ck_bytes key;
        CK_TRY(ck_next_field(&reader, &field));
        if (field.number > KEYS_END) {
            continue;
        }
        CK_TRY(ck_field_bytes(&field, &key));
        const ck_key_type *type = ck_key_type_of((int32_t)field.number);
        if (type && key.len != type->public_len) {
            return CK_MALFORMED;
        }
        out->pub_key = type ? key : (ck_bytes){NULL, 0};
        out->pub_key_number = type ? type->number : 0;
    }
    return CK_OK;
}

static int decode_error(ck_bytes body, ck_message *out) {
    ck_reader reader = ck_reader_over(body);
    out->has_error = 1;
    while (reader.left > 0) {
        ck_field field;
        CK_TRY(ck_next_field(&reader, &field));
        switch (field.number) {
        case 1:
            CK_TRY(ck_field_int32(&field, &out->error_code));
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
    case CK_PUB_KEY_REQUEST:
        out->chain_id = body;
        return CK_OK;
    case CK_PUB_KEY_RESPONSE:
        out->has_pub_key = 1;
        return decode_pub_key(body, out);
    case CK_SIGN_BYTES_RESPONSE:
        out->value = body;
        return CK_OK;
    case CK_SIGN_VOTE_REQUEST:
    case CK_SIGNED_VOTE_RESPONSE:
        out->has_ballot = 1;
        return decode_vote(body, &out->ballot);
    default:
        out->has_ballot = 1;
        return decode_proposal(body, &out->ballot);
    }
}

/* Field 2: a sign request's chain id, a response's error. */
static int decode_second(ck_bytes body, ck_message *out) {
    if (out->kind == CK_SIGN_VOTE_REQUEST || out->kind == CK_SIGN_PROPOSAL_REQUEST) {
        out->chain_id = body;
        return CK_OK;
    }
    return decode_error(body, out);
}

/* How many fields a message of this kind knows. */
static int32_t known_fields(int32_t kind) {
    switch (kind) {
    case CK_PING_REQUEST:
    case CK_PING_RESPONSE:
        return 0;
    case CK_PUB_KEY_REQUEST:
        return 1;
    case CK_SIGN_VOTE_REQUEST:
        return 3;
    case CK_PUB_KEY_RESPONSE:
        return 4;
    default:
        return 2;
    }
}

/* A bool is a varint: any value but zero is true. */
static int decode_skip(const ck_field *field, int32_t *out) {
    int64_t value;
    CK_TRY(ck_field_int64(field, &value));
    *out = value != 0;
    return CK_OK;
}

/* A field that a message of this kind knows. */
static int decode_known(const ck_field *field, ck_message *out) {
    ck_bytes part;
    if (out->kind == CK_SIGN_VOTE_REQUEST && field->number == 3) {
        return decode_skip(field, &out->skip_extension);
    }
    CK_TRY(ck_field_bytes(field, &part));
    switch (field->number) {
    case 1:
        return decode_first(part, out);
    case 2:
        return decode_second(part, out);
    case 3:
        out->pub_key_bytes = part;
        return CK_OK;
    default:
        out->pub_key_type = part;
        return CK_OK;
    }
}

/* Two requests share a tag: v1.x's SignBytes with the value in field 1, and Celestia's SignRawBytes
 * with a chain's id, raw bytes and a unique id. The latter two are never empty there, so that their
 * presence tells. Another field is of a request that is not known here. */
static int decode_bytes_request(ck_bytes body, ck_message *out) {
    enum { FIRST = 1, RAW = 2, UNIQUE_ID = 3 };
    ck_message message = {.kind = CK_SIGN_BYTES_REQUEST, .ballot = EMPTY_BALLOT};
    ck_bytes parts[UNIQUE_ID + 1] = {{0, 0}};
    ck_reader reader = ck_reader_over(body);
    while (reader.left > 0) {
        ck_field field;
        CK_TRY(ck_next_field(&reader, &field));
        if (field.number > UNIQUE_ID) {
            message.has_others = 1;
            continue;
        }
        CK_TRY(ck_field_bytes(&field, &parts[field.number]));
        if (field.number != FIRST) {
            message.kind = CK_SIGN_RAW_BYTES_REQUEST;
        }
    }
    const int is_raw = message.kind == CK_SIGN_RAW_BYTES_REQUEST;
    message.value = parts[is_raw ? RAW : FIRST];
    if (is_raw) {
        message.chain_id = parts[FIRST];
        message.unique_id = parts[UNIQUE_ID];
    }
    *out = message;
    return CK_OK;
}

/* One member of Message.sum. */
static int decode_member(int32_t kind, ck_bytes body, ck_message *out) {
    ck_message message = {.kind = kind, .ballot = EMPTY_BALLOT};
    ck_reader reader = ck_reader_over(body);
    while (reader.left > 0) {
        ck_field field;
        CK_TRY(ck_next_field(&reader, &field));
        if (field.number <= known_fields(kind)) {
            CK_TRY(decode_known(&field, &message));
        }
    }
    *out = message;
    return CK_OK;
}

int ck_proto_decode(ck_bytes body, ck_message *out) {
    ck_message message = {.kind = CK_UNKNOWN, .ballot = EMPTY_BALLOT};
    ck_reader reader = ck_reader_over(body);
    while (reader.left > 0) {
        ck_field field;
        ck_bytes member;
        CK_TRY(ck_next_field(&reader, &field));
        if (field.number > CK_SIGN_BYTES_RESPONSE) {
            continue;
        }
        CK_TRY(ck_field_bytes(&field, &member));
        CK_TRY(field.number == CK_SIGN_BYTES_REQUEST ? decode_bytes_request(member, &message)
                                                     : decode_member(field.number, member, &message));
    }
    *out = message;
    return CK_OK;
}

static void put_block_id(ck_writer *writer, int number, const ck_block_id *block_id) {
    size_t block = ck_put_open_field(writer, number);
    ck_put_bytes_nonempty(writer, 1, block_id->hash);
    size_t header = ck_put_open_field(writer, 2);
    ck_put_int_nonzero(writer, 1, block_id->parts_total);
    ck_put_bytes_nonempty(writer, 2, block_id->parts_hash);
    ck_put_close(writer, header);
    ck_put_close(writer, block);
}

static void put_vote(ck_writer *writer, const ck_ballot *vote) {
    size_t mark = ck_put_open_field(writer, 1);
    ck_put_int_nonzero(writer, 1, vote->type);
    ck_put_int_nonzero(writer, 2, vote->height);
    ck_put_int_nonzero(writer, 3, vote->round);
    put_block_id(writer, 4, &vote->block_id);
    ck_put_timestamp(writer, 5, vote->timestamp);
    ck_put_bytes_nonempty(writer, 6, vote->validator_address);
    ck_put_int_nonzero(writer, 7, vote->validator_index);
    ck_put_bytes_nonempty(writer, 8, vote->signature);
    ck_put_bytes_nonempty(writer, 9, vote->extension);
    ck_put_bytes_nonempty(writer, 10, vote->extension_signature);
    ck_put_close(writer, mark);
}

static void put_proposal(ck_writer *writer, const ck_ballot *proposal) {
    size_t mark = ck_put_open_field(writer, 1);
    ck_put_int_nonzero(writer, 1, proposal->type);
    ck_put_int_nonzero(writer, 2, proposal->height);
    ck_put_int_nonzero(writer, 3, proposal->round);
    ck_put_int_nonzero(writer, 4, proposal->pol_round);
    put_block_id(writer, 5, &proposal->block_id);
    ck_put_timestamp(writer, 6, proposal->timestamp);
    ck_put_bytes_nonempty(writer, 7, proposal->signature);
    ck_put_close(writer, mark);
}

static void put_pub_key(ck_writer *writer, const ck_message *message) {
    size_t mark = ck_put_open_field(writer, 1);
    ck_put_bytes_nonempty(writer, message->pub_key_number, message->pub_key);
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

/* What is inside the member of Message.sum. A signed vote or proposal is written even
   when it is empty. */
static void put_member(ck_writer *writer, const ck_message *message) {
    const ck_ballot *ballot = message->has_ballot ? &message->ballot : &EMPTY_BALLOT;
    switch (message->kind) {
    case CK_PUB_KEY_REQUEST:
        ck_put_bytes_nonempty(writer, 1, message->chain_id);
        break;
    case CK_PUB_KEY_RESPONSE:
        if (message->has_pub_key) {
            put_pub_key(writer, message);
        }
        put_error(writer, message);
        ck_put_bytes_nonempty(writer, 3, message->pub_key_bytes);
        ck_put_bytes_nonempty(writer, 4, message->pub_key_type);
        break;
    case CK_SIGN_VOTE_REQUEST:
        if (message->has_ballot) {
            put_vote(writer, ballot);
        }
        ck_put_bytes_nonempty(writer, 2, message->chain_id);
        ck_put_int_nonzero(writer, 3, message->skip_extension != 0);
        break;
    case CK_SIGNED_VOTE_RESPONSE:
        put_vote(writer, ballot);
        put_error(writer, message);
        break;
    case CK_SIGN_PROPOSAL_REQUEST:
        if (message->has_ballot) {
            put_proposal(writer, ballot);
        }
        ck_put_bytes_nonempty(writer, 2, message->chain_id);
        break;
    case CK_SIGNED_PROPOSAL_RESPONSE:
        put_proposal(writer, ballot);
        put_error(writer, message);
        break;
    case CK_SIGN_BYTES_REQUEST:
        ck_put_bytes_nonempty(writer, 1, message->value);
        break;
    case CK_SIGN_RAW_BYTES_REQUEST: /* the last two also where they are empty: they tell what it is */
        ck_put_bytes_nonempty(writer, 1, message->chain_id);
        ck_put_bytes(writer, 2, message->value);
        ck_put_bytes(writer, 3, message->unique_id);
        break;
    case CK_SIGN_BYTES_RESPONSE:
        ck_put_bytes_nonempty(writer, 1, message->value);
        put_error(writer, message);
        break;
    default:
        break; /* pings are empty */
    }
}

int ck_proto_encode(const ck_message *message, uint8_t *out, size_t cap, size_t *len) {
    if (message->kind < CK_UNKNOWN || message->kind > CK_SIGN_RAW_BYTES_REQUEST || message->has_others) {
        return CK_REFUSED;
    }
    ck_writer writer = ck_writer_over(out, cap);
    size_t whole = ck_put_open(&writer);
    if (message->kind != CK_UNKNOWN) {
        const int is_raw = message->kind == CK_SIGN_RAW_BYTES_REQUEST;
        size_t member = ck_put_open_field(&writer, is_raw ? CK_SIGN_BYTES_REQUEST : message->kind);
        put_member(&writer, message);
        ck_put_close(&writer, member);
    }
    ck_put_close(&writer, whole);
    return ck_written(&writer, len);
}

/* Votes and proposals: their fields are numbered alike in tendermint.types (v0.34..v0.40) and in v0.33's amino structs,
 * where votes have no extension and empty embedded structs are left out. */
#include "cursor.h"

#define CK_GO_ZERO_SECONDS (-62135596800LL)

/* Field numbers: a vote has no pol_round, so everything behind it stands one lower. */
enum { TYPE = 1, HEIGHT = 2, ROUND = 3 };
enum { VOTE_BLOCK_ID = 4, VOTE_TIME = 5, VOTE_ADDRESS = 6, VOTE_INDEX = 7, VOTE_SIG = 8, VOTE_EXT = 9, VOTE_EXT_SIG = 10 };
enum { PROP_POL_ROUND = 4, PROP_BLOCK_ID = 5, PROP_TIME = 6, PROP_SIG = 7 };

void ck_zero_ballot(int dialect, ck_ballot *ballot) {
    memset(ballot, 0, sizeof *ballot);
    ballot->timestamp.seconds = dialect == CK_PROTO ? CK_GO_ZERO_SECONDS : 0;
}

int ck_take_timestamp(ck_bytes body, ck_timestamp *out) {
    ck_reader r = {body.at, body.len};
    ck_timestamp t = {0, 0};
    while (r.left) {
        uint32_t field, wire;
        uint64_t value;
        if (ck_take_tag(&r, &field, &wire) != CK_OK) return CK_MALFORMED;
        if (field > 2) {
            if (ck_skip(&r, wire) != CK_OK) return CK_MALFORMED;
            continue;
        }
        if (wire != CK_VARINT || ck_take_varint(&r, &value) != CK_OK) return CK_MALFORMED;
        if (field == 1) t.seconds = (int64_t)value;
        else t.nanos = (int32_t)(uint32_t)value;
    }
    *out = t;
    return CK_OK;
}

void ck_put_timestamp(ck_writer *w, uint32_t field, ck_timestamp t) {
    size_t start = ck_open(w, field);
    ck_put_int(w, 1, t.seconds);
    ck_put_int(w, 2, t.nanos);
    ck_close(w, start);
}

static int take_parts(ck_bytes body, ck_block_id *id) {
    ck_reader r = {body.at, body.len};
    while (r.left) {
        uint32_t field, wire;
        uint64_t value;
        int rc;
        if (ck_take_tag(&r, &field, &wire) != CK_OK) return CK_MALFORMED;
        if (field == 1) {
            if (wire != CK_VARINT || ck_take_varint(&r, &value) != CK_OK) return CK_MALFORMED;
            id->parts_total = (uint32_t)value;
            continue;
        }
        rc = field == 2 ? (wire == CK_LENGTH ? ck_take_length(&r, &id->parts_hash) : CK_MALFORMED) : ck_skip(&r, wire);
        if (rc != CK_OK) return CK_MALFORMED;
    }
    return CK_OK;
}

static int take_block_id(ck_bytes body, ck_block_id *id) {
    ck_reader r = {body.at, body.len};
    while (r.left) {
        uint32_t field, wire;
        ck_bytes bytes;
        if (ck_take_tag(&r, &field, &wire) != CK_OK) return CK_MALFORMED;
        if (field > 2) {
            if (ck_skip(&r, wire) != CK_OK) return CK_MALFORMED;
            continue;
        }
        if (wire != CK_LENGTH || ck_take_length(&r, &bytes) != CK_OK) return CK_MALFORMED;
        if (field == 1) id->hash = bytes;
        else if (take_parts(bytes, id) != CK_OK) return CK_MALFORMED;
    }
    return CK_OK;
}

/* v0.33's round, index and type are Go ints: a value outside int32 is nothing a validator could send. */
static int narrow(int dialect, uint64_t value, int32_t *out) {
    if (dialect == CK_AMINO && (int64_t)value != (int64_t)(int32_t)(uint32_t)value) return CK_MALFORMED;
    *out = (int32_t)(uint32_t)value;
    return CK_OK;
}

static int take_number(int dialect, int is_vote, uint32_t field, uint64_t value, ck_ballot *b) {
    switch (field) {
        case TYPE: return narrow(dialect, value, &b->type);
        case HEIGHT: b->height = (int64_t)value; return CK_OK;
        case ROUND: return narrow(dialect, value, &b->round);
        default: return is_vote ? narrow(dialect, value, &b->validator_index) : narrow(dialect, value, &b->pol_round);
    }
}

static int take_part(int is_vote, uint32_t field, ck_bytes bytes, ck_ballot *b) {
    if (!is_vote) field = field == PROP_SIG ? VOTE_SIG : field - 1;
    switch (field) {
        case VOTE_BLOCK_ID: return take_block_id(bytes, &b->block_id);
        case VOTE_TIME: return ck_take_timestamp(bytes, &b->timestamp);
        case VOTE_ADDRESS: b->validator_address = bytes; return CK_OK;
        case VOTE_SIG: b->signature = bytes; return CK_OK;
        case VOTE_EXT: b->extension = bytes; return CK_OK;
        default: b->extension_signature = bytes; return CK_OK;
    }
}

int ck_take_ballot(int dialect, int is_vote, ck_bytes body, ck_ballot *ballot) {
    ck_reader r = {body.at, body.len};
    const uint32_t number_field = is_vote ? VOTE_INDEX : PROP_POL_ROUND;
    const uint32_t last = !is_vote ? PROP_SIG : dialect == CK_PROTO ? VOTE_EXT_SIG : VOTE_SIG;
    while (r.left) {
        uint32_t field, wire;
        uint64_t value;
        ck_bytes bytes;
        if (ck_take_tag(&r, &field, &wire) != CK_OK) return CK_MALFORMED;
        if (field > last) {
            if (ck_skip(&r, wire) != CK_OK) return CK_MALFORMED;
        } else if (field <= ROUND || field == number_field) {
            if (wire != CK_VARINT || ck_take_varint(&r, &value) != CK_OK) return CK_MALFORMED;
            if (take_number(dialect, is_vote, field, value, ballot) != CK_OK) return CK_MALFORMED;
        } else {
            if (wire != CK_LENGTH || ck_take_length(&r, &bytes) != CK_OK) return CK_MALFORMED;
            if (take_part(is_vote, field, bytes, ballot) != CK_OK) return CK_MALFORMED;
        }
    }
    return CK_OK;
}

static int is_nil(const ck_block_id *id) { return id->hash.len == 0 && id->parts_hash.len == 0 && id->parts_total == 0; }

/* gogoproto writes embedded structs even when empty; amino leaves them out. */
static void put_block_id(ck_writer *w, int dialect, uint32_t field, const ck_block_id *id) {
    if (dialect == CK_AMINO && is_nil(id)) return;
    size_t start = ck_open(w, field);
    ck_put_bytes(w, 1, id->hash);
    if (dialect == CK_PROTO || id->parts_hash.len || id->parts_total) {
        size_t parts = ck_open(w, 2);
        ck_put_int(w, 1, id->parts_total);
        ck_put_bytes(w, 2, id->parts_hash);
        ck_close(w, parts);
    }
    ck_close(w, start);
}

void ck_put_ballot(ck_writer *w, int dialect, int is_vote, const ck_ballot *b) {
    ck_put_int(w, TYPE, b->type);
    ck_put_int(w, HEIGHT, b->height);
    ck_put_int(w, ROUND, b->round);
    if (!is_vote) ck_put_int(w, PROP_POL_ROUND, b->pol_round);
    put_block_id(w, dialect, is_vote ? VOTE_BLOCK_ID : PROP_BLOCK_ID, &b->block_id);
    if (dialect == CK_PROTO || b->timestamp.seconds || b->timestamp.nanos)
        ck_put_timestamp(w, is_vote ? VOTE_TIME : PROP_TIME, b->timestamp);
    if (is_vote) {
        ck_put_bytes(w, VOTE_ADDRESS, b->validator_address);
        ck_put_int(w, VOTE_INDEX, b->validator_index);
    }
    ck_put_bytes(w, is_vote ? VOTE_SIG : PROP_SIG, b->signature);
    if (is_vote && dialect == CK_PROTO) {
        ck_put_bytes(w, VOTE_EXT, b->extension);
        ck_put_bytes(w, VOTE_EXT_SIG, b->extension_signature);
    }
}

int ck_take_error(ck_bytes body, ck_message *out) {
    ck_reader r = {body.at, body.len};
    out->has_error = 1;
    while (r.left) {
        uint32_t field, wire;
        uint64_t value;
        if (ck_take_tag(&r, &field, &wire) != CK_OK) return CK_MALFORMED;
        if (field == 1) {
            if (wire != CK_VARINT || ck_take_varint(&r, &value) != CK_OK) return CK_MALFORMED;
            out->error_code = (int32_t)(uint32_t)value;
        } else if (field == 2) {
            if (wire != CK_LENGTH || ck_take_length(&r, &out->error_text) != CK_OK) return CK_MALFORMED;
        } else if (ck_skip(&r, wire) != CK_OK) {
            return CK_MALFORMED;
        }
    }
    return CK_OK;
}

void ck_put_error(ck_writer *w, uint32_t field, const ck_message *message) {
    if (!message->has_error) return;
    size_t start = ck_open(w, field);
    ck_put_int(w, 1, message->error_code);
    ck_put_bytes(w, 2, message->error_text);
    ck_close(w, start);
}

int ck_is_vote_kind(int kind) { return kind == CK_SIGN_VOTE_REQUEST || kind == CK_SIGNED_VOTE_RESPONSE; }

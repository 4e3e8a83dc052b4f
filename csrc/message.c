/* Framing by length, choice of the dialect, judgement of requests. */
#include "cursor.h"

int ck_read_length(const uint8_t *at, size_t left, size_t max, size_t *length, size_t *used) {
    ck_reader r = {at, left};
    uint64_t value;
    size_t seen = left < 10 ? left : 10;
    if (ck_take_varint(&r, &value) != CK_OK) {
        for (size_t i = 0; i < seen; i++)
            if (at[i] < 0x80) return CK_MALFORMED;
        return seen < 10 ? CK_MORE : CK_MALFORMED;
    }
    if (ck_varint_size(value) != left - r.left) return CK_MALFORMED; /* padded: nobody sends that */
    if (value > max) return CK_TOO_LARGE;
    *length = (size_t)value;
    *used = left - r.left;
    return CK_OK;
}

int ck_decode_message(int dialect, const uint8_t *body, size_t len, ck_message *out) {
    return dialect == CK_AMINO ? ck_amino_decode(body, len, out) : ck_proto_decode(body, len, out);
}

int ck_encode_message(int dialect, const ck_message *message, uint8_t *out, size_t cap, size_t *len) {
    ck_writer w = ck_writer_over(out, cap);
    int rc = dialect == CK_AMINO ? ck_amino_encode(&w, message) : ck_proto_encode(&w, message);
    if (rc != CK_OK) return rc;
    ck_close(&w, 0);
    return ck_finish(&w, len);
}

static int same(ck_bytes a, ck_bytes b) { return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0); }

static int is_nil(const ck_block_id *id) { return id->hash.len == 0 && id->parts_hash.len == 0 && id->parts_total == 0; }

/* Nil, or whole: two hashes of 32 bytes. Tendermint calls anything else an invalid block id. */
static int is_block_id(const ck_block_id *id) {
    return is_nil(id) || (id->hash.len == CK_HASH_BYTES && id->parts_hash.len == CK_HASH_BYTES);
}

static int judge_ballot(int dialect, int is_vote, const ck_ballot *b) {
    const int is_precommit = b->type == 2;
    if (is_vote ? b->type != 1 && b->type != 2 : b->type != 32) return CK_BAD_TYPE;
    if (b->height < 0) return CK_NEGATIVE_HEIGHT;
    if (b->round < 0) return CK_NEGATIVE_ROUND;
    if (!is_vote && b->pol_round < -1) return CK_BAD_POL_ROUND;
    if (!is_block_id(&b->block_id)) return CK_BAD_BLOCK_ID;
    if (b->timestamp.nanos < 0 || b->timestamp.nanos > 999999999 || b->timestamp.seconds < -62135596800LL ||
        b->timestamp.seconds > 253402300799LL)
        return CK_BAD_TIMESTAMP;
    if (b->validator_address.len != 0 && b->validator_address.len != CK_ADDRESS_BYTES) return CK_BAD_ADDRESS;
    if (dialect == CK_PROTO && b->extension.len && !(is_precommit && !is_nil(&b->block_id))) return CK_UNEXPECTED_EXTENSION;
    return CK_REASON_NONE;
}

static int judge(int dialect, ck_bytes chain_id, const ck_message *m) {
    const int signs = m->kind == CK_SIGN_VOTE_REQUEST || m->kind == CK_SIGN_PROPOSAL_REQUEST;
    if (m->kind == CK_PING_REQUEST) return CK_REASON_NONE;
    if (!signs && m->kind != CK_PUB_KEY_REQUEST) return CK_UNKNOWN_KIND;
    if (dialect == CK_PROTO) {
        if (m->chain_id.len == 0) return CK_EMPTY_CHAIN;
        if (!same(m->chain_id, chain_id)) return CK_WRONG_CHAIN;
    }
    if (!signs) return CK_REASON_NONE;
    if (!m->has_ballot) return CK_MISSING_PAYLOAD;
    return judge_ballot(dialect, m->kind == CK_SIGN_VOTE_REQUEST, &m->ballot);
}

void ck_check_request(int dialect, ck_bytes chain_id, const ck_message *m, ck_request *out) {
    const ck_ballot *b = &m->ballot;
    const int is_sign = m->kind == CK_SIGN_VOTE_REQUEST || m->kind == CK_SIGN_PROPOSAL_REQUEST;
    size_t len = 0;
    memset(out, 0, offsetof(ck_request, sign_bytes));
    out->kind = m->kind;
    out->reason = judge(dialect, chain_id, m);
    if (!is_sign || out->reason != CK_REASON_NONE) return;
    if (ck_canonical(dialect, b, chain_id, out->sign_bytes, sizeof out->sign_bytes, &len) != CK_OK) {
        out->reason = CK_WRONG_CHAIN; /* only a configured chain id over its bound can be too long */
        return;
    }
    out->sign_bytes_len = (uint32_t)len;
    out->height = b->height;
    out->round = b->round;
    out->step = b->type == 32 ? 1 : b->type + 1;
    out->timestamp = b->timestamp;
    out->wants_extension = dialect == CK_PROTO && b->type == 2 && !is_nil(&b->block_id);
}

/* tendermint.privval.Message of v0.34 to v0.40 (PROTOCOL §3), with gogoproto's reading of repeated and unknown fields. */
#include "cursor.h"

/* PublicKey oneof: the last member wins; only ed25519 (1) is ours. */
static int take_pub_key(ck_bytes body, ck_message *out) {
    ck_reader r = {body.at, body.len};
    while (r.left) {
        uint32_t field, wire;
        ck_bytes bytes;
        if (ck_take_tag(&r, &field, &wire) != CK_OK) return CK_MALFORMED;
        if (field > 5) {
            if (ck_skip(&r, wire) != CK_OK) return CK_MALFORMED;
            continue;
        }
        if (wire != CK_LENGTH || ck_take_length(&r, &bytes) != CK_OK) return CK_MALFORMED;
        out->pub_key = bytes;
        if (field != 1) out->pub_key.len = 0;
    }
    return CK_OK;
}

/* Every inner message has the same shape: field 1 is the payload (a string for PubKeyRequest), field 2 the chain id of a
 * request or the error of a response. */
static int take_inner(int kind, ck_bytes body, ck_message *out) {
    ck_reader r = {body.at, body.len};
    const int is_request = kind == CK_SIGN_VOTE_REQUEST || kind == CK_SIGN_PROPOSAL_REQUEST;
    const uint32_t last = kind == CK_PUB_KEY_REQUEST ? 1 : kind >= CK_PING_REQUEST ? 0 : 2;
    while (r.left) {
        uint32_t field, wire;
        ck_bytes bytes;
        int rc;
        if (ck_take_tag(&r, &field, &wire) != CK_OK) return CK_MALFORMED;
        if (field > last) {
            if (ck_skip(&r, wire) != CK_OK) return CK_MALFORMED;
            continue;
        }
        if (wire != CK_LENGTH || ck_take_length(&r, &bytes) != CK_OK) return CK_MALFORMED;
        rc = CK_OK;
        if (kind == CK_PUB_KEY_REQUEST || (field == 2 && is_request)) out->chain_id = bytes;
        else if (field == 2) rc = ck_take_error(bytes, out);
        else if (kind == CK_PUB_KEY_RESPONSE) rc = take_pub_key(bytes, out);
        else {
            out->has_ballot = 1;
            rc = ck_take_ballot(CK_PROTO, ck_is_vote_kind(kind), bytes, &out->ballot);
        }
        if (rc != CK_OK) return rc;
    }
    return CK_OK;
}

/* A oneof member that comes again replaces the one before: gogoproto makes a new struct each time. */
int ck_proto_decode(const uint8_t *body, size_t len, ck_message *out) {
    ck_reader r = {body, len};
    ck_message message;
    memset(&message, 0, sizeof message);
    ck_zero_ballot(CK_PROTO, &message.ballot);
    while (r.left) {
        uint32_t field, wire;
        ck_bytes bytes;
        if (ck_take_tag(&r, &field, &wire) != CK_OK) return CK_MALFORMED;
        if (field > CK_PING_RESPONSE) {
            if (ck_skip(&r, wire) != CK_OK) return CK_MALFORMED;
            continue;
        }
        if (wire != CK_LENGTH || ck_take_length(&r, &bytes) != CK_OK) return CK_MALFORMED;
        memset(&message, 0, sizeof message);
        ck_zero_ballot(CK_PROTO, &message.ballot);
        message.kind = (int32_t)field;
        if (take_inner((int)field, bytes, &message) != CK_OK) return CK_MALFORMED;
    }
    *out = message;
    return CK_OK;
}

static void put_inner(ck_writer *w, const ck_message *m) {
    const int is_vote = ck_is_vote_kind(m->kind);
    size_t start;
    switch (m->kind) {
        case CK_PUB_KEY_REQUEST: ck_put_bytes(w, 1, m->chain_id); break;
        case CK_PUB_KEY_RESPONSE:
            start = ck_open(w, 1);
            ck_put_bytes(w, 1, m->pub_key);
            ck_close(w, start);
            ck_put_error(w, 2, m);
            break;
        case CK_SIGN_VOTE_REQUEST:
        case CK_SIGN_PROPOSAL_REQUEST:
            if (m->has_ballot) {
                start = ck_open(w, 1);
                ck_put_ballot(w, CK_PROTO, is_vote, &m->ballot);
                ck_close(w, start);
            }
            ck_put_bytes(w, 2, m->chain_id);
            break;
        case CK_SIGNED_VOTE_RESPONSE:
        case CK_SIGNED_PROPOSAL_RESPONSE: /* the ballot is written even when it holds nothing */
            start = ck_open(w, 1);
            ck_put_ballot(w, CK_PROTO, is_vote, &m->ballot);
            ck_close(w, start);
            ck_put_error(w, 2, m);
            break;
        default: break;
    }
}

int ck_proto_encode(ck_writer *w, const ck_message *message) {
    if (message->kind == CK_UNKNOWN) return CK_OK; /* an empty Message */
    if (message->kind < CK_UNKNOWN || message->kind > CK_PING_RESPONSE) return CK_REFUSED;
    size_t start = ck_open(w, (uint32_t)message->kind);
    put_inner(w, message);
    ck_close(w, start);
    return CK_OK;
}

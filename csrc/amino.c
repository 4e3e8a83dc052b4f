/* v0.33's privval messages: amino. A message is the 4-byte prefix of its registered name and its fields
 * (tests/vectors/amino). Requests carry no chain id. */
#include "cursor.h"

static const uint8_t PREFIXES[9][4] = {
    {0, 0, 0, 0},
    {0xcb, 0x94, 0xd6, 0x20}, /* tendermint/remotesigner/PubKeyRequest */
    {0x17, 0x0e, 0xd5, 0x7c}, /* PubKeyResponse */
    {0xf3, 0xf4, 0x12, 0x04}, /* SignVoteRequest */
    {0xb2, 0x48, 0xa6, 0x16}, /* SignedVoteResponse */
    {0xbd, 0xe4, 0x98, 0xe2}, /* SignProposalRequest */
    {0x4a, 0x04, 0xfb, 0x87}, /* SignedProposalResponse */
    {0x1b, 0xad, 0xb6, 0x0d}, /* PingRequest */
    {0xa2, 0x9a, 0x03, 0x1a}, /* PingResponse */
};
static const uint8_t ED25519_PREFIX[5] = {0x16, 0x24, 0xde, 0x64, 0x20}; /* tendermint/PubKeyEd25519, 32 bytes */

static int kind_of(const uint8_t *prefix) {
    for (int kind = CK_PUB_KEY_REQUEST; kind <= CK_PING_RESPONSE; kind++)
        if (memcmp(prefix, PREFIXES[kind], 4) == 0) return kind;
    return CK_UNKNOWN;
}

static int take_pub_key(ck_bytes bytes, ck_message *out) {
    if (bytes.len != sizeof ED25519_PREFIX + 32 || memcmp(bytes.at, ED25519_PREFIX, sizeof ED25519_PREFIX) != 0) return CK_OK;
    out->pub_key.at = bytes.at + sizeof ED25519_PREFIX;
    out->pub_key.len = 32;
    return CK_OK;
}

int ck_amino_decode(const uint8_t *body, size_t len, ck_message *out) {
    ck_reader r = {body, len};
    ck_bytes prefix;
    ck_message message;
    if (ck_take(&r, 4, &prefix) != CK_OK) return CK_MALFORMED;
    memset(&message, 0, sizeof message);
    ck_zero_ballot(CK_AMINO, &message.ballot);
    message.kind = kind_of(prefix.at);
    const int is_request = message.kind == CK_SIGN_VOTE_REQUEST || message.kind == CK_SIGN_PROPOSAL_REQUEST;
    const int is_bare = message.kind == CK_PUB_KEY_REQUEST || message.kind >= CK_PING_REQUEST;
    const uint32_t last = message.kind == CK_UNKNOWN || is_bare ? 0 : is_request ? 1 : 2;
    while (r.left && message.kind != CK_UNKNOWN) {
        uint32_t field, wire;
        ck_bytes bytes;
        int rc;
        if (ck_take_tag(&r, &field, &wire) != CK_OK) return CK_MALFORMED;
        if (field > last) {
            if (ck_skip(&r, wire) != CK_OK) return CK_MALFORMED;
            continue;
        }
        if (wire != CK_LENGTH || ck_take_length(&r, &bytes) != CK_OK) return CK_MALFORMED;
        if (field == 2) rc = ck_take_error(bytes, &message);
        else if (message.kind == CK_PUB_KEY_RESPONSE) rc = take_pub_key(bytes, &message);
        else {
            message.has_ballot = 1;
            rc = ck_take_ballot(CK_AMINO, ck_is_vote_kind(message.kind), bytes, &message.ballot);
        }
        if (rc != CK_OK) return rc;
    }
    *out = message;
    return CK_OK;
}

int ck_amino_encode(ck_writer *w, const ck_message *m) {
    if (m->kind <= CK_UNKNOWN || m->kind > CK_PING_RESPONSE) return CK_REFUSED;
    ck_put(w, PREFIXES[m->kind], 4);
    if (m->kind == CK_PUB_KEY_RESPONSE && m->pub_key.len == 32) {
        size_t start = ck_open(w, 1);
        ck_put(w, ED25519_PREFIX, sizeof ED25519_PREFIX);
        ck_put(w, m->pub_key.at, m->pub_key.len);
        ck_close(w, start);
    } else if (m->has_ballot) {
        size_t start = ck_open(w, 1);
        ck_put_ballot(w, CK_AMINO, ck_is_vote_kind(m->kind), &m->ballot);
        ck_close(w, start);
    }
    ck_put_error(w, 2, m);
    return CK_OK;
}

/* Privval messages: what csrc/proto.c (v0.34..v1.x) and csrc/amino.c (v0.33) decode into and encode
 * from, the judgement of requests, and canonical sign bytes. PROTOCOL §3, §4. Twin:
 * cometkms/core/pure. */
#ifndef CK_PRIVVAL_H
#define CK_PRIVVAL_H

#include <stddef.h>
#include <stdint.h>

#include "bounds.h"
#include "status.h"

/* A borrowed range: valid as long as the buffer it points into. */
typedef struct ck_bytes {
    const uint8_t *at;
    size_t len;
} ck_bytes;

typedef struct ck_timestamp {
    int64_t seconds;
    int32_t nanos;
} ck_timestamp;

typedef struct ck_block_id {
    ck_bytes hash;
    uint32_t parts_total;
    ck_bytes parts_hash;
} ck_block_id;

/* Vote and Proposal share one struct; a field the other kind lacks stays zero. */
typedef struct ck_ballot {
    int32_t type;
    int64_t height;
    int32_t round;
    int32_t pol_round; /* proposal */
    ck_block_id block_id;
    ck_timestamp timestamp;
    ck_bytes validator_address; /* vote */
    int32_t validator_index;    /* vote */
    ck_bytes signature;
    ck_bytes extension;           /* vote */
    ck_bytes extension_signature; /* vote */
} ck_ballot;

enum ck_dialect { CK_PROTO = 0, CK_AMINO = 1 };

enum ck_line { CK_LINE_UNKNOWN = 0, CK_LINE_V0 = 1, CK_LINE_V1 = 2 }; /* model.Line */

/* As model.Kind has them. */
enum ck_kind {
    CK_UNKNOWN = 0,
    CK_PUB_KEY_REQUEST = 1,
    CK_PUB_KEY_RESPONSE = 2,
    CK_SIGN_VOTE_REQUEST = 3,
    CK_SIGNED_VOTE_RESPONSE = 4,
    CK_SIGN_PROPOSAL_REQUEST = 5,
    CK_SIGNED_PROPOSAL_RESPONSE = 6,
    CK_PING_REQUEST = 7,
    CK_PING_RESPONSE = 8,
    CK_SIGN_BYTES_REQUEST = 9,
    CK_SIGN_BYTES_RESPONSE = 10,
    CK_SIGN_RAW_BYTES_REQUEST = 11 /* Celestia's; on the wire it has the tag of CK_SIGN_BYTES_REQUEST */
};

/* As model.Reason has them. */
enum ck_reason {
    CK_REASON_NONE = 0,
    CK_WRONG_CHAIN = 1,
    CK_EMPTY_CHAIN = 2,
    CK_MISSING_PAYLOAD = 3,
    CK_BAD_TYPE = 4,
    CK_NEGATIVE_HEIGHT = 5,
    CK_NEGATIVE_ROUND = 6,
    CK_BAD_BLOCK_ID = 7,
    CK_UNEXPECTED_EXTENSION = 8,
    CK_UNKNOWN_KIND = 9,
    CK_BAD_TIMESTAMP = 10,
    CK_BAD_POL_ROUND = 11,
    CK_BAD_ADDRESS = 12,
    CK_BYTES_NOT_ALLOWED = 13,
    CK_BAD_BYTES = 14,
    CK_BYTES_ARE_A_VOTE = 15
};

typedef struct ck_message {
    int32_t kind;       /* enum ck_kind */
    int32_t has_ballot; /* vote or proposal present on the wire */
    int32_t has_error;
    int32_t error_code;
    ck_bytes error_text;
    ck_bytes chain_id;
    int32_t has_pub_key;    /* v0.x's PublicKey is present on the wire */
    int32_t skip_extension; /* v1.x: the vote's extension is not to be signed */
    int32_t pub_key_number; /* v0.x: enum ck_key_number, if pub_key is not empty */
    ck_bytes pub_key;       /* v0.x: of that type and size, or empty (another type) */
    ck_bytes pub_key_bytes; /* v1.x: of any type */
    ck_bytes pub_key_type;  /* v1.x */
    ck_bytes value;         /* SignBytes, Celestia's SignRawBytes: what is to be signed, or the signature */
    ck_bytes unique_id;     /* SignRawBytes */
    int32_t has_others;     /* either: a field that neither of the two knows is present on the wire */
    ck_ballot ballot;
} ck_message;

typedef struct ck_request {
    int32_t kind;   /* enum ck_kind */
    int32_t reason; /* enum ck_reason; anything but CK_REASON_NONE: nothing may be signed */
    int64_t height;
    int32_t round;
    int32_t step;
    ck_timestamp timestamp;
    /* A non-nil precommit in the PROTO dialect, asked without skip: its extension is signed too. */
    uint32_t wants_extension;
    uint32_t sign_bytes_len;
    uint8_t sign_bytes[CK_SIGN_BYTES_MAX];
} ck_request;

/* Strictly decoded canonical vote or proposal. */
typedef struct ck_sign_bytes {
    int32_t type;
    int32_t round;
    int64_t height;
    int32_t step;
    int32_t pol_round;
    ck_timestamp timestamp;
    ck_bytes block_hash;
    ck_bytes chain_id;
    size_t timestamp_at; /* offset and length of the timestamp field's bytes (tag and length included) */
    size_t timestamp_len;
} ck_sign_bytes;

/* Read a uvarint length prefix: CK_MORE if it is not whole, CK_MALFORMED if it overflows or is not
 * minimal, CK_TOO_LARGE over `max`. `used`: bytes of the prefix. */
CK_MUST_CHECK int ck_read_length(const uint8_t *at, size_t left, size_t max, size_t *length, size_t *used);

/* `body`: one message without its length prefix. Borrows from body. Reads each byte a bounded
   number of times. */
CK_MUST_CHECK int ck_decode_message(int dialect, const uint8_t *body, size_t len, ck_message *out);

/* Writes the length prefix too, as CometBFT's (Tendermint's) own code does, byte for byte. */
CK_MUST_CHECK int ck_encode_message(int dialect, const ck_message *message, uint8_t *out, size_t cap, size_t *len);

/* Judge a request for the configured chain and make its sign bytes. AMINO requests carry no chain
 * id. A message that is no request (a response kind) gets CK_UNKNOWN_KIND. Always fills *out. */
void ck_check_request(int dialect, ck_bytes chain_id, const ck_message *message, ck_request *out);

/* The validator's line, where this message tells it (enum ck_line); else what was `known`. A v1.x
 * node asks for every prevote with skip_extension_signing (v1 internal/consensus/state.go
 * signVote), a field that v0.x does not have. */
CK_MUST_CHECK int32_t ck_line_of(int dialect, const ck_message *message, int32_t known);

/* Canonical vote or proposal bytes with length prefix; `ballot` must have passed ck_check_request's
 * judgement. The dialects differ in the part set header's field order, pol_round's wire type and a
 * timestamp of 1970. */
CK_MUST_CHECK int ck_canonical(int dialect, const ck_ballot *ballot, ck_bytes chain_id, uint8_t *out, size_t cap,
                               size_t *len);

CK_MUST_CHECK int ck_extension_sign_bytes(ck_bytes chain_id, int64_t height, int32_t round, ck_bytes extension,
                                          uint8_t *out, size_t cap, size_t *len);

/* Strict: CK_MALFORMED unless re-encoding gives the same bytes. Borrows from bytes. */
CK_MUST_CHECK int ck_parse_sign_bytes(const uint8_t *bytes, size_t len, ck_sign_bytes *out);

/* 1 if both are strictly canonical and differ at most in their timestamp, else 0. */
int ck_same_but_timestamp(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len);

#endif

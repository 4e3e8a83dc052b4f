/* Whether a decoded request makes sense for this chain, before any rule looks at it. PROTOCOL "What
   each request gets". */
#include "codec.h"
#include "cursor.h"
#include "rawbytes.h"
#include "wire.h"

#include <string.h>

int ck_block_is_nil(const ck_block_id *block_id) {
    return block_id->hash.len == 0 && block_id->parts_total == 0 && block_id->parts_hash.len == 0;
}

/* Nil or complete; CometBFT sends nothing in between (types/block.go BlockID.IsComplete). */
static int block_is_sensible(const ck_block_id *block_id) {
    return ck_block_is_nil(block_id) || (block_id->hash.len == CK_HASH_BYTES && block_id->parts_total > 0 &&
                                         block_id->parts_hash.len == CK_HASH_BYTES);
}

static int timestamp_is_sensible(ck_timestamp timestamp) {
    return timestamp.seconds >= CK_SECONDS_MIN && timestamp.seconds < CK_SECONDS_END && timestamp.nanos >= 0 &&
           timestamp.nanos <= CK_NANOS_MAX;
}

static int type_is_sensible(int is_proposal, int32_t type) {
    enum { PREVOTE = 1, PRECOMMIT = 2, PROPOSAL = 32 };
    return is_proposal ? type == PROPOSAL : type == PREVOTE || type == PRECOMMIT;
}

static int is_real_precommit(const ck_ballot *ballot) {
    enum { PRECOMMIT = 2 };
    return ballot->type == PRECOMMIT && !ck_block_is_nil(&ballot->block_id);
}

int32_t ck_step_of(int32_t type) {
    switch (type) {
    case 32:
        return 1; /* proposal */
    case 1:
        return 2; /* prevote */
    case 2:
        return 3; /* precommit */
    default:
        return 0;
    }
}

int ck_judge_ballot(int is_proposal, int skip_extension, const ck_ballot *ballot) {
    if (!type_is_sensible(is_proposal, ballot->type)) {
        return CK_BAD_TYPE;
    }
    if (ballot->height < 0) {
        return CK_NEGATIVE_HEIGHT;
    }
    if (ballot->round < 0) {
        return CK_NEGATIVE_ROUND;
    }
    if (!block_is_sensible(&ballot->block_id)) {
        return CK_BAD_BLOCK_ID;
    }
    if (!skip_extension && ballot->extension.len > (is_real_precommit(ballot) ? CK_VOTE_EXTENSION_MAX : 0)) {
        return CK_UNEXPECTED_EXTENSION;
    }
    if (!timestamp_is_sensible(ballot->timestamp)) {
        return CK_BAD_TIMESTAMP;
    }
    if (ballot->pol_round < -1) {
        return CK_BAD_POL_ROUND;
    }
    if (ballot->validator_address.len != 0 && ballot->validator_address.len != CK_ADDRESS_BYTES) {
        return CK_BAD_ADDRESS;
    }
    return CK_REASON_NONE;
}

static int judge_chain(int dialect, ck_bytes configured, const ck_message *message) {
    if (dialect == CK_AMINO) {
        return configured.len == 0 ? CK_EMPTY_CHAIN : CK_REASON_NONE;
    }
    if (message->chain_id.len == 0) {
        return CK_EMPTY_CHAIN;
    }
    return ck_same_bytes(message->chain_id, configured) ? CK_REASON_NONE : CK_WRONG_CHAIN;
}

/* Whether bytes that are no vote make sense; whether they are allowed here is decided elsewhere. */
static int judge_bytes(ck_bytes configured, const ck_message *message) {
    if (message->kind == CK_SIGN_RAW_BYTES_REQUEST) {
        const int reason = judge_chain(CK_PROTO, configured, message);
        if (reason != CK_REASON_NONE) {
            return reason;
        }
        if (message->unique_id.len == 0 || message->unique_id.len > CK_RAW_UNIQUE_ID_MAX) {
            return CK_BAD_BYTES;
        }
    }
    if (message->has_others || message->value.len == 0 || message->value.len > CK_RAW_VALUE_MAX) {
        return CK_BAD_BYTES;
    }
    if (message->kind == CK_SIGN_BYTES_REQUEST &&
        (ck_reads_as_vote(message->value) || ck_begins_as_raw_bytes(message->value))) {
        return CK_BYTES_ARE_A_VOTE;
    }
    return CK_REASON_NONE;
}

static int judge(int dialect, ck_bytes chain_id, const ck_message *message) {
    int reason;
    switch (message->kind) {
    case CK_PING_REQUEST:
        return CK_REASON_NONE;
    case CK_PUB_KEY_REQUEST:
        return judge_chain(dialect, chain_id, message);
    case CK_SIGN_VOTE_REQUEST:
    case CK_SIGN_PROPOSAL_REQUEST:
        reason = judge_chain(dialect, chain_id, message);
        if (reason != CK_REASON_NONE) {
            return reason;
        }
        if (!message->has_ballot) {
            return CK_MISSING_PAYLOAD;
        }
        return ck_judge_ballot(message->kind == CK_SIGN_PROPOSAL_REQUEST, message->skip_extension, &message->ballot);
    case CK_SIGN_BYTES_REQUEST:
    case CK_SIGN_RAW_BYTES_REQUEST:
        return judge_bytes(chain_id, message);
    default:
        return CK_UNKNOWN_KIND;
    }
}

/* What is to be signed, and where. Fails only for a configured chain id that is too long. */
static int fill(int dialect, ck_bytes chain_id, const ck_message *message, ck_request *out) {
    const ck_ballot *ballot = &message->ballot;
    size_t len;
    CK_TRY(ck_canonical(dialect, ballot, chain_id, out->sign_bytes, sizeof out->sign_bytes, &len));
    out->sign_bytes_len = (uint32_t)len;
    out->height = ballot->height;
    out->round = ballot->round;
    out->step = ck_step_of(ballot->type);
    out->timestamp = ballot->timestamp;
    out->wants_extension = dialect == CK_PROTO && is_real_precommit(ballot) && !message->skip_extension;
    return CK_OK;
}

int32_t ck_line_of(int dialect, const ck_message *message, int32_t known) {
    enum { PREVOTE = 1 };
    if (dialect != CK_PROTO || message->kind != CK_SIGN_VOTE_REQUEST) {
        return known;
    }
    if (message->skip_extension) {
        return CK_LINE_V1;
    }
    return message->ballot.type == PREVOTE ? CK_LINE_V0 : known;
}

void ck_check_request(int dialect, ck_bytes chain_id, const ck_message *message, ck_request *out) {
    memset(out, 0, sizeof *out);
    out->kind = message->kind;
    out->timestamp.seconds = CK_GO_ZERO_SECONDS;
    out->reason = judge(dialect, chain_id, message);
    int is_ballot = message->kind == CK_SIGN_VOTE_REQUEST || message->kind == CK_SIGN_PROPOSAL_REQUEST;
    if (is_ballot && out->reason == CK_REASON_NONE && fill(dialect, chain_id, message, out) != CK_OK) {
        out->reason = CK_WRONG_CHAIN;
    }
}

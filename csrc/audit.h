/* What was decided, for the audit log: one message a decision into a ring that the audit process empties. Never between
 * a request and its answer; never waits. A decision that finds no room is lost, and its number is missing in the log.
 *
 * A record, little-endian: life u64, number u64, unix time in ns i64, height i64, round i32, step u8, outcome u8,
 * reason u8, kind u8, chain u16, lengths of the four that follow u8 each, microseconds u32; then sign bytes, block
 * hash, the validator's identity and its address. Of a folded one the microseconds are how many it stands for. Twin:
 * cometkms/core/pure/audit.py; decoder: cometkms/wire/decisions.py. */
#ifndef CK_AUDIT_H
#define CK_AUDIT_H

#include "place.h"
#include "privval.h"
#include "ring.h"

/* As model.Outcome has them. */
enum ck_outcome {
    CK_OUTCOME_BEGAN = 1,
    CK_OUTCOME_SIGNED = 2,
    CK_OUTCOME_REPEATED = 3,
    CK_OUTCOME_REFUSED = 4,
    CK_OUTCOME_UNANSWERED = 5,
    CK_OUTCOME_ENDED = 6,
    CK_OUTCOME_FOLDED = 7, /* the path refuses nothing, and signs no bytes: only Python says this and what follows */
    CK_OUTCOME_SIGNED_BYTES = 8,
    CK_OUTCOME_REFUSED_BYTES = 9
};

enum { CK_AUDIT_HEAD = 50 };
_Static_assert(CK_AUDIT_HEAD + CK_SIGN_BYTES_MAX + 2 * CK_HASH_BYTES + CK_AUDIT_VALIDATOR_MAX <= CK_RING_PAYLOAD,
               "a record fits");

typedef struct ck_audit {
    ck_ring *ring; /* pushed here */
    int wake;
    uint64_t life;   /* of this process */
    uint64_t number; /* of its last decision */
} ck_audit;

/* Who asked. */
typedef struct ck_asker {
    uint8_t identity[32];
    size_t identity_len;
    uint8_t name[CK_AUDIT_VALIDATOR_MAX];
    size_t name_len;
} ck_asker;

typedef struct ck_decision {
    uint8_t outcome, reason, kind;
    uint16_t chain;
    ck_hrs at;
    uint64_t took_ns;
    ck_bytes bytes, block_hash;
} ck_decision;

/* What is longer than its bound is left out. */
void ck_audit_note(ck_audit *audit, const ck_decision *decision, const ck_asker *asker);

#endif

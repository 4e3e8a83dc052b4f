/* What was decided, for the audit log: one message a decision into a ring that the audit process
 * empties. Never between a request and its answer; never waits. A decision that finds no room is
 * lost, and its number is missing in the log.
 *
 * A record is the layout "decision" of cometkms/layouts.py. Twin: cometkms/core/pure/audit.py;
 * decoders: cometkms/wire/decisions.py, csrc/line.c. */
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

_Static_assert(CK_DECISION_HEAD + CK_SIGN_BYTES_MAX + 2 * CK_HASH_BYTES + CK_AUDIT_VALIDATOR_MAX <= CK_RING_PAYLOAD,
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

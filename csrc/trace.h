/* Where one signature's time goes: each hop notes when it was at which place. Off: one test of a
   pointer that is NULL. */
#ifndef CK_TRACE_H
#define CK_TRACE_H

#include "clock.h"
#include "place.h"

/* In the order of one signature's life. A member's, from CK_AT_OPENED to CK_AT_ANSWERED, pass while
 * the leader's own disk syncs. */
enum ck_at {
    CK_AT_READ = 1,       /* signer: the validator's bytes arrived */
    CK_AT_RESERVED = 2,   /* signer: decoded, judged, pushed to the state process */
    CK_AT_TAKEN = 3,      /* state: popped */
    CK_AT_ASKED = 4,      /* state: written, sealed and sent to the members */
    CK_AT_SYNCED = 5,     /* state: own promise is durable */
    CK_AT_OPENED = 6,     /* member: received */
    CK_AT_PROMISED = 7,   /* member: its promise is durable */
    CK_AT_ANSWERED = 8,   /* member: sealed and sent */
    CK_AT_HEARD = 9,      /* state: the answer that makes the majority was received */
    CK_AT_PERMIT = 10,    /* state: counted, pushed to the signer */
    CK_AT_PERMITTED = 11, /* signer: popped */
    CK_AT_SIGNED = 12,    /* signer: signed, encoded, sealed */
    CK_AT_SENT = 13       /* signer: the socket has it */
};

typedef struct ck_trace_mark {
    uint64_t ns;
    ck_hrs at;
    uint32_t chain; /* the row's or the chain's number */
    uint32_t point;
} ck_trace_mark;

typedef struct ck_trace {
    uint64_t count; /* since the beginning; the newest `cap` are there */
    uint64_t cap;
    ck_trace_mark *marks;
} ck_trace;

extern ck_trace *ck_tracing; /* NULL: off */

void ck_trace_add(uint32_t point, uint32_t chain, ck_hrs at, uint64_t ns);

static inline void ck_trace_here(uint32_t point, uint32_t chain, ck_hrs at) {
    if (ck_tracing) ck_trace_add(point, chain, at, ck_now_ns());
}

static inline uint64_t ck_trace_ns(void) { return ck_tracing ? ck_now_ns() : 0; }

static inline void ck_trace_then(uint32_t point, uint32_t chain, ck_hrs at, uint64_t ns) {
    if (ck_tracing) ck_trace_add(point, chain, at, ns);
}

#endif

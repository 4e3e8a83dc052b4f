/* The plain case of a promise, hop by hop, one call each: a member's request → rule → sector → sync
 * → answer; the signer's reservation → rule → own sector → the members' requests → sync; their
 * accepts → permit.
 *
 * General path: cometkms/state/{node,acceptor,proposer}.py and cometkms/store, which own everything
 * else. The plain case is: a place above the row's mark, above every place the general path raised
 * the floor to (signatures, members' marks), no higher than the general path said is plausible
 * (ck_row.reach), in a row that is open, on a node that is ready. Whatever is not plain is handed
 * to the general path untouched; no refusal is made here. The store's records stand once, in
 * `store`, where the general path reads and writes them, too. One thread; nothing allocates. */
#ifndef CK_HOT_H
#define CK_HOT_H

#include "calls.h"
#include "frames.h"
#include "ring.h"
#include "store.h"

/* A reservation of this node's signer that the members were asked for. */
typedef struct ck_reservation {
    int32_t state; /* 0: none; 1: asked; 2: permitted */
    uint16_t chain;
    uint64_t nonce, request_id; /* the signer's */
    uint64_t started_ns;
    uint64_t asked[CK_MEMBERS_MAX]; /* request id; 0: not asked */
    uint32_t accepted;              /* how many hold the bytes, this node included */
    ck_hrs at;
    size_t bytes_len;
    uint8_t bytes[CK_SIGN_BYTES_MAX]; /* its own copy: the row's mark may move on */
} ck_reservation;

/* One established connection to a member. */
typedef struct ck_lane {
    ck_frames *frames;
    int fd;
    int32_t blocked; /* the general path holds bytes that the socket did not take: nothing may overtake them */
    uint32_t member;
    uint64_t served;      /* messages that were handled here */
    uint64_t promised_ns; /* CLOCK_MONOTONIC: the last promise that was made here for the member */
    uint64_t accepted_ns; /* likewise: the member's last promise for this node */
    size_t unsent;        /* sealed bytes in `out` that the socket did not take */
    uint8_t out[CK_BATCH * CK_FRAME_SEALED];
} ck_lane;

typedef struct ck_hot {
    const ck_calls *calls;
    uint64_t nonce; /* of this process */
    uint64_t requests;
    uint32_t quorum;
    uint32_t members;
    uint16_t row_of[CK_ROWS_MAX]; /* the signer's chain → row */
    uint32_t chains;
    ck_store store;
    ck_reservation places[CK_ROWS_MAX]; /* of each row */
    ck_lane *lanes[CK_MEMBERS_MAX];
    uint64_t seq_of[CK_MEMBERS_MAX];               /* the highest each member showed */
    ck_incarnation incarnation_of[CK_MEMBERS_MAX]; /* what is recorded of each: nothing else that it bears is plain */
    ck_ring *permits;
    int permits_wake;
    uint64_t permitted, permit_ns; /* permits, and how long the last took from its reservation */
    uint64_t answered;             /* promises to members */
    uint64_t turn_ns;              /* CLOCK_MONOTONIC of the last receipt from a member, when tracing */
    uint8_t inbox[CK_INBOX];
    uint8_t plain[(CK_INBOX / CK_FRAME_SEALED + 1) * CK_FRAME_DATA];
    uint8_t rest[CK_BATCH * CK_QUEUE_SLOT];
    uint32_t rest_len[CK_BATCH];
} ck_hot;

enum ck_may { CK_MAY_PROMISE = 1, CK_MAY_PROPOSE = 2 };

/* Receive once. With `serve` the plain messages at the front of what arrived are handled here;
 * [rest_at, rest_at + rest_len) of hot->plain is the general path's. CK_MORE: nothing had arrived.
 * CK_CLOSED: the end of the stream. CK_SOCKET: *error is errno. CK_DISK: hot->store.error is, and
 * nothing was answered. */
CK_MUST_CHECK int ck_lane_turn(ck_hot *hot, ck_lane *lane, int serve, int may, size_t *rest_at, size_t *rest_len,
                               int *error);

/* Take up to CK_BATCH messages from the signer's queue. The plain reservations are handled; the
 * others are in hot->rest, one per CK_QUEUE_SLOT, `count` of them, in order. *taken: how many there
 * were. CK_DISK as above; CK_REFUSED: a corrupt ring, or a full one for the permits. */
CK_MUST_CHECK int ck_hot_take(ck_hot *hot, ck_ring *requests, int may, uint32_t *count, uint32_t *taken);

#endif

/* An agent's plain case, one call a hop: a validator's bytes → frames → request → frame of the link
 * to a node; a node's answer → judged → encoded anew → frames → the validator.
 *
 * General path: cometkms/agent/{validator_end,node_link,process}.py, which decide whom to ask and
 * own everything else: other messages, further tries, deadlines. One thread; nothing allocates. */
#ifndef CK_RELAY_H
#define CK_RELAY_H

#include "agent_link.h"
#include "session.h"

/* One open connection to a validator. */
typedef struct ck_end {
    ck_session *session;
    int fd;
    int32_t blocked;  /* the general path holds bytes that the socket did not take: nothing may overtake them */
    uint64_t seq;     /* of the request that waits for its answer, whichever nodes were asked; 0: none */
    int32_t key_type; /* enum ck_key_number of the chain's public key; 0: it is not known */
    size_t public_key_len;
    uint8_t public_key[CK_PUBLIC_KEY_MAX];
    size_t unsent_at; /* [unsent_at, unsent_at + unsent) of the session's outbox: what the socket did not take */
    size_t unsent;
} ck_end;

typedef struct ck_relay {
    const ck_calls *calls;
    uint32_t ends;                  /* of `of` */
    ck_end *of[CK_ROWS_MAX];        /* NULL: there is none now */
    uint32_t answered[CK_ROWS_MAX]; /* numbers of the ends that got their answer … */
    int32_t refused[CK_ROWS_MAX];   /* … and whether it was a final no */
} ck_relay;

enum ck_relayed { CK_RELAY_NOTHING = 0, CK_RELAY_REQUEST = 1, CK_RELAY_ASKED = 2 };

/* Receive once. *found: CK_RELAY_NOTHING: no whole request yet, or one is under way;
 * CK_RELAY_REQUEST: one is pending in the session, for the general path; CK_RELAY_ASKED: one is,
 * and `node` was asked under `seq`. `node` NULL: nobody is to be asked from here. CK_MORE: nothing
 * had arrived. CK_CLOSED: the end of the stream. CK_SOCKET: *error is errno. */
CK_MUST_CHECK int ck_end_turn(const ck_relay *relay, ck_end *end, ck_agent_link *node, uint64_t seq, int *found,
                              int *error);

/* Receive once from a node. With `serve` the signatures and refusals at the front of what arrived
 * go to the ends that wait for them, *answered of them in relay->answered; [rest_at, rest_at +
 * rest_len) of the link's plain bytes is the general path's. Statuses as above. */
CK_MUST_CHECK int ck_node_turn(ck_relay *relay, ck_agent_link *node, int serve, uint32_t *answered, size_t *rest_at,
                               size_t *rest_len, int *error);

#endif

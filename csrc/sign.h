/* The signer's plain case, one call a hop: a validator's bytes → frames → request → rule →
 * reservation; a permit → signature → frames → answer, and then the report to the state process.
 *
 * A request may also come from an agent (ck_desk): a frame of its link holds it, and the answer
 * goes back in one.
 *
 * General path: cometkms/signer/{link,agent_link,chain}.py, which own everything else:
 * other messages than requests to sign, refusals, repeats, a second validator while the
 * first waits, deadlines. Whatever is not plain is handed to the general path
 * untouched. The watermark stands once, in the section, where the general path reads
 * and moves it, too. One thread; nothing allocates. */
#ifndef CK_SIGN_H
#define CK_SIGN_H

#include "agent_link.h"
#include "audit.h"
#include "calls.h"
#include "keyslot.h"
#include "place.h"
#include "ring.h"
#include "session.h"

#define CK_DONE 64 /* signatures that the general path has not counted and logged yet */

/* One open connection to a validator, or one chain for which an agent may ask: then the session is
 * CK_PLAIN and holds one request at a time. */
typedef struct ck_sign_lane {
    ck_session *session;
    ck_agent_link *agent; /* NULL: a validator's own connection */
    uint64_t seq;         /* the agent's number of the request that waits for its answer … */
    int32_t asked;        /* … if one does */
    int fd;
    int32_t blocked; /* the general path holds bytes that the socket did not take: nothing may overtake them */
    uint16_t chain;
    uint32_t number;  /* the general path's */
    ck_asker asker;   /* for the audit log */
    size_t unsent_at; /* [unsent_at, unsent_at + unsent) of the session's outbox: what the socket did not take */
    size_t unsent;
} ck_sign_lane;

/* One agent's link, and the chains for which it may ask. */
typedef struct ck_desk {
    ck_agent_link link;
    uint32_t chains;
    ck_sign_lane *of[CK_ROWS_MAX];
} ck_desk;

/* One chain's critical section, and the one place where its watermark stands: the general path
 * reads and moves it here, too. */
typedef struct ck_section {
    ck_slot *slot;
    int32_t open; /* the general path knows the chain's mark, and nobody waits in its line */
    ck_hrs last;  /* the last signed (or burnt) place */
    size_t bytes_len;
    uint8_t bytes[CK_SIGN_BYTES_MAX];
    size_t signature_len; /* 0: none is known */
    uint8_t signature[CK_SIGNATURE_MAX];
    int32_t unreported;  /* the last one: the queue was full */
    ck_sign_lane *asker; /* whose reservation is under way; NULL: none */
    uint64_t request_id, started_ns, since_ns;
} ck_section;

typedef struct ck_done {
    uint16_t chain;
    uint32_t link;
    ck_hrs at;
    uint64_t at_ns, took_ns;
    uint8_t block_hash[CK_HASH_BYTES];
    size_t block_hash_len;
} ck_done;

typedef struct ck_signer {
    const ck_calls *calls;
    uint64_t nonce; /* of this process */
    uint64_t requests;
    ck_ring *reservations; /* pushed here */
    int reservations_wake;
    ck_ring *permits; /* popped here */
    ck_audit *audit;  /* NULL: there is no audit log */
    uint32_t chains;
    ck_section sections[CK_ROWS_MAX];
    uint64_t done_from, done_to; /* of `done`, modulo CK_DONE */
    ck_done done[CK_DONE];
    uint32_t answered[CK_RING_SLOTS]; /* numbers of the links that got their answers */
    uint8_t rest[CK_RING_PAYLOAD];    /* a message that is the general path's */
    size_t rest_len;                  /* 0: none */
} ck_signer;

/* What a turn found. */
enum ck_found { CK_NOTHING = 0, CK_REQUEST = 1, CK_RESERVED = 2 };

/* Receive once. *found: CK_NOTHING: no whole request yet; CK_REQUEST: one is pending in the
 * session, for the general path; CK_RESERVED: one is, and the state process was asked. CK_MORE:
 * nothing had arrived. CK_CLOSED: the end of the stream. CK_SOCKET: *error is errno. */
CK_MUST_CHECK int ck_sign_lane_turn(ck_signer *signer, ck_sign_lane *link, int *found, int *error);

/* Receive once. With `serve` the plain requests at the front of what arrived are reserved here,
 * *reserved of them; [rest_at, rest_at + rest_len) of the link's plain bytes is the general path's.
 * Statuses as above. */
CK_MUST_CHECK int ck_desk_turn(ck_signer *signer, ck_desk *desk, int serve, uint32_t *reserved, size_t *rest_at,
                               size_t *rest_len, int *error);

/* Take messages from the queue up to the first that is not plain (it is in signer->rest) or to the
 * end; sign and answer for every permit. *answered: how many of signer->answered; *taken: how many
 * messages. CK_REFUSED: a corrupt ring. */
CK_MUST_CHECK int ck_signer_take(ck_signer *signer, uint32_t *answered, uint32_t *taken);

#endif

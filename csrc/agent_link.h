/* A link between an agent and a node as both ends' plain case sees it: the two messages that are on
 * a signature's way, and one receive or send a call. Everything else that travels on it is the
 * general path's (cometkms/wire/agent_messages.py). */
#ifndef CK_AGENT_LINK_H
#define CK_AGENT_LINK_H

#include "calls.h"
#include "frames.h"
#include "privval.h"

#define CK_AGENT_MESSAGE_MAX CK_RESPONSE_MAX /* a privval message that is longer is the general path's */
enum { CK_AGENT_HEAD_MAX = 4 + 1 + 1 + 9 + 2 + CK_CHAIN_ID_MAX + 1 + 1 + 3 };
#define CK_AGENT_OUT (((CK_AGENT_HEAD_MAX + CK_AGENT_MESSAGE_MAX) / CK_FRAME_DATA + 1) * CK_FRAME_SEALED)

typedef struct ck_agent_link {
    ck_frames *frames;
    int fd;
    int32_t blocked; /* the general path holds bytes that the socket did not take: nothing may overtake them */
    size_t unsent;   /* sealed bytes in `out` that the socket did not take */
    uint8_t out[CK_AGENT_OUT];
    uint8_t inbox[CK_INBOX];
    uint8_t plain[(CK_INBOX / CK_FRAME_SEALED + 1) * CK_FRAME_DATA];
} ck_agent_link;

/* [tag, seq, chain id, dialect, urgent, message] and [tag, seq, message]; the messages
   are borrowed. */
typedef struct ck_ask {
    uint64_t seq;
    ck_bytes chain_id;
    uint64_t dialect; /* as it came: not judged here */
    int32_t urgent;
    ck_bytes message;
} ck_ask;

typedef struct ck_answer {
    uint64_t seq;
    ck_bytes message;
} ck_answer;

/* The message at the front of `in`, if it is a whole one of that tag in the shortest form; *used:
 * its size with its length. CK_MORE: the general path's. */
CK_MUST_CHECK int ck_take_ask(ck_bytes in, ck_ask *out, size_t *used);
CK_MUST_CHECK int ck_take_answer(ck_bytes in, ck_answer *out, size_t *used);

/* Receive once, and open it into link->plain. CK_MORE: nothing had arrived. CK_CLOSED: the end of
 * the stream. CK_SOCKET: *error is errno. */
CK_MUST_CHECK int ck_agent_receive(const ck_calls *calls, ck_agent_link *link, size_t *len, int *error);

/* Seal and send one message. What the socket does not take is the general path's to send (unsent,
 * blocked), and to notice why. CK_MORE: it is too long for here, or the general path holds older
 * bytes; nothing was sent. */
CK_MUST_CHECK int ck_agent_ask(const ck_calls *calls, ck_agent_link *link, const ck_ask *ask);
CK_MUST_CHECK int ck_agent_answer(const ck_calls *calls, ck_agent_link *link, const ck_answer *answer);

#endif

#include "agent_link.h"

#include <errno.h>
#include <sys/socket.h>

#include "msgpack.h"

/* cometkms/wire/agent_messages.py */
enum { LENGTH = 4, TAG_ASK = 2, TAG_ANSWER = 3, FALSE = 0xc2, TRUE = 0xc3 };

/* The body of the message at the front, behind its length and the head of an array of `fields`. */
static int take_body(ck_bytes in, uint8_t fields, uint8_t tag, ck_reader *body, size_t *used) {
    size_t size = 0;
    if (in.len < LENGTH) return 0;
    for (size_t i = 0; i < LENGTH; i++) size = size << 8 | in.at[i];
    if (size > in.len - LENGTH) return 0;
    *body = (ck_reader){in.at + LENGTH, size};
    *used = LENGTH + size;
    return ck_unpack_byte(body, (uint8_t)(0x90 | fields)) && ck_unpack_byte(body, tag);
}

static int take_bool(ck_reader *in, int32_t *value) {
    *value = ck_unpack_byte(in, TRUE);
    return *value || ck_unpack_byte(in, FALSE);
}

int ck_take_ask(ck_bytes in, ck_ask *out, size_t *used) {
    ck_reader body;
    ck_ask ask;
    size_t size;
    if (!take_body(in, 6, TAG_ASK, &body, &size) || !ck_unpack_uint(&body, &ask.seq) ||
        !ck_unpack_str(&body, &ask.chain_id) || !ck_unpack_uint(&body, &ask.dialect) ||
        !take_bool(&body, &ask.urgent) || !ck_unpack_bin(&body, &ask.message))
        return CK_MORE;
    if (body.left != 0 || ask.message.len == 0 || ask.message.len > CK_AGENT_MESSAGE_MAX ||
        ask.chain_id.len > CK_CHAIN_ID_MAX)
        return CK_MORE;
    *out = ask;
    *used = size;
    return CK_OK;
}

int ck_take_answer(ck_bytes in, ck_answer *out, size_t *used) {
    ck_reader body;
    ck_answer answer;
    size_t size;
    if (!take_body(in, 3, TAG_ANSWER, &body, &size) || !ck_unpack_uint(&body, &answer.seq) ||
        !ck_unpack_bin(&body, &answer.message))
        return CK_MORE;
    if (body.left != 0 || answer.message.len == 0 || answer.message.len > CK_AGENT_MESSAGE_MAX) return CK_MORE;
    *out = answer;
    *used = size;
    return CK_OK;
}

int ck_agent_receive(const ck_calls *calls, ck_agent_link *link, size_t *len, int *error) {
    const ssize_t got = calls->recv(link->fd, link->inbox, sizeof link->inbox, MSG_DONTWAIT);
    if (got == 0) return CK_CLOSED;
    if (got < 0) {
        *error = errno;
        return errno == EAGAIN || errno == EINTR ? CK_MORE : CK_SOCKET;
    }
    return ck_frames_open(link->frames, link->inbox, (size_t)got, link->plain, sizeof link->plain, len);
}

/* `frame` begins with room for the length; `at` is behind the head of the message's bytes. */
static int send_frame(const ck_calls *calls, ck_agent_link *link, uint8_t *frame, uint8_t *at, ck_bytes message) {
    uint8_t *length = frame;
    size_t sealed = 0;
    memcpy(at, message.at, message.len);
    at += message.len;
    ck_pack_be(&length, (uint64_t)(at - frame) - LENGTH, LENGTH);
    CK_TRY(ck_frames_seal(link->frames, frame, (size_t)(at - frame), link->out, sizeof link->out, &sealed));
    const ssize_t sent = calls->send(link->fd, link->out, sealed, MSG_NOSIGNAL | MSG_DONTWAIT);
    const size_t done = sent > 0 ? (size_t)sent : 0;
    link->unsent = sealed - done;
    if (link->unsent) {
        memmove(link->out, link->out + done, link->unsent);
        link->blocked = 1;
    }
    return CK_OK;
}

int ck_agent_ask(const ck_calls *calls, ck_agent_link *link, const ck_ask *ask) {
    uint8_t frame[CK_AGENT_HEAD_MAX + CK_AGENT_MESSAGE_MAX], *at = frame + LENGTH;
    if (link->blocked || ask->message.len > CK_AGENT_MESSAGE_MAX || ask->chain_id.len > CK_CHAIN_ID_MAX) return CK_MORE;
    *at++ = 0x96;
    *at++ = TAG_ASK;
    ck_pack_uint(&at, ask->seq);
    ck_pack_str(&at, ask->chain_id);
    ck_pack_uint(&at, ask->dialect);
    *at++ = ask->urgent ? TRUE : FALSE;
    ck_pack_bin_head(&at, ask->message.len);
    return send_frame(calls, link, frame, at, ask->message);
}

int ck_agent_answer(const ck_calls *calls, ck_agent_link *link, const ck_answer *answer) {
    uint8_t frame[CK_AGENT_HEAD_MAX + CK_AGENT_MESSAGE_MAX], *at = frame + LENGTH;
    if (link->blocked || answer->message.len > CK_AGENT_MESSAGE_MAX) return CK_MORE;
    *at++ = 0x93;
    *at++ = TAG_ANSWER;
    ck_pack_uint(&at, answer->seq);
    ck_pack_bin_head(&at, answer->message.len);
    return send_frame(calls, link, frame, at, answer->message);
}

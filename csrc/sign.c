#include "sign.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cursor.h"
#include "trace.h"

static ck_hrs place_of(const ck_request *request) { return (ck_hrs){request->height, request->round, request->step}; }

/* rules/sign.py's row "above the watermark", and nobody else in the section. */
static int plain(const ck_section *section, const ck_request *request) {
    const ck_hrs at = place_of(request);
    if (!section->open || section->asker || request->reason != CK_REASON_NONE) return 0;
    if (request->kind != CK_SIGN_VOTE_REQUEST && request->kind != CK_SIGN_PROPOSAL_REQUEST) return 0;
    return ck_above(at, section->last);
}

static int push(ck_signer *signer, const ck_queue_message *message) {
    uint8_t packed[CK_QUEUE_MESSAGE_MAX];
    return ck_ring_push(signer->reservations, packed, ck_pack_message(message, packed));
}

/* CK_MORE: not plain. */
static int reserve(ck_signer *signer, ck_sign_lane *link, uint64_t started_ns) {
    const ck_request *request = &link->session->request;
    ck_section *section = &signer->sections[link->chain];
    if (!plain(section, request)) return CK_MORE;
    const uint64_t request_id = CK_HOT_IDS + ++signer->requests, one = 1;
    const ck_queue_message message = {
        CK_TAG_RESERVE,          signer->nonce, request_id, link->chain, place_of(request), request->sign_bytes,
        request->sign_bytes_len, NULL,          0};
    const int rc = push(signer, &message);
    if (rc != CK_OK) return rc == CK_NO_ROOM ? CK_MORE : rc;
    ck_trace_then(CK_AT_READ, link->chain, message.at, started_ns);
    ck_trace_here(CK_AT_RESERVED, link->chain, message.at);
    if (write(signer->reservations_wake, &one, sizeof one) < 0 && errno != EAGAIN) return CK_REFUSED;
    section->asker = link;
    section->request_id = request_id;
    section->started_ns = started_ns;
    section->since_ns = signer->calls->now_ns();
    ck_session_prepare(link->session, section->slot); /* while the majority is asked */
    return CK_OK;
}

int ck_sign_lane_turn(ck_signer *signer, ck_sign_lane *link, int *found, int *error) {
    ck_session *session = link->session;
    const uint64_t started_ns = signer->calls->now_ns();
    const ssize_t got = signer->calls->recv(link->fd, session->inbox, sizeof session->inbox, MSG_DONTWAIT);
    *found = CK_NOTHING;
    if (got == 0) return CK_CLOSED;
    if (got < 0) {
        *error = errno;
        return errno == EAGAIN || errno == EINTR ? CK_MORE : CK_SOCKET;
    }
    CK_TRY(ck_session_received(session, (size_t)got));
    int rc = ck_session_next(session, &session->request);
    if (rc == CK_MORE) return CK_OK;
    if (rc != CK_OK) return rc;
    rc = reserve(signer, link, started_ns);
    if (rc != CK_OK && rc != CK_MORE) return rc;
    *found = rc == CK_OK ? CK_RESERVED : CK_REQUEST;
    return CK_OK;
}

/* A request for a chain of this agent's, of a kind that the section takes: nothing else of it is
 * under way. CK_MORE: not plain. */
static int on_ask(ck_signer *signer, ck_desk *desk, const ck_ask *ask, uint64_t started_ns) {
    if (ask->urgent || (ask->dialect != CK_PROTO && ask->dialect != CK_AMINO)) return CK_MORE;
    for (uint32_t i = 0; i < desk->chains; i++) {
        ck_sign_lane *link = desk->of[i];
        if (!ck_same_bytes((ck_bytes){link->session->chain_id, link->session->chain_id_len}, ask->chain_id)) continue;
        if (link->asked || !signer->sections[link->chain].open || signer->sections[link->chain].asker) return CK_MORE;
        CK_TRY(ck_session_ask(link->session, (int)ask->dialect, ask->message));
        const int rc = reserve(signer, link, started_ns);
        if (rc != CK_OK) {
            ck_session_forget(link->session);
            return rc;
        }
        link->seq = ask->seq;
        link->asked = 1;
        return CK_OK;
    }
    return CK_MORE;
}

int ck_desk_turn(ck_signer *signer, ck_desk *desk, int serve, uint32_t *reserved, size_t *rest_at, size_t *rest_len,
                 int *error) {
    size_t len = 0, at = 0, used = 0;
    ck_ask ask;
    const uint64_t started_ns = signer->calls->now_ns();
    *reserved = 0;
    CK_TRY(ck_agent_receive(signer->calls, &desk->link, &len, error));
    while (serve && !desk->link.blocked &&
           ck_take_ask((ck_bytes){desk->link.plain + at, len - at}, &ask, &used) == CK_OK) {
        const int rc = on_ask(signer, desk, &ask, started_ns);
        if (rc == CK_MORE) break;
        if (rc != CK_OK) return rc;
        at += used;
        ++*reserved;
    }
    *rest_at = at;
    *rest_len = len - at;
    return CK_OK;
}

/* In a frame of its link. A link whose cipher is used up carries nothing more: the general path
 * meets that with whatever it says next. */
static void send_to_agent(const ck_signer *signer, ck_sign_lane *link, size_t len) {
    const ck_answer answer = {link->seq, {link->session->outbox, len}};
    link->asked = 0;
    if (ck_agent_answer(signer->calls, link->agent, &answer) != CK_OK) link->agent->blocked = 1;
}

/* What the socket does not take is the general path's to send, and to notice why. */
static void send_answer(const ck_signer *signer, ck_sign_lane *link, size_t len) {
    if (link->agent) {
        send_to_agent(signer, link, len);
        return;
    }
    const ssize_t sent = signer->calls->send(link->fd, link->session->outbox, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    link->unsent_at = sent > 0 ? (size_t)sent : 0;
    link->unsent = len - link->unsent_at;
    if (link->unsent) link->blocked = 1;
}

static void audit(ck_audit *audit, const ck_sign_lane *link, const ck_section *section, uint64_t took_ns) {
    const ck_decision made = {.outcome = CK_OUTCOME_SIGNED,
                              .kind = (uint8_t)link->session->request.kind,
                              .chain = link->chain,
                              .at = section->last,
                              .took_ns = took_ns,
                              .bytes = {section->bytes, section->bytes_len},
                              .block_hash = link->session->message.ballot.block_id.hash};
    ck_audit_note(audit, &made, &link->asker);
}

/* For the general path to count and log, later. The request's bytes are there until the next ones
   are received. */
static void note(ck_signer *signer, const ck_sign_lane *link, const ck_section *section) {
    const ck_bytes hash = link->session->message.ballot.block_id.hash;
    ck_done *done = &signer->done[signer->done_to++ % CK_DONE];
    done->chain = link->chain;
    done->link = link->number;
    done->at = section->last;
    done->at_ns = signer->calls->now_ns();
    done->took_ns = done->at_ns - section->started_ns;
    done->block_hash_len = hash.len <= sizeof done->block_hash ? hash.len : 0;
    if (done->block_hash_len) memcpy(done->block_hash, hash.at, hash.len);
    if (signer->audit) audit(signer->audit, link, section, done->took_ns);
}

/* Sign, answer, report, in this order. CK_MORE: not plain; nothing was released. */
static int on_permit(ck_signer *signer, const uint8_t *packed, size_t len, ck_sign_lane **answered) {
    ck_queue_message permit;
    uint8_t signature[CK_SIGNATURE_MAX];
    size_t answer_len = 0;
    if (!ck_unpack_message(packed, len, &permit) || permit.tag != CK_TAG_PERMIT || permit.nonce != signer->nonce)
        return CK_MORE;
    if (permit.chain >= signer->chains || signer->done_to - signer->done_from >= CK_DONE) return CK_MORE;
    ck_section *section = &signer->sections[permit.chain];
    ck_sign_lane *link = section->asker;
    if (!link || (link->agent ? link->agent->blocked : link->blocked) || section->request_id != permit.request_id)
        return CK_MORE;
    const ck_hrs at = place_of(&link->session->request);
    ck_trace_here(CK_AT_PERMITTED, link->chain, at);
    if (ck_session_sign(link->session, section->slot, permit.bytes, permit.bytes_len, signature, &answer_len) != CK_OK)
        return CK_MORE;
    ck_trace_here(CK_AT_SIGNED, link->chain, at);
    send_answer(signer, link, answer_len);
    ck_trace_here(CK_AT_SENT, link->chain, at);
    section->asker = NULL;
    section->last = at;
    section->bytes_len = permit.bytes_len;
    memcpy(section->bytes, permit.bytes, permit.bytes_len);
    section->signature_len = section->slot->type->signature_len;
    memcpy(section->signature, signature, section->signature_len);
    const ck_queue_message report = {
        CK_TAG_SIGNED,         0, 0, permit.chain, at, section->bytes, section->bytes_len, section->signature,
        section->signature_len};
    /* A report that found no room is found with the next reservation, or after the
       general path's wake-up. */
    section->unreported = push(signer, &report) != CK_OK;
    note(signer, link, section);
    *answered = link;
    return CK_OK;
}

int ck_signer_take(ck_signer *signer, uint32_t *answered, uint32_t *taken) {
    *answered = *taken = 0;
    signer->rest_len = 0;
    while (*taken < CK_RING_SLOTS) {
        uint8_t message[CK_RING_PAYLOAD];
        size_t len = 0;
        ck_sign_lane *link = NULL;
        int rc = ck_ring_pop(signer->permits, message, &len);
        if (rc == CK_MORE) return CK_OK;
        if (rc != CK_OK) return rc;
        ++*taken;
        rc = on_permit(signer, message, len, &link);
        if (rc == CK_OK) {
            signer->answered[(*answered)++] = link->number;
            continue;
        }
        memcpy(signer->rest, message, len);
        signer->rest_len = len;
        return CK_OK;
    }
    return CK_OK;
}

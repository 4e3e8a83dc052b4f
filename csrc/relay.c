#include "relay.h"

#include <errno.h>
#include <sys/socket.h>

#include "cursor.h"

/* A request that a node may sign as it is; what else a validator says, and what is senseless, is
   the general path's. */
static int plain(const ck_end *end) {
    const ck_request *request = &end->session->request;
    return request->reason == CK_REASON_NONE && !end->blocked && end->seq == 0 &&
           (request->kind == CK_SIGN_VOTE_REQUEST || request->kind == CK_SIGN_PROPOSAL_REQUEST);
}

int ck_end_turn(const ck_relay *relay, ck_end *end, ck_agent_link *node, uint64_t seq, int *found, int *error) {
    ck_session *session = end->session;
    const ssize_t got = relay->calls->recv(end->fd, session->inbox, sizeof session->inbox, MSG_DONTWAIT);
    *found = CK_RELAY_NOTHING;
    if (got == 0) return CK_CLOSED;
    if (got < 0) {
        *error = errno;
        return errno == EAGAIN || errno == EINTR ? CK_MORE : CK_SOCKET;
    }
    if (node) node->unsent = 0;
    int rc = ck_session_received(session, (size_t)got);
    if (rc != CK_OK || session->pending) return rc;
    rc = ck_session_next(session, &session->request);
    if (rc == CK_MORE) return CK_OK;
    if (rc != CK_OK) return rc;
    *found = CK_RELAY_REQUEST;
    if (!node || !plain(end)) return CK_OK;
    const ck_ask ask = {
        seq, {session->chain_id, session->chain_id_len}, (uint64_t)session->dialect, 0, ck_session_pending(session)};
    rc = ck_agent_ask(relay->calls, node, &ask);
    if (rc == CK_MORE) return CK_OK;
    if (rc != CK_OK) return rc;
    end->seq = seq;
    *found = CK_RELAY_ASKED;
    return CK_OK;
}

/* What the socket does not take is the general path's to send, and to notice why. */
static void send_answer(const ck_relay *relay, ck_end *end, size_t len) {
    const ssize_t sent = relay->calls->send(end->fd, end->session->outbox, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    end->unsent_at = sent > 0 ? (size_t)sent : 0;
    end->unsent = len - end->unsent_at;
    if (end->unsent) end->blocked = 1;
}

/* CK_MORE: it is the general path's: nobody waits for it here, or it is no answer. */
static int on_answer(ck_relay *relay, const ck_answer *answer, uint32_t count) {
    size_t len;
    for (uint32_t i = 0; i < relay->ends; i++) {
        ck_end *end = relay->of[i];
        if (!end || end->seq != answer->seq || answer->seq == 0) continue;
        const ck_bytes key = {end->public_key, end->public_key_len};
        if (end->blocked || !end->key_type ||
            ck_session_relay(end->session, end->key_type, key, answer->message, &relay->refused[count], &len) != CK_OK)
            return CK_MORE;
        send_answer(relay, end, len);
        end->seq = 0;
        relay->answered[count] = i;
        return CK_OK;
    }
    return CK_MORE;
}

int ck_node_turn(ck_relay *relay, ck_agent_link *node, int serve, uint32_t *answered, size_t *rest_at, size_t *rest_len,
                 int *error) {
    size_t len = 0, at = 0, used = 0;
    ck_answer answer;
    *answered = 0;
    CK_TRY(ck_agent_receive(relay->calls, node, &len, error));
    while (serve && *answered < CK_ROWS_MAX &&
           ck_take_answer((ck_bytes){node->plain + at, len - at}, &answer, &used) == CK_OK) {
        if (on_answer(relay, &answer, *answered) != CK_OK) break;
        ++*answered;
        at += used;
    }
    *rest_at = at;
    *rest_len = len - at;
    return CK_OK;
}

#include "hot.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cursor.h"
#include "msgpack.h"
#include "sodium.h"
#include "trace.h"

/* cometkms/state/peers/frames.py, cometkms/wire/peer_messages.py */
enum { DATA = 4, FRAME_HEAD = 5, TAG_PROMISE = 2, TAG_PROMISED = 3, MESSAGE_MAX = 96 + 32 + CK_SIGN_BYTES_MAX };

/* --- the messages' common parts --- */

static void put_incarnation(uint8_t **out, ck_incarnation incarnation) {
    *(*out)++ = 0x92;
    ck_pack_uint(out, incarnation.number);
    ck_pack_uint(out, incarnation.nonce);
}

/* A message's last two fields: the sender's seq, and an incarnation that must be the
   one recorded of it. */
static int take_end(const ck_hot *hot, uint32_t member, ck_reader *in, uint64_t *member_seq) {
    ck_incarnation borne;
    const ck_incarnation *recorded = &hot->incarnation_of[member];
    return ck_unpack_uint(in, member_seq) && ck_unpack_byte(in, 0x92) && ck_unpack_uint(in, &borne.number) &&
           ck_unpack_uint(in, &borne.nonce) && in->left == 0 && borne.number == recorded->number &&
           borne.nonce == recorded->nonce && *member_seq <= CK_SEQ_MAX &&
           (*member_seq <= hot->seq_of[member] || *member_seq - hot->seq_of[member] <= CK_SEQ_STEP_MAX);
}

static void learn_seq(ck_hot *hot, uint32_t member, uint64_t member_seq) {
    if (member_seq > hot->seq_of[member]) hot->seq_of[member] = member_seq;
}

/* --- what a request names --- */

static int is_of(const ck_row *row, const ck_sign_bytes *parsed) {
    return ck_same_bytes(parsed->chain_id, (ck_bytes){row->chain_id, row->chain_id_len});
}

static int parse(ck_bytes bytes, ck_sign_bytes *parsed) {
    return bytes.len <= CK_SIGN_BYTES_MAX && ck_parse_sign_bytes(bytes.at, bytes.len, parsed) == CK_OK;
}

static int in_batch(const ck_batch *pending, uint32_t row_number) {
    for (uint32_t n = 0; n < pending->count; n++)
        if (pending->row[n] == row_number) return 1;
    return 0;
}

/* --- to the members --- */

typedef struct outgoing {
    size_t used;
    int status;
} outgoing;

static void add_frame(ck_lane *lane, outgoing *out, const uint8_t *message, size_t len) {
    uint8_t frame[FRAME_HEAD + MESSAGE_MAX], *at = frame;
    size_t sealed = 0;
    ck_put_le(&at, 1 + len, 4);
    *at++ = DATA;
    memcpy(at, message, len);
    const int rc = ck_frames_seal(lane->frames, frame, FRAME_HEAD + len, lane->out + out->used,
                                  sizeof lane->out - out->used, &sealed);
    if (rc != CK_OK) {
        out->status = rc;
        return;
    }
    out->used += sealed;
    lane->served++;
}

/* What the socket does not take is the general path's to send. A socket that failed is noticed by
 * the general path at its next turn. */
static void send_frames(const ck_hot *hot, ck_lane *lane, outgoing *out) {
    lane->unsent = 0;
    if (out->used == 0) return;
    const ssize_t sent = hot->calls->send(lane->fd, lane->out, out->used, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent == (ssize_t)out->used) return;
    const size_t done = sent > 0 ? (size_t)sent : 0;
    lane->unsent = out->used - done;
    memmove(lane->out, lane->out + done, lane->unsent);
    lane->blocked = 1;
}

/* --- a member's request --- */

static int answer_promises(ck_hot *hot, ck_lane *lane, ck_batch *pending) {
    outgoing out = {0, CK_OK};
    if (pending->count == 0) return CK_OK;
    CK_TRY(ck_store_sync(hot->calls, &hot->store, pending));
    const uint64_t known = ck_store_seq(&hot->store);
    lane->promised_ns = hot->store.active_ns;
    for (uint32_t n = 0; n < pending->count; n++) {
        ck_trace_then(CK_AT_OPENED, pending->row[n], pending->at[n], pending->started_ns[n]);
        ck_trace_then(CK_AT_PROMISED, pending->row[n], pending->at[n], hot->store.active_ns);
        uint8_t message[96], *at = message;
        *at++ = 0x97; /* [tag, nonce, request id, reason, mark, seq, incarnation] */
        *at++ = TAG_PROMISED;
        ck_pack_uint(&at, pending->nonce[n]);
        ck_pack_uint(&at, pending->request_id[n]);
        *at++ = CK_REASON_NONE;
        memcpy(at, "\x95\0\0\0\xc4\0\xc4\0", 8), at += 8; /* [0, 0, 0, b"", b""] */
        ck_pack_uint(&at, known);
        put_incarnation(&at, hot->store.own);
        add_frame(lane, &out, message, (size_t)(at - message));
    }
    send_frames(hot, lane, &out);
    for (uint32_t n = 0; n < pending->count; n++) ck_trace_here(CK_AT_ANSWERED, pending->row[n], pending->at[n]);
    hot->answered += pending->count;
    pending->count = 0;
    return out.status;
}

/* CK_MORE: not plain. */
static int on_promise(ck_hot *hot, ck_lane *lane, ck_reader in, ck_batch *pending) {
    uint64_t nonce, request_id, member_seq;
    ck_bytes key, bytes;
    ck_sign_bytes parsed;
    if (!ck_unpack_uint(&in, &nonce) || !ck_unpack_uint(&in, &request_id) || !ck_unpack_bin(&in, &key) ||
        !ck_unpack_bin(&in, &bytes) || !take_end(hot, lane->member, &in, &member_seq) || key.len != 32 ||
        !parse(bytes, &parsed))
        return CK_MORE;
    const ck_hrs at = {parsed.height, parsed.round, parsed.step};
    for (uint32_t i = 0; i < hot->store.rows_len; i++) {
        const ck_row *row = &hot->store.rows[i];
        if (memcmp(row->key, key.at, 32) != 0 || !is_of(row, &parsed)) continue;
        if (in_batch(pending, i)) CK_TRY(answer_promises(hot, lane, pending));
        if (lane->blocked || !ck_row_plain(row, at)) return CK_MORE;
        CK_TRY(ck_store_write(hot->calls, &hot->store, pending, i, at, bytes));
        learn_seq(hot, lane->member, member_seq);
        pending->started_ns[pending->count - 1] = hot->turn_ns;
        pending->nonce[pending->count - 1] = nonce;
        pending->request_id[pending->count - 1] = request_id;
        return pending->count == CK_BATCH ? answer_promises(hot, lane, pending) : CK_OK;
    }
    return CK_MORE;
}

/* --- a member's answer --- */

static int permit(ck_hot *hot, uint32_t row) {
    uint8_t packed[CK_QUEUE_MESSAGE_MAX];
    ck_reservation *place = &hot->places[row];
    const ck_queue_message message = {CK_TAG_PERMIT,    place->nonce, place->request_id,
                                      place->chain,     {0, 0, 0},    place->bytes,
                                      place->bytes_len, NULL,         0};
    if (hot->store.error) return CK_DISK;
    place->state = 2;
    ck_trace_then(CK_AT_HEARD, row, place->at, hot->turn_ns);
    ck_trace_here(CK_AT_PERMIT, row, place->at);
    if (ck_ring_push(hot->permits, packed, ck_pack_message(&message, packed)) != CK_OK) return CK_REFUSED;
    const uint64_t one = 1;
    if (write(hot->permits_wake, &one, sizeof one) < 0 && errno != EAGAIN) return CK_REFUSED;
    hot->permitted++;
    hot->permit_ns = hot->calls->now_ns() - place->started_ns;
    return CK_OK;
}

/* CK_MORE: not plain. */
static int on_promised(ck_hot *hot, ck_lane *lane, ck_reader in) {
    uint64_t nonce, request_id, member_seq;
    if (!ck_unpack_uint(&in, &nonce) || !ck_unpack_uint(&in, &request_id) || in.left < 9 ||
        memcmp(in.at, "\0\x95\0\0\0\xc4\0\xc4\0", 9) != 0)
        return CK_MORE;
    in.at += 9, in.left -= 9;
    if (!take_end(hot, lane->member, &in, &member_seq) || nonce != hot->nonce || request_id < CK_HOT_IDS)
        return CK_MORE;
    const uint32_t row = request_id % CK_ROWS_MAX;
    ck_reservation *place = &hot->places[row];
    learn_seq(hot, lane->member, member_seq);
    lane->accepted_ns = hot->calls->now_ns();
    if (place->state == 0 || place->asked[lane->member] != request_id) return CK_OK; /* of a place that is over */
    place->asked[lane->member] = 0;
    place->accepted++;
    lane->served++;
    return place->state == 1 && place->accepted >= hot->quorum ? permit(hot, row) : CK_OK;
}

/* --- one turn of a connection --- */

/* The first frame of `in`, if it is whole and plain; *used: its size. CK_MORE: it is
   the general path's. */
static int on_frame(ck_hot *hot, ck_lane *lane, ck_bytes in, int may, ck_batch *pending, size_t *used) {
    if (in.len < FRAME_HEAD + 2 || in.at[4] != DATA) return CK_MORE;
    const uint64_t size = ck_get_le(in.at, 4);
    if (size < 3 || size > 1 + MESSAGE_MAX || in.len - 4 < size) return CK_MORE;
    *used = 4 + size;
    ck_reader body = {in.at + FRAME_HEAD, size - 1};
    if (!ck_unpack_byte(&body, 0x97)) return CK_MORE;
    if (ck_unpack_byte(&body, TAG_PROMISED)) return on_promised(hot, lane, body);
    return (may & CK_MAY_PROMISE) && ck_unpack_byte(&body, TAG_PROMISE) ? on_promise(hot, lane, body, pending)
                                                                        : CK_MORE;
}

int ck_lane_turn(ck_hot *hot, ck_lane *lane, int serve, int may, size_t *rest_at, size_t *rest_len, int *error) {
    size_t len = 0, at = 0;
    ck_batch pending;
    pending.count = 0;
    lane->unsent = 0;
    const ssize_t got = hot->calls->recv(lane->fd, hot->inbox, sizeof hot->inbox, MSG_DONTWAIT);
    if (got == 0) return CK_CLOSED;
    if (got < 0) {
        *error = errno;
        return errno == EAGAIN || errno == EINTR ? CK_MORE : CK_SOCKET;
    }
    hot->turn_ns = ck_trace_ns();
    CK_TRY(ck_frames_open(lane->frames, hot->inbox, (size_t)got, hot->plain, sizeof hot->plain, &len));
    while (serve && !lane->blocked && at < len) {
        size_t used = 0;
        const int rc = on_frame(hot, lane, (ck_bytes){hot->plain + at, len - at}, may, &pending, &used);
        if (rc == CK_MORE) break;
        if (rc != CK_OK) return rc;
        at += used;
    }
    CK_TRY(answer_promises(hot, lane, &pending));
    *rest_at = at;
    *rest_len = len - at;
    return CK_OK;
}

/* --- the signer's reservations --- */

static int ask_members(ck_hot *hot, const ck_batch *pending) {
    const uint64_t known = ck_store_seq(&hot->store);
    for (uint32_t member = 0; member < hot->members; member++) {
        ck_lane *lane = hot->lanes[member];
        outgoing out = {0, CK_OK};
        if (!lane) continue;
        for (uint32_t n = 0; n < pending->count; n++) {
            const ck_row *row = &hot->store.rows[pending->row[n]];
            ck_reservation *place = &hot->places[pending->row[n]];
            uint8_t message[MESSAGE_MAX], *at = message;
            const uint64_t request_id = CK_HOT_IDS + ++hot->requests * CK_ROWS_MAX + pending->row[n];
            *at++ = 0x97; /* [tag, nonce, request id, public key, sign bytes, seq, incarnation] */
            *at++ = TAG_PROMISE;
            ck_pack_uint(&at, hot->nonce);
            ck_pack_uint(&at, request_id);
            ck_pack_bin(&at, row->key, 32);
            ck_pack_bin(&at, place->bytes, place->bytes_len);
            ck_pack_uint(&at, known);
            put_incarnation(&at, hot->store.own);
            place->asked[member] = request_id;
            add_frame(lane, &out, message, (size_t)(at - message));
        }
        send_frames(hot, lane, &out);
        if (out.status != CK_OK) return out.status;
    }
    for (uint32_t n = 0; n < pending->count; n++) ck_trace_here(CK_AT_ASKED, pending->row[n], pending->at[n]);
    return CK_OK;
}

/* Rule 4, in one step in which this process does nothing else: the own promises are written, the
 * members are asked, and the own disk syncs while theirs do. Nothing is answered or counted before
 * the sync is done; if it fails, never. */
static int propose(ck_hot *hot, ck_batch *pending) {
    if (pending->count == 0) return CK_OK;
    for (uint32_t n = 0; n < pending->count; n++) {
        ck_reservation *place = &hot->places[pending->row[n]];
        memset(place, 0, sizeof *place);
        place->nonce = pending->nonce[n];
        place->request_id = pending->request_id[n];
        place->chain = pending->chain[n];
        place->started_ns = pending->started_ns[n];
        place->at = pending->at[n];
        place->bytes_len = pending->bytes_len[n];
        memcpy(place->bytes, pending->bytes[n], pending->bytes_len[n]);
        ck_trace_then(CK_AT_TAKEN, pending->row[n], place->at, place->started_ns);
    }
    if (hot->quorum > 1) CK_TRY(ask_members(hot, pending));
    CK_TRY(ck_store_sync(hot->calls, &hot->store, pending));
    for (uint32_t n = 0; n < pending->count; n++) {
        ck_reservation *place = &hot->places[pending->row[n]];
        place->state = 1;
        place->accepted = 1;
        ck_trace_then(CK_AT_SYNCED, pending->row[n], place->at, hot->store.active_ns);
        if (hot->quorum == 1) CK_TRY(permit(hot, pending->row[n]));
    }
    pending->count = 0;
    return CK_OK;
}

static int any_blocked(const ck_hot *hot) {
    for (uint32_t i = 0; i < hot->members; i++)
        if (hot->lanes[i] && hot->lanes[i]->blocked) return 1;
    return 0;
}

/* CK_MORE: not plain. */
static int on_reserve(ck_hot *hot, const uint8_t *message, size_t len, ck_batch *pending) {
    ck_sign_bytes parsed;
    ck_queue_message asked;
    if (!ck_unpack_message(message, len, &asked) || asked.tag != CK_TAG_RESERVE) return CK_MORE;
    if (asked.chain >= hot->chains || any_blocked(hot)) return CK_MORE;
    const ck_bytes bytes = {asked.bytes, asked.bytes_len};
    const uint32_t number = hot->row_of[asked.chain];
    if (!parse(bytes, &parsed) || !is_of(&hot->store.rows[number], &parsed)) return CK_MORE;
    const ck_hrs at = {parsed.height, parsed.round, parsed.step};
    if (memcmp(&at, &asked.at, sizeof at) != 0) return CK_MORE;
    if (in_batch(pending, number) || !ck_row_plain(&hot->store.rows[number], at)) return CK_MORE;
    const uint64_t started_ns = hot->calls->now_ns();
    CK_TRY(ck_store_write(hot->calls, &hot->store, pending, number, at, bytes));
    const uint32_t n = pending->count - 1;
    pending->nonce[n] = asked.nonce;
    pending->request_id[n] = asked.request_id;
    pending->chain[n] = asked.chain;
    pending->started_ns[n] = started_ns;
    return CK_OK;
}

int ck_hot_take(ck_hot *hot, ck_ring *requests, int may, uint32_t *count, uint32_t *taken) {
    ck_batch pending;
    pending.count = 0;
    *count = *taken = 0;
    for (uint32_t i = 0; i < CK_MEMBERS_MAX; i++)
        if (hot->lanes[i]) hot->lanes[i]->unsent = 0;
    while (*taken < CK_BATCH) {
        uint8_t message[CK_RING_PAYLOAD];
        size_t len = 0;
        const int rc = ck_ring_pop(requests, message, &len);
        if (rc == CK_MORE) break;
        if (rc != CK_OK) return rc;
        ++*taken;
        const int plain_one = (may & (CK_MAY_PROMISE | CK_MAY_PROPOSE)) == (CK_MAY_PROMISE | CK_MAY_PROPOSE);
        const int served = plain_one ? on_reserve(hot, message, len, &pending) : CK_MORE;
        if (served == CK_OK) continue;
        if (served != CK_MORE) return served;
        memcpy(hot->rest + *count * CK_QUEUE_SLOT, message, len);
        hot->rest_len[(*count)++] = (uint32_t)len;
    }
    return propose(hot, &pending);
}

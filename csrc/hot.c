#include "hot.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cursor.h"
#include "msgpack.h"
#include "sodium.h"
#include "trace.h"

/* cometkms/state/peers.py, cometkms/wire/peer_messages.py */
enum { DATA = 4, FRAME_HEAD = 5, TAG_PROMISE = 2, TAG_PROMISED = 3, MESSAGE_MAX = 96 + 32 + CK_SIGN_BYTES_MAX };
/* cometkms/limits.py */
#define SEQ_MAX ((1ull << 62) - 1)
#define SEQ_STEP_MAX (1ull << 40)
#define ROW_MAGIC "CMKMSR02"

/* Promises written and not yet synced; each is answered after the one sync they share. */
typedef struct batch {
    uint32_t count;
    uint32_t row[CK_BATCH];
    ck_hrs at[CK_BATCH];
    size_t bytes_len[CK_BATCH];
    uint8_t bytes[CK_BATCH][CK_SIGN_BYTES_MAX];
    uint64_t nonce[CK_BATCH], request_id[CK_BATCH]; /* whom to answer */
    uint16_t chain[CK_BATCH];
    uint64_t started_ns[CK_BATCH];
} batch;

/* --- the messages' common parts --- */

static void put_incarnation(uint8_t **out, ck_incarnation incarnation) {
    *(*out)++ = 0x92;
    ck_pack_uint(out, incarnation.number);
    ck_pack_uint(out, incarnation.nonce);
}

/* A message's last two fields: the sender's seq, and an incarnation that must be the one recorded of it. */
static int take_end(const ck_hot *hot, uint32_t member, ck_reader *in, uint64_t *member_seq) {
    ck_incarnation borne;
    const ck_incarnation *recorded = &hot->incarnation_of[member];
    return ck_unpack_uint(in, member_seq) && ck_unpack_byte(in, 0x92) && ck_unpack_uint(in, &borne.number) &&
           ck_unpack_uint(in, &borne.nonce) && in->left == 0 && borne.number == recorded->number &&
           borne.nonce == recorded->nonce && *member_seq <= SEQ_MAX &&
           (*member_seq <= hot->seq_of[member] || *member_seq - hot->seq_of[member] <= SEQ_STEP_MAX);
}

static void learn_seq(ck_hot *hot, uint32_t member, uint64_t member_seq) {
    if (member_seq > hot->seq_of[member]) hot->seq_of[member] = member_seq;
}

/* --- the rule and the store --- */

static uint64_t seq(const ck_hot *hot) {
    uint64_t total = hot->seq_base;
    for (uint32_t i = 0; i < hot->rows_len; i++) total += hot->rows[i].count;
    return total;
}

static int is_of(const ck_row *row, const ck_sign_bytes *parsed) {
    return ck_same_bytes(parsed->chain_id, (ck_bytes){row->chain_id, row->chain_id_len});
}

static int parse(ck_bytes bytes, ck_sign_bytes *parsed) {
    return bytes.len <= CK_SIGN_BYTES_MAX && ck_parse_sign_bytes(bytes.at, bytes.len, parsed) == CK_OK;
}

/* Whether the row's promise there is the plain case. */
static int plain(const ck_row *row, ck_hrs at) {
    return row->open && ck_above(at, row->mark) && ck_above(at, row->floor) && at.height <= row->reach;
}

/* store/promise_store.py's sector: prefix, body, zeros, BLAKE2b-128 of what is before. */
static void seal_sector(const ck_row *row, ck_hrs at, ck_bytes bytes, uint8_t sector[CK_SECTOR]) {
    uint8_t *out = sector;
    const size_t body = 32 + 8 + 4 + 1 + 1 + 2 + 1 + 1 + 8 + row->chain_id_len + bytes.len;
    memset(sector, 0, CK_SECTOR);
    memcpy(out, ROW_MAGIC, 8), out += 8;
    ck_put_le(&out, row->sequence + 1, 8);
    ck_put_le(&out, body, 2);
    memcpy(out, row->key, 32), out += 32;
    ck_put_le(&out, (uint64_t)at.height, 8);
    ck_put_le(&out, (uint32_t)at.round, 4);
    ck_put_le(&out, (uint8_t)at.step, 1);
    ck_put_le(&out, 0, 1); /* neither burnt nor closed */
    ck_put_le(&out, bytes.len, 2);
    ck_put_le(&out, 0, 1); /* no signature */
    ck_put_le(&out, row->chain_id_len, 1);
    ck_put_le(&out, row->count + 1, 8);
    memcpy(out, row->chain_id, row->chain_id_len), out += row->chain_id_len;
    memcpy(out, bytes.at, bytes.len);
    ck_sodium.blake2b(sector + CK_SECTOR - 16, 16, sector, CK_SECTOR - 16, NULL, 0);
}

static int disk_failed(ck_hot *hot, int error) {
    hot->error = error ? error : EIO;
    return CK_DISK;
}

/* Into the slot that does not hold the newest record; it is nothing before the sync. */
static int write_promise(ck_hot *hot, batch *pending, uint32_t row_number, ck_hrs at, ck_bytes bytes) {
    const ck_row *row = &hot->rows[row_number];
    uint8_t sector[CK_SECTOR];
    if (hot->error) return CK_DISK;
    seal_sector(row, at, bytes, sector);
    const off_t offset = (off_t)(row->first_block + (uint32_t)(1 - row->newest)) * CK_BLOCK;
    const ssize_t written = hot->calls->pwrite(hot->fd, sector, CK_SECTOR, offset);
    if (written != CK_SECTOR) return disk_failed(hot, written < 0 ? errno : ENOSPC);
    const uint32_t n = pending->count++;
    pending->row[n] = row_number;
    pending->at[n] = at;
    pending->bytes_len[n] = bytes.len;
    memcpy(pending->bytes[n], bytes.at, bytes.len);
    return CK_OK;
}

/* After it, and only then, the marks have moved. */
static int sync_promises(ck_hot *hot, const batch *pending) {
    const uint64_t began_ns = hot->calls->now_ns();
    if (hot->calls->fdatasync(hot->fd) != 0) return disk_failed(hot, errno);
    for (uint32_t n = 0; n < pending->count; n++) {
        ck_row *row = &hot->rows[pending->row[n]];
        row->mark = pending->at[n];
        row->bytes_len = pending->bytes_len[n];
        memcpy(row->bytes, pending->bytes[n], pending->bytes_len[n]);
        row->count++;
        row->sequence++;
        row->newest = 1 - row->newest;
    }
    hot->active_ns = hot->calls->now_ns();
    hot->syncs++;
    hot->sync_ns = hot->active_ns - began_ns;
    return CK_OK;
}

static int in_batch(const batch *pending, uint32_t row_number) {
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

/* What the socket does not take is the twin's to send. A socket that failed is noticed by the twin at its next turn. */
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

static int answer_promises(ck_hot *hot, ck_lane *lane, batch *pending) {
    outgoing out = {0, CK_OK};
    if (pending->count == 0) return CK_OK;
    CK_TRY(sync_promises(hot, pending));
    const uint64_t known = seq(hot);
    lane->promised_ns = hot->active_ns;
    for (uint32_t n = 0; n < pending->count; n++) {
        ck_trace_then(CK_AT_OPENED, pending->row[n], pending->at[n], pending->started_ns[n]);
        ck_trace_then(CK_AT_PROMISED, pending->row[n], pending->at[n], hot->active_ns);
        uint8_t message[96], *at = message;
        *at++ = 0x97; /* [tag, nonce, request id, reason, mark, seq, incarnation] */
        *at++ = TAG_PROMISED;
        ck_pack_uint(&at, pending->nonce[n]);
        ck_pack_uint(&at, pending->request_id[n]);
        *at++ = CK_REASON_NONE;
        memcpy(at, "\x95\0\0\0\xc4\0\xc4\0", 8), at += 8; /* [0, 0, 0, b"", b""] */
        ck_pack_uint(&at, known);
        put_incarnation(&at, hot->own);
        add_frame(lane, &out, message, (size_t)(at - message));
    }
    send_frames(hot, lane, &out);
    for (uint32_t n = 0; n < pending->count; n++) ck_trace_here(CK_AT_ANSWERED, pending->row[n], pending->at[n]);
    hot->answered += pending->count;
    pending->count = 0;
    return out.status;
}

/* CK_MORE: not plain. */
static int on_promise(ck_hot *hot, ck_lane *lane, ck_reader in, batch *pending) {
    uint64_t nonce, request_id, member_seq;
    ck_bytes key, bytes;
    ck_sign_bytes parsed;
    if (!ck_unpack_uint(&in, &nonce) || !ck_unpack_uint(&in, &request_id) || !ck_unpack_bin(&in, &key) ||
        !ck_unpack_bin(&in, &bytes) || !take_end(hot, lane->member, &in, &member_seq) || key.len != 32 ||
        !parse(bytes, &parsed))
        return CK_MORE;
    const ck_hrs at = {parsed.height, parsed.round, parsed.step};
    for (uint32_t i = 0; i < hot->rows_len; i++) {
        const ck_row *row = &hot->rows[i];
        if (memcmp(row->key, key.at, 32) != 0 || !is_of(row, &parsed)) continue;
        if (in_batch(pending, i)) CK_TRY(answer_promises(hot, lane, pending));
        if (lane->blocked || !plain(row, at)) return CK_MORE;
        CK_TRY(write_promise(hot, pending, i, at, bytes));
        learn_seq(hot, lane->member, member_seq);
        pending->started_ns[pending->count - 1] = hot->turn_ns;
        pending->nonce[pending->count - 1] = nonce;
        pending->request_id[pending->count - 1] = request_id;
        return pending->count == CK_BATCH ? answer_promises(hot, lane, pending) : CK_OK;
    }
    return CK_MORE;
}

/* --- a member's answer --- */

static int permit(ck_hot *hot, ck_row *row) {
    uint8_t packed[CK_QUEUE_MESSAGE_MAX];
    ck_reservation *place = &row->place;
    const ck_queue_message message = {CK_TAG_PERMIT,    place->nonce, place->request_id,
                                      place->chain,     {0, 0, 0},    place->bytes,
                                      place->bytes_len, NULL,         0};
    if (hot->error) return CK_DISK;
    place->state = 2;
    ck_trace_then(CK_AT_HEARD, (uint32_t)(row - hot->rows), place->at, hot->turn_ns);
    ck_trace_here(CK_AT_PERMIT, (uint32_t)(row - hot->rows), place->at);
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
    ck_row *row = &hot->rows[request_id % CK_ROWS_MAX];
    learn_seq(hot, lane->member, member_seq);
    lane->accepted_ns = hot->calls->now_ns();
    if (row->place.state == 0 || row->place.asked[lane->member] != request_id)
        return CK_OK; /* of a place that is over */
    row->place.asked[lane->member] = 0;
    row->place.accepted++;
    lane->served++;
    return row->place.state == 1 && row->place.accepted >= hot->quorum ? permit(hot, row) : CK_OK;
}

/* --- one turn of a connection --- */

/* The first frame of `in`, if it is whole and plain; *used: its size. CK_MORE: it is the twin's. */
static int on_frame(ck_hot *hot, ck_lane *lane, ck_bytes in, int may, batch *pending, size_t *used) {
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
    batch pending;
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

static int ask_members(ck_hot *hot, const batch *pending) {
    const uint64_t known = seq(hot);
    for (uint32_t member = 0; member < hot->members; member++) {
        ck_lane *lane = hot->lanes[member];
        outgoing out = {0, CK_OK};
        if (!lane) continue;
        for (uint32_t n = 0; n < pending->count; n++) {
            ck_row *row = &hot->rows[pending->row[n]];
            uint8_t message[MESSAGE_MAX], *at = message;
            const uint64_t request_id = CK_HOT_IDS + ++hot->requests * CK_ROWS_MAX + pending->row[n];
            *at++ = 0x97; /* [tag, nonce, request id, public key, sign bytes, seq, incarnation] */
            *at++ = TAG_PROMISE;
            ck_pack_uint(&at, hot->nonce);
            ck_pack_uint(&at, request_id);
            ck_pack_bin(&at, row->key, 32);
            ck_pack_bin(&at, row->place.bytes, row->place.bytes_len);
            ck_pack_uint(&at, known);
            put_incarnation(&at, hot->own);
            row->place.asked[member] = request_id;
            add_frame(lane, &out, message, (size_t)(at - message));
        }
        send_frames(hot, lane, &out);
        if (out.status != CK_OK) return out.status;
    }
    for (uint32_t n = 0; n < pending->count; n++) ck_trace_here(CK_AT_ASKED, pending->row[n], pending->at[n]);
    return CK_OK;
}

/* Rule 4, in one step in which this process does nothing else: the own promises are written, the members are asked, and
 * the own disk syncs while theirs do. Nothing is answered or counted before the sync is done; if it fails, never. */
static int propose(ck_hot *hot, batch *pending) {
    if (pending->count == 0) return CK_OK;
    for (uint32_t n = 0; n < pending->count; n++) {
        ck_reservation *place = &hot->rows[pending->row[n]].place;
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
    CK_TRY(sync_promises(hot, pending));
    for (uint32_t n = 0; n < pending->count; n++) {
        ck_row *row = &hot->rows[pending->row[n]];
        row->place.state = 1;
        row->place.accepted = 1;
        ck_trace_then(CK_AT_SYNCED, pending->row[n], row->place.at, hot->active_ns);
        if (hot->quorum == 1) CK_TRY(permit(hot, row));
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
static int on_reserve(ck_hot *hot, const uint8_t *message, size_t len, batch *pending) {
    ck_sign_bytes parsed;
    ck_queue_message asked;
    if (!ck_unpack_message(message, len, &asked) || asked.tag != CK_TAG_RESERVE) return CK_MORE;
    if (asked.chain >= hot->chains || any_blocked(hot)) return CK_MORE;
    const ck_bytes bytes = {asked.bytes, asked.bytes_len};
    const uint32_t number = hot->row_of[asked.chain];
    if (!parse(bytes, &parsed) || !is_of(&hot->rows[number], &parsed)) return CK_MORE;
    const ck_hrs at = {parsed.height, parsed.round, parsed.step};
    if (memcmp(&at, &asked.at, sizeof at) != 0) return CK_MORE;
    if (in_batch(pending, number) || !plain(&hot->rows[number], at)) return CK_MORE;
    const uint64_t started_ns = hot->calls->now_ns();
    CK_TRY(write_promise(hot, pending, number, at, bytes));
    const uint32_t n = pending->count - 1;
    pending->nonce[n] = asked.nonce;
    pending->request_id[n] = asked.request_id;
    pending->chain[n] = asked.chain;
    pending->started_ns[n] = started_ns;
    return CK_OK;
}

int ck_hot_take(ck_hot *hot, ck_ring *requests, int may, uint32_t *count, uint32_t *taken) {
    batch pending;
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

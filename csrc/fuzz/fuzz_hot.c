/* The hot path fed any frames from a member, or any messages from the queue.
 *
 * Input: what is fed (bit 0: the queue; bit 1: a place is asked), the chain id's length, the chain
 * id, then the bytes. */
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../hot.h"
#include "../sodium.h"
#include "cipher.h"
#include "property.h"

enum { NONCE = 77, STORE_BYTES = (2 + 2 * 2) * CK_BLOCK };
#define ASKED ((1ull << 50) + CK_ROWS_MAX) /* of row 0 */
#define REACH ((int64_t)1 << 40)           /* some of the corpus is above it */

static ck_hot hot;
static ck_lane lane;
static ck_frames frames;
static ck_ring requests, permits;
static int ends[2] = {-1, -1}, store = -1, wake = -1;

static int digest(uint8_t *out, size_t out_len, const uint8_t *in, unsigned long long len, const uint8_t *key,
                  size_t key_len) {
    (void)key, (void)key_len;
    memset(out, in[len - 1], out_len);
    return 0;
}

static void begin(const uint8_t *chain, size_t chain_len, int asked) {
    uint8_t drain[4096];
    if (store < 0) {
        store = memfd_create("store", 0);
        wake = eventfd(0, EFD_NONBLOCK);
        REQUIRE(store >= 0 && wake >= 0 && ftruncate(store, STORE_BYTES) == 0);
        REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
    }
    while (recv(ends[0], drain, sizeof drain, 0) > 0 || recv(ends[1], drain, sizeof drain, 0) > 0) {
    }
    use_plain_cipher(-1);
    ck_sodium.blake2b = digest;
    memset(&hot, 0, offsetof(ck_hot, inbox));
    memset(&lane, 0, sizeof lane);
    memset(&frames, 0, sizeof frames);
    memset(&requests, 0, offsetof(ck_ring, slots));
    memset(&permits, 0, offsetof(ck_ring, slots));
    hot.calls = &ck_libc, hot.store.fd = store, hot.nonce = NONCE, hot.quorum = 2, hot.members = 1,
    hot.store.rows_len = 2, hot.chains = 2, hot.row_of[0] = 1;
    hot.permits = &permits, hot.permits_wake = wake, hot.lanes[0] = &lane;
    lane.frames = &frames, lane.fd = ends[0];
    for (uint32_t i = 0; i < 2; i++) {
        ck_row *row = &hot.store.rows[i];
        memset(row->key, 'k', 32);
        memcpy(row->chain_id, chain, chain_len);
        row->served = 1, row->chain_id_len = chain_len, row->open = i == 0 || (chain_len & 1),
        row->first_block = 2 + 2 * i;
        row->reach = REACH;
    }
    if (asked) {
        hot.places[0].state = 1, hot.places[0].accepted = 1, hot.places[0].asked[0] = ASKED;
        hot.places[0].bytes_len = 5;
    }
}

static void feed_lane(const uint8_t *data, size_t size) {
    size_t at = 0, len = 0, sealed = 0, count = 0, left;
    static uint8_t wire[64 * CK_FRAME_SEALED];
    uint8_t message[CK_RING_PAYLOAD];
    int error = 0;
    if (size > 60 * CK_FRAME_DATA) size = 60 * CK_FRAME_DATA;
    REQUIRE(ck_frames_seal(&frames, data, size, wire, sizeof wire, &sealed) == CK_OK);
    if (send(ends[1], wire, sealed, 0) != (ssize_t)sealed) return;
    frames.send_counter = 0;
    REQUIRE(ck_lane_turn(&hot, &lane, 1, CK_MAY_PROMISE, &at, &len, &error) == CK_OK);
    left = size < len ? 0 : size - len;
    REQUIRE(len <= size && at == left &&
            (len == 0 || memcmp(hot.plain + at, data + left, len) == 0)); /* the rest is untouched */
    for (uint32_t i = 0; i < 2; i++) {
        const ck_row *row = &hot.store.rows[i];
        REQUIRE(row->count == row->sequence && row->bytes_len <= CK_SIGN_BYTES_MAX);
        REQUIRE((row->count == 0) == (row->bytes_len == 0) && row->mark.height <= REACH);
        count += row->count;
    }
    REQUIRE(hot.answered == count && (count == 0) == (hot.store.active_ns == 0));
    REQUIRE(count == 0 || len < size);
    const int granted = ck_ring_pop(&permits, message, &len) == CK_OK;
    REQUIRE(granted == (hot.permitted == 1) && (!granted || hot.places[0].accepted == 2));
}

static void feed_queue(const uint8_t *data, size_t size) {
    uint32_t count = 0, taken = 0, pushed = 0;
    while (size > 0 && pushed < 2 * CK_BATCH) { /* a length, then so much */
        size_t len = data[0] + 1u;
        data++, size--;
        if (len > size) len = size;
        if (len == 0) break;
        REQUIRE(ck_ring_push(&requests, data, len) == CK_OK);
        data += len, size -= len, pushed++;
    }
    while (pushed > 0) {
        REQUIRE(ck_hot_take(&hot, &requests, CK_MAY_PROMISE | CK_MAY_PROPOSE, &count, &taken) == CK_OK);
        REQUIRE(taken > 0 && taken <= CK_BATCH && taken <= pushed && count <= taken);
        for (uint32_t i = 0; i < count; i++) REQUIRE(hot.rest_len[i] > 0 && hot.rest_len[i] <= CK_RING_PAYLOAD);
        pushed -= taken;
        lane.blocked = 0;
    }
    for (uint32_t i = 0; i < 2; i++)
        REQUIRE((hot.places[i].state == 1) == (hot.store.rows[i].count > 0) && hot.store.rows[i].mark.height <= REACH);
    REQUIRE(hot.permitted == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2 || data[1] > CK_CHAIN_ID_MAX || size - 2 < data[1]) return 0;
    const size_t chain_len = data[1];
    begin(data + 2, chain_len, (data[0] & 3) == 2);
    if (data[0] & 1) feed_queue(data + 2 + chain_len, size - 2 - chain_len);
    else feed_lane(data + 2 + chain_len, size - 2 - chain_len);
    return 0;
}

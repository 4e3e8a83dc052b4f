/* A session fed any bytes in any segments, plain, sealed and over noise; every request prepared for
 * and answered.
 *
 * Input: flags (bit 0: sealed; bit 1: amino; bit 2: noise), a segment's size less one,
 * then the bytes. */
#include <stdlib.h>
#include <string.h>

#include "../session.h"
#include "../sodium.h"
#include "cipher.h"

static ck_session session;
static ck_noise noise;

static int prepare(const uint8_t *bytes, size_t len, uint8_t *prepared) {
    memset(prepared, (int)(bytes[0] + bytes[len - 1]), CK_PREPARED_BYTES);
    return CK_OK;
}

static const ck_key_type TYPE = {.prepare = prepare};
static ck_slot slot = {.type = &TYPE};

/* What is prepared is what would be signed, whole, or nothing. */
static void prepare_for(const ck_request *request) {
    static uint8_t made[CK_EXTENSION_SIGN_BYTES_MAX];
    const ck_bytes chain_id = {slot.chain_id, slot.chain_id_len};
    size_t len = 0;
    ck_session_prepare(&session, &slot);
    if (slot.prepared.len != request->sign_bytes_len ||
        memcmp(slot.prepared.of, request->sign_bytes, slot.prepared.len) != 0)
        abort();
    if (request->wants_extension &&
        ck_extension_sign_bytes(chain_id, request->height, request->round, session.message.ballot.extension, made,
                                sizeof made, &len) != CK_OK)
        abort();
    if (len > CK_PREPARED_MAX) len = 0;
    if (slot.prepared_extension.len != len || memcmp(slot.prepared_extension.of, made, len) != 0) abort();
}

static int serve(void) {
    ck_request request;
    size_t len;
    int rc;
    while ((rc = ck_session_next(&session, &request)) == CK_OK) {
        ck_bytes text = {(const uint8_t *)"no", 2};
        prepare_for(&request);
        if (request.kind == CK_PING_REQUEST) rc = ck_session_pong(&session, &len);
        else rc = request.reason % 2 ? ck_session_error(&session, 1, text, &len) : ck_session_empty(&session, &len);
        if (rc != CK_OK) abort();
    }
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint8_t CHAIN[] = "test-1";
    ck_bytes chain = {CHAIN, sizeof CHAIN - 1}, none = {NULL, 0};
    ck_frames frames;
    if (size < 2) return 0;
    use_plain_cipher(251);
    const int over_noise = data[0] >> 2 & 1, sealed = !over_noise && (data[0] & 1);
    const size_t step = (size_t)data[1] + 1;
    memset(&frames, 7, sizeof frames);
    frames.recv_counter = frames.send_counter = 0;
    frames.partial_len = 0;
    memset(&session, 0, offsetof(ck_session, plain));
    memset(&session.noise, 0, offsetof(ck_noise, partial));
    memset(&noise, 7, offsetof(ck_noise, partial));
    noise.recv_counter = noise.send_counter = noise.partial_len = 0;
    memcpy(slot.chain_id, CHAIN, chain.len);
    slot.chain_id_len = chain.len;
    if (ck_session_open(&session, (data[0] >> 1) & 1, chain, sealed ? &frames : NULL, over_noise ? &noise : NULL,
                        none) != CK_OK)
        abort();
    for (size_t at = 2; at < size;) {
        const size_t n = size - at < step ? size - at : step;
        memcpy(session.inbox, data + at, n);
        at += n;
        if (ck_session_received(&session, n) != CK_OK || serve() != CK_MORE) return 0;
    }
    return 0;
}

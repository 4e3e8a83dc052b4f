/* The agents' messages and what both ends make of them.
 *
 * Input: what is fed (0: a node's desk; 1: an agent's pending request and a node's answer to it; 2:
 * the messages alone), a dialect, then the bytes; of 1 the request's length, little-endian, two
 * bytes, stands in front of both. */
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../cursor.h"
#include "../keytype.h"
#include "../relay.h"
#include "../sign.h"
#include "../sodium.h"
#include "cipher.h"
#include "property.h"

static const uint8_t CHAIN[] = "test-1";
static const ck_bytes CHAIN_ID = {CHAIN, sizeof CHAIN - 1};
static ck_session session, again;
static ck_signer signer;
static ck_slot slot;
static ck_desk desk;
static ck_sign_lane link_of;
static ck_frames frames;
static ck_ring reservations;
static int ends[2] = {-1, -1}, wake = -1;
static uint8_t sent[CK_AGENT_OUT];
static size_t sent_len;

/* Signatures that hold if their first byte is even. */
static int verify(const uint8_t *signature, const uint8_t *text, unsigned long long len, const uint8_t *key) {
    (void)text, (void)len, (void)key;
    return signature[0] & 1 ? -1 : 0;
}

static void *no_memory(size_t size) {
    (void)size;
    return NULL;
}

static ssize_t keep(int fd, const void *from, size_t size, int flags) {
    (void)fd, (void)flags;
    REQUIRE(size <= sizeof sent);
    memcpy(sent, from, size);
    sent_len = size;
    return (ssize_t)size;
}

static void open_session(ck_session *s, int dialect) {
    memset(s, 0, offsetof(ck_session, plain));
    REQUIRE(ck_session_open(s, dialect, CHAIN_ID, NULL, NULL, (ck_bytes){NULL, 0}) == CK_OK);
}

static void feed_desk(int dialect, const uint8_t *data, size_t size) {
    static uint8_t wire[64 * CK_FRAME_SEALED];
    size_t at = 0, len = 0, sealed = 0;
    uint32_t reserved = 0;
    int error = 0;
    if (wake < 0) {
        wake = eventfd(0, EFD_NONBLOCK);
        REQUIRE(wake >= 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
    }
    while (recv(ends[0], wire, sizeof wire, 0) > 0) {
    }
    open_session(&session, dialect);
    memset(&signer, 0, sizeof signer);
    memset(&link_of, 0, sizeof link_of);
    memset(&reservations, 0, offsetof(ck_ring, slots));
    signer.calls = &ck_libc, signer.reservations = &reservations, signer.reservations_wake = wake, signer.chains = 1;
    slot.type = ck_key_type_of(CK_ED25519);
    signer.sections[0].slot = &slot, signer.sections[0].open = 1, signer.sections[0].last.height = 3;
    desk.link.frames = &frames, desk.link.fd = ends[0], desk.link.blocked = 0, desk.chains = 1, desk.of[0] = &link_of;
    link_of.session = &session, link_of.agent = &desk.link, link_of.fd = -1;
    if (size > 60 * CK_FRAME_DATA) size = 60 * CK_FRAME_DATA;
    REQUIRE(ck_frames_seal(&frames, data, size, wire, sizeof wire, &sealed) == CK_OK);
    if (send(ends[1], wire, sealed, 0) != (ssize_t)sealed) return;
    REQUIRE(ck_desk_turn(&signer, &desk, 1, &reserved, &at, &len, &error) == CK_OK);
    REQUIRE(at + len == size &&
            (len == 0 || memcmp(desk.link.plain + at, data + at, len) == 0)); /* the rest is untouched */
    REQUIRE(reserved <= 1 && (reserved == 0) == (at == 0));                   /* one at a time */
    REQUIRE(ck_ring_depth(&reservations) == reserved && link_of.asked == (int32_t)reserved);
    REQUIRE(reserved ? signer.sections[0].asker == &link_of && session.request.height >= 3
                     : signer.sections[0].asker == NULL);
    REQUIRE(reserved || ck_session_pending(&session).len == 0);
}

static void feed_answer(int dialect, ck_bytes request, ck_bytes untrusted) {
    static const uint8_t BYTES[32];
    const ck_bytes KEY = {BYTES, sizeof BYTES};
    static uint8_t first[CK_RESPONSE_MAX];
    size_t len = 0, more = 0;
    int refused = -1;
    open_session(&session, dialect);
    if (ck_session_ask(&session, dialect, request) != CK_OK) return;
    REQUIRE(ck_same_bytes(ck_session_pending(&session), request));
    const int kind = session.message.kind;
    const int rc = ck_session_relay(&session, CK_ED25519, KEY, untrusted, &refused, &len);
    if (kind != CK_SIGN_VOTE_REQUEST && kind != CK_SIGN_PROPOSAL_REQUEST) {
        REQUIRE(rc == CK_REFUSED);
        return;
    }
    REQUIRE(rc == CK_OK || rc == CK_MORE);
    REQUIRE((rc == CK_MORE) == (ck_session_pending(&session).len > 0));
    if (rc == CK_MORE) return;
    REQUIRE(len > 0 && len <= CK_RESPONSE_MAX && (refused == 0 || refused == 1));
    memcpy(first, session.outbox, len);
    open_session(&again, dialect); /* what is passed on is an answer itself, and passes as it is */
    REQUIRE(ck_session_ask(&again, dialect, request) == CK_OK);
    int refused_again = -1;
    REQUIRE(ck_session_relay(&again, CK_ED25519, KEY, (ck_bytes){first, len}, &refused_again, &more) == CK_OK);
    REQUIRE(refused_again == refused && more == len && memcmp(again.outbox, first, len) == 0);
}

static ck_bytes opened(void) {
    static uint8_t plain[CK_AGENT_OUT];
    size_t len = 0;
    REQUIRE(ck_frames_open(&frames, sent, sent_len, plain, sizeof plain, &len) == CK_OK);
    return (ck_bytes){plain, len};
}

static void feed_messages(ck_bytes in) {
    const ck_calls calls = {.send = keep};
    ck_ask ask, ask_again;
    ck_answer answer, answer_again;
    size_t used = 0, more = 0;
    desk.link.frames = &frames, desk.link.blocked = 0;
    if (ck_take_ask(in, &ask, &used) == CK_OK) {
        REQUIRE(used <= in.len && ck_agent_ask(&calls, &desk.link, &ask) == CK_OK);
        const ck_bytes wire = opened();
        REQUIRE(ck_take_ask(wire, &ask_again, &more) == CK_OK && more == wire.len && ask.seq == ask_again.seq);
        REQUIRE(ask.dialect == ask_again.dialect && ask.urgent == ask_again.urgent);
        REQUIRE(ck_same_bytes(ask.chain_id, ask_again.chain_id) && ck_same_bytes(ask.message, ask_again.message));
    }
    if (ck_take_answer(in, &answer, &used) == CK_OK) {
        REQUIRE(used <= in.len && ck_agent_answer(&calls, &desk.link, &answer) == CK_OK);
        const ck_bytes wire = opened();
        REQUIRE(ck_take_answer(wire, &answer_again, &more) == CK_OK && more == wire.len);
        REQUIRE(answer.seq == answer_again.seq && ck_same_bytes(answer.message, answer_again.message));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    use_plain_cipher(-1);
    ck_sodium.verify_detached = verify;
    ck_sodium.malloc = no_memory; /* the library is there */
    memset(&frames, 0, sizeof frames);
    const int what = data[0] % 3, dialect = data[1] & 1;
    data += 2, size -= 2;
    if (what == 0) feed_desk(dialect, data, size);
    if (what == 2) feed_messages((ck_bytes){data, size});
    if (what == 1 && size >= 2) {
        size_t request = (size_t)data[0] | (size_t)data[1] << 8;
        data += 2, size -= 2;
        if (request > size) request = size;
        feed_answer(dialect, (ck_bytes){data, request}, (ck_bytes){data + request, size - request});
    }
    return 0;
}

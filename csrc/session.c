#include "session.h"

#include <string.h>

#include "cursor.h"

_Static_assert(CK_RESPONSE_MAX <= CK_NOISE_PLAIN && CK_RESPONSE_MAX + 18 <= CK_OUTBOX_CAP,
               "an answer is one Noise message");

int ck_session_open(ck_session *s, int dialect, ck_bytes chain_id, const ck_frames *frames, const ck_noise *noise,
                    ck_bytes pending) {
    if (frames && noise) return CK_REFUSED;
    if (chain_id.len > CK_CHAIN_ID_MAX || pending.len > CK_PLAIN_CAP) return CK_NO_ROOM;
    s->dialect = dialect;
    s->channel = frames ? CK_SECRET : noise ? CK_NOISE : CK_PLAIN;
    if (frames) s->frames = *frames;
    if (noise) memcpy(&s->noise, noise, offsetof(ck_noise, partial) + noise->partial_len);
    if (chain_id.len) memcpy(s->chain_id, chain_id.at, chain_id.len);
    s->chain_id_len = chain_id.len;
    if (pending.len) memcpy(s->plain, pending.at, pending.len);
    s->plain_len = pending.len;
    return CK_OK;
}

void ck_session_wipe(ck_session *s) {
    ck_frames_wipe(&s->frames);
    ck_noise_wipe(&s->noise);
    s->pending = 0;
    s->plain_at = s->plain_len = 0;
}

int ck_session_received(ck_session *s, size_t size) {
    size_t opened = size;
    int rc = CK_OK;
    if (size > CK_INBOX) return CK_REFUSED;
    if (!s->pending && s->plain_at > 0) { /* what is left of the last segment moves to the front */
        memmove(s->plain, s->plain + s->plain_at, s->plain_len - s->plain_at);
        s->plain_len -= s->plain_at;
        s->plain_at = 0;
    }
    const size_t room = CK_PLAIN_CAP - s->plain_len;
    if (s->channel != CK_PLAIN) {
        rc = s->channel == CK_SECRET
                 ? ck_frames_open(&s->frames, s->inbox, size, s->plain + s->plain_len, room, &opened)
                 : ck_noise_open(&s->noise, s->inbox, size, s->plain + s->plain_len, room, &opened);
        if (rc == CK_NO_ROOM) rc = CK_TOO_LARGE;
    } else if (size > room) {
        rc = CK_TOO_LARGE;
    } else if (size) {
        memcpy(s->plain + s->plain_len, s->inbox, size);
    }
    if (rc == CK_OK) s->plain_len += opened;
    return rc;
}

int ck_session_next(ck_session *s, ck_request *out) {
    size_t length, used;
    if (s->pending) return CK_REFUSED;
    const uint8_t *at = s->plain + s->plain_at;
    const size_t left = s->plain_len - s->plain_at;
    int rc = ck_read_length(at, left, CK_MESSAGE_MAX, &length, &used);
    if (rc != CK_OK) return rc;
    if (length > left - used) return CK_MORE;
    rc = ck_decode_message(s->dialect, at + used, length, &s->message);
    if (rc != CK_OK) return rc;
    ck_bytes chain_id = {s->chain_id, s->chain_id_len};
    ck_check_request(s->dialect, chain_id, &s->message, &s->request);
    s->line = ck_line_of(s->dialect, &s->message, s->line);
    s->message_size = used + length;
    s->pending = 1;
    *out = s->request;
    return CK_OK;
}

int ck_session_partial(const ck_session *s) {
    return (s->plain_len > s->plain_at && !s->pending) || s->frames.partial_len > 0 || s->noise.partial_len > 0;
}

/* The answer leaves the codec, is sealed, and ends the pending request. */
static int finish(ck_session *s, const ck_message *answer, size_t *len) {
    size_t n;
    int rc = ck_encode_message(s->dialect, answer, s->response, sizeof s->response, &n);
    if (rc != CK_OK) return rc;
    if (s->channel != CK_PLAIN) {
        rc = s->channel == CK_SECRET ? ck_frames_seal(&s->frames, s->response, n, s->outbox, sizeof s->outbox, &n)
                                     : ck_noise_seal(&s->noise, s->response, n, s->outbox, sizeof s->outbox, &n);
        if (rc != CK_OK) return rc;
    } else {
        memcpy(s->outbox, s->response, n);
    }
    s->pending = 0;
    s->plain_at += s->message_size;
    if (s->plain_at == s->plain_len) s->plain_at = s->plain_len = 0;
    *len = n;
    return CK_OK;
}

static void response_to(const ck_session *s, ck_message *answer) {
    /* To every other kind: CK_UNKNOWN. */
    static const int32_t RESPONSES[CK_SIGN_RAW_BYTES_REQUEST + 1] = {
        [CK_PUB_KEY_REQUEST] = CK_PUB_KEY_RESPONSE,
        [CK_SIGN_VOTE_REQUEST] = CK_SIGNED_VOTE_RESPONSE,
        [CK_SIGN_PROPOSAL_REQUEST] = CK_SIGNED_PROPOSAL_RESPONSE,
        [CK_PING_REQUEST] = CK_PING_RESPONSE,
        [CK_SIGN_BYTES_REQUEST] = CK_SIGN_BYTES_RESPONSE,
        [CK_SIGN_RAW_BYTES_REQUEST] = CK_SIGN_BYTES_RESPONSE,
    };
    memset(answer, 0, sizeof *answer);
    answer->kind = RESPONSES[s->message.kind];
    if (s->dialect == CK_PROTO) answer->ballot.timestamp.seconds = -62135596800LL; /* an empty vote, as Go writes it */
}

/* Asked again, CometBFT takes any unexpected message for a passing trouble. A pong is one in every
 * dialect: v0.33 panics at a response without a vote and has no empty message, and the one byte of
 * a message without content is lost on some transports. */
int ck_session_empty(ck_session *s, size_t *len) {
    ck_message answer;
    if (!s->pending) return CK_REFUSED;
    memset(&answer, 0, sizeof answer);
    answer.kind = CK_PING_RESPONSE;
    return finish(s, &answer, len);
}

int ck_session_pong(ck_session *s, size_t *len) {
    ck_message answer;
    if (!s->pending || s->message.kind != CK_PING_REQUEST) return CK_REFUSED;
    response_to(s, &answer);
    return finish(s, &answer, len);
}

int ck_session_pub_key(ck_session *s, int32_t type, ck_bytes public_key, size_t *len) {
    ck_message answer;
    const ck_key_type *of = ck_key_type_of(type);
    if (!of || public_key.len != of->public_len || !s->pending || s->message.kind != CK_PUB_KEY_REQUEST)
        return CK_REFUSED;
    response_to(s, &answer);
    answer.has_pub_key = 1;
    answer.pub_key_number = type; /* what v0.x reads; v1.x reads the two that follow, and each skips the other's */
    answer.pub_key = answer.pub_key_bytes = public_key;
    answer.pub_key_type = (ck_bytes){(const uint8_t *)of->name, strlen(of->name)};
    return finish(s, &answer, len);
}

int ck_session_error(ck_session *s, int32_t code, ck_bytes text, size_t *len) {
    ck_message answer;
    if (!s->pending) return CK_REFUSED;
    response_to(s, &answer);
    if (answer.kind == CK_UNKNOWN || answer.kind == CK_PING_RESPONSE) return ck_session_empty(s, len);
    answer.has_error = 1;
    answer.has_pub_key = 1; /* empty, as v0.x writes it beside an error; v1.x skips it */
    answer.error_code = code;
    answer.error_text = text;
    if (text.len > CK_ERROR_TEXT_MAX) return CK_NO_ROOM;
    return finish(s, &answer, len);
}

/* The permit's bytes must be the pending request's, but for the timestamp. */
static int matches(const ck_session *s, const uint8_t *bytes, size_t len) {
    return s->pending && s->request.reason == CK_REASON_NONE && s->request.sign_bytes_len > 0 &&
           ck_same_but_timestamp(s->request.sign_bytes, s->request.sign_bytes_len, bytes, len);
}

static int answer_signature(ck_session *s, ck_slot *slot, const uint8_t *bytes, size_t bytes_len,
                            const uint8_t *signature, size_t *len) {
    ck_message answer;
    ck_sign_bytes parsed;
    uint8_t extension_signature[CK_SIGNATURE_MAX];
    response_to(s, &answer);
    if (ck_parse_sign_bytes(bytes, bytes_len, &parsed) != CK_OK) return CK_REFUSED;
    answer.has_ballot = 1;
    answer.ballot = s->message.ballot;
    answer.ballot.timestamp = parsed.timestamp;
    answer.ballot.signature.at = signature;
    answer.ballot.signature.len = slot->type->signature_len;
    answer.ballot.extension.len = 0; /* never sent back: the answer stays below what a validator reads */
    answer.ballot.extension_signature.len = 0;
    if (s->request.wants_extension) {
        const int rc = ck_slot_sign_extension(slot, bytes, bytes_len, s->message.ballot.extension, s->scratch,
                                              sizeof s->scratch, extension_signature);
        if (rc != CK_OK) return rc;
        answer.ballot.extension_signature.at = extension_signature;
        answer.ballot.extension_signature.len = slot->type->signature_len;
    }
    return finish(s, &answer, len);
}

int ck_session_sign(ck_session *s, ck_slot *slot, const uint8_t *bytes, size_t bytes_len,
                    uint8_t signature[CK_SIGNATURE_MAX], size_t *len) {
    if (!matches(s, bytes, bytes_len)) return CK_REFUSED;
    int rc = ck_slot_sign(slot, bytes, bytes_len, signature);
    return rc == CK_OK ? answer_signature(s, slot, bytes, bytes_len, signature, len) : rc;
}

void ck_session_prepare(ck_session *s, ck_slot *slot) {
    const ck_request *asked = &s->request;
    if (!s->pending) return;
    ck_slot_prepare(slot, asked->sign_bytes, asked->sign_bytes_len);
    if (asked->wants_extension)
        ck_slot_prepare_extension(slot, asked->height, asked->round, s->message.ballot.extension, s->scratch,
                                  sizeof s->scratch);
}

int ck_session_repeat(ck_session *s, ck_slot *slot, const uint8_t *bytes, size_t bytes_len, ck_bytes signature,
                      size_t *len) {
    if (!matches(s, bytes, bytes_len)) return CK_REFUSED;
    if (signature.len != slot->type->signature_len) return CK_REFUSED;
    if (slot->type->verify(slot->public_key, bytes, bytes_len, signature.at) != CK_OK) return CK_REFUSED;
    return answer_signature(s, slot, bytes, bytes_len, signature.at, len);
}

int ck_session_sign_bytes(ck_session *s, const ck_slot *slot, uint8_t signature[CK_SIGNATURE_MAX], size_t *len) {
    ck_message answer;
    if (!s->pending || s->request.reason != CK_REASON_NONE) return CK_REFUSED;
    int rc = CK_REFUSED;
    if (s->message.kind == CK_SIGN_BYTES_REQUEST) rc = ck_slot_sign_value(slot, s->message.value, signature);
    else if (s->message.kind == CK_SIGN_RAW_BYTES_REQUEST)
        /* Its chain's id is this session's: ck_check_request() saw to it. */
        rc = ck_slot_sign_raw(slot, s->message.value, s->message.unique_id, s->scratch, sizeof s->scratch, signature);
    if (rc != CK_OK) return rc;
    response_to(s, &answer);
    answer.value = (ck_bytes){signature, slot->type->signature_len};
    return finish(s, &answer, len);
}

/* --- between an agent and its nodes --- */

ck_bytes ck_session_pending(const ck_session *s) {
    return s->pending ? (ck_bytes){s->plain + s->plain_at, s->message_size} : (ck_bytes){NULL, 0};
}

void ck_session_forget(ck_session *s) {
    s->pending = 0;
    s->plain_at = s->plain_len = 0;
}

int ck_session_ask(ck_session *s, int dialect, ck_bytes message) {
    ck_session_forget(s);
    if (s->channel != CK_PLAIN || message.len > CK_PLAIN_CAP) return CK_REFUSED;
    if (s->dialect != dialect) s->line = CK_LINE_UNKNOWN;
    s->dialect = dialect;
    memcpy(s->plain, message.at, message.len);
    s->plain_len = message.len;
    if (ck_session_next(s, &s->request) == CK_OK && s->message_size == message.len) return CK_OK;
    ck_session_forget(s);
    return CK_MORE;
}

static int same_block(const ck_block_id *a, const ck_block_id *b) {
    return ck_same_bytes(a->hash, b->hash) && a->parts_total == b->parts_total &&
           ck_same_bytes(a->parts_hash, b->parts_hash);
}

/* Whether `got` is what was asked, in all but the timestamp and what a signer adds. */
static int same_but_signed(const ck_ballot *asked, const ck_ballot *got) {
    return got->type == asked->type && got->height == asked->height && got->round == asked->round &&
           got->pol_round == asked->pol_round && same_block(&got->block_id, &asked->block_id) &&
           ck_same_bytes(got->validator_address, asked->validator_address) &&
           got->validator_index == asked->validator_index && got->extension.len == 0;
}

/* The signature of the precommit's extension, where there is to be one; nothing where
   there is none. */
static int extension_verifies(ck_session *s, int32_t type, ck_bytes public_key, ck_bytes signature) {
    size_t len;
    const ck_bytes chain_id = {s->chain_id, s->chain_id_len};
    if (!s->request.wants_extension) return signature.len == 0;
    return ck_extension_sign_bytes(chain_id, s->request.height, s->request.round, s->message.ballot.extension,
                                   s->scratch, sizeof s->scratch, &len) == CK_OK &&
           ck_verify(type, public_key, (ck_bytes){s->scratch, len}, signature) == CK_OK;
}

int ck_session_relay(ck_session *s, int32_t type, ck_bytes public_key, ck_bytes untrusted, int *refused, size_t *len) {
    ck_message got, answer, asked = s->message;
    ck_request restamped;
    size_t length, used;
    if (!s->pending) return CK_REFUSED;
    if (s->message.kind != CK_SIGN_VOTE_REQUEST && s->message.kind != CK_SIGN_PROPOSAL_REQUEST) return CK_REFUSED;
    response_to(s, &answer);
    if (untrusted.len > CK_RESPONSE_MAX ||
        ck_read_length(untrusted.at, untrusted.len, CK_RESPONSE_MAX, &length, &used) != CK_OK ||
        length != untrusted.len - used || ck_decode_message(s->dialect, untrusted.at + used, length, &got) != CK_OK ||
        got.kind != answer.kind)
        return CK_MORE;
    if (got.has_error && got.error_code) {
        if (got.error_text.len > CK_ERROR_TEXT_MAX) return CK_MORE;
        CK_TRY(ck_session_error(s, got.error_code, got.error_text, len));
        *refused = 1;
        return CK_OK;
    }
    if (!got.has_ballot || s->request.reason != CK_REASON_NONE || !same_but_signed(&asked.ballot, &got.ballot))
        return CK_MORE;
    asked.ballot.timestamp = got.ballot.timestamp;
    ck_check_request(s->dialect, (ck_bytes){s->chain_id, s->chain_id_len}, &asked, &restamped);
    if (restamped.reason != CK_REASON_NONE || restamped.sign_bytes_len == 0 ||
        ck_verify(type, public_key, (ck_bytes){restamped.sign_bytes, restamped.sign_bytes_len}, got.ballot.signature) !=
            CK_OK ||
        !extension_verifies(s, type, public_key, got.ballot.extension_signature))
        return CK_MORE;
    answer.has_ballot = 1;
    answer.ballot = got.ballot;
    CK_TRY(finish(s, &answer, len));
    *refused = 0;
    return CK_OK;
}

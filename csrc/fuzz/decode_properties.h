/* The properties of a message decoder and its encoder, for the dialect that the
   including entry names. */
#ifndef CK_FUZZ_DECODE_PROPERTIES_H
#define CK_FUZZ_DECODE_PROPERTIES_H

#include <string.h>

#include "../privval.h"
#include "../rawbytes.h"
#include "property.h"

enum { ENCODING_MAX = CK_MESSAGE_MAX + 3, GROWTH_MAX = 1024 };

static void require_same(ck_bytes a, ck_bytes b) {
    REQUIRE(a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0));
}

/* Whatever was understood survives encoding: no field is lost or changed. */
static void require_same_message(const ck_message *a, const ck_message *b) {
    const ck_ballot *x = &a->ballot, *y = &b->ballot;
    REQUIRE(a->kind == b->kind && a->has_error == b->has_error && a->error_code == b->error_code);
    require_same(a->error_text, b->error_text);
    require_same(a->chain_id, b->chain_id);
    REQUIRE(a->has_pub_key == b->has_pub_key && a->skip_extension == b->skip_extension);
    REQUIRE(a->pub_key_number == b->pub_key_number);
    require_same(a->pub_key, b->pub_key);
    require_same(a->pub_key_bytes, b->pub_key_bytes);
    require_same(a->pub_key_type, b->pub_key_type);
    require_same(a->value, b->value);
    require_same(a->unique_id, b->unique_id);
    REQUIRE(a->has_others == b->has_others);
    REQUIRE(x->type == y->type && x->height == y->height && x->round == y->round && x->pol_round == y->pol_round);
    REQUIRE(x->timestamp.seconds == y->timestamp.seconds && x->timestamp.nanos == y->timestamp.nanos);
    REQUIRE(x->block_id.parts_total == y->block_id.parts_total && x->validator_index == y->validator_index);
    require_same(x->block_id.hash, y->block_id.hash);
    require_same(x->block_id.parts_hash, y->block_id.parts_hash);
    require_same(x->validator_address, y->validator_address);
    require_same(x->signature, y->signature);
    require_same(x->extension, y->extension);
    require_same(x->extension_signature, y->extension_signature);
}

/* Encode `message`, then decode what was written. */
static size_t round_trip(int dialect, const ck_message *message, uint8_t *out, ck_message *again) {
    size_t len, length, used;
    REQUIRE(ck_encode_message(dialect, message, out, ENCODING_MAX, &len) == CK_OK);
    REQUIRE(ck_read_length(out, len, CK_MESSAGE_MAX, &length, &used) == CK_OK);
    REQUIRE(used + length == len);
    REQUIRE(ck_decode_message(dialect, out + used, length, again) == CK_OK);
    require_same_message(message, again);
    return len;
}

/* A smaller buffer is refused, and nothing is written behind it. */
static void cut_short(int dialect, const ck_message *message, size_t len) {
    size_t cap = len / 2;
    size_t unwritten = SIZE_MAX;
    uint8_t *small = malloc(cap > 0 ? cap : 1); /* exactly sized: the sanitizer sees one byte too many */
    REQUIRE(small != NULL);
    REQUIRE(ck_encode_message(dialect, message, small, cap, &unwritten) == CK_NO_ROOM);
    REQUIRE(unwritten == SIZE_MAX);
    free(small);
}

/* What may be signed is strictly canonical, and says what the message said. */
static void judge(int dialect, const ck_message *message) {
    static const uint8_t name[] = "test-1";
    ck_bytes chain = {name, sizeof name - 1};
    ck_request request;
    ck_sign_bytes parsed;
    if (message->chain_id.len > 0) {
        chain = message->chain_id;
    }
    ck_check_request(dialect, chain, message, &request);
    REQUIRE(request.kind == message->kind);
    REQUIRE(!request.wants_extension || !message->skip_extension);
    if (message->kind == CK_SIGN_BYTES_REQUEST || message->kind == CK_SIGN_RAW_BYTES_REQUEST) {
        REQUIRE(request.sign_bytes_len == 0);
        REQUIRE(request.reason != CK_REASON_NONE ||
                (message->value.len > 0 && message->value.len <= CK_RAW_VALUE_MAX && !message->has_others));
        REQUIRE(message->kind == CK_SIGN_RAW_BYTES_REQUEST || request.reason != CK_REASON_NONE ||
                !ck_reads_as_vote(message->value));
    }
    for (int32_t known = CK_LINE_UNKNOWN; known <= CK_LINE_V1; known++) {
        const int32_t line = ck_line_of(dialect, message, known);
        REQUIRE(line == known || message->kind == CK_SIGN_VOTE_REQUEST);
        REQUIRE(!message->skip_extension || line == CK_LINE_V1);
    }
    if (request.sign_bytes_len == 0) {
        REQUIRE(request.height == 0 && request.round == 0 && request.step == 0 && !request.wants_extension);
        return;
    }
    REQUIRE(request.reason == CK_REASON_NONE && request.sign_bytes_len <= CK_SIGN_BYTES_MAX);
    REQUIRE(ck_parse_sign_bytes(request.sign_bytes, request.sign_bytes_len, &parsed) == CK_OK);
    REQUIRE(parsed.height == request.height && parsed.round == request.round && parsed.step == request.step);
    REQUIRE(parsed.type == message->ballot.type && parsed.pol_round == message->ballot.pol_round);
    REQUIRE(parsed.timestamp.seconds == request.timestamp.seconds);
    REQUIRE(parsed.timestamp.nanos == request.timestamp.nanos);
    REQUIRE(parsed.chain_id.len == chain.len && memcmp(parsed.chain_id.at, chain.at, chain.len) == 0);
    REQUIRE(
        ck_same_but_timestamp(request.sign_bytes, request.sign_bytes_len, request.sign_bytes, request.sign_bytes_len));
}

static int decode_properties(int dialect, const uint8_t *data, size_t size) {
    static uint8_t first_bytes[ENCODING_MAX], second_bytes[ENCODING_MAX];
    ck_message message, first, second;
    if (ck_decode_message(dialect, data, size, &message) != CK_OK) {
        return 0;
    }
    judge(dialect, &message);
    if (size > CK_MESSAGE_MAX - GROWTH_MAX) {
        return 0; /* what is always written, present or not, may push it over the bound */
    }
    if (message.has_others) { /* what is not known cannot be written again */
        REQUIRE(ck_encode_message(dialect, &message, first_bytes, ENCODING_MAX, &(size_t){0}) == CK_REFUSED);
        return 0;
    }
    size_t first_len = round_trip(dialect, &message, first_bytes, &first);
    size_t second_len = round_trip(dialect, &first, second_bytes, &second);
    REQUIRE(first_len == second_len && memcmp(first_bytes, second_bytes, first_len) == 0);
    cut_short(dialect, &message, first_len);
    return 0;
}

#endif

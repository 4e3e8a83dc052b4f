/* Canonical sign bytes. Input: one canonical vote or proposal, or two of them end to end. */
#include "../privval.h"
#include "property.h"

static int parses(const uint8_t *data, size_t size) {
    ck_sign_bytes parsed = {.step = -1};
    int status = ck_parse_sign_bytes(data, size, &parsed);
    if (status != CK_OK) {
        REQUIRE(parsed.step == -1);
        return 0;
    }
    REQUIRE(size <= CK_SIGN_BYTES_MAX);
    REQUIRE(parsed.step >= 1 && parsed.step <= 3 && parsed.height >= 0 && parsed.round >= 0);
    REQUIRE(parsed.pol_round >= -1 && (parsed.type == 32 || parsed.pol_round == 0));
    REQUIRE(parsed.timestamp_at > 0 && parsed.timestamp_at <= size);
    REQUIRE(parsed.timestamp_len <= size - parsed.timestamp_at);
    REQUIRE(parsed.block_hash.len == 0 || parsed.block_hash.len == CK_HASH_BYTES);
    REQUIRE(parsed.chain_id.len <= CK_CHAIN_ID_MAX);
    return 1;
}

/* Reflexive where both parse, false where one does not, and symmetric. */
static void compare(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len) {
    int same = ck_same_but_timestamp(a, a_len, b, b_len);
    REQUIRE(same == ck_same_but_timestamp(b, b_len, a, a_len));
    REQUIRE(!same || (parses(a, a_len) && parses(b, b_len)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size_t length, used;
    if (parses(data, size)) {
        REQUIRE(ck_same_but_timestamp(data, size, data, size));
        REQUIRE(!parses(data, size - 1));
    }
    if (ck_read_length(data, size, size, &length, &used) == CK_OK && length <= size - used) {
        size_t first = used + length;
        compare(data, first, data + first, size - first);
    }
    compare(data, size / 2, data + size / 2, size - size / 2);
    return 0;
}

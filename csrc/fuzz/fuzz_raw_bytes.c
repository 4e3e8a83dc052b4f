/* Bytes that are no vote: a value that a slot signs as such and that is what is signed of a vote,
 * proposal or extension.
 *
 * Input: a choice, then (0) a value; (1) a ballot's or an extension's parts, whose
 * canonical bytes no slot signs as a value, whole or without their length; (2) raw
 * bytes of Celestia, whose signed form is neither a vote's nor a value. The slot asks a
 * signer outside, which notes what it was asked for. */
#include <string.h>

#include "../cursor.h"
#include "../keyslot.h"
#include "../place.h"
#include "../rawbytes.h"
#include "../sodium.h"
#include "../wire.h"
#include "property.h"

enum { ROOM = CK_RAW_VALUE_MAX + 512 };

static uint8_t asked[ROOM];
static size_t asked_len;

static int note(void *context, const uint8_t *bytes, size_t len, uint8_t *signature) {
    (void)context;
    REQUIRE(len <= sizeof asked);
    memcpy(asked, bytes, len);
    asked_len = len;
    memset(signature, 7, 64);
    return 0;
}

static int believe(const uint8_t *signature, const uint8_t *bytes, unsigned long long len, const uint8_t *key) {
    (void)signature, (void)bytes, (void)len, (void)key;
    return 0;
}

static void *no_memory(size_t size) {
    (void)size;
    return NULL;
}

/* The slot's chain; a vote of any other is looked for all the same. */
static ck_slot slot_of(ck_bytes unique_id) {
    static const uint8_t name[] = "test-1";
    const uint8_t key[32] = {0};
    ck_slot slot;
    ck_sodium.malloc = no_memory;
    ck_sodium.verify_detached = believe;
    REQUIRE(ck_slot_open_outside(&slot, CK_ED25519, key, note, NULL, (ck_bytes){name, sizeof name - 1}) == CK_OK);
    REQUIRE(ck_slot_allow_bytes(&slot, 1, &unique_id, unique_id.len ? 1 : 0) == CK_OK);
    return slot;
}

static int is_ballot(ck_bytes value) {
    ck_sign_bytes parsed;
    return ck_parse_sign_bytes(value.at, value.len, &parsed) == CK_OK;
}

/* By other means than rawbytes.c: the four fields in their order, written anew. */
static int is_extension(ck_bytes value) {
    static uint8_t again[ROOM];
    ck_bytes extension = {NULL, 0}, chain = {NULL, 0}, range = {again, 0};
    int64_t height = 0, round = 0;
    size_t length, used;
    ck_field field;
    if (ck_read_length(value.at, value.len, value.len, &length, &used) != CK_OK || length != value.len - used) return 0;
    ck_reader reader = {value.at + used, length};
    while (reader.left > 0) {
        if (ck_next_field(&reader, &field) != CK_OK) return 0;
        if (field.number == 1) extension = field.bytes;
        if (field.number == 2) height = (int64_t)field.value;
        if (field.number == 3) round = (int64_t)field.value;
        if (field.number == 4) chain = field.bytes;
    }
    if (height <= 0 || round < 0 || round > INT32_MAX || chain.len == 0 || chain.len > CK_CHAIN_ID_MAX) return 0;
    for (size_t i = 0; i < chain.len; i++)
        if (chain.at[i] & 0x80) return 0; /* an ASCII name is enough to look for */
    return ck_extension_sign_bytes(chain, height, (int32_t)round, extension, again, sizeof again, &range.len) ==
               CK_OK &&
           ck_same_bytes(range, value);
}

/* The value behind its length. */
static ck_bytes framed(ck_bytes value) {
    static uint8_t whole[ROOM];
    ck_bytes made = {whole, 0};
    ck_writer writer = ck_writer_over(whole, sizeof whole);
    const size_t mark = ck_put_open(&writer);
    ck_put(&writer, value);
    ck_put_close(&writer, mark);
    REQUIRE(ck_written(&writer, &made.len) == CK_OK);
    return made;
}

static int is_a_vote(ck_bytes value) { return is_ballot(value) || is_extension(value); }

static void try_value(ck_bytes value) {
    uint8_t signature[CK_SIGNATURE_MAX];
    const ck_slot slot = slot_of((ck_bytes){NULL, 0}), before = slot;
    if (ck_slot_sign_value(&slot, value, signature) != CK_OK) return;
    REQUIRE(memcmp(&slot, &before, sizeof slot) == 0);
    REQUIRE(ck_same_bytes((ck_bytes){asked, asked_len}, value));
    REQUIRE(!is_a_vote(value) && !is_a_vote(framed(value)));
}

static void require_refused(ck_bytes value) {
    uint8_t signature[CK_SIGNATURE_MAX];
    const ck_slot slot = slot_of((ck_bytes){NULL, 0});
    REQUIRE(ck_slot_sign_value(&slot, value, signature) == CK_REFUSED);
}

/* The canonical bytes that the parts make, whole and without their length. */
static void try_ballot(const uint8_t *data, size_t size) {
    static const int32_t types[] = {1, 2, 32};
    static uint8_t hash[CK_HASH_BYTES], made[ROOM];
    size_t len, length, used;
    if (size < 24) return;
    ck_bytes chain = {data + 23, size - 23};
    if (chain.len > CK_CHAIN_ID_MAX) chain.len = CK_CHAIN_ID_MAX;
    ck_ballot ballot = {.type = types[data[1] % 3],
                        .height = (int64_t)(ck_get_le(data + 2, 8) >> 1),
                        .timestamp = {(int64_t)ck_get_le(data + 10, 4), 0}};
    ballot.round = (int32_t)(ck_get_le(data + 14, 4) >> 1);
    ballot.pol_round = ballot.type == 32 ? (int32_t)data[18] - 1 : 0;
    if (data[19] & 1) ballot.block_id = (ck_block_id){{hash, sizeof hash}, (uint32_t)data[20] + 1, {hash, sizeof hash}};
    int rc;
    if (data[0] & 4) {
        for (size_t i = 0; i < chain.len; i++)
            if (chain.at[i] & 0x80) return; /* a chain's id is UTF-8 */
        const ck_bytes extension = {data, data[21] % 24};
        rc = ck_extension_sign_bytes(chain, ballot.height | 1, ballot.round, extension, made, sizeof made, &len);
    } else {
        rc = ck_canonical(data[0] >> 3 & 1, &ballot, chain, made, sizeof made, &len);
    }
    REQUIRE(rc == CK_OK && is_a_vote((ck_bytes){made, len}));
    REQUIRE(ck_read_length(made, len, len, &length, &used) == CK_OK && length == len - used);
    require_refused((ck_bytes){made, len});
    require_refused((ck_bytes){made + used, length});
}

static void try_raw(const uint8_t *data, size_t size) {
    static uint8_t scratch[ROOM];
    uint8_t signature[CK_SIGNATURE_MAX];
    if (size < 3) return;
    const size_t id_len = 1 + data[1] % (size - 2 < 32 ? size - 2 : 32);
    const ck_bytes unique_id = {data + 2, id_len}, raw = {data + 2 + id_len, size - 2 - id_len};
    const ck_slot slot = slot_of(unique_id);
    if (ck_slot_sign_raw(&slot, raw, unique_id, scratch, sizeof scratch, signature) != CK_OK) {
        REQUIRE(raw.len == 0 || raw.len > CK_RAW_VALUE_MAX);
        return;
    }
    const ck_bytes made = {asked, asked_len};
    REQUIRE(ck_begins_as_raw_bytes(made) && !ck_reads_as_vote(made) && !is_a_vote(made) && !is_a_vote(framed(made)));
    require_refused(made);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 || size > CK_RAW_VALUE_MAX + 2) return 0;
    switch (data[0] & 3) {
    case 1:
        try_ballot(data, size);
        break;
    case 2:
        try_raw(data, size);
        break;
    default:
        try_value((ck_bytes){data + 1, size - 1});
    }
    return 0;
}

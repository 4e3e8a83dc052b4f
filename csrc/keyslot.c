#include "keyslot.h"

#include <string.h>

#include "cursor.h"
#include "frames.h"
#include "rawbytes.h"
#include "sodium.h"

/* A slot of this chain without a key yet. */
static int begin(ck_slot *slot, int32_t type, ck_bytes chain_id) {
    if (!ck_sodium.malloc) return CK_NO_SODIUM;
    if (chain_id.len > CK_CHAIN_ID_MAX) return CK_NO_ROOM;
    memset(slot, 0, sizeof *slot);
    slot->type = ck_key_type_of(type);
    if (!slot->type || !slot->type->ready()) return CK_NO_LIBRARY;
    if (chain_id.len) memcpy(slot->chain_id, chain_id.at, chain_id.len);
    slot->chain_id_len = chain_id.len;
    return CK_OK;
}

/* Take `secret`, which holds a key if `rc` is CK_OK; else it is wiped and freed.
   Returns `rc`, or CK_NO_ROOM. */
static int adopt(ck_slot *slot, uint8_t *secret, const uint8_t *public_key, int rc) {
    if (rc == CK_OK && ck_sodium.mprotect_readonly(secret) != 0) rc = CK_NO_ROOM;
    if (rc != CK_OK) {
        ck_sodium.free(secret); /* wipes */
        return rc;
    }
    slot->secret = secret;
    memcpy(slot->public_key, public_key, slot->type->public_len);
    return CK_OK;
}

int ck_slot_open(ck_slot *slot, int32_t type, char *base64, size_t base64_len, ck_bytes chain_id) {
    uint8_t public_key[CK_PUBLIC_KEY_MAX];
    const int rc = begin(slot, type, chain_id);
    if (rc == CK_NO_SODIUM) return rc;
    uint8_t *secret = rc == CK_OK ? ck_sodium.malloc(slot->type->secret_len) : NULL;
    if (!secret) {
        ck_sodium.memzero(base64, base64_len);
        return rc == CK_OK ? CK_NO_ROOM : rc;
    }
    return adopt(slot, secret, public_key, ck_decode_secret(slot->type, base64, base64_len, secret, public_key));
}

int ck_slot_open_sealed(ck_slot *slot, const ck_sealed *sealed, ck_bytes passphrase, ck_bytes chain_id) {
    const int rc = begin(slot, sealed->type, chain_id);
    if (rc != CK_OK) return rc;
    uint8_t *secret = ck_sodium.malloc(slot->type->secret_len);
    if (!secret) return CK_NO_ROOM;
    return adopt(slot, secret, sealed->public_key, ck_unseal(sealed, passphrase, secret));
}

int ck_slot_open_outside(ck_slot *slot, int32_t type, const uint8_t *public_key, ck_outside_sign sign, void *context,
                         ck_bytes chain_id) {
    const int rc = begin(slot, type, chain_id);
    if (rc != CK_OK) return rc;
    slot->outside = sign;
    slot->context = context;
    memcpy(slot->public_key, public_key, slot->type->public_len);
    return CK_OK;
}

int ck_slot_cluster_secret(const ck_slot *slot, uint8_t out[32]) {
    static const char label[] = "cometkms cluster secret v1";
    if (!slot->secret) return CK_REFUSED;
    ck_hkdf_sha256(slot->secret, CK_SEED_BYTES, (const uint8_t *)label, sizeof label - 1, out, 32);
    return CK_OK;
}

void ck_slot_close(ck_slot *slot) {
    if (slot->secret) ck_sodium.free(slot->secret);
    slot->secret = NULL;
    slot->outside = NULL;
}

static int is_open(const ck_slot *slot) { return slot->secret || slot->outside; }

static void prepare(const ck_key_type *type, ck_prepared *prepared, const uint8_t *bytes, size_t len) {
    prepared->len = 0;
    if (!type->prepare || !len || len > sizeof prepared->of) return;
    if (type->prepare(bytes, len, prepared->made) != CK_OK) return;
    memcpy(prepared->of, bytes, len);
    prepared->len = len;
}

void ck_slot_prepare(ck_slot *slot, const uint8_t *bytes, size_t len) {
    slot->prepared_extension.len = 0;
    prepare(slot->type, &slot->prepared, bytes, len);
}

void ck_slot_prepare_extension(ck_slot *slot, int64_t height, int32_t round, ck_bytes extension, uint8_t *scratch,
                               size_t cap) {
    const ck_bytes chain_id = {slot->chain_id, slot->chain_id_len};
    size_t len;
    slot->prepared_extension.len = 0;
    if (!slot->type->prepare || extension.len > sizeof slot->prepared_extension.of) return;
    if (ck_extension_sign_bytes(chain_id, height, round, extension, scratch, cap, &len) == CK_OK)
        prepare(slot->type, &slot->prepared_extension, scratch, len);
}

/* NULL: it was made of other bytes (the permit's timestamp is another), or of none. */
static const uint8_t *prepared_for(const ck_prepared *prepared, const uint8_t *bytes, size_t len) {
    return prepared->len == len && len > 0 && memcmp(prepared->of, bytes, len) == 0 ? prepared->made : NULL;
}

/* Only behind every guard. `prepared`: NULL for bytes that never are. What comes from outside is
 * believed once it verifies. */
static int make_signature(const ck_slot *slot, const ck_prepared *prepared, const uint8_t *bytes, size_t len,
                          uint8_t signature[CK_SIGNATURE_MAX]) {
    uint8_t made[CK_SIGNATURE_MAX];
    const uint8_t *known = prepared ? prepared_for(prepared, bytes, len) : NULL;
    if (slot->secret) return slot->type->sign(slot->secret, bytes, len, known, signature);
    if (slot->outside(slot->context, bytes, len, made) != 0) return CK_REFUSED;
    if (slot->type->verify(slot->public_key, bytes, len, made) != CK_OK) return CK_REFUSED;
    memcpy(signature, made, slot->type->signature_len);
    return CK_OK;
}

static int compare_place(const ck_slot *slot, int64_t height, int32_t round, int32_t step) {
    if (height != slot->height) return height < slot->height ? -1 : 1;
    if (round != slot->round) return round < slot->round ? -1 : 1;
    return step < slot->step ? -1 : step > slot->step;
}

static int holds(const ck_slot *slot, const uint8_t *bytes, size_t len) {
    return slot->marked_len == len && len > 0 && memcmp(slot->marked, bytes, len) == 0;
}

void ck_slot_raise(ck_slot *slot, int64_t height, int32_t round, int32_t step, ck_bytes sign_bytes) {
    const int order = compare_place(slot, height, round, step);
    if (order < 0 || (order == 0 && holds(slot, sign_bytes.at, sign_bytes.len))) return;
    slot->height = height;
    slot->round = round;
    slot->step = step;
    slot->marked_len = 0;
    if (order > 0 && sign_bytes.len && sign_bytes.len <= sizeof slot->marked) {
        memcpy(slot->marked, sign_bytes.at, sign_bytes.len);
        slot->marked_len = sign_bytes.len;
    }
}

int ck_slot_sign(ck_slot *slot, const uint8_t *bytes, size_t len, uint8_t signature[CK_SIGNATURE_MAX]) {
    ck_sign_bytes parsed;
    if (!is_open(slot) || ck_parse_sign_bytes(bytes, len, &parsed) != CK_OK) return CK_REFUSED;
    if (parsed.chain_id.len != slot->chain_id_len ||
        (parsed.chain_id.len && memcmp(parsed.chain_id.at, slot->chain_id, slot->chain_id_len) != 0))
        return CK_REFUSED;
    const int order = compare_place(slot, parsed.height, parsed.round, parsed.step);
    if (order < 0 || (order == 0 && !holds(slot, bytes, len))) return CK_REFUSED;
    ck_bytes held = {bytes, len};
    if (order > 0)
        ck_slot_raise(slot, parsed.height, parsed.round, parsed.step, held); /* before the signature exists */
    return make_signature(slot, &slot->prepared, bytes, len, signature);
}

int ck_slot_sign_extension(ck_slot *slot, const uint8_t *vote_bytes, size_t vote_len, ck_bytes extension,
                           uint8_t *scratch, size_t cap, uint8_t signature[CK_SIGNATURE_MAX]) {
    ck_sign_bytes parsed;
    size_t len;
    if (!is_open(slot) || !holds(slot, vote_bytes, vote_len)) return CK_REFUSED;
    if (ck_parse_sign_bytes(vote_bytes, vote_len, &parsed) != CK_OK || parsed.type != 2 || parsed.block_hash.len == 0)
        return CK_REFUSED;
    const int rc = ck_extension_sign_bytes(parsed.chain_id, parsed.height, parsed.round, extension, scratch, cap, &len);
    return rc == CK_OK ? make_signature(slot, &slot->prepared_extension, scratch, len, signature) : rc;
}

int ck_slot_allow_bytes(ck_slot *slot, int32_t values, const ck_bytes *ids, size_t count) {
    ck_allowed_bytes allowed = {.values = values != 0, .ids = (uint32_t)count};
    memset(&slot->allowed, 0, sizeof slot->allowed);
    if (count > CK_RAW_UNIQUE_IDS_MAX) return CK_NO_ROOM;
    for (size_t i = 0; i < count; i++) {
        if (ids[i].len == 0 || ids[i].len > CK_RAW_UNIQUE_ID_MAX) return CK_NO_ROOM;
        memcpy(allowed.id[i], ids[i].at, ids[i].len);
        allowed.id_len[i] = ids[i].len;
    }
    slot->allowed = allowed;
    return CK_OK;
}

static int allows_id(const ck_slot *slot, ck_bytes unique_id) {
    for (uint32_t i = 0; i < slot->allowed.ids; i++) {
        const ck_bytes one = {slot->allowed.id[i], slot->allowed.id_len[i]};
        if (ck_same_bytes(one, unique_id)) return 1;
    }
    return 0;
}

int ck_slot_sign_value(const ck_slot *slot, ck_bytes value, uint8_t signature[CK_SIGNATURE_MAX]) {
    if (!is_open(slot) || !slot->allowed.values || value.len == 0 || value.len > CK_RAW_VALUE_MAX) return CK_REFUSED;
    if (ck_reads_as_vote(value) || ck_begins_as_raw_bytes(value)) return CK_REFUSED;
    return make_signature(slot, NULL, value.at, value.len, signature);
}

int ck_slot_sign_raw(const ck_slot *slot, ck_bytes raw, ck_bytes unique_id, uint8_t *scratch, size_t cap,
                     uint8_t signature[CK_SIGNATURE_MAX]) {
    const ck_bytes chain_id = {slot->chain_id, slot->chain_id_len};
    ck_bytes made = {scratch, 0};
    if (!is_open(slot) || !allows_id(slot, unique_id) || chain_id.len == 0) return CK_REFUSED;
    if (raw.len == 0 || raw.len > CK_RAW_VALUE_MAX) return CK_REFUSED;
    const int rc = ck_raw_bytes(chain_id, raw, unique_id, scratch, cap, &made.len);
    if (rc != CK_OK) return rc;
    if (ck_reads_as_vote(made)) return CK_REFUSED; /* it cannot: field 8 begins a group that the next byte breaks */
    return make_signature(slot, NULL, made.at, made.len, signature);
}

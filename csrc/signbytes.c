/* Canonical sign bytes (PROTOCOL §4): what ed25519 signs. Two forms: v0.34 and later (protobuf), and v0.33 (amino), which
 * differs in the part set header (hash first) and in pol_round (fixed64), and leaves out a zero timestamp. */
#include "cursor.h"

static void put_block_id(ck_writer *w, int dialect, uint32_t field, const ck_block_id *id) {
    if (id->hash.len == 0 && id->parts_hash.len == 0 && id->parts_total == 0) return;
    size_t start = ck_open(w, field);
    ck_put_bytes(w, 1, id->hash);
    size_t parts = ck_open(w, 2);
    if (dialect == CK_AMINO) {
        ck_put_bytes(w, 1, id->parts_hash);
        ck_put_int(w, 2, id->parts_total);
    } else {
        ck_put_int(w, 1, id->parts_total);
        ck_put_bytes(w, 2, id->parts_hash);
    }
    ck_close(w, parts);
    ck_close(w, start);
}

int ck_canonical(int dialect, const ck_ballot *b, ck_bytes chain_id, uint8_t *out, size_t cap, size_t *len) {
    const int is_proposal = b->type == 32;
    ck_writer w = ck_writer_over(out, cap);
    uint32_t field = 4;
    if (chain_id.len > CK_CHAIN_ID_MAX) return CK_NO_ROOM;
    ck_put_int(&w, 1, b->type);
    ck_put_sfixed64(&w, 2, b->height);
    ck_put_sfixed64(&w, 3, b->round);
    if (is_proposal) {
        if (dialect == CK_AMINO) ck_put_sfixed64(&w, field, b->pol_round);
        else ck_put_int(&w, field, b->pol_round);
        field++;
    }
    put_block_id(&w, dialect, field, &b->block_id);
    if (dialect == CK_PROTO || b->timestamp.seconds || b->timestamp.nanos) ck_put_timestamp(&w, field + 1, b->timestamp);
    ck_put_bytes(&w, field + 2, chain_id);
    ck_close(&w, 0);
    return ck_finish(&w, len);
}

int ck_extension_sign_bytes(ck_bytes chain_id, int64_t height, int32_t round, ck_bytes extension, uint8_t *out, size_t cap,
                            size_t *len) {
    /* The length is known beforehand, so that a 1 MiB extension is copied once. */
    size_t body = (extension.len ? 1 + ck_varint_size(extension.len) + extension.len : 0) + (height ? 9 : 0) +
                  (round ? 9 : 0) + (chain_id.len ? 1 + ck_varint_size(chain_id.len) + chain_id.len : 0);
    ck_writer w = ck_writer_over(out, cap);
    ck_put_varint(&w, body);
    ck_put_bytes(&w, 1, extension);
    ck_put_sfixed64(&w, 2, height);
    ck_put_sfixed64(&w, 3, round);
    ck_put_bytes(&w, 4, chain_id);
    return ck_finish(&w, len);
}

/* Reads the fields in any order; ck_parse_sign_bytes then compares with what the encoder makes of them. */
static int take_canonical_block_id(ck_bytes body, ck_block_id *id) {
    ck_reader r = {body.at, body.len};
    while (r.left) {
        uint32_t field, wire;
        ck_bytes bytes;
        if (ck_take_tag(&r, &field, &wire) != CK_OK || wire != CK_LENGTH || field > 2) return CK_MALFORMED;
        if (ck_take_length(&r, &bytes) != CK_OK) return CK_MALFORMED;
        if (field == 1) {
            id->hash = bytes;
            continue;
        }
        ck_reader parts = {bytes.at, bytes.len};
        while (parts.left) {
            uint64_t value;
            if (ck_take_tag(&parts, &field, &wire) != CK_OK || field > 2) return CK_MALFORMED;
            if (wire == CK_VARINT) {
                if (ck_take_varint(&parts, &value) != CK_OK) return CK_MALFORMED;
                id->parts_total = (uint32_t)value;
            } else if (wire != CK_LENGTH || ck_take_length(&parts, &id->parts_hash) != CK_OK) {
                return CK_MALFORMED;
            }
        }
    }
    return CK_OK;
}

typedef struct parsed {
    ck_ballot ballot;
    ck_bytes chain_id;
    ck_bytes timestamp;
} parsed;

static int take_field(ck_reader *r, uint32_t field, uint32_t wire, parsed *p) {
    ck_ballot *b = &p->ballot;
    uint64_t value = 0;
    ck_bytes bytes = {0};
    if (wire == CK_VARINT) {
        if (ck_take_varint(r, &value) != CK_OK) return CK_MALFORMED;
    } else if (wire == CK_FIXED64) {
        if (ck_take_fixed64(r, &value) != CK_OK) return CK_MALFORMED;
    } else if (wire != CK_LENGTH || ck_take_length(r, &bytes) != CK_OK) {
        return CK_MALFORMED;
    }
    if (field == 1 && wire == CK_VARINT) {
        b->type = (int32_t)(uint32_t)value;
        return CK_OK;
    }
    if (field == 2 && wire == CK_FIXED64) {
        b->height = (int64_t)value;
        return CK_OK;
    }
    if (field == 3 && wire == CK_FIXED64) {
        b->round = (int32_t)(uint32_t)value;
        return CK_OK;
    }
    if (b->type == 32 && field == 4 && wire != CK_LENGTH) {
        b->pol_round = (int32_t)(uint32_t)value;
        return CK_OK;
    }
    if (wire != CK_LENGTH) return CK_MALFORMED;
    if (b->type == 32) field--;
    if (field == 4) return take_canonical_block_id(bytes, &b->block_id);
    if (field == 5) {
        p->timestamp = bytes;
        return ck_take_timestamp(bytes, &b->timestamp);
    }
    if (field != 6) return CK_MALFORMED;
    p->chain_id = bytes;
    return CK_OK;
}

static int reencodes(int dialect, const parsed *p, const uint8_t *bytes, size_t len) {
    uint8_t again[CK_SIGN_BYTES_MAX];
    size_t again_len;
    if (ck_canonical(dialect, &p->ballot, p->chain_id, again, sizeof again, &again_len) != CK_OK) return 0;
    return again_len == len && memcmp(again, bytes, len) == 0;
}

int ck_parse_sign_bytes(const uint8_t *bytes, size_t len, ck_sign_bytes *out) {
    size_t body, used;
    parsed p;
    memset(&p, 0, sizeof p);
    if (len > CK_SIGN_BYTES_MAX) return CK_MALFORMED;
    if (ck_read_length(bytes, len, CK_SIGN_BYTES_MAX, &body, &used) != CK_OK || body != len - used) return CK_MALFORMED;
    ck_reader r = {bytes + used, body};
    while (r.left) {
        uint32_t field, wire;
        if (ck_take_tag(&r, &field, &wire) != CK_OK || take_field(&r, field, wire, &p) != CK_OK) return CK_MALFORMED;
    }
    const ck_ballot *b = &p.ballot;
    if ((b->type != 1 && b->type != 2 && b->type != 32) || b->height < 0 || b->round < 0 || b->pol_round < -1)
        return CK_MALFORMED;
    if (b->block_id.hash.len != b->block_id.parts_hash.len) return CK_MALFORMED;
    if (b->block_id.hash.len != 0 && b->block_id.hash.len != CK_HASH_BYTES) return CK_MALFORMED;
    if (b->block_id.hash.len == 0 && b->block_id.parts_total != 0) return CK_MALFORMED;
    if (!reencodes(CK_PROTO, &p, bytes, len) && !reencodes(CK_AMINO, &p, bytes, len)) return CK_MALFORMED;
    memset(out, 0, sizeof *out);
    out->type = b->type;
    out->height = b->height;
    out->round = b->round;
    out->step = b->type == 32 ? 1 : b->type + 1;
    out->pol_round = b->pol_round;
    out->timestamp = b->timestamp;
    out->block_hash = b->block_id.hash;
    out->chain_id = p.chain_id;
    if (p.timestamp.at) { /* tag and a one-byte length stand before it: at most 18 bytes of content */
        out->timestamp_at = (size_t)(p.timestamp.at - bytes) - 2;
        out->timestamp_len = p.timestamp.len + 2;
    }
    return CK_OK;
}

/* The bytes before and behind the timestamp must agree; the length prefix may differ with its size. */
int ck_same_but_timestamp(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len) {
    ck_sign_bytes pa, pb;
    size_t n, pa_used, pb_used;
    if (ck_parse_sign_bytes(a, a_len, &pa) != CK_OK || ck_parse_sign_bytes(b, b_len, &pb) != CK_OK) return 0;
    if (a_len == b_len && memcmp(a, b, a_len) == 0) return 1;
    if (!pa.timestamp_len || !pb.timestamp_len) return 0; /* v0.33's epoch: as FilePV, not the same */
    if (ck_read_length(a, a_len, CK_SIGN_BYTES_MAX, &n, &pa_used) != CK_OK) return 0;
    if (ck_read_length(b, b_len, CK_SIGN_BYTES_MAX, &n, &pb_used) != CK_OK) return 0;
    size_t head_a = pa.timestamp_at - pa_used, head_b = pb.timestamp_at - pb_used;
    size_t tail_a = a_len - pa.timestamp_at - pa.timestamp_len, tail_b = b_len - pb.timestamp_at - pb.timestamp_len;
    return head_a == head_b && tail_a == tail_b && memcmp(a + pa_used, b + pb_used, head_a) == 0 &&
           memcmp(a + a_len - tail_a, b + b_len - tail_b, tail_a) == 0;
}

#include "line.h"

#include "audit.h"
#include "cursor.h"
#include "place.h"
#include "sodium.h"

#define SECOND_NS 1000000000ull
#define HASH_HEX 64

typedef struct record {
    uint64_t life, number, at_ns, us;
    ck_hrs at;
    uint8_t outcome, reason, kind;
    uint16_t chain;
    ck_bytes bytes, block, identity, validator;
} record;

static const uint8_t digits[] = "0123456789abcdef";

static void put_text(ck_writer *out, const char *text) { ck_put(out, (ck_bytes){(const uint8_t *)text, strlen(text)}); }

static void put_number(ck_writer *out, uint64_t value, unsigned width) { /* width: at least so many digits */
    uint8_t text[20], *at = text + sizeof text;
    do *--at = digits[value % 10], value /= 10;
    while (value > 0 || at > text + sizeof text - width);
    ck_put(out, (ck_bytes){at, (size_t)(text + sizeof text - at)});
}

static void put_signed(ck_writer *out, int64_t value) {
    if (value < 0) ck_put_byte(out, '-');
    put_number(out, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 1);
}

static void put_hex(ck_writer *out, ck_bytes bytes) {
    for (size_t i = 0; i < bytes.len; i++) {
        ck_put_byte(out, digits[bytes.at[i] >> 4]);
        ck_put_byte(out, digits[bytes.at[i] & 15]);
    }
}

static void put_sha256(ck_writer *out, ck_bytes first, ck_bytes second) {
    uint8_t sum[32];
    ck_sha256 state;
    ck_sodium.sha256_init(&state);
    ck_sodium.sha256_update(&state, first.at, first.len);
    ck_sodium.sha256_update(&state, second.at, second.len);
    ck_sodium.sha256_final(&state, sum);
    put_hex(out, (ck_bytes){sum, sizeof sum});
}

/* UTC, as in 2026-11-29T07:55:02.123456789Z. Days to a date by counting years from March, so that a
 * leap day is a year's last one (H. Hinnant, chrono-compatible low-level date algorithms,
 * civil_from_days). */
static void put_time(ck_writer *out, uint64_t at_ns) {
    const uint64_t seconds = at_ns / SECOND_NS, days = seconds / 86400 + 719468, of_day = seconds % 86400;
    const uint64_t era = days / 146097, day_of_era = days % 146097;
    const uint64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    const uint64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    const uint64_t month_from_march = (5 * day_of_year + 2) / 153;
    const uint64_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    put_number(out, era * 400 + year_of_era + (month <= 2), 4);
    ck_put_byte(out, '-'), put_number(out, month, 2);
    ck_put_byte(out, '-'), put_number(out, day_of_year - (153 * month_from_march + 2) / 5 + 1, 2);
    ck_put_byte(out, 'T'), put_number(out, of_day / 3600, 2);
    ck_put_byte(out, ':'), put_number(out, of_day / 60 % 60, 2);
    ck_put_byte(out, ':'), put_number(out, of_day % 60, 2);
    ck_put_byte(out, '.'), put_number(out, at_ns % SECOND_NS, 9);
    ck_put_byte(out, 'Z');
}

/* CK_MORE: it is none. */
static int read_record(ck_bytes in, record *r) {
    if (in.len < CK_DECISION_HEAD) return CK_MORE;
    const uint8_t *at = in.at;
    r->life = ck_get(at, CK_DECISION_LIFE);
    r->number = ck_get(at, CK_DECISION_NUMBER);
    r->at_ns = ck_get(at, CK_DECISION_AT_NS);
    r->at = (ck_hrs){(int64_t)ck_get(at, CK_DECISION_HEIGHT), (int32_t)ck_get(at, CK_DECISION_ROUND),
                     (int32_t)ck_get(at, CK_DECISION_STEP)};
    r->outcome = (uint8_t)ck_get(at, CK_DECISION_OUTCOME);
    r->reason = (uint8_t)ck_get(at, CK_DECISION_REASON);
    r->kind = (uint8_t)ck_get(at, CK_DECISION_KIND);
    r->chain = (uint16_t)ck_get(at, CK_DECISION_CHAIN);
    r->us = ck_get(at, CK_DECISION_US);
    const size_t bytes = ck_get(at, CK_DECISION_BYTES), block = ck_get(at, CK_DECISION_BLOCK);
    const size_t identity = ck_get(at, CK_DECISION_IDENTITY), name = ck_get(at, CK_DECISION_VALIDATOR);
    if (CK_DECISION_HEAD + bytes + block + identity + name != in.len || bytes > CK_SIGN_BYTES_MAX ||
        block > CK_HASH_BYTES || (identity != 0 && identity != 32) || name > CK_AUDIT_VALIDATOR_MAX)
        return CK_MORE;
    r->bytes = (ck_bytes){at + CK_DECISION_HEAD, bytes};
    r->block = (ck_bytes){r->bytes.at + bytes, block};
    r->identity = (ck_bytes){r->block.at + block, identity};
    r->validator = (ck_bytes){r->identity.at + identity, name};
    return CK_OK;
}

static int is_plain(const ck_lines *log, const record *r) {
    if (r->life != log->life || r->number != log->number + 1 || r->number == 0 || r->chain >= log->chains) return 0;
    if (r->at_ns == 0 || r->at_ns > INT64_MAX || r->reason != CK_REASON_NONE) return 0;
    if (r->outcome != CK_OUTCOME_SIGNED && r->outcome != CK_OUTCOME_REPEATED) return 0;
    if (r->kind != CK_SIGN_VOTE_REQUEST && r->kind != CK_SIGN_PROPOSAL_REQUEST) return 0;
    for (size_t i = 0; i < r->validator.len; i++) {
        const uint8_t c = r->validator.at[i];
        if (c < 0x20 || c > 0x7e || c == '"' || c == '\\') return 0;
    }
    return 1;
}

/* audit/lines.py: the keys in their order, and the hash over what is before it. */
static void put_line(ck_lines *log, const record *r, ck_writer *out) {
    const size_t from = out->used;
    put_text(out, "{\"seq\":"), put_number(out, log->seq + 1, 1);
    put_text(out, ",\"at\":\""), put_time(out, r->at_ns);
    put_text(out, r->outcome == CK_OUTCOME_SIGNED ? "\",\"what\":\"signed\"" : "\",\"what\":\"repeated\"");
    put_text(out, ",\"number\":"), put_number(out, r->number, 1);
    put_text(out, ",\"chain\":"), ck_put(out, log->chain[r->chain]);
    put_text(out, ",\"height\":"), put_signed(out, r->at.height);
    put_text(out, ",\"round\":"), put_signed(out, r->at.round);
    put_text(out, ",\"step\":"), put_signed(out, r->at.step);
    put_text(out, r->kind == CK_SIGN_VOTE_REQUEST ? ",\"kind\":\"sign_vote_request\""
                                                  : ",\"kind\":\"sign_proposal_request\"");
    put_text(out, ",\"reason\":\"\",\"bytes\":\"");
    if (r->bytes.len) put_sha256(out, r->bytes, (ck_bytes){r->bytes.at, 0});
    put_text(out, "\",\"block\":\""), put_hex(out, r->block);
    put_text(out, "\",\"validator\":\""), ck_put(out, r->validator);
    put_text(out, "\",\"identity\":\""), put_hex(out, r->identity);
    put_text(out, "\",\"us\":"), put_number(out, r->us, 1);
    const ck_bytes body = {out->out + from, out->used - from};
    put_text(out, ",\"hash\":\"");
    const size_t hash_at = out->used;
    put_sha256(out, (ck_bytes){log->head, sizeof log->head}, body);
    put_text(out, "\"}\n");
    size_t len = 0;
    if (ck_written(out, &len) != CK_OK) return;
    memcpy(log->head, out->out + hash_at, HASH_HEX);
    log->seq++;
    log->number = r->number;
}

void ck_lines_of(ck_lines *log, ck_bytes records, const uint16_t *sizes, uint32_t count, uint8_t *out, size_t cap,
                 uint32_t *taken, size_t *used) {
    size_t at = 0;
    *taken = 0, *used = 0;
    ck_writer writer = ck_writer_over(out, cap);
    while (*taken < count && cap - *used >= CK_AUDIT_LINE_MAX && records.len - at >= sizes[*taken]) {
        record r;
        const uint16_t size = sizes[*taken];
        if (read_record((ck_bytes){records.at + at, size}, &r) != CK_OK || !is_plain(log, &r)) return;
        put_line(log, &r, &writer);
        size_t len = 0;
        if (ck_written(&writer, &len) != CK_OK) return; /* nothing of it counts */
        *used = len;
        at += size;
        ++*taken;
    }
}

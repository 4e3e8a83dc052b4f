/* Records as the queue's writer left them, made into lines of the audit log: input is the room in
 * the file, then records, each behind its size of two bytes. Whatever they hold, a line is one line
 * of JSON's own characters, within its bound, and only for the next number of the life that writes;
 * what is not taken moves nothing. */
#include <string.h>

#include "../audit.h"
#include "../line.h"
#include "../sodium.h"
#include "property.h"

enum { RECORDS_MAX = 32, LIFE = 7 };

static int sha_init(ck_sha256 *state) {
    memset(state, 0, sizeof *state);
    return 0;
}

static int sha_update(ck_sha256 *state, const uint8_t *data, unsigned long long len) {
    for (unsigned long long i = 0; i < len; i++) state->state[i % 8] = state->state[i % 8] * 31 + data[i];
    return 0;
}

static int sha_final(ck_sha256 *state, uint8_t *out) {
    memcpy(out, state->state, 32);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t out[RECORDS_MAX * CK_AUDIT_LINE_MAX];
    static ck_lines log;
    uint16_t sizes[RECORDS_MAX];
    uint32_t count = 0, taken = 99;
    size_t used = 99;
    if (size < 4) return 0;
    ck_sodium.sha256_init = sha_init, ck_sodium.sha256_update = sha_update, ck_sodium.sha256_final = sha_final;
    const size_t cap = (size_t)(data[0] % 40) * CK_AUDIT_LINE_MAX / 8;
    uint8_t *records = malloc(size); /* exactly: the sanitizer sees a byte too many */
    if (!records) return 0;
    size_t len = 0;
    for (size_t at = 1; count < RECORDS_MAX && size - at >= 2;) {
        const size_t one = (size_t)data[at] | (size_t)data[at + 1] << 8;
        at += 2;
        const size_t there = one < size - at ? one : size - at;
        memcpy(records + len, data + at, there);
        at += there, len += there;
        sizes[count++] = (uint16_t)one; /* the last one may announce more than there is */
    }
    memset(&log, 0, sizeof log);
    memset(log.head, '0', sizeof log.head);
    log.life = LIFE, log.seq = 41, log.chains = 1;
    log.chain[0] = (ck_bytes){(const uint8_t *)"\"c-1\"", 5};
    const ck_lines before = log;
    ck_lines_of(&log, (ck_bytes){records, len}, sizes, count, out, cap < sizeof out ? cap : sizeof out, &taken, &used);
    REQUIRE(taken <= count && used <= cap && used <= sizeof out);
    REQUIRE((taken == 0) == (used == 0));
    REQUIRE(log.number == before.number + taken && log.seq == before.seq + taken && log.life == before.life);
    REQUIRE(taken > 0 || memcmp(&log, &before, sizeof log) == 0);
    uint32_t lines = 0;
    for (size_t i = 0; i < used; i++) {
        REQUIRE(out[i] == '\n' || (out[i] >= 0x20 && out[i] <= 0x7e));
        lines += out[i] == '\n';
    }
    REQUIRE(lines == taken && (used == 0 || out[used - 1] == '\n'));
    free(records);
    return 0;
}

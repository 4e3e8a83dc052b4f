#include "merlin.h"

#include <string.h>

static const uint64_t ROUND_CONSTANTS[24] = {
    0x0000000000000001, 0x0000000000008082, 0x800000000000808a, 0x8000000080008000, 0x000000000000808b,
    0x0000000080000001, 0x8000000080008081, 0x8000000000008009, 0x000000000000008a, 0x0000000000000088,
    0x0000000080008009, 0x000000008000000a, 0x000000008000808b, 0x800000000000008b, 0x8000000000008089,
    0x8000000000008003, 0x8000000000008002, 0x8000000000000080, 0x000000000000800a, 0x800000008000000a,
    0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008,
};
static const uint8_t ROTATIONS[24] = {1,  3,  6,  10, 15, 21, 28, 36, 45, 55, 2,  14,
                                      27, 41, 56, 8,  25, 43, 62, 18, 39, 61, 20, 44};
static const uint8_t LANES[24] = {10, 7,  11, 17, 18, 3, 5,  16, 8,  21, 24, 4,
                                  15, 23, 19, 13, 12, 2, 20, 14, 22, 9,  6,  1};

static uint64_t rotate(uint64_t value, unsigned bits) { return value << bits | value >> (64 - bits); }

/* FIPS 202, section 3: theta, rho and pi, chi, iota. */
void ck_keccak_f1600(uint64_t a[25]) {
    for (unsigned round = 0; round < 24; round++) {
        uint64_t c[5];
        for (unsigned x = 0; x < 5; x++) c[x] = a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20];
        for (unsigned x = 0; x < 5; x++) {
            uint64_t d = c[(x + 4) % 5] ^ rotate(c[(x + 1) % 5], 1);
            for (unsigned y = 0; y < 25; y += 5) a[y + x] ^= d;
        }
        uint64_t moving = a[1];
        for (unsigned i = 0; i < 24; i++) {
            uint64_t next = a[LANES[i]];
            a[LANES[i]] = rotate(moving, ROTATIONS[i]);
            moving = next;
        }
        for (unsigned y = 0; y < 25; y += 5) {
            for (unsigned x = 0; x < 5; x++) c[x] = a[y + x];
            for (unsigned x = 0; x < 5; x++) a[y + x] ^= ~c[(x + 1) % 5] & c[(x + 2) % 5];
        }
        a[0] ^= ROUND_CONSTANTS[round];
    }
}

/* STROBE v1.0.2, section 6: rate 166 for 128-bit security. */
enum { RATE = 166, FLAG_I = 1, FLAG_A = 2, FLAG_C = 4, FLAG_M = 16 };

static void xor_byte(ck_merlin *m, unsigned at, uint8_t byte) { m->lanes[at / 8] ^= (uint64_t)byte << (8 * (at % 8)); }

static void run_f(ck_merlin *m) {
    xor_byte(m, m->pos, m->pos_begin);
    xor_byte(m, m->pos + 1u, 0x04);
    xor_byte(m, RATE + 1, 0x80);
    ck_keccak_f1600(m->lanes);
    m->pos = m->pos_begin = 0;
}

static void absorb(ck_merlin *m, const uint8_t *data, size_t len) {
    for (size_t i = 0; i < len; i++) {
        xor_byte(m, m->pos, data[i]);
        if (++m->pos == RATE) run_f(m);
    }
}

static void begin(ck_merlin *m, uint8_t flags) {
    uint8_t head[2] = {m->pos_begin, flags};
    m->pos_begin = (uint8_t)(m->pos + 1);
    absorb(m, head, 2);
    if ((flags & FLAG_C) && m->pos != 0) run_f(m);
}

static void put_label(ck_merlin *m, const uint8_t *label, size_t len, size_t message_len) {
    uint8_t size[4] = {(uint8_t)message_len, (uint8_t)(message_len >> 8), (uint8_t)(message_len >> 16),
                       (uint8_t)(message_len >> 24)};
    begin(m, FLAG_M | FLAG_A);
    absorb(m, label, len);
    absorb(m, size, 4); /* "more" of the same operation */
}

static void append(ck_merlin *m, const char *label, const uint8_t *message, size_t len) {
    put_label(m, (const uint8_t *)label, strlen(label), len);
    begin(m, FLAG_A);
    absorb(m, message, len);
}

void ck_merlin_init(ck_merlin *m, const uint8_t *label, size_t len) {
    static const uint8_t DOMAIN[18] = {1,   RATE + 2, 1,   0,   1,   96,  'S', 'T', 'R',
                                       'O', 'B',      'E', 'v', '1', '.', '0', '.', '2'};
    static const char PROTOCOL[] = "Merlin v1.0";
    memset(m, 0, sizeof *m);
    for (unsigned i = 0; i < sizeof DOMAIN; i++) xor_byte(m, i, DOMAIN[i]);
    ck_keccak_f1600(m->lanes);
    begin(m, FLAG_M | FLAG_A);
    absorb(m, (const uint8_t *)PROTOCOL, sizeof PROTOCOL - 1);
    append(m, "dom-sep", label, len);
}

void ck_merlin_append(ck_merlin *m, const char *label, const uint8_t *message, size_t len) {
    append(m, label, message, len);
}

void ck_merlin_challenge(ck_merlin *m, const char *label, uint8_t *out, size_t len) {
    put_label(m, (const uint8_t *)label, strlen(label), len);
    begin(m, FLAG_I | FLAG_A | FLAG_C);
    for (size_t i = 0; i < len; i++) {
        unsigned shift = 8 * (m->pos % 8u);
        out[i] = (uint8_t)(m->lanes[m->pos / 8] >> shift);
        m->lanes[m->pos / 8] &= ~((uint64_t)0xff << shift);
        if (++m->pos == RATE) run_f(m);
    }
}

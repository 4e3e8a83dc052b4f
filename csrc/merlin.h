/* Keccak-f[1600], the part of STROBE-128 that Merlin uses, and Merlin transcripts (merlin.cool). */
#ifndef CK_MERLIN_H
#define CK_MERLIN_H

#include <stddef.h>
#include <stdint.h>

typedef struct ck_merlin {
    uint64_t lanes[25]; /* the sponge; byte i of STROBE is byte i % 8 of lane i / 8, little-endian */
    uint8_t pos;
    uint8_t pos_begin;
} ck_merlin;

void ck_keccak_f1600(uint64_t lanes[25]);
void ck_merlin_init(ck_merlin *m, const uint8_t *label, size_t len);
void ck_merlin_append(ck_merlin *m, const char *label, const uint8_t *message, size_t len);
void ck_merlin_challenge(ck_merlin *m, const char *label, uint8_t *out, size_t len);

#endif

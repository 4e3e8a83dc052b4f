#include "audit.h"

#include <time.h>
#include <unistd.h>

static uint64_t unix_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void put(uint8_t **at, const uint8_t *from, size_t len) {
    if (len) memcpy(*at, from, len), *at += len;
}

void ck_audit_note(ck_audit *audit, const ck_decision *d, const ck_asker *asker) {
    uint8_t record[CK_RING_PAYLOAD], *at = record;
    const size_t bytes_len = d->bytes.len <= CK_SIGN_BYTES_MAX ? d->bytes.len : 0;
    const size_t hash_len = d->block_hash.len <= CK_HASH_BYTES ? d->block_hash.len : 0;
    const size_t identity_len = asker->identity_len <= sizeof asker->identity ? asker->identity_len : 0;
    const size_t name_len = asker->name_len <= sizeof asker->name ? asker->name_len : 0;
    const uint64_t took_us = d->took_ns / 1000, one = 1;
    ck_put_le(&at, audit->life, 8);
    ck_put_le(&at, ++audit->number, 8);
    ck_put_le(&at, unix_ns(), 8);
    ck_put_le(&at, (uint64_t)d->at.height, 8);
    ck_put_le(&at, (uint32_t)d->at.round, 4);
    ck_put_le(&at, (uint8_t)d->at.step, 1);
    ck_put_le(&at, d->outcome, 1);
    ck_put_le(&at, d->reason, 1);
    ck_put_le(&at, d->kind, 1);
    ck_put_le(&at, d->chain, 2);
    ck_put_le(&at, bytes_len, 1);
    ck_put_le(&at, hash_len, 1);
    ck_put_le(&at, identity_len, 1);
    ck_put_le(&at, name_len, 1);
    ck_put_le(&at, took_us < UINT32_MAX ? took_us : UINT32_MAX, 4);
    put(&at, d->bytes.at, bytes_len);
    put(&at, d->block_hash.at, hash_len);
    put(&at, asker->identity, identity_len);
    put(&at, asker->name, name_len);
    if (ck_ring_push(audit->ring, record, (size_t)(at - record)) != CK_OK) return; /* its number is missing then */
    /* The reader looks by itself; it is woken when the ring fills faster than that, and for what is not everyday. */
    if (d->outcome == CK_OUTCOME_SIGNED && ck_ring_depth(audit->ring) != CK_RING_SLOTS / 2) return;
    if (write(audit->wake, &one, sizeof one) < 0) return; /* the counter is full: awake it is */
}

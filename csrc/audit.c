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
    uint8_t record[CK_RING_PAYLOAD], *at = record + CK_DECISION_HEAD;
    const size_t bytes_len = d->bytes.len <= CK_SIGN_BYTES_MAX ? d->bytes.len : 0;
    const size_t hash_len = d->block_hash.len <= CK_HASH_BYTES ? d->block_hash.len : 0;
    const size_t identity_len = asker->identity_len <= sizeof asker->identity ? asker->identity_len : 0;
    const size_t name_len = asker->name_len <= sizeof asker->name ? asker->name_len : 0;
    const uint64_t took_us = d->took_ns / 1000, one = 1;
    ck_set(record, CK_DECISION_LIFE, audit->life);
    ck_set(record, CK_DECISION_NUMBER, ++audit->number);
    ck_set(record, CK_DECISION_AT_NS, unix_ns());
    ck_set(record, CK_DECISION_HEIGHT, (uint64_t)d->at.height);
    ck_set(record, CK_DECISION_ROUND, (uint64_t)d->at.round);
    ck_set(record, CK_DECISION_STEP, (uint64_t)d->at.step);
    ck_set(record, CK_DECISION_OUTCOME, d->outcome);
    ck_set(record, CK_DECISION_REASON, d->reason);
    ck_set(record, CK_DECISION_KIND, d->kind);
    ck_set(record, CK_DECISION_CHAIN, d->chain);
    ck_set(record, CK_DECISION_BYTES, bytes_len);
    ck_set(record, CK_DECISION_BLOCK, hash_len);
    ck_set(record, CK_DECISION_IDENTITY, identity_len);
    ck_set(record, CK_DECISION_VALIDATOR, name_len);
    ck_set(record, CK_DECISION_US, took_us < UINT32_MAX ? took_us : UINT32_MAX);
    put(&at, d->bytes.at, bytes_len);
    put(&at, d->block_hash.at, hash_len);
    put(&at, asker->identity, identity_len);
    put(&at, asker->name, name_len);
    if (ck_ring_push(audit->ring, record, (size_t)(at - record)) != CK_OK) return; /* its number is missing then */
    /* The reader looks by itself; it is woken when the ring fills faster than that, and for what is
       not everyday. */
    if (d->outcome == CK_OUTCOME_SIGNED && ck_ring_depth(audit->ring) != CK_RING_SLOTS / 2) return;
    if (write(audit->wake, &one, sizeof one) < 0) return; /* the counter is full: awake it is */
}

/* The promise store's records: the one place where they stand in memory, read and written by the
 * fast path here and by cometkms/store through core/native/hot.py. And the fast path's writing of
 * them: sector, sync, then the mark moves.
 *
 * What a sector holds, and which of a record's two slots is written, is told in
 * cometkms/store/promise_store.py. */
#ifndef CK_STORE_H
#define CK_STORE_H

#include "calls.h"
#include "place.h"
#include "privval.h"

#define CK_BATCH 8 /* promises that share one sync */

/* One row: whose it is, its newest record and the slot that holds it, and what is plain in it. */
typedef struct ck_row {
    uint8_t key[32]; /* model.Row.key */
    uint8_t chain_id[CK_CHAIN_ID_MAX];
    size_t chain_id_len;
    uint32_t first_block;
    int32_t served; /* configured here */
    int32_t open;   /* promised in */
    ck_hrs mark;
    size_t bytes_len;
    uint8_t bytes[CK_SIGN_BYTES_MAX]; /* held at the mark */
    size_t signature_len;             /* 0: none is known */
    uint8_t signature[CK_SIGNATURE_MAX];
    uint64_t count;
    uint64_t sequence;
    int32_t newest; /* slot */
    ck_hrs floor;   /* at or below it the general path decides */
    int64_t reach;  /* above this height, too: it may be a jump (rules/jump.py) */
} ck_row;

/* Which of its member's stores it is: cometkms/rules/incarnation.py. */
typedef struct ck_incarnation {
    uint64_t number, nonce;
} ck_incarnation;

typedef struct ck_store {
    int fd;
    int error;         /* errno of the failed write or sync: the store is dead */
    uint64_t seq_base; /* the header's, like the next */
    ck_incarnation own;
    uint32_t rows_len;
    ck_row rows[CK_ROWS_MAX];
    uint64_t syncs, sync_ns; /* how many, and how long the last took */
    uint64_t active_ns;      /* CLOCK_MONOTONIC of the last */
} ck_store;

/* Promises written and not yet synced; each is answered after the one sync they share. */
typedef struct ck_batch {
    uint32_t count;
    uint32_t row[CK_BATCH];
    ck_hrs at[CK_BATCH];
    size_t bytes_len[CK_BATCH];
    uint8_t bytes[CK_BATCH][CK_SIGN_BYTES_MAX];
    uint64_t nonce[CK_BATCH], request_id[CK_BATCH]; /* whom to answer */
    uint16_t chain[CK_BATCH];
    uint64_t started_ns[CK_BATCH];
} ck_batch;

/* Grows with every promise: what the peers remember of this store. */
uint64_t ck_store_seq(const ck_store *store);

/* Whether a promise of the row there is the plain case. */
int ck_row_plain(const ck_row *row, ck_hrs at);

/* Write a promise into the slot that does not hold the newest record; it is nothing before the
 * sync. CK_DISK: store->error is errno. */
CK_MUST_CHECK int ck_store_write(const ck_calls *calls, ck_store *store, ck_batch *batch, uint32_t row_number,
                                 ck_hrs at, ck_bytes bytes);

/* Make the batch durable; after that, and only then, the marks have moved. CK_DISK as above. */
CK_MUST_CHECK int ck_store_sync(const ck_calls *calls, ck_store *store, const ck_batch *batch);

#endif

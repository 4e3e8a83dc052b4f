#include "store.h"

#include <errno.h>

#include "sodium.h"

uint64_t ck_store_seq(const ck_store *store) {
    uint64_t total = store->seq_base;
    for (uint32_t i = 0; i < store->rows_len; i++) total += store->rows[i].count;
    return total;
}

int ck_row_plain(const ck_row *row, ck_hrs at) {
    return row->served && row->open && ck_above(at, row->mark) && ck_above(at, row->floor) && at.height <= row->reach;
}

/* A record in its sector, neither burnt nor closed and without a signature. */
static void seal_sector(const ck_row *row, ck_hrs at, ck_bytes bytes, uint8_t sector[CK_SECTOR]) {
    uint8_t *body = sector + CK_SECTOR_HEAD, *behind = body + CK_ROW_HEAD;
    uint8_t *check = sector + CK_SECTOR - CK_SECTOR_CHECK;
    memset(sector, 0, CK_SECTOR);
    ck_copy(sector, CK_SECTOR_MAGIC, (const uint8_t *)CK_ROW_MAGIC);
    ck_set(sector, CK_SECTOR_SEQUENCE, row->sequence + 1);
    ck_set(sector, CK_SECTOR_BODY, CK_ROW_HEAD + row->chain_id_len + bytes.len);
    ck_copy(body, CK_ROW_KEY, row->key);
    ck_set(body, CK_ROW_HEIGHT, (uint64_t)at.height);
    ck_set(body, CK_ROW_ROUND, (uint64_t)at.round);
    ck_set(body, CK_ROW_STEP, (uint64_t)at.step);
    ck_set(body, CK_ROW_BYTES, bytes.len);
    ck_set(body, CK_ROW_CHAIN, row->chain_id_len);
    ck_set(body, CK_ROW_COUNT, row->count + 1);
    memcpy(behind, row->chain_id, row->chain_id_len), behind += row->chain_id_len;
    memcpy(behind, bytes.at, bytes.len);
    ck_sodium.blake2b(check, CK_SECTOR_CHECK, sector, CK_SECTOR - CK_SECTOR_CHECK, NULL, 0);
}

static int disk_failed(ck_store *store, int error) {
    store->error = error ? error : EIO;
    return CK_DISK;
}

int ck_store_write(const ck_calls *calls, ck_store *store, ck_batch *batch, uint32_t row_number, ck_hrs at,
                   ck_bytes bytes) {
    const ck_row *row = &store->rows[row_number];
    uint8_t sector[CK_SECTOR];
    if (store->error) return CK_DISK;
    seal_sector(row, at, bytes, sector);
    const off_t offset = (off_t)(row->first_block + (uint32_t)(1 - row->newest)) * CK_BLOCK;
    const ssize_t written = calls->pwrite(store->fd, sector, CK_SECTOR, offset);
    if (written != CK_SECTOR) return disk_failed(store, written < 0 ? errno : ENOSPC);
    const uint32_t n = batch->count++;
    batch->row[n] = row_number;
    batch->at[n] = at;
    batch->bytes_len[n] = bytes.len;
    memcpy(batch->bytes[n], bytes.at, bytes.len);
    return CK_OK;
}

int ck_store_sync(const ck_calls *calls, ck_store *store, const ck_batch *batch) {
    const uint64_t began_ns = calls->now_ns();
    if (calls->fdatasync(store->fd) != 0) return disk_failed(store, errno);
    for (uint32_t n = 0; n < batch->count; n++) {
        ck_row *row = &store->rows[batch->row[n]];
        row->mark = batch->at[n];
        row->bytes_len = batch->bytes_len[n];
        memcpy(row->bytes, batch->bytes[n], batch->bytes_len[n]);
        row->signature_len = 0;
        row->count++;
        row->sequence++;
        row->newest = 1 - row->newest;
    }
    store->active_ns = calls->now_ns();
    store->syncs++;
    store->sync_ns = store->active_ns - began_ns;
    return CK_OK;
}

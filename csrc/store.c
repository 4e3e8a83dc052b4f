#include "store.h"

#include <errno.h>

#include "sodium.h"

#define ROW_MAGIC "CMKMSR02"

uint64_t ck_store_seq(const ck_store *store) {
    uint64_t total = store->seq_base;
    for (uint32_t i = 0; i < store->rows_len; i++) total += store->rows[i].count;
    return total;
}

int ck_row_plain(const ck_row *row, ck_hrs at) {
    return row->served && row->open && ck_above(at, row->mark) && ck_above(at, row->floor) && at.height <= row->reach;
}

/* store/promise_store.py's sector: prefix, body, zeros, BLAKE2b-128 of what is before. */
static void seal_sector(const ck_row *row, ck_hrs at, ck_bytes bytes, uint8_t sector[CK_SECTOR]) {
    uint8_t *out = sector;
    const size_t body = 32 + 8 + 4 + 1 + 1 + 2 + 1 + 1 + 8 + row->chain_id_len + bytes.len;
    memset(sector, 0, CK_SECTOR);
    memcpy(out, ROW_MAGIC, 8), out += 8;
    ck_put_le(&out, row->sequence + 1, 8);
    ck_put_le(&out, body, 2);
    memcpy(out, row->key, 32), out += 32;
    ck_put_le(&out, (uint64_t)at.height, 8);
    ck_put_le(&out, (uint32_t)at.round, 4);
    ck_put_le(&out, (uint8_t)at.step, 1);
    ck_put_le(&out, 0, 1); /* neither burnt nor closed */
    ck_put_le(&out, bytes.len, 2);
    ck_put_le(&out, 0, 1); /* no signature */
    ck_put_le(&out, row->chain_id_len, 1);
    ck_put_le(&out, row->count + 1, 8);
    memcpy(out, row->chain_id, row->chain_id_len), out += row->chain_id_len;
    memcpy(out, bytes.at, bytes.len);
    ck_sodium.blake2b(sector + CK_SECTOR - 16, 16, sector, CK_SECTOR - 16, NULL, 0);
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

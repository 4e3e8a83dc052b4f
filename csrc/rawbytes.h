/* Bytes that are no vote: which values a key that signs votes may sign besides, and what Celestia's
 * raw bytes become. The argument is in docs/SAFETY.md, "Bytes that are no vote". Twin:
 * cometkms/core/pure/rawbytes.py. */
#ifndef CK_RAWBYTES_H
#define CK_RAWBYTES_H

#include "privval.h"

/* 1 if the value is what is signed of a vote, a proposal or a vote extension of any chain, in
 * either encoding, or reads as one: with its length in front or without, fields in any order,
 * repeated or unknown ones among them. */
int ck_reads_as_vote(ck_bytes value);

/* 1 if the value begins as Celestia's raw bytes do once they are made ready to be signed. */
int ck_begins_as_raw_bytes(ck_bytes value);

/* What is signed of Celestia's SignRawBytesRequest: its domain, the length, and the request's three
 * fields encoded anew. CK_NO_ROOM: more than `cap`. */
CK_MUST_CHECK int ck_raw_bytes(ck_bytes chain_id, ck_bytes raw, ck_bytes unique_id, uint8_t *out, size_t cap,
                               size_t *len);

#endif

/* One validator key for one chain: the secret in memory that libsodium locks and guards, and the
 * last place it signed. Whatever the caller does: no two different sign bytes at one place, none
 * below the last signed place. */
#ifndef CK_KEYSLOT_H
#define CK_KEYSLOT_H

#include "keytype.h"
#include "privval.h"
#include "sealed.h"

/* What a slot signs besides votes, proposals and extensions: nothing, unless
   ck_slot_allow_bytes() says so. */
typedef struct ck_allowed_bytes {
    int32_t values; /* v1.x's SignBytes */
    uint32_t ids;   /* of Celestia's SignRawBytes: so many of id */
    size_t id_len[CK_RAW_UNIQUE_IDS_MAX];
    uint8_t id[CK_RAW_UNIQUE_IDS_MAX][CK_RAW_UNIQUE_ID_MAX];
} ck_allowed_bytes;

/* A signer outside of this process's memory (a hardware token): 0 and a signature of its type's
 * length over the bytes, or anything else. */
typedef int (*ck_outside_sign)(void *context, const uint8_t *bytes, size_t len, uint8_t *signature);

/* What the type worked out of bytes that are about to be signed. */
typedef struct ck_prepared {
    size_t len; /* of the bytes that it was made of; 0: of none */
    uint8_t of[CK_PREPARED_MAX];
    uint8_t made[CK_PREPARED_BYTES];
} ck_prepared;

typedef struct ck_slot {
    const ck_key_type *type;
    uint8_t *secret; /* secret: secret_len bytes of the type, from sodium_malloc, read-only; NULL: closed, or outside */
    ck_outside_sign outside; /* NULL: the secret is here, or closed */
    void *context;
    uint8_t public_key[CK_PUBLIC_KEY_MAX]; /* the first public_len of the type */
    uint8_t chain_id[CK_CHAIN_ID_MAX];
    size_t chain_id_len;
    int64_t height;
    int32_t round;
    int32_t step;
    size_t marked_len; /* 0 at a place above zero: burnt */
    uint8_t marked[CK_SIGN_BYTES_MAX];
    ck_allowed_bytes allowed;
    ck_prepared prepared;
    ck_prepared prepared_extension;
} ck_slot;

/* Decode a key file's secret straight into locked memory; `base64` is wiped whatever
 * happens. CK_MALFORMED: no key of this type. CK_NO_ROOM: memory could not be locked.
 * CK_NO_LIBRARY: of this type. */
CK_MUST_CHECK int ck_slot_open(ck_slot *slot, int32_t type, char *base64, size_t base64_len, ck_bytes chain_id);

/* The same from a sealed key; CK_BAD_TAG: another passphrase, or a changed file; CK_NO_ROOM: no
 * memory for Argon2id or the lock. */
CK_MUST_CHECK int ck_slot_open_sealed(ck_slot *slot, const ck_sealed *sealed, ck_bytes passphrase, ck_bytes chain_id);

/* A key that never comes here. Marks, chain and canonical bytes are guarded as ever, and its
   signatures are verified. */
CK_MUST_CHECK int ck_slot_open_outside(ck_slot *slot, int32_t type, const uint8_t *public_key, ck_outside_sign sign,
                                       void *context, ck_bytes chain_id);
void ck_slot_close(ck_slot *slot);

/* HKDF-SHA256 of the seed under a fixed label: what the cluster's nodes know each other by. Says
 * nothing of the seed. CK_REFUSED where the seed is not here. */
CK_MUST_CHECK int ck_slot_cluster_secret(const ck_slot *slot, uint8_t out[32]);

/* Up only; at the same place other bytes make it burnt. */
void ck_slot_raise(ck_slot *slot, int64_t height, int32_t round, int32_t step, ck_bytes sign_bytes);

/* Work out what signing a vote's or proposal's bytes needs and no key is needed for, if the type
 * has such work. Nothing is decided by it, and what was worked out before is forgotten. */
void ck_slot_prepare(ck_slot *slot, const uint8_t *bytes, size_t len);

/* The same of its extension, whose sign bytes are built in `scratch`: the slot's chain's, at that
   height and round. */
void ck_slot_prepare_extension(ck_slot *slot, int64_t height, int32_t round, ck_bytes extension, uint8_t *scratch,
                               size_t cap);

/* CK_REFUSED, with nothing changed, unless the bytes are strictly canonical, of this
 * chain, and above the mark or equal to what was signed there. The signature has
 * signature_len bytes of the type. */
CK_MUST_CHECK int ck_slot_sign(ck_slot *slot, const uint8_t *bytes, size_t len, uint8_t signature[CK_SIGNATURE_MAX]);

/* Sign the extension of the non-nil precommit that stands at the mark; CK_REFUSED for any other.
 * What is signed is built here, in `scratch`, from that precommit's own chain, height and round: no
 * other bytes can be had this way. */
CK_MUST_CHECK int ck_slot_sign_extension(ck_slot *slot, const uint8_t *vote_bytes, size_t vote_len, ck_bytes extension,
                                         uint8_t *scratch, size_t cap, uint8_t signature[CK_SIGNATURE_MAX]);

/* What the chain's settings allow from now on; `ids`: unique ids. CK_NO_ROOM, with nothing allowed:
 * too many, or one of a wrong length. */
CK_MUST_CHECK int ck_slot_allow_bytes(ck_slot *slot, int32_t values, const ck_bytes *ids, size_t count);

/* Sign a value of v1.x's SignBytes. CK_REFUSED unless the slot allows it, the value has 1 to
 * CK_RAW_VALUE_MAX bytes, and it neither is nor reads as what is signed of a vote, a proposal, an
 * extension or Celestia's raw bytes. No mark is looked at and none moves. */
CK_MUST_CHECK int ck_slot_sign_value(const ck_slot *slot, ck_bytes value, uint8_t signature[CK_SIGNATURE_MAX]);

/* Sign Celestia's raw bytes: what is signed is built here, in `scratch`, from the slot's own chain.
 * CK_REFUSED unless the slot allows that unique id, and the raw bytes are 1 to CK_RAW_VALUE_MAX. No
 * mark is looked at and none moves. */
CK_MUST_CHECK int ck_slot_sign_raw(const ck_slot *slot, ck_bytes raw, ck_bytes unique_id, uint8_t *scratch, size_t cap,
                                   uint8_t signature[CK_SIGNATURE_MAX]);

#endif

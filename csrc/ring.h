/* Single-producer single-consumer ring in memory shared by two processes. */
#ifndef CK_RING_H
#define CK_RING_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "bounds.h"
#include "status.h"

#define CK_RING_PAYLOAD (CK_QUEUE_SLOT - 8)

typedef struct ck_ring_slot {
    _Atomic uint32_t len; /* atomic, so that the consumer bounds the very value it uses */
    uint32_t unused;
    uint8_t payload[CK_RING_PAYLOAD];
} ck_ring_slot;

/* head and tail count messages since the beginning and never wrap in practice (2^64). */
typedef struct ck_ring {
    _Alignas(64) _Atomic uint64_t head; /* taken: written by the consumer only */
    _Alignas(64) _Atomic uint64_t tail; /* put: written by the producer only */
    _Alignas(64) ck_ring_slot slots[CK_RING_SLOTS];
} ck_ring;

_Static_assert(sizeof(ck_ring_slot) == CK_QUEUE_SLOT, "a slot has its size");
_Static_assert(offsetof(ck_ring, tail) - offsetof(ck_ring, head) >= 64, "each index has its own cache line");
_Static_assert(offsetof(ck_ring, slots) - offsetof(ck_ring, tail) >= 64, "and shares it with no slot");
_Static_assert(sizeof(ck_ring) == 128 + CK_RING_SLOTS * CK_QUEUE_SLOT, "both processes see one layout, without holes");
_Static_assert((CK_RING_SLOTS & (CK_RING_SLOTS - 1)) == 0, "a power of two");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "a lock in shared memory would die with its holder");

/* CK_OK; CK_NO_ROOM: full, nothing written; CK_REFUSED: impossible length or corrupt indices. */
CK_MUST_CHECK int ck_ring_push(ck_ring *ring, const uint8_t *message, size_t len);
/* CK_OK; CK_MORE: empty; CK_REFUSED: what the other side wrote is impossible. out holds
   CK_RING_PAYLOAD bytes. */
CK_MUST_CHECK int ck_ring_pop(ck_ring *ring, uint8_t *out, size_t *len);
/* Spin until there is something to pop, at most `ns` nanoseconds: 1 if there is. Cheaper than a
 * sleep and a wake-up when the answer is a disk's sync away. */
int ck_ring_await(ck_ring *ring, uint64_t ns);
/* How many messages wait, as either side or a third may ask at any time; at most CK_RING_SLOTS. */
size_t ck_ring_depth(ck_ring *ring);
size_t ck_ring_size(void);

#endif

/* Memory order. The producer writes a slot, then publishes it with a release store of tail; the
 * consumer's acquire load of tail sees the slot's bytes. The consumer copies the slot, then frees
 * it with a release store of head; the producer's acquire load of head sees that the copy is done
 * before it overwrites. Each index has one writer, which may load its own relaxed. A side that dies
 * in the middle has not published: its half-written slot is invisible, a half-read one is read
 * again by its successor. */
#include "ring.h"

#include <string.h>

#include "clock.h"

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

int ck_ring_await(ck_ring *ring, uint64_t ns) {
    const uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed), started = ck_now_ns();
    do {
        for (unsigned i = 0; i < 64; i++) {
            if (atomic_load_explicit(&ring->tail, memory_order_acquire) != head) return 1;
            relax();
        }
    } while (ck_now_ns() - started < ns);
    return 0;
}

/* Relaxed: nothing is read on the strength of it. head first: it never passes a tail
   that is read later. */
size_t ck_ring_depth(ck_ring *ring) {
    const uint64_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
    const uint64_t used = atomic_load_explicit(&ring->tail, memory_order_relaxed) - head;
    return used < CK_RING_SLOTS ? (size_t)used : CK_RING_SLOTS;
}

size_t ck_ring_size(void) { return sizeof(ck_ring); }

int ck_ring_push(ck_ring *ring, const uint8_t *message, size_t len) {
    if (len == 0 || len > CK_RING_PAYLOAD) return CK_REFUSED;
    const uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    const uint64_t used = tail - atomic_load_explicit(&ring->head, memory_order_acquire);
    if (used > CK_RING_SLOTS) return CK_REFUSED;
    if (used == CK_RING_SLOTS) return CK_NO_ROOM;
    ck_ring_slot *slot = &ring->slots[tail & (CK_RING_SLOTS - 1)];
    memcpy(slot->payload, message, len);
    atomic_store_explicit(&slot->len, (uint32_t)len, memory_order_relaxed);
    atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
    return CK_OK;
}

int ck_ring_pop(ck_ring *ring, uint8_t *out, size_t *len) {
    const uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    const uint64_t used = atomic_load_explicit(&ring->tail, memory_order_acquire) - head;
    if (used == 0) return CK_MORE;
    if (used > CK_RING_SLOTS) return CK_REFUSED;
    ck_ring_slot *slot = &ring->slots[head & (CK_RING_SLOTS - 1)];
    const uint32_t n = atomic_load_explicit(&slot->len, memory_order_relaxed); /* untrusted: read once, then bounded */
    if (n == 0 || n > CK_RING_PAYLOAD) return CK_REFUSED;
    memcpy(out, slot->payload, n);
    *len = n;
    atomic_store_explicit(&ring->head, head + 1, memory_order_release);
    return CK_OK;
}

/* The ring against a model, driven by the input's bytes; the other side may have written anything
 * into the shared memory.
 *
 * What each call returns follows from the indices and lengths in the memory alone. It never reads
 * or writes outside (the sanitizers see that), never hands out more than CK_RING_PAYLOAD bytes, and
 * moves an index only on CK_OK. While nothing was corrupted, the messages are the model's. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../ring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum op { PUSH, PUSH_LONG, POP, POP_MANY, PUSH_MANY, BAD_HEAD, BAD_TAIL, BAD_LENGTH, OPS };
#define MANY 100 /* three of them fill the ring */
#define OPS_MAX 200

static ck_ring ring;
static uint8_t out[CK_RING_PAYLOAD]; /* static: the sanitizer sees a byte too many */

typedef struct input {
    const uint8_t *at;
    size_t left;
} input;

static uint64_t take(input *in, size_t bytes) {
    uint64_t value = 0;
    while (bytes-- > 0 && in->left > 0) {
        value = value << 8 | *in->at++;
        in->left--;
    }
    return value;
}

static void require(int condition) {
    if (!condition) abort();
}

/* What message number n looks like. */
static size_t make(uint64_t n, uint8_t out[CK_RING_PAYLOAD]) {
    const size_t len = 1 + (size_t)(n * 2654435761u % CK_RING_PAYLOAD);
    memset(out, (int)(n % 251), len);
    return len;
}

typedef struct model {
    uint64_t pushed, popped; /* the messages between them are queued */
    int corrupt;
} model;

static void push(model *m, size_t extra) {
    uint8_t message[CK_RING_PAYLOAD + 256];
    memset(message, 0, sizeof message);
    const uint64_t head = atomic_load(&ring.head), tail = atomic_load(&ring.tail);
    const size_t len = extra ? CK_RING_PAYLOAD + extra : make(m->pushed, message);
    const int status = ck_ring_push(&ring, message, len);
    require(atomic_load(&ring.head) == head);
    require(atomic_load(&ring.tail) == tail + (status == CK_OK));
    const uint64_t used = tail - head;
    require(status == (extra || used > CK_RING_SLOTS ? CK_REFUSED : used == CK_RING_SLOTS ? CK_NO_ROOM : CK_OK));
    m->pushed += status == CK_OK;
}

static int pop(model *m) {
    uint8_t expected[CK_RING_PAYLOAD];
    size_t len = SIZE_MAX;
    const uint64_t head = atomic_load(&ring.head), tail = atomic_load(&ring.tail);
    const int waiting = ck_ring_await(&ring, 0), status = ck_ring_pop(&ring, out, &len);
    require(waiting == (head != tail));
    require(atomic_load(&ring.tail) == tail);
    require(atomic_load(&ring.head) == head + (status == CK_OK));
    const uint64_t used = tail - head;
    const uint32_t stored = atomic_load(&ring.slots[head % CK_RING_SLOTS].len);
    const int sound = used <= CK_RING_SLOTS && stored >= 1 && stored <= CK_RING_PAYLOAD;
    require(status == (used == 0 ? CK_MORE : sound ? CK_OK : CK_REFUSED));
    require(len == (status == CK_OK ? stored : SIZE_MAX));
    if (status == CK_OK && !m->corrupt) {
        require(len == make(m->popped, expected) && memcmp(out, expected, len) == 0);
        m->popped++;
    }
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, size};
    model m = {0, 0, 0};
    memset(&ring, 0, sizeof ring);
    const uint64_t start = take(&in, 8);
    atomic_store(&ring.head, start);
    atomic_store(&ring.tail, start);
    for (int op = 0; op < OPS_MAX && in.left > 0; op++) {
        switch ((enum op)(take(&in, 1) % OPS)) {
        case PUSH:
            push(&m, 0);
            break;
        case PUSH_LONG:
            push(&m, 1 + (size_t)take(&in, 1));
            break;
        case POP:
            (void)pop(&m);
            break;
        case POP_MANY:
            for (int i = 0; i < MANY && pop(&m) == CK_OK; i++) {
            }
            break;
        case PUSH_MANY:
            for (int i = 0; i < MANY; i++) push(&m, 0);
            break;
        case BAD_HEAD:
            m.corrupt = 1;
            atomic_store(&ring.head, take(&in, 8));
            break;
        case BAD_TAIL:
            m.corrupt = 1;
            atomic_store(&ring.tail, atomic_load(&ring.head) + take(&in, 2));
            break;
        case BAD_LENGTH: {
            const size_t slot = (size_t)take(&in, 1) % CK_RING_SLOTS;
            m.corrupt = 1;
            atomic_store(&ring.slots[slot].len, (uint32_t)take(&in, 4));
            break;
        }
        case OPS:
            break;
        }
    }
    return 0;
}

/* The ring against a model, then with corrupted indices and lengths: never out of bounds. */
#include <stdlib.h>
#include <string.h>

#include "../ring.h"

static ck_ring ring;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t out[CK_RING_PAYLOAD];
    uint64_t put = 0, taken = 0;
    int honest = 1;
    memset(&ring, 0, sizeof ring);
    for (size_t i = 0; i + 1 < size; i += 2) {
        size_t len;
        uint8_t message[CK_RING_PAYLOAD];
        memset(message, (int)(put & 0xff), sizeof message);
        switch (data[i] % 8) {
            case 0: case 1: case 2: {
                const size_t n = (size_t)data[i + 1] * 2 + 1;
                int rc = ck_ring_push(&ring, message, n);
                if (honest && (n > CK_RING_PAYLOAD ? rc != CK_REFUSED : rc != (put - taken < CK_RING_SLOTS ? CK_OK : CK_NO_ROOM))) abort();
                if (rc == CK_OK) put++;
                break;
            }
            case 3: case 4: case 5: {
                int rc = ck_ring_pop(&ring, out, &len);
                if (honest && rc != (put != taken ? CK_OK : CK_MORE)) abort();
                if (rc == CK_OK && len > CK_RING_PAYLOAD) abort();
                if (honest && rc == CK_OK && out[0] != (uint8_t)(taken & 0xff)) abort();
                if (rc == CK_OK) taken++;
                break;
            }
            case 6: /* another process wrote nonsense */
                honest = 0;
                atomic_store(&ring.tail, (uint64_t)data[i + 1] << (data[i] % 56));
                break;
            default:
                honest = 0;
                ring.slots[data[i + 1] % CK_RING_SLOTS].len = (uint32_t)data[i + 1] << 24 | data[i];
        }
    }
    return 0;
}

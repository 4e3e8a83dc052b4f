/* Noise transport messages fed in any segments, and what was sealed opened again.
 *
 * Input: a segment's size less one (two bytes), then the bytes. */
#include <string.h>

#include "../noise.h"
#include "../sodium.h"
#include "cipher.h"
#include "property.h"

static ck_noise noise;
static uint8_t opened[1 << 20], sealed[1 << 20];

static void begin(void) {
    noise.recv_counter = noise.send_counter = 0;
    noise.partial_len = 0;
}

/* Exactly sized memory: the sanitizer sees one byte too many, read or written. The bytes that came
   out, or -1: refused. */
static long open_all(const uint8_t *data, size_t size, size_t step, size_t room) {
    size_t total = 0;
    for (size_t at = 0; at < size;) {
        const size_t n = size - at < step ? size - at : step, most = ck_noise_opened_max(&noise, n);
        uint8_t *in = malloc(n), *out = malloc(most ? most : 1);
        size_t got = SIZE_MAX;
        REQUIRE(in != NULL && out != NULL);
        memcpy(in, data + at, n);
        const int rc = ck_noise_open(&noise, in, n, out, most, &got);
        REQUIRE(rc == CK_OK || rc == CK_MALFORMED || rc == CK_BAD_TAG);
        REQUIRE(noise.partial_len < CK_NOISE_SEALED);
        if (rc == CK_OK) {
            REQUIRE(got <= most && total + got <= room);
            if (got) memcpy(opened + total, out, got);
            total += got;
        }
        free(in);
        free(out);
        if (rc != CK_OK) return -1;
        at += n;
    }
    return (long)total;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size_t len = SIZE_MAX;
    if (size < 2 || size > 200000) return 0;
    const size_t step = ((size_t)data[0] << 8 | data[1]) + 1;
    data += 2;
    size -= 2;
    use_plain_cipher(251);
    begin();
    const long at_once = open_all(data, size, size ? size : 1, sizeof opened);
    begin();
    REQUIRE(open_all(data, size, step, sizeof opened) == at_once); /* however it is cut */
    begin();
    REQUIRE(ck_noise_seal(&noise, data, size, sealed, sizeof sealed, &len) == CK_OK &&
            len == ck_noise_sealed_size(size));
    REQUIRE(size == 0 || ck_noise_seal(&noise, data, size, sealed, len - 1, &len) == CK_NO_ROOM);
    begin();
    REQUIRE(open_all(sealed, len, step, sizeof opened) == (long)size);
    REQUIRE(size == 0 || memcmp(opened, data, size) == 0);
    return 0;
}

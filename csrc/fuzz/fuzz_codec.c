/* Every decoder of the codec on any bytes: no read out of bounds, and what decodes encodes and decodes to the same again. */
#include <stdlib.h>
#include <string.h>

#include "../privval.h"

static uint8_t first[CK_MESSAGE_MAX], second[CK_MESSAGE_MAX];

static void expect(int holds) {
    if (!holds) abort();
}

static void check_sign_bytes(const uint8_t *data, size_t size) {
    ck_sign_bytes parsed;
    if (ck_parse_sign_bytes(data, size, &parsed) != CK_OK) return;
    expect(size <= CK_SIGN_BYTES_MAX && parsed.height >= 0 && parsed.round >= 0);
    expect(ck_same_but_timestamp(data, size, data, size));
}

static void check_dialect(int dialect, const uint8_t *data, size_t size) {
    static const uint8_t CHAIN[] = "test-1";
    ck_bytes chain = {CHAIN, sizeof CHAIN - 1};
    ck_message message, again;
    ck_request request;
    size_t n, m, length, used;
    if (ck_decode_message(dialect, data, size, &message) != CK_OK) return;
    ck_check_request(dialect, chain, &message, &request);
    if (request.sign_bytes_len) {
        ck_sign_bytes parsed;
        expect(request.reason == CK_REASON_NONE);
        expect(ck_parse_sign_bytes(request.sign_bytes, request.sign_bytes_len, &parsed) == CK_OK);
        expect(parsed.height == request.height && parsed.round == request.round && parsed.step == request.step);
    }
    if (ck_encode_message(dialect, &message, first, sizeof first, &n) != CK_OK) return;
    expect(ck_read_length(first, n, CK_MESSAGE_MAX, &length, &used) == CK_OK && length == n - used);
    expect(ck_decode_message(dialect, first + used, length, &again) == CK_OK);
    expect(ck_encode_message(dialect, &again, second, sizeof second, &m) == CK_OK);
    expect(n == m && memcmp(first, second, n) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size_t length, used;
    if (size == 0) return 0;
    int rc = ck_read_length(data, size, CK_MESSAGE_MAX, &length, &used);
    if (rc == CK_OK) expect(length <= CK_MESSAGE_MAX && used <= size);
    check_dialect(CK_PROTO, data, size);
    check_dialect(CK_AMINO, data, size);
    check_sign_bytes(data, size);
    return 0;
}

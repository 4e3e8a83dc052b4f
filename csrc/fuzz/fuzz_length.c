/* The length prefix, which is read from bytes that may not all have arrived. Input: any bytes. */
#include "../privval.h"
#include "property.h"

static size_t encode(uint64_t value, uint8_t out[10]) {
    size_t used = 0;
    for (; value >= 0x80; value >>= 7) {
        out[used++] = (uint8_t)(value | 0x80);
    }
    out[used++] = (uint8_t)value;
    return used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size_t length = 0, used = 0, ignored_length, ignored_used;
    uint8_t again[10];
    int status = ck_read_length(data, size, SIZE_MAX, &length, &used);
    if (status == CK_MORE) {
        REQUIRE(size < sizeof again);
        for (size_t i = 0; i < size; i++) {
            REQUIRE(data[i] >= 0x80);
        }
    }
    if (status != CK_OK) {
        REQUIRE(length == 0 && used == 0);
        return 0;
    }
    REQUIRE(used >= 1 && used <= size && used == encode(length, again));
    for (size_t i = 0; i < used; i++) {
        REQUIRE(again[i] == data[i]);
        REQUIRE(ck_read_length(data, i, SIZE_MAX, &ignored_length, &ignored_used) == CK_MORE);
    }
    REQUIRE(ck_read_length(data, size, length, &ignored_length, &ignored_used) == CK_OK);
    REQUIRE(length == 0 || ck_read_length(data, size, length - 1, &ignored_length, &ignored_used) == CK_TOO_LARGE);
    return 0;
}

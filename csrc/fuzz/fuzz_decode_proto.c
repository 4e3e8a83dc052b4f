/* Messages of v0.34 to v1.x. Input: one message without its length prefix. */
#include "decode_properties.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) { return decode_properties(CK_PROTO, data, size); }

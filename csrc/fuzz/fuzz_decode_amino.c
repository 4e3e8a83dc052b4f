/* Messages of v0.33. Input: one message without its length prefix. */
#include "decode_properties.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) { return decode_properties(CK_AMINO, data, size); }

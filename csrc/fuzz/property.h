/* What every fuzz entry shares: a property that stays on. */
#ifndef CK_FUZZ_PROPERTY_H
#define CK_FUZZ_PROPERTY_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Abort, which libFuzzer and replay_main.c both turn into a saved input. */
#define REQUIRE(property)                                                                   \
    do {                                                                                    \
        if (!(property)) {                                                                  \
            fprintf(stderr, "%s:%d: broken property: %s\n", __FILE__, __LINE__, #property); \
            abort();                                                                        \
        }                                                                                   \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif

/* Runs a fuzz entry without libFuzzer: every file given, then N seeded mutations of them.
 *   fuzz_x SEED N FILE… */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX 8192
static uint8_t inputs[4096][INPUT_MAX], mutant[INPUT_MAX];
static size_t sizes[4096], count;
static uint64_t state;

static uint64_t next(void) { /* xorshift64* */
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 2685821657736338717u;
}

static size_t mutate(size_t size) {
    for (unsigned changes = 1 + (unsigned)(next() % 4); changes; changes--) {
        const size_t at = size ? next() % size : 0;
        switch (next() % 6) {
            case 0: if (size) mutant[at] ^= (uint8_t)(1u << next() % 8); break;
            case 1: if (size) mutant[at] = (uint8_t)next(); break;
            case 2: if (size) size = at; break;
            case 3: if (size < INPUT_MAX) { memmove(mutant + at + 1, mutant + at, size - at); mutant[at] = (uint8_t)next(); size++; } break;
            case 4: if (size > 1) { memmove(mutant + at, mutant + at + 1, size - at - 1); size--; } break;
            default: { /* splice */
                const size_t other = next() % count, n = sizes[other] ? next() % sizes[other] : 0;
                if (at + n <= INPUT_MAX) { memcpy(mutant + at, inputs[other], n); if (at + n > size) size = at + n; }
            }
        }
    }
    return size;
}

int main(int argc, char **argv) {
    if (argc < 4) return 2;
    state = strtoull(argv[1], NULL, 10) | 1;
    for (int i = 3; i < argc && count < 4096; i++) {
        FILE *file = fopen(argv[i], "rb");
        if (!file) return 2;
        sizes[count] = fread(inputs[count], 1, INPUT_MAX, file);
        fclose(file);
        LLVMFuzzerTestOneInput(inputs[count], sizes[count]);
        count++;
    }
    for (uint64_t n = strtoull(argv[2], NULL, 10); n; n--) {
        const size_t from = next() % count;
        memcpy(mutant, inputs[from], sizes[from]);
        const size_t size = mutate(sizes[from]);
        LLVMFuzzerTestOneInput(mutant, size);
    }
    printf("%s: %zu inputs, %s mutations\n", argv[0], count, argv[2]);
    return 0;
}

/* csrc/line.h as cffi reads it. */
typedef struct ck_lines { uint64_t life; uint64_t number; uint64_t seq; uint8_t head[64]; uint32_t chains; ck_bytes chain[...]; ...; } ck_lines;
void ck_lines_of(ck_lines *log, ck_bytes records, const uint16_t *sizes, uint32_t count, uint8_t *out, size_t cap, uint32_t *taken, size_t *used);

/* Lines of the audit log, of what is signed every day: record in (csrc/audit.h), line
 * with its hash out. The form is told in cometkms/audit/lines.py, which is the twin,
 * and makes every line that is not plain. */
#ifndef CK_LINE_H
#define CK_LINE_H

#include "privval.h"

/* Where the log stands. `chains`: each chain's id as JSON, quotes included. */
typedef struct ck_lines {
    uint64_t life, number, seq; /* of the last line */
    uint8_t head[64];           /* its hash, hex digits */
    uint32_t chains;
    ck_bytes chain[CK_ROWS_MAX];
} ck_lines;

/* Lines of the records, one behind the other in `records` with their lengths in `sizes`, up to the
 * first one that is not plain, or whose line may not fit `cap` any more. Plain: the next number of
 * the life that writes, signed or repeated, no text to escape. *taken, *used: records and bytes of
 * lines; the log has moved up by them. */
void ck_lines_of(ck_lines *log, ck_bytes records, const uint16_t *sizes, uint32_t count, uint8_t *out, size_t cap,
                 uint32_t *taken, size_t *used);

#endif

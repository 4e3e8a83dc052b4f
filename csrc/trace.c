#include "trace.h"

ck_trace *ck_tracing;

void ck_trace_add(uint32_t point, uint32_t chain, ck_hrs at, uint64_t ns) {
    ck_trace_mark *mark = &ck_tracing->marks[ck_tracing->count++ % ck_tracing->cap];
    *mark = (ck_trace_mark){ns, at, chain, point};
}

/* csrc/trace.h as cffi reads it. */
typedef struct ck_trace_mark { uint64_t ns; ck_hrs at; uint32_t chain; uint32_t point; ...; } ck_trace_mark;
typedef struct ck_trace { uint64_t count; uint64_t cap; ck_trace_mark *marks; ...; } ck_trace;
extern ck_trace *ck_tracing;

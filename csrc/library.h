/* The functions of a shared object that another package brings along, by their names. */
#ifndef CK_LIBRARY_H
#define CK_LIBRARY_H

#include <stddef.h>

#include "status.h"

typedef struct ck_symbol {
    const char *name;
    void *slot; /* of a function pointer */
} ck_symbol;

/* Open the shared object at `path` for good and set every slot. CK_NO_LIBRARY: `error` says which
 * file or symbol is missing. */
CK_MUST_CHECK int ck_resolve(const char *path, const ck_symbol *wanted, size_t count, char *error, size_t error_cap);

#endif

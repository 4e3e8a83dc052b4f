#include "library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

_Static_assert(sizeof(void *) == sizeof(int (*)(void)), "function and data pointers differ in size");

int ck_resolve(const char *path, const ck_symbol *wanted, size_t count, char *error, size_t error_cap) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        snprintf(error, error_cap, "%s", dlerror());
        return CK_NO_LIBRARY;
    }
    for (size_t i = 0; i < count; i++) {
        void *symbol = dlsym(library, wanted[i].name);
        if (!symbol) {
            snprintf(error, error_cap, "%s has no symbol %s", path, wanted[i].name);
            return CK_NO_LIBRARY;
        }
        memcpy(wanted[i].slot, &symbol, sizeof symbol);
    }
    return CK_OK;
}

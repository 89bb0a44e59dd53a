#include "storage/libarchive.h"

#include <dlfcn.h>
#include <string.h>

/* The ABI of all of libarchive 3, which is what the headers that we were built with say.
 */
#define SONAME "libarchive.so.13"
_Static_assert(ARCHIVE_VERSION_NUMBER / 1000000 == 3,
               "another libarchive: look at SONAME");

const struct libarchive *la;

/* The bytes of a pointer to a function, which ISO C has no cast for. */
static int
resolve(void *library, const char *name, void *to, struct err *e)
{
    void *at = dlsym(library, name);

    if (at == NULL) {
        return err_set(e, ERR_VERSION, "this machine's %s has no %s", SONAME, name);
    }
    memcpy(to, &at, sizeof at);
    return 0;
}

int
libarchive_load(struct err *e)
{
    static struct libarchive calls;
    void *library;

    if (la != NULL) {
        return 0;
    }
    library = dlopen(SONAME, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        return err_set(e, ERR_NOT_FOUND,
                       "exports and imports need libarchive: install libarchive13 (%s)",
                       dlerror());
    }
#define RESOLVE(name)                                                                    \
    if (resolve(library, "archive_" #name, &calls.name, e) != 0) {                       \
        (void)dlclose(library);                                                          \
        return -1;                                                                       \
    }
    LIBARCHIVE_CALLS(RESOLVE)
#undef RESOLVE
    la = &calls;
    return 0;
}

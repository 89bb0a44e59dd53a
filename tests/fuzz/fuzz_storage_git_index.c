/* A git index of any bytes: nothing, or names that are found again. */
#include <string.h>

#include "storage/git_index.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct git_index *x = git_index_parse(data, size);

    if (x != NULL) {
        const char *text = (const char *)data;
        size_t half = size / 2;

        (void)git_index_has(x, text, half);
        (void)git_index_below(x, text, half);
        must(!git_index_has(x, "", 0));
        must(!git_index_has(x, "a", 1) || !git_index_below(x, "", 0));
    }
    git_index_free(x);
    return 0;
}

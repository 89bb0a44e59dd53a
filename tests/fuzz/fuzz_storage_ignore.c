/*
 * Ignore files of any content, and any path: the first line is the path, the rest the
 * rules, which are read once as the top's and once as those of a directory in it.
 */
#include <string.h>

#include "storage/ignore.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nl = size == 0 ? NULL : memchr(data, '\n', size);
    size_t path_len = nl == NULL ? 0 : (size_t)(nl - data);
    const char *path = (const char *)data;
    const uint8_t *rules = nl == NULL ? data : nl + 1;
    size_t n_rules = nl == NULL ? size : size - path_len - 1;
    struct ignore_dir *top = ignore_dir_new(NULL, "", rules, n_rules, NULL, 0);
    struct ignore_dir *own = ignore_dir_new(top, "", NULL, 0, rules, n_rules);
    struct ignore_dir *sub = ignore_dir_new(own, "a", rules, n_rules, NULL, 0);
    const char *slash = memchr(path, '/', path_len);

    for (int is_dir = 0; is_dir < 2; is_dir++) {
        enum ignore_why why = ignore_match(top, path, path_len, is_dir != 0);

        must(why == IGNORE_NOT || why == IGNORE_GIT);
        why = ignore_match(own, path, path_len, is_dir != 0);
        must(why == IGNORE_NOT || why == IGNORE_GIT || why == IGNORE_GPURUN);
        must(ignore_why_name(why) != NULL);
        if (path_len > 2 && memcmp(path, "a/", 2) == 0) {
            (void)ignore_match(sub, path, path_len, is_dir != 0);
        }
        (void)ignore_builtin(path, slash == NULL ? path_len : (size_t)(slash - path),
                             is_dir != 0, false);
    }
    (void)ignore_wildmatch((const char *)rules, n_rules, path, path_len, true);
    (void)ignore_wildmatch((const char *)rules, n_rules, path, path_len, false);
    ignore_dir_free(sub);
    ignore_dir_free(own);
    ignore_dir_free(top);
    return 0;
}

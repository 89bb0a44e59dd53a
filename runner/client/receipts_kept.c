#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "runner/client/receipts.h"

#define RECEIPTS_MAX 1000000

bool
receipts_kept(const struct home *home, const char *job)
{
    char *path = home_path(home, "receipts", job);
    bool kept = file_exists(path);

    free(path);
    return kept;
}

int
receipts_load(const struct home *home, const char *job, const struct sign_public *host,
              struct receipt **out, struct err *e)
{
    struct receipt_pins pins = {.host = host, .job = job};
    char *path = home_path(home, "receipts", job);
    int rc = receipt_verify_file(out, path, &pins, e);

    free(path);
    return rc;
}

static int
by_id(const void *a, const void *b)
{
    return strcmp(a, b);
}

int
receipts_list(const struct home *home, struct receipt_ids *out, struct err *e)
{
    struct receipt_ids l = {NULL, 0};
    char *path = home_path(home, "receipts", NULL);
    DIR *dir = opendir(path);
    const struct dirent *entry;
    size_t cap = 0;

    if (dir == NULL && errno != ENOENT) {
        err_set_sys(e, errno, "cannot read '%s'", path);
        free(path);
        return -1;
    }
    free(path);
    while (dir != NULL && l.n < RECEIPTS_MAX && (entry = readdir(dir)) != NULL) {
        if (!id_is(ID_JOB, entry->d_name)) {
            continue;
        }
        if (l.n == cap) {
            cap = cap == 0 ? 64 : 2 * cap;
            l.v = xrealloc(l.v, cap * sizeof *l.v);
        }
        memcpy(l.v[l.n++], entry->d_name, sizeof l.v[0]);
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
    if (l.n > 0) {
        qsort(l.v, l.n, sizeof *l.v, by_id);
    }
    *out = l;
    return 0;
}

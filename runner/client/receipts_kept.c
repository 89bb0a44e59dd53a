#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/lang.h"
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

struct listing {
    struct receipt_ids l;
    size_t cap;
};

static int
list_one(void *ctx, int dir_fd, const char *name, struct err *e)
{
    struct listing *to = ctx;

    (void)dir_fd;
    if (!id_is(ID_JOB, name)) {
        return 0;
    }
    if (to->l.n == RECEIPTS_MAX) {
        return err_set(e, ERR_RANGE,
                       _("more than %d receipts: move old ones elsewhere (`gpurun bill "
                         "--verify FILE` reads them there)"),
                       RECEIPTS_MAX);
    }
    if (to->l.n == to->cap) {
        to->cap = to->cap == 0 ? 64 : 2 * to->cap;
        to->l.v = xrealloc(to->l.v, to->cap * sizeof *to->l.v);
    }
    memcpy(to->l.v[to->l.n++], name, sizeof to->l.v[0]);
    return 0;
}

int
receipts_list(const struct home *home, struct receipt_ids *out, struct err *e)
{
    struct listing to = {.cap = 0};

    if (home_each_name(home, "receipts", list_one, &to, e) != 0) {
        free(to.l.v);
        return -1;
    }
    if (to.l.n > 0) {
        qsort(to.l.v, to.l.n, sizeof *to.l.v, by_id);
    }
    *out = to.l;
    return 0;
}

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "storage/build.h"

static int
put_to_store(void *ctx, enum store_kind kind, struct build_chunk *chunks, size_t n,
             struct err *e)
{
    const struct build_store_sink *s = ctx;

    for (size_t i = 0; i < n; i++) {
        struct build_chunk *c = &chunks[i];
        uint8_t here = 0;

        /* Most of a tree's own chunks are those of the time before. */
        if (kind == STORE_KIND_META && store_has(s->store, &c->id, 1, &here, e) != 0) {
            return -1;
        }
        if ((here & 1) == 0 &&
            store_put(s->store, kind, c->data, c->len, &c->id, NULL, e) != 0) {
            return -1;
        }
    }
    return 0;
}

/* What the cache knows may have been collected meanwhile. */
static int
ask_store(void *ctx, struct build_known *groups, size_t n, struct err *e)
{
    const struct build_store_sink *s = ctx;
    struct sha256 *ids;
    uint8_t *bits;
    size_t n_ids = 0;
    size_t at = 0;
    int rc;

    if (s->held) {
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        n_ids += groups[i].n;
    }
    ids = xmalloc(n_ids * sizeof *ids);
    bits = xcalloc((n_ids + 7) / 8, 1);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < groups[i].n; k++) {
            ids[at++] = groups[i].chunks[k].id;
        }
    }
    rc = store_has(s->store, ids, n_ids, bits, e);
    at = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        for (size_t k = 0; k < groups[i].n; k++, at++) {
            groups[i].need_data =
                groups[i].need_data || (bits[at / 8] >> (at % 8) & 1) == 0;
        }
    }
    free(ids);
    free(bits);
    return rc;
}

struct build_sink
build_sink_store(struct build_store_sink *s)
{
    return (struct build_sink){.ctx = s, .put = put_to_store, .known = ask_store};
}

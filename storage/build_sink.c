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
ask_store(void *ctx, const struct tree_chunk *chunks, size_t n, bool *need_data,
          struct err *e)
{
    const struct build_store_sink *s = ctx;
    struct sha256 *ids;
    uint8_t *bits;
    int rc;

    *need_data = false;
    if (s->held) {
        return 0;
    }
    ids = xmalloc(n * sizeof *ids);
    bits = xcalloc((n + 7) / 8, 1);
    for (size_t i = 0; i < n; i++) {
        ids[i] = chunks[i].id;
    }
    rc = store_has(s->store, ids, n, bits, e);
    for (size_t i = 0; i < n && rc == 0; i++) {
        *need_data = *need_data || (bits[i / 8] >> (i % 8) & 1) == 0;
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

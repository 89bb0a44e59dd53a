/*
 * The bytes of a hostile peer to both halves of a transfer: refused or taken, and what
 * the other is told in turn is frames. The first byte: how large the pieces are.
 */
#include <string.h>

#include "storage/sync_internal.h"
#include "tests/fuzz/scratch.h"

/* What a half says is well formed, whatever it was told. */
static void
check_said(const uint8_t *data, size_t len, struct buf *said)
{
    enum sync_frame type;
    const uint8_t *payload;
    size_t at = 0;
    size_t n;
    bool got = true;
    struct err e;

    buf_add(said, data, len);
    while (got) {
        must(sync_next_frame(said, &at, &type, &payload, &n, &got, &e) == 0);
    }
    buf_drop_front(said, at);
}

static void
receive(struct store *s, const uint8_t *data, size_t size, size_t piece)
{
    const struct sync_recv_options o = {.max_bytes = 1 << 20, .commit_bytes = 1 << 16};
    struct sync_recv *r = NULL;
    struct buf said = BUF_INIT;
    struct sha256 tree;
    struct err e;
    int rc = 0;

    must(sync_recv_new(&r, s, &o, &e) == 0);
    while (size > 0 && rc == 0) {
        size_t n = piece < size ? piece : size;
        const uint8_t *out;
        size_t len;

        rc = sync_recv_input(r, data, n, &e);
        while ((out = sync_recv_output(r, &len)) != NULL && len > 0) {
            check_said(out, len, &said);
            sync_recv_sent(r, len);
        }
        data += n;
        size -= n;
    }
    must(rc == 0 || sync_recv_state(r, &tree) == SYNC_FAILED);
    buf_free(&said);
    sync_recv_free(r);
}

static void
send_to(struct store *s, const uint8_t *data, size_t size, size_t piece)
{
    const struct sync_send_options o = {.n_threads = 1};
    static struct sha256 tree; /* one that is there */
    struct sync_send *half = NULL;
    struct buf said = BUF_INIT;
    struct err e;
    int rc = 0;

    if (tree.b[0] == 0 && tree.b[1] == 0) {
        const struct tree_sink sink = tree_sink_store(s);
        struct tree_writer *w = tree_writer_new(&sink);
        const struct tree_entry root = {
            .path = "", .type = TREE_DIR, .mode = 0755, .user = "", .group = ""};
        const struct tree_group g = {.entries = &root, .n_entries = 1};
        struct tree_totals totals;

        must(tree_writer_add(w, &g, NULL, &e) == 0);
        must(tree_writer_finish(w, &tree, &totals, &e) == 0 && store_commit(s, &e) == 0);
        tree_writer_free(w);
    }
    must(sync_send_store(&half, s, &tree, &o, &e) == 0);
    sync_send_begin(half, NULL);
    while (size > 0 && rc == 0) {
        size_t n = piece < size ? piece : size;
        const uint8_t *out;
        size_t len;

        rc = sync_send_input(half, data, n, &e);
        while ((out = sync_send_output(half, &len)) != NULL && len > 0) {
            check_said(out, len, &said);
            sync_send_sent(half, len);
        }
        data += n;
        size -= n;
    }
    must(rc == 0 || sync_send_state(half, &e) == SYNC_FAILED);
    buf_free(&said);
    sync_send_free(half);
}

static struct store *store;

static void
close_store(void)
{
    store_close(store);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e;

    if (size == 0) {
        return 0;
    }
    if (store == NULL) {
        char *dir = path_join(scratch(), "store");

        must(store_open(&store, dir, NULL, &e) == 0);
        (void)atexit(close_store); /* before the directory goes */
        free(dir);
    }
    receive(store, data + 1, size - 1, (size_t)1 + data[0] * 16);
    send_to(store, data + 1, size - 1, (size_t)1 + data[0] * 16);
    return 0;
}

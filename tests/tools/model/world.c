#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "storage/snap.h"
#include "storage/tree.h"
#include "storage/verify.h"
#include "tests/tools/model/model.h"

struct model me = {.doing = "start"};

uint64_t
rnd(void)
{
    uint64_t z = (me.seed += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint32_t
below(uint32_t n)
{
    return (uint32_t)(rnd() % n);
}

void
wrong(const char *fmt, ...)
{
    va_list ap;

    if (!atomic_exchange(&me.g->failed, true)) {
        (void)fprintf(stderr, "model_store: %s: ", me.doing);
        va_start(ap, fmt);
        (void)vfprintf(stderr, fmt, ap);
        va_end(ap);
        (void)fputs("\n", stderr);
    }
    atomic_store(&me.g->stop, true);
    _exit(1);
}

/* ---- time ---- */

int64_t
kernel_ns(clockid_t id)
{
    struct timespec t;

    (void)clock_gettime(id, &t);
    return (int64_t)t.tv_sec * S + t.tv_nsec;
}

int64_t
model_clock(enum clock_kind kind)
{
    if (kind == CLOCK_KIND_WALL) {
        return kernel_ns(CLOCK_REALTIME) + atomic_load(&me.g->wall_off);
    }
    return kernel_ns(kind == CLOCK_KIND_BOOT ? CLOCK_BOOTTIME : CLOCK_MONOTONIC) +
           atomic_load(&me.g->boot_off);
}

/* ---- data ---- */

static size_t
piece(uint32_t n, uint8_t *to)
{
    uint64_t z = n * 0x9e3779b97f4a7c15u + 1;
    size_t len = n % 7 == 0 ? 1 + n % 300 : 1000 + (size_t)(z >> 40) % (PIECE_MAX - 1000);
    bool dense = n % 3 == 0;

    for (size_t i = 0; i < len; i++) {
        z = z * 6364136223846793005u + 1442695040888963407u;
        to[i] = (uint8_t)(dense ? z >> 56 : (z >> 61) + 'a');
    }
    return len;
}

int
put_tree(struct store *s, uint32_t first, uint32_t n, struct sha256 *tree, struct err *e)
{
    struct tree_sink sink = tree_sink_store(s);
    struct tree_writer *w = tree_writer_new(&sink);
    struct tree_entry root = {
        .path = "", .type = TREE_DIR, .mode = 0755, .user = "", .group = ""};
    struct tree_group top = {.entries = &root, .n_entries = 1};
    uint8_t *data = xmalloc(PIECE_MAX);
    int rc = tree_writer_add(w, &top, NULL, e);

    for (uint32_t i = 0; i < n && rc == 0; i++) {
        char name[24];
        struct tree_chunk c = {0};
        struct tree_entry f = {
            .path = name, .type = TREE_FILE, .mode = 0644, .user = "", .group = ""};
        struct tree_group group = {
            .entries = &f, .n_entries = 1, .chunks = &c, .n_chunks = 1};
        size_t len = piece((first + i) % PIECES, data);

        f.path_len = (size_t)snprintf(name, sizeof name, "f%08u", i);
        f.size = len;
        f.stored = len;
        c.len = (uint32_t)len;
        rc = store_put(s, STORE_KIND_DATA, data, len, &c.id, NULL, e);
        if (rc == 0) {
            rc = tree_writer_add(w, &group, NULL, e);
        }
        if (rnd() % 64 == 0) {
            (void)usleep((useconds_t)below(3000)); /* gc may come in between */
        }
    }
    if (rc == 0) {
        rc = tree_writer_finish(w, tree, NULL, e);
    }
    tree_writer_free(w);
    free(data);
    return rc;
}

/* ---- slots ---- */

struct slot *
take_slot(void)
{
    struct slot *s = &me.g->slots[below(SLOTS)];
    int nobody = 0;

    return atomic_compare_exchange_strong(&s->owner, &nobody, (int)getpid()) ? s : NULL;
}

void
give_slot(struct slot *s)
{
    atomic_store(&s->owner, 0);
}

struct store *
open_store(void)
{
    struct store *s = NULL;
    struct err e;

    if (store_open(&s, me.dir, NULL, &e) != 0) {
        wrong("cannot open the store: %s", e.msg);
    }
    return s;
}

bool
may_have_expired(const struct slot *s)
{
    return s->expires_ns != 0 && s->expires_ns <= atomic_load(&me.g->wall_highest);
}

#define WHY_MAX 600

static void
note_file(void *arg, const char *path, size_t path_len, const struct err *why)
{
    (void)snprintf(arg, WHY_MAX, "it lacks %.*s: %s", (int)path_len, path, why->msg);
}

/* Every byte of it; else why not. */
static bool
is_whole(struct store *st, const struct slot *s, char why[WHY_MAX])
{
    struct verify_result sums = {0};
    struct err e;

    if (verify_tree(st, &s->tree,
                    &(struct verify_options){.damaged = note_file, .arg = why}, &sums,
                    &e) != 0) {
        (void)snprintf(why, WHY_MAX, "%s", e.msg);
        return false;
    }
    return sums.n_damaged == 0;
}

bool
look(struct store *st, struct slot *s)
{
    int what = atomic_load(&s->what);
    struct manifest *m = NULL;
    struct snap_claim c;
    char why[WHY_MAX];
    struct err e;
    bool kept;

    if (what == W_EMPTY) {
        return false;
    }
    if (manifest_read(st, s->id, &m, &e) != 0) {
        if (what == W_MAKING && e.code == ERR_NOT_FOUND) {
            atomic_store(&s->what, W_EMPTY);
            return false;
        }
        wrong("%s: %s", s->id, e.msg);
    }
    if (what == W_MAKING) {
        s->tree = m->tree; /* its maker died before it could say */
    }
    if (!sha256_equal(&m->tree, &s->tree)) {
        wrong("%s: its manifest names another tree", s->id);
    }
    manifest_free(m);
    if (snap_claim_get(st, s->id, &c, &e) != 0) {
        wrong("%s: %s", s->id, e.msg);
    }
    kept = c.data == SNAP_DATA_KEPT;
    if (!kept && what != W_MAY_GO && what != W_COMING && !may_have_expired(s)) {
        wrong("%s is gone (%s), and should be kept", s->id, c.why);
    }
    if (kept && !is_whole(st, s, why)) {
        /* Expired between the look and the read? */
        if (snap_claim_get(st, s->id, &c, &e) == 0 && c.data == SNAP_DATA_GONE &&
            may_have_expired(s)) {
            return false;
        }
        wrong("%s is kept and is not whole: %s", s->id, why);
    }
    atomic_store(&s->what, kept ? W_KEPT : W_MAY_GO);
    return kept;
}

/*
 * A store under several processes that do anything at any time, beside a model that knows
 * what must be true.
 *
 *   model_store DIR SECONDS PROCESSES SEED
 *
 * Workers put snapshots, start new ones from old ones, keep, drop and put them again, let
 * what is due expire, collect, check and read; the parent kills them at any instant,
 * moves the clocks on, and lets the wall clock jump. The model is a table in shared
 * memory: what each snapshot holds, and whether it may be gone. A snapshot that must be
 * there and is not whole, one that expired by a clock that had just jumped, an operation
 * that fails: each ends the run with exit status 1 and says what. At the end the store is
 * checked, its index thrown away and made anew, everything read once more, and dropped;
 * then nothing may be left in it.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "storage/fsck.h"
#include "storage/gc.h"
#include "storage/manifest.h"
#include "storage/snap.h"
#include "storage/tree.h"
#include "storage/verify.h"

#define SLOTS       48
#define PROCS_MAX   16
#define PIECES      1500 /* that snapshots are made of */
#define PIECE_MAX   ((size_t)90000)
#define IDS_MAX     4000 /* manifests stay for good: then only old ones come again */
#define S           ((int64_t)1000000000)
#define DAY         (86400 * S)
#define TICK_NS     (300 * S)
#define KEEP_MAX_NS (2 * DAY)

enum what {
    W_EMPTY = 0,
    W_MAKING, /* begun: there or not */
    W_KEPT,   /* acknowledged */
    W_MAY_GO, /* given up, or begun to be */
    W_COMING, /* begun to be put again */
};

struct slot {
    atomic_int owner; /* pid; who changes or reads it */
    atomic_int what;
    char id[MANIFEST_ID_MAX + 1];
    struct sha256 tree;
    uint32_t first, n;  /* pieces */
    int64_t expires_ns; /* the earliest that may count; 0: none */
};

enum op {
    OP_MAKE,
    OP_COPY,
    OP_VERIFY,
    OP_DROP,
    OP_KEEP,
    OP_REGAIN,
    OP_EXPIRE,
    OP_GC,
    OP_FSCK,
    OP_LIST,
    OPS
};
static const char *const op_names[OPS] = {"make",   "copy",   "verify", "drop", "keep",
                                          "regain", "expire", "gc",     "fsck", "list"};
static const int op_weights[OPS] = {22, 10, 28, 8, 6, 12, 6, 7, 1, 2};

static struct shared {
    atomic_llong boot_off, wall_off; /* beyond the kernel's clocks */
    atomic_llong wall_highest;
    atomic_llong jump_boot; /* when the wall clock last jumped; < 0: never */
    atomic_int jumps;
    atomic_int n_ids;
    atomic_bool stop;
    atomic_bool failed;
    atomic_llong n_ops[OPS];
    atomic_llong n_expired, n_freed, n_doubts, n_kills;
    struct slot slots[SLOTS];
} * g;

static const char *dir;
static struct sign_key *key;
static uint64_t seed;
static const char *doing = "start";

static uint64_t
rnd(void)
{
    uint64_t z = (seed += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint32_t
below(uint32_t n)
{
    return (uint32_t)(rnd() % n);
}

static void wrong(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

static void
wrong(const char *fmt, ...)
{
    va_list ap;

    if (!atomic_exchange(&g->failed, true)) {
        (void)fprintf(stderr, "model_store: %s: ", doing);
        va_start(ap, fmt);
        (void)vfprintf(stderr, fmt, ap);
        va_end(ap);
        (void)fputs("\n", stderr);
    }
    atomic_store(&g->stop, true);
    _exit(1);
}

/* ---- time ---- */

static int64_t
kernel_ns(clockid_t id)
{
    struct timespec t;

    (void)clock_gettime(id, &t);
    return (int64_t)t.tv_sec * S + t.tv_nsec;
}

static int64_t
model_clock(enum clock_kind kind)
{
    if (kind == CLOCK_KIND_WALL) {
        return kernel_ns(CLOCK_REALTIME) + atomic_load(&g->wall_off);
    }
    return kernel_ns(kind == CLOCK_KIND_BOOT ? CLOCK_BOOTTIME : CLOCK_MONOTONIC) +
           atomic_load(&g->boot_off);
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

/* The tree of pieces first, first + 1, …; each a file with a group of its own. */
static int
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

static struct slot *
take_slot(void)
{
    struct slot *s = &g->slots[below(SLOTS)];
    int nobody = 0;

    return atomic_compare_exchange_strong(&s->owner, &nobody, (int)getpid()) ? s : NULL;
}

static void
give_slot(struct slot *s)
{
    atomic_store(&s->owner, 0);
}

static struct store *
open_store(void)
{
    struct store *s = NULL;
    struct err e;

    if (store_open(&s, dir, NULL, &e) != 0) {
        wrong("cannot open the store: %s", e.msg);
    }
    return s;
}

static bool
may_have_expired(const struct slot *s)
{
    return s->expires_ns != 0 && s->expires_ns <= atomic_load(&g->wall_highest);
}

#define WHY_MAX 600

static void
note_file(void *arg, const char *path, size_t path_len, const char *why)
{
    (void)snprintf(arg, WHY_MAX, "it lacks %.*s: %s", (int)path_len, path, why);
}

/* Every byte of it; else why not. */
static bool
is_whole(struct store *st, const struct slot *s, char why[WHY_MAX])
{
    struct verify_result sums = {0};
    struct err e;

    if (verify_tree(st, &s->tree, note_file, why, &sums, &e) != 0) {
        (void)snprintf(why, WHY_MAX, "%s", e.msg);
        return false;
    }
    return sums.n_damaged == 0;
}

/* Is what must be there, there? Settles what a death has left open. */
static bool
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

/* ---- operations ---- */

static int64_t
some_expiry(void)
{
    return rnd() % 4 == 0 ? 0
                          : clock_wall_ns() + (int64_t)(rnd() % (uint64_t)KEEP_MAX_NS);
}

static void
write_manifest(struct store *st, struct slot *s)
{
    struct manifest *m = manifest_new(MANIFEST_SNAPSHOT);
    struct err e;

    manifest_set(&m->id, s->id);
    m->tree = s->tree;
    m->made_wall_ns = clock_wall_ns();
    m->expires_wall_ns = s->expires_ns;
    if (manifest_write(st, m, key, &e) != 0) {
        wrong("%s: cannot write its manifest: %s", s->id, e.msg);
    }
    manifest_free(m);
}

/* Whose slot is free; what it held is given up for certain. */
static bool
new_id(struct store *st, struct slot *s)
{
    if (look(st, s) || atomic_fetch_add(&g->n_ids, 1) >= IDS_MAX) {
        return false;
    }
    atomic_store(&s->what, W_EMPTY); /* who dies now leaves no half of a name */
    random_id("s", s->id);
    s->expires_ns = some_expiry();
    return true;
}

static void
op_make(struct slot *s)
{
    struct store *st;
    struct err e;

    st = open_store();
    if (!new_id(st, s)) {
        store_close(st);
        return;
    }
    s->first = below(PIECES);
    s->n = 1 + below(12);
    if (put_tree(st, s->first, s->n, &s->tree, &e) != 0) {
        wrong("cannot put: %s", e.msg);
    }
    atomic_store(&s->what, W_MAKING);
    write_manifest(st, s);
    atomic_store(&s->what, W_KEPT);
    store_close(st);
}

static void
one_gc(bool wait)
{
    const struct gc_options o = {.walk = gc_walk_tree, .wait = wait};
    struct store *st = open_store();
    struct gc_result r = {0};
    struct err e;

    if (gc_run(st, &o, &r, &e) != 0 && e.code != ERR_BUSY) {
        wrong("%s", e.msg);
    }
    atomic_fetch_add(&g->n_freed, (long long)r.n_deleted);
    store_close(st);
}

/* The worst that can come between: its data is given up, and collected twice. */
static void
pull_away(struct slot *from)
{
    int nobody = 0;
    struct store *st;
    struct err e;

    if (!atomic_compare_exchange_strong(&from->owner, &nobody, (int)getpid())) {
        return;
    }
    st = open_store();
    if (look(st, from)) {
        atomic_store(&from->what, W_MAY_GO);
        if (snap_drop(st, from->id, "removed", &e) != 0) {
            wrong("%s: cannot drop: %s", from->id, e.msg);
        }
    }
    store_close(st);
    give_slot(from);
    one_gc(true);
    one_gc(true);
}

/* A new snapshot from one that was read: nothing is put or asked for. */
static void
op_copy(struct slot *to)
{
    struct slot *from = &g->slots[below(SLOTS)];
    char id[MANIFEST_ID_MAX + 1];
    struct store *st;
    struct manifest *m = NULL;
    struct snap_claim c;
    struct err e;

    memcpy(id, from->id, sizeof id); /* not locked: may be torn, or gone meanwhile */
    id[MANIFEST_ID_MAX] = '\0';
    if (from == to || !manifest_id_valid(id)) {
        return;
    }
    st = open_store();
    if (manifest_read(st, id, &m, &e) == 0 && snap_claim_get(st, id, &c, &e) == 0 &&
        c.data == SNAP_DATA_KEPT && new_id(st, to)) {
        to->tree = m->tree;
        to->n = 0;
        switch (below(3)) {
        case 0:
            pull_away(from);
            break;
        case 1:
            (void)usleep((useconds_t)below(30000)); /* others may do that */
            break;
        default:
            break;
        }
        atomic_store(&to->what, W_MAKING);
        write_manifest(st, to);
        atomic_store(&to->what, W_KEPT);
    }
    manifest_free(m);
    store_close(st);
}

static void
op_verify(struct slot *s)
{
    struct store *st = open_store();

    (void)look(st, s);
    store_close(st);
}

static void
op_drop(struct slot *s)
{
    struct store *st = open_store();
    struct err e;

    if (look(st, s)) {
        atomic_store(&s->what, W_MAY_GO);
        if (snap_drop(st, s->id, "removed", &e) != 0) {
            wrong("%s: cannot drop: %s", s->id, e.msg);
        }
    }
    store_close(st);
}

static void
op_keep(struct slot *s)
{
    struct store *st = open_store();
    int64_t until = some_expiry();
    struct err e;

    if (look(st, s)) {
        int64_t was = s->expires_ns;

        if (was == 0 || (until != 0 && until < was)) {
            s->expires_ns = until; /* from now on it may count */
        }
        if (snap_keep(st, s->id, until, &e) == 0) {
            s->expires_ns = until;
        } else if (e.code != ERR_NOT_FOUND || !may_have_expired(s)) {
            wrong("%s: cannot keep: %s", s->id, e.msg);
        }
    }
    store_close(st);
}

static void
op_regain(struct slot *s)
{
    struct store *st = open_store();
    struct sha256 tree;
    struct err e;

    if (!look(st, s) && atomic_load(&s->what) == W_MAY_GO && s->n > 0) {
        int64_t until = some_expiry();

        if (put_tree(st, s->first, s->n, &tree, &e) != 0 || store_commit(st, &e) != 0) {
            wrong("cannot put again: %s", e.msg);
        }
        if (!sha256_equal(&tree, &s->tree)) {
            wrong("%s: the same again is another tree", s->id);
        }
        s->expires_ns = until;
        atomic_store(&s->what, W_COMING);
        if (snap_regain(st, s->id, until, &e) != 0) {
            wrong("%s: cannot regain: %s", s->id, e.msg);
        }
        atomic_store(&s->what, W_KEPT);
    }
    store_close(st);
}

static void
op_expire(void)
{
    struct store *st = open_store();
    int jumps = atomic_load(&g->jumps);
    int64_t boot_ns = clock_boot_ns();
    struct snap_expiry x;
    struct err e;

    if (snap_expire(st, &x, NULL, NULL, &e) != 0) {
        wrong("%s", e.msg);
    }
    if (x.n_expired > 0 && jumps > 0 && jumps == atomic_load(&g->jumps) &&
        boot_ns - atomic_load(&g->jump_boot) < SNAP_CLOCK_STEADY_S * S - TICK_NS) {
        wrong("%zu expired %" PRId64 " s after the clock had jumped", x.n_expired,
              (boot_ns - (int64_t)atomic_load(&g->jump_boot)) / S);
    }
    atomic_fetch_add(&g->n_expired, (long long)x.n_expired);
    atomic_fetch_add(&g->n_doubts, x.clock_doubt[0] != '\0');
    store_close(st);
}

static void
op_gc(void)
{
    one_gc(rnd() % 2 == 0);
}

static void
fsck_says(void *arg, const char *line)
{
    (void)arg;
    (void)fprintf(stderr, "model_store: fsck: %s\n", line);
}

static void
op_fsck(bool loud)
{
    const struct fsck_options o = {
        .walk = gc_walk_tree, .files = fsck_files_tree, .say = loud ? fsck_says : NULL};
    struct fsck_result r = {0};
    struct err e;

    if (fsck_run(dir, &o, &r, &e) != 0) {
        if (e.code != ERR_BUSY || loud) {
            wrong("%s", e.msg);
        }
    } else if (r.n_bad_chunks > 0 || r.n_snaps_damaged > 0 || r.n_manifests_lost > 0) {
        wrong("%" PRIu64 " bad chunks, %" PRIu64 " damaged snapshots, %" PRIu64
              " manifests lost",
              r.n_bad_chunks, r.n_snaps_damaged, r.n_manifests_lost);
    }
}

static void
op_list(void)
{
    struct store *st = open_store();
    struct snap_list l = {NULL, 0};
    struct err e;

    if (snap_list(st, &l, &e) != 0) {
        wrong("%s", e.msg);
    }
    for (size_t i = 0; i < l.n; i++) {
        if (l.v[i].m == NULL) {
            wrong("%s: %s", l.v[i].id, l.v[i].error);
        }
    }
    snap_list_free(&l);
    store_close(st);
}

static void
one_op(void)
{
    int all = 0;
    int at;
    int op = 0;
    struct slot *s = NULL;

    for (int i = 0; i < OPS; i++) {
        all += op_weights[i];
    }
    at = (int)below((uint32_t)all);
    while (at >= op_weights[op]) {
        at -= op_weights[op++];
    }
    doing = op_names[op];
    if (op < OP_EXPIRE && (s = take_slot()) == NULL) {
        return;
    }
    switch ((enum op)op) {
    case OP_MAKE:
        op_make(s);
        break;
    case OP_COPY:
        op_copy(s);
        break;
    case OP_VERIFY:
        op_verify(s);
        break;
    case OP_DROP:
        op_drop(s);
        break;
    case OP_KEEP:
        op_keep(s);
        break;
    case OP_REGAIN:
        op_regain(s);
        break;
    case OP_EXPIRE:
        op_expire();
        break;
    case OP_GC:
        op_gc();
        break;
    case OP_FSCK:
        op_fsck(false);
        break;
    case OP_LIST:
        op_list();
        break;
    case OPS:
        break;
    }
    if (s != NULL) {
        give_slot(s);
    }
    atomic_fetch_add(&g->n_ops[op], 1);
}

/* ---- the parent ---- */

static pid_t
start_worker(uint64_t its_seed)
{
    pid_t parent = getpid();
    pid_t pid = fork();

    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) {
            _exit(1);
        }
        seed = its_seed;
        while (!atomic_load(&g->stop)) {
            one_op();
        }
        _exit(0);
    }
    if (pid == -1) {
        doing = "fork";
        wrong("%s", strerror(errno));
    }
    return pid;
}

static void
bury(pid_t pid)
{
    for (int i = 0; i < SLOTS; i++) {
        int dead = (int)pid;

        (void)atomic_compare_exchange_strong(&g->slots[i].owner, &dead, 0);
    }
}

static void
move_clocks(void)
{
    int64_t wall_ns;

    if (below(300) == 0) {
        int64_t by = (int64_t)below(40) * DAY - 15 * DAY + 3600 * S;

        atomic_store(&g->jump_boot, model_clock(CLOCK_KIND_BOOT));
        atomic_fetch_add(&g->jumps, 1);
        atomic_fetch_add(&g->wall_off, by);
    }
    atomic_fetch_add(&g->boot_off, TICK_NS);
    atomic_fetch_add(&g->wall_off, TICK_NS);
    wall_ns = model_clock(CLOCK_KIND_WALL) + TICK_NS + 60 * S;
    if (wall_ns > atomic_load(&g->wall_highest)) {
        atomic_store(&g->wall_highest, wall_ns);
    }
}

static void
run(int64_t seconds, int n_procs)
{
    pid_t pid[PROCS_MAX];
    int64_t end_ns = kernel_ns(CLOCK_MONOTONIC) + seconds * S;

    for (int i = 0; i < n_procs; i++) {
        pid[i] = start_worker(rnd());
    }
    while (!atomic_load(&g->stop) && kernel_ns(CLOCK_MONOTONIC) < end_ns) {
        int victim = (int)below((uint32_t)n_procs);

        (void)usleep(5000);
        move_clocks();
        if (below(12) == 0) {
            (void)kill(pid[victim], SIGKILL);
            (void)waitpid(pid[victim], NULL, 0);
            bury(pid[victim]);
            atomic_fetch_add(&g->n_kills, 1);
            pid[victim] = start_worker(rnd());
        }
    }
    atomic_store(&g->stop, true);
    for (int i = 0; i < n_procs; i++) {
        (void)waitpid(pid[i], NULL, 0);
        bury(pid[i]);
    }
}

static int
read_all(struct store *st)
{
    int n = 0;

    for (int i = 0; i < SLOTS; i++) {
        n += look(st, &g->slots[i]);
    }
    return n;
}

/* Nobody else is there any more. */
static void
end_checks(void)
{
    struct store *st;
    struct store_stats sums;
    char *db = path_join(dir, "index.db");
    struct err e;
    int n;

    doing = "the end";
    op_fsck(true);
    st = open_store();
    n = read_all(st);
    store_close(st);
    (void)unlink(db);
    free(db);
    doing = "after the index was lost";
    st = open_store();
    if (read_all(st) != n) {
        wrong("another number of snapshots");
    }
    (void)printf("%d snapshots kept\n", n);
    for (int i = 0; i < SLOTS; i++) {
        if (atomic_load(&g->slots[i].what) == W_KEPT &&
            snap_drop(st, g->slots[i].id, "removed", &e) != 0) {
            wrong("%s", e.msg);
        }
    }
    store_close(st);
    doing = "after all was dropped";
    for (int i = 0; i < 3; i++) {
        const struct gc_options o = {.walk = gc_walk_tree, .wait = true};
        struct gc_result r;

        st = open_store();
        if (gc_run(st, &o, &r, &e) != 0) {
            wrong("%s", e.msg);
        }
        store_close(st);
    }
    st = open_store();
    if (store_stats(st, &sums, &e) != 0) {
        wrong("%s", e.msg);
    }
    if (sums.n_chunks != 0 || sums.n_packs != 0) {
        wrong("%" PRIu64 " chunks in %" PRIu64 " packs are left of nothing",
              sums.n_chunks, sums.n_packs);
    }
    store_close(st);
}

int
main(int argc, char **argv)
{
    struct err e;

    if (argc != 5 || atoi(argv[3]) < 1 || atoi(argv[3]) > PROCS_MAX) {
        (void)fprintf(stderr, "usage: model_store DIR SECONDS PROCESSES SEED\n");
        return 2;
    }
    g = mmap(NULL, sizeof *g, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (g == MAP_FAILED || sign_key_new(&key, &e) != 0) {
        (void)fprintf(stderr, "model_store: cannot begin\n");
        return 1;
    }
    dir = argv[1];
    seed = strtoull(argv[4], NULL, 10);
    atomic_store(&g->jump_boot, -1);
    clock_set_source(model_clock);
    store_close(open_store());
    run(atoll(argv[2]), atoi(argv[3]));
    if (!atomic_load(&g->failed)) {
        atomic_store(&g->stop, false);
        end_checks();
    }
    for (int i = 0; i < OPS; i++) {
        (void)printf("%s %lld  ", op_names[i], atomic_load(&g->n_ops[i]));
    }
    (void)printf(
        "\n%lld killed, %d jumps, %lld expired, %lld looks in doubt, %lld chunks "
        "collected\n",
        atomic_load(&g->n_kills), atomic_load(&g->jumps), atomic_load(&g->n_expired),
        atomic_load(&g->n_doubts), atomic_load(&g->n_freed));
    sign_key_free(key);
    return atomic_load(&g->failed) ? 1 : 0;
}

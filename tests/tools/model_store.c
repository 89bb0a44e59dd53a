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
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "storage/gc.h"
#include "storage/snap.h"
#include "tests/tools/model/model.h"

#define PROCS_MAX 16

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
        me.seed = its_seed;
        while (!atomic_load(&me.g->stop)) {
            one_op();
        }
        _exit(0);
    }
    if (pid == -1) {
        me.doing = "fork";
        wrong("%s", strerror(errno));
    }
    return pid;
}

static void
bury(pid_t pid)
{
    for (int i = 0; i < SLOTS; i++) {
        int dead = (int)pid;

        (void)atomic_compare_exchange_strong(&me.g->slots[i].owner, &dead, 0);
    }
}

static void
move_clocks(void)
{
    int64_t wall_ns;

    if (below(300) == 0) {
        int64_t by = (int64_t)below(40) * DAY - 15 * DAY + 3600 * S;

        atomic_store(&me.g->jump_boot, model_clock(CLOCK_KIND_BOOT));
        atomic_fetch_add(&me.g->jumps, 1);
        atomic_fetch_add(&me.g->wall_off, by);
    }
    atomic_fetch_add(&me.g->boot_off, TICK_NS);
    atomic_fetch_add(&me.g->wall_off, TICK_NS);
    wall_ns = model_clock(CLOCK_KIND_WALL) + TICK_NS + 60 * S;
    if (wall_ns > atomic_load(&me.g->wall_highest)) {
        atomic_store(&me.g->wall_highest, wall_ns);
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
    while (!atomic_load(&me.g->stop) && kernel_ns(CLOCK_MONOTONIC) < end_ns) {
        int victim = (int)below((uint32_t)n_procs);

        (void)usleep(5000);
        move_clocks();
        if (below(12) == 0) {
            (void)kill(pid[victim], SIGKILL);
            (void)waitpid(pid[victim], NULL, 0);
            bury(pid[victim]);
            atomic_fetch_add(&me.g->n_kills, 1);
            pid[victim] = start_worker(rnd());
        }
    }
    atomic_store(&me.g->stop, true);
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
        n += look(st, &me.g->slots[i]);
    }
    return n;
}

/* Nobody else is there any more. */
static void
end_checks(void)
{
    struct store *st;
    struct store_stats sums;
    char *db = path_join(me.dir, "index.db");
    struct err e;
    int n;

    me.doing = "the end";
    op_fsck(true);
    st = open_store();
    n = read_all(st);
    store_close(st);
    (void)unlink(db);
    free(db);
    me.doing = "after the index was lost";
    st = open_store();
    if (read_all(st) != n) {
        wrong("another number of snapshots");
    }
    (void)printf("%d snapshots kept\n", n);
    for (int i = 0; i < SLOTS; i++) {
        if (atomic_load(&me.g->slots[i].what) == W_KEPT &&
            snap_drop(st, me.g->slots[i].id, "removed", &e) != 0) {
            wrong("%s", e.msg);
        }
    }
    store_close(st);
    me.doing = "after all was dropped";
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
    me.g = mmap(NULL, sizeof *me.g, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                -1, 0);
    if (me.g == MAP_FAILED || sign_key_new(&me.key, &e) != 0) {
        (void)fprintf(stderr, "model_store: cannot begin\n");
        return 1;
    }
    me.dir = argv[1];
    me.seed = strtoull(argv[4], NULL, 10);
    atomic_store(&me.g->jump_boot, -1);
    clock_set_source(model_clock);
    store_close(open_store());
    run(atoll(argv[2]), atoi(argv[3]));
    if (!atomic_load(&me.g->failed)) {
        atomic_store(&me.g->stop, false);
        end_checks();
    }
    for (int i = 0; i < OPS; i++) {
        (void)printf("%s %lld  ", op_name((enum op)i), atomic_load(&me.g->n_ops[i]));
    }
    (void)printf(
        "\n%lld killed, %d jumps, %lld expired, %lld looks in doubt, %lld chunks "
        "collected\n",
        atomic_load(&me.g->n_kills), atomic_load(&me.g->jumps),
        atomic_load(&me.g->n_expired), atomic_load(&me.g->n_doubts),
        atomic_load(&me.g->n_freed));
    sign_key_free(me.key);
    return atomic_load(&me.g->failed) ? 1 : 0;
}

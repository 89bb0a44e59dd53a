#include "runner/host/workdirs.h"
#include "tests/unit/unit.h"

#include "base/clock.h"
#include "runner/job/ids.h"
#include "storage/manifest.h"
#include "storage/packs.h"
#include "storage/snap.h"
#include "storage/store.h"
#include "storage/tree.h"

#define JOB "j0123456789ab"
#define NS  ((int64_t)1000000000)
#define DAY (86400 * NS)

struct fixture {
    struct agent agent;
    struct renter renter;
    struct job_spec spec;
    struct job_state state;
    char id[JOB_ID_LEN + 1]; /* of the last snapshot */
};

static int
set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    void *dir = NULL;
    struct err e = {0};

    assert_int_equal(unit_dir_setup(&dir), 0);
    f->renter.path = dir;
    f->renter.fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_not_equal(f->renter.fd, -1);
    assert_ok(sign_key_new(&f->agent.key, &e));
    spec_init(&f->spec);
    state_init(&f->state);
    memcpy(f->spec.job, JOB, sizeof JOB);
    f->state.ended_wall_ns = clock_wall_ns();
    unit_put_file(dir, "work/" JOB "/file", "what the job made", 0644);
    *state = f;
    return 0;
}

static int
tear_down(void **state)
{
    struct fixture *f = *state;
    void *dir = f->renter.path;

    (void)close(f->renter.fd);
    sign_key_free(f->agent.key);
    spec_free(&f->spec);
    state_free(&f->state);
    free(f);
    return unit_dir_teardown(&dir);
}

static struct workdirs_snapshot
take(struct fixture *f)
{
    struct workdirs_end end = {.spec = &f->spec, .state = &f->state, .id = f->id};
    struct workdirs_snapshot taken;
    struct err e = {0};

    random_id("s", f->id);
    assert_ok(workdirs_snapshot(&f->agent, &f->renter, &end, &taken, &e));
    return taken;
}

static struct store *
open_store(struct fixture *f)
{
    struct store *s = NULL;
    struct err e = {0};

    assert_ok(workdirs_open_store(&f->renter, &s, &e));
    return s;
}

static struct sha256
tree_of(struct store *s, const char *id)
{
    struct manifest *m = NULL;
    struct sha256 tree;
    struct err e = {0};

    assert_ok(manifest_read(s, id, &m, &e));
    tree = m->tree;
    manifest_free(m);
    return tree;
}

/* ---- how long it is kept ---- */

static void
snapshot__is_kept_from_the_end_or_from_when_it_was_taken_long_after(void **state)
{
    struct fixture *f = *state;
    const int64_t keep_ns = SNAP_KEEP_DEFAULT_S * NS;
    int64_t before_ns = clock_wall_ns();

    f->state.ended_wall_ns = before_ns - 3600 * NS;
    assert_int_equal(take(f).expires_wall_ns, f->state.ended_wall_ns + keep_ns);
    f->state.ended_wall_ns = before_ns - 20 * DAY;
    assert_true(take(f).expires_wall_ns >= before_ns + keep_ns);
    f->state.ended_wall_ns = 0; /* by a clock that nobody had set */
    assert_true(take(f).expires_wall_ns >= before_ns + keep_ns);
}

/* ---- what it needs of the store ---- */

enum { CONTENTS, NAMES };

/* Turn a bit of each entry of that kind in the only pack. */
static void
damage(struct fixture *f, int which)
{
    char *packs = path_join(f->renter.path, "store/packs");
    int fd = open(packs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct packs_names names;
    struct pack_list list = {0};
    char file[PACK_FILE_NAME_BYTES];
    struct err e = {0};
    int pack = -1;
    char *path;

    assert_ok(packs_list(fd, &names, &e));
    assert_int_equal(names.n, 1);
    assert_ok(pack_open(fd, &names.v[0], &pack, &e));
    assert_ok(pack_read_table(pack, &list, &e));
    pack_file_name(&names.v[0], file);
    path = path_join(packs, file);
    for (size_t i = 0; i < list.n; i++) {
        if ((list.v[i].kind == STORE_KIND_META) == (which == NAMES)) {
            unit_flip(path, (off_t)list.v[i].offset + PACK_ENTRY_LEN, 1);
        }
    }
    pack_list_free(&list);
    free(names.v);
    free(path);
    free(packs);
    (void)close(pack);
    (void)close(fd);
}

static int
read_one(void *ctx, enum store_kind kind, const struct tree_chunk *c, struct err *e)
{
    struct buf raw = BUF_INIT;
    int rc = store_get(ctx, &c->id, &raw, e);

    (void)kind;
    buf_free(&raw);
    return rc;
}

static int
read_all(struct store *s, const struct sha256 *tree, struct err *e)
{
    struct tree_source source = tree_source_store(s);

    return tree_walk_chunks(tree, &source, read_one, s, e);
}

/* The same names again: those that the store has prove damaged when they are read. */
static void
snapshot__puts_again_what_proves_damaged_while_it_is_taken(void **state)
{
    struct fixture *f = *state;
    struct sha256 tree;
    struct store *s;
    struct err e = {0};

    (void)take(f);
    damage(f, NAMES);
    (void)take(f);
    s = open_store(f);
    tree = tree_of(s, f->id);
    assert_ok(read_all(s, &tree, &e));
    store_close(s);
}

static void
keep_tree__refuses_one_that_is_not_whole(void **state)
{
    struct fixture *f = *state;
    struct manifest *m = NULL;
    char id[JOB_ID_LEN + 1];
    struct sha256 tree;
    struct store *s;
    struct err e = {0};

    (void)take(f);
    s = open_store(f);
    tree = tree_of(s, f->id);
    random_id("s", id);
    assert_ok(workdirs_keep_tree(&f->agent, &f->renter, id, "whole", &tree, &e));
    damage(f, CONTENTS);
    assert_refused(read_all(s, &tree, &e), ERR_CORRUPT); /* from now on it is missing */
    random_id("s", id);
    assert_refused(workdirs_keep_tree(&f->agent, &f->renter, id, "not", &tree, &e),
                   ERR_NOT_FOUND);
    assert_refused(manifest_read(s, id, &m, &e), ERR_NOT_FOUND);
    store_close(s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            snapshot__is_kept_from_the_end_or_from_when_it_was_taken_long_after, set_up,
            tear_down),
        cmocka_unit_test_setup_teardown(
            snapshot__puts_again_what_proves_damaged_while_it_is_taken, set_up,
            tear_down),
        cmocka_unit_test_setup_teardown(keep_tree__refuses_one_that_is_not_whole, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

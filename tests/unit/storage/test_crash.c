#include "tests/unit/storage/crash_run.h"

#include "storage/tarball.h"

/* Put, commit, manifest, drop, condemn, rewrite packs, remove packs, and on. */
static void
work_all(void)
{
    struct store *s = child_open();

    child_snap(s, 0);
    child_snap(s, 1);
    store_close(s);
    s = child_open();
    child_snap(s, 2);
    child_drop(s, 0);
    store_close(s);
    child_gc();
    s = child_open();
    child_drop(s, 2);
    child_snap(s, 3);
    store_close(s);
    child_gc();
    child_gc();
    s = child_open();
    child_snap(s, 4);
    store_close(s);
    if (shim.mode == SHIM_COUNT && told->n_rewritten == 0) {
        abort();
    }
}

/* The index is lost, and made anew. */
static void
work_rebuild(void)
{
    struct store *s = child_open();
    char *db = path_join(shim.root, "index.db");

    child_snap(s, 0);
    child_snap(s, 1);
    store_close(s);
    (void)unlink(db);
    free(db);
    s = child_open();
    child_snap(s, 2);
    store_close(s);
}

/* A file is read into the store, after another was and before one more is. */
static void
work_import(void)
{
    const struct tarball_options o = {0};
    struct store *s = child_open();
    struct buf manifest = BUF_INIT;
    struct tarball_report r;
    struct err e;
    int fd = open(archive.file, O_RDONLY | O_CLOEXEC);

    child_snap(s, 0);
    if (s != NULL && step(tarball_import(s, fd, &o, &manifest, &r, &e)) == 0 &&
        step(manifest_write_encoded(s, manifest.data, manifest.len, &e)) == 0) {
        told->imported = true;
    }
    child_snap(s, 2);
    store_close(s);
    buf_free(&manifest);
    (void)close(fd);
}

/* A pack is damaged, and mended. */
static void
work_fsck(void)
{
    struct store *s = child_open();
    char *cmd = xasprintf("cd %s/packs && for p in *.pack; do [ -f $p ] && printf X |"
                          " dd of=$p bs=1 seek=67 conv=notrunc 2>/dev/null; done",
                          shim.root);

    child_snap(s, 0);
    child_snap(s, 1);
    (void)!system(cmd); /* in each pack the first header: no chunk is lost by that */
    free(cmd);
    store_close(s);
    (void)child_fsck();
    s = child_open();
    child_snap(s, 2);
    store_close(s);
}

static void
crash__anywhere_in_put_commit_drop_and_gc_breaks_no_promise(void **state)
{
    (void)state;
    every_accident(work_all, 39);
}

static void
crash__anywhere_in_a_rebuild_breaks_no_promise(void **state)
{
    (void)state;
    every_accident(work_rebuild, 39);
}

static void
crash__anywhere_in_an_import_breaks_no_promise(void **state)
{
    (void)state;
    every_accident(work_import, 39);
}

static void
crash__anywhere_in_fsck_breaks_no_promise(void **state)
{
    (void)state;
    every_accident(work_fsck, 39);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(
            crash__anywhere_in_put_commit_drop_and_gc_breaks_no_promise, tell_where),
        cmocka_unit_test_teardown(crash__anywhere_in_a_rebuild_breaks_no_promise,
                                  tell_where),
        cmocka_unit_test_teardown(crash__anywhere_in_an_import_breaks_no_promise,
                                  tell_where),
        cmocka_unit_test_teardown(crash__anywhere_in_fsck_breaks_no_promise, tell_where),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}

#include "tests/unit/storage/tree_util.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/file.h"
#include "storage/build.h"
#include "storage/workdir.h"

struct place {
    char *scratch;
    int work_fd;
    struct store *store;
    struct sha256 tree; /* of a directory with three files */
};

static void
write_at(int dir_fd, const char *name, const char *text)
{
    int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
    assert_int_equal(fd_close(&fd), 0);
}

static struct place
place_new(void)
{
    struct place p = {.scratch = scratch_dir()};
    struct build_options o = {.policy = BUILD_SHIP};
    struct build_store_sink into = {0};
    struct build_sink sink;
    struct build_report report;
    char *store = path_join(p.scratch, "store");
    char *work = path_join(p.scratch, "work");
    char *src = path_join(p.scratch, "src");
    int fd;

    assert_int_equal(mkdir(work, 0700), 0);
    assert_int_equal(mkdir(src, 0755), 0);
    fd = open(src, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    p.work_fd = open(work, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0 && p.work_fd >= 0);
    write_at(fd, "a", "one");
    write_at(fd, "b", "two");
    assert_int_equal(mkdirat(fd, "d", 0755), 0);
    write_at(fd, "d/c", "three");
    OK(store_open(&p.store, store, NULL, e));
    into.store = p.store;
    sink = build_sink_store(&into);
    OK(build_tree(fd, &o, &sink, &report, e));
    p.tree = report.tree;
    build_report_free(&report);
    OK(store_commit(p.store, e));
    (void)close(fd);
    free(store);
    free(work);
    free(src);
    return p;
}

static void
place_free(struct place *p)
{
    store_close(p->store);
    (void)close(p->work_fd);
    scratch_free(p->scratch);
}

static struct workdir_report
make(const struct place *p, const char *job, const char *candidate)
{
    const char *candidates[] = {candidate};
    struct workdir_options o = {.candidates = candidates, .n_candidates = 1};
    struct workdir_report r;

    OK(workdir_make(p->work_fd, job, p->store, &p->tree, candidate == NULL ? NULL : &o,
                    &r, e));
    return r;
}

static bool
holds(const struct place *p, const char *name, const char *text)
{
    struct buf b = BUF_INIT;
    struct err e = {0};
    bool same = file_read_at(p->work_fd, name, 1000, &b, &e) == 0 &&
                strcmp(buf_str(&b), text) == 0;

    buf_free(&b);
    return same;
}

static void
workdir__is_extracted_then_taken_over(void **state)
{
    struct place p = place_new();
    struct workdir_report r = make(&p, "j1", NULL);
    struct stat before;
    struct stat after;

    (void)state;
    assert_int_equal(r.way, WORKDIR_EXTRACTED);
    assert_true(holds(&p, "j1/d/c", "three"));
    wait_by_ctime(p.work_fd, SETTLED_NS);
    /* The cache that the extraction wrote may be too young to be trusted; a snapshot's is
     * not. */
    {
        struct build_report report;

        OK(workdir_snapshot(p.work_fd, "j1", p.store, false, &report, e));
        assert_true(sha256_equal(&report.tree, &p.tree));
        build_report_free(&report);
    }
    assert_int_equal(fstatat(p.work_fd, "j1.scan", &before, 0), 0);
    r = make(&p, "j2", "j1");
    assert_int_equal(r.way, WORKDIR_TAKEN_OVER);
    assert_string_equal(r.from, "j1");
    assert_int_equal(fstatat(p.work_fd, "j2.scan", &after, 0), 0);
    assert_true(before.st_ino ==
                after.st_ino); /* nothing to change: its cache as it is */
    assert_int_equal(r.n_kept, 5);
    assert_true(holds(&p, "j2/a", "one"));
    assert_int_equal(faccessat(p.work_fd, "j1", F_OK, 0), -1);
    assert_int_equal(faccessat(p.work_fd, "j1.scan", F_OK, 0), -1);
    assert_int_equal(faccessat(p.work_fd, "j2.scan", F_OK, 0), 0);
    place_free(&p);
}

/* A large file is finished last, and would be hashed once more after the shortest job. */
static void
workdir__a_large_file_is_not_read_again(void **state)
{
    struct place p = place_new();
    struct build_store_sink into = {.store = p.store};
    struct build_sink sink = build_sink_store(&into);
    struct build_options o = {.policy = BUILD_SHIP};
    struct build_report report;
    char *src = path_join(p.scratch, "src");
    int fd = open(src, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int large = openat(fd, "large", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

    (void)state;
    assert_true(large >= 0);
    for (uint64_t i = 0; i < 20; i++) {
        uint8_t *piece = xcalloc(1 << 20, 1);

        memcpy(piece, &i, sizeof i);
        assert_int_equal(fd_write_all(large, piece, 1 << 20), 0);
        free(piece);
    }
    (void)close(large);
    OK(build_tree(fd, &o, &sink, &report, e));
    p.tree = report.tree;
    build_report_free(&report);
    OK(store_commit(p.store, e));
    (void)make(&p, "j1", NULL);
    OK(workdir_snapshot(p.work_fd, "j1", p.store, false, &report, e));
    assert_true(sha256_equal(&report.tree, &p.tree));
    assert_true(report.read_bytes < 1 << 20);
    build_report_free(&report);
    (void)close(fd);
    free(src);
    place_free(&p);
}

/* One byte more, one file more or one file less: what the new job sees must be the tree.
 */
static void
workdir__what_was_touched_is_not_handed_on(void **state)
{
    static const char *const HOW[] = {"change", "add", "remove", "mode"};

    (void)state;
    for (size_t i = 0; i < sizeof HOW / sizeof HOW[0]; i++) {
        struct place p = place_new();
        struct workdir_report r = make(&p, "j1", NULL);
        struct build_report report;
        struct stat sb;

        wait_by_ctime(p.work_fd, SETTLED_NS);
        OK(workdir_snapshot(p.work_fd, "j1", p.store, false, &report, e));
        build_report_free(&report);
        switch (i) {
        case 0:
            write_at(p.work_fd, "j1/b", "TWO");
            break;
        case 1:
            write_at(p.work_fd, "j1/d/new", "x");
            break;
        case 2:
            assert_int_equal(unlinkat(p.work_fd, "j1/a", 0), 0);
            break;
        default:
            assert_int_equal(fchmodat(p.work_fd, "j1/a", 0600, 0), 0);
        }
        r = make(&p, "j2", "j1");
        assert_true(holds(&p, "j2/a", "one"));
        assert_true(holds(&p, "j2/b", "two"));
        assert_int_equal(faccessat(p.work_fd, "j2/d/new", F_OK, 0), -1);
        assert_int_equal(fstatat(p.work_fd, "j2/a", &sb, 0), 0);
        assert_int_equal(sb.st_mode & 0777, 0644);
        assert_true(r.way == WORKDIR_EXTRACTED || r.n_made > 0);
        place_free(&p);
    }
}

static void
workdir__refuses_names_that_lead_elsewhere(void **state)
{
    struct place p = place_new();
    char name[66];
    struct workdir_report r;

    (void)state;
    FAILS(workdir_make(p.work_fd, "../x", p.store, &p.tree, NULL, &r, e), ERR_INVALID);
    FAILS(workdir_make(p.work_fd, ".x", p.store, &p.tree, NULL, &r, e), ERR_INVALID);
    FAILS(workdir_make(p.work_fd, "", p.store, &p.tree, NULL, &r, e), ERR_INVALID);
    memset(name, 'j', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    FAILS(workdir_make(p.work_fd, name, p.store, &p.tree, NULL, &r, e), ERR_INVALID);
    (void)make(&p, name + 1, NULL); /* 64 characters are the longest */
    OK(workdir_remove(p.work_fd, name + 1, e));
    r = make(&p, "j1", NULL);
    FAILS(workdir_make(p.work_fd, "j1", p.store, &p.tree, NULL, &r, e), ERR_EXISTS);
    OK(workdir_remove(p.work_fd, "j1", e));
    assert_int_equal(faccessat(p.work_fd, "j1", F_OK, 0), -1);
    assert_int_equal(mkdirat(p.work_fd, ".j9.new", 0700), 0);
    OK(workdir_sweep(p.work_fd, e));
    assert_int_equal(faccessat(p.work_fd, ".j9.new", F_OK, 0), -1);
    place_free(&p);
}

/*
 * What is at a name under way may be another thing by the time it is removed, so a sweep
 * and a maker are never at work at once.
 */
static void
sweep__waits_for_another_time_while_somebody_makes_one(void **state)
{
    struct place p = place_new();
    int maker = openat(p.work_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int other = openat(p.work_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    (void)state;
    assert_true(maker != -1 && other != -1);
    assert_int_equal(flock(maker, LOCK_SH), 0);
    assert_int_equal(mkdirat(p.work_fd, ".j9.new", 0700), 0);
    assert_int_equal(mkdirat(p.work_fd, "taken", 0700), 0);
    write_at(p.work_fd, "j8.scan", "of nothing");
    OK(workdir_sweep(p.work_fd, e));
    OK(workdir_give_up(p.work_fd, "taken", e));
    assert_int_equal(faccessat(p.work_fd, ".j9.new", F_OK, 0), 0);
    assert_int_equal(faccessat(p.work_fd, "taken", F_OK, 0), 0);
    assert_int_equal(faccessat(p.work_fd, "j8.scan", F_OK, 0), 0);
    (void)make(&p, "j1", NULL); /* makers do not keep each other waiting */
    assert_int_equal(flock(other, LOCK_EX | LOCK_NB), -1);
    (void)close(maker);
    assert_int_equal(flock(other, LOCK_EX | LOCK_NB), 0); /* and leave no lock behind */
    (void)close(other);
    OK(workdir_sweep(p.work_fd, e));
    OK(workdir_give_up(p.work_fd, "taken", e));
    assert_int_equal(faccessat(p.work_fd, ".j9.new", F_OK, 0), -1);
    assert_int_equal(faccessat(p.work_fd, "taken", F_OK, 0), -1);
    assert_int_equal(faccessat(p.work_fd, "j8.scan", F_OK, 0), -1);
    assert_int_equal(faccessat(p.work_fd, "j1.scan", F_OK, 0), 0);
    place_free(&p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sweep__waits_for_another_time_while_somebody_makes_one),
        cmocka_unit_test(workdir__is_extracted_then_taken_over),
        cmocka_unit_test(workdir__a_large_file_is_not_read_again),
        cmocka_unit_test(workdir__what_was_touched_is_not_handed_on),
        cmocka_unit_test(workdir__refuses_names_that_lead_elsewhere),
    };

    scratch_on_disk();
    return cmocka_run_group_tests(tests, NULL, NULL);
}

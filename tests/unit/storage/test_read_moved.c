#include "tests/unit/storage/snap_util.h"
#include "tests/unit/storage/tree_util.h"

#include <fcntl.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "storage/build.h"
#include "storage/verify.h"

/*
 * A reader that is slow: each time it has found out where a chunk lies and comes to open
 * the pack, gc has moved it.
 */
static char *moved_dir;
static unsigned n_opens; /* before that */
static unsigned n_moves; /* still to come */
static uint64_t n_snaps = 10;

/* So many small packs that gc joins them all. In a process of its own, as it would be. */
static void
move_all(void)
{
    uint64_t first = n_snaps;
    int status;
    pid_t pid;

    n_snaps += 20;
    pid = fork();
    assert_int_not_equal(pid, -1);
    if (pid == 0) {
        for (uint64_t n = first; n < n_snaps; n++) {
            struct store *s = open_test_store(moved_dir);

            OK(snap_make(s, n, n * 3, n * 3 + 2, e));
            store_close(s);
        }
        _exit(run_gc(moved_dir).n_packs_rewritten > 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int
openat(int dir_fd, const char *name, int flags, ...)
{
    const char *dot = strrchr(name, '.');
    mode_t mode = 0;
    va_list ap;

    va_start(ap, flags);
    if ((flags & (O_CREAT | O_TMPFILE)) != 0) {
        mode = va_arg(ap, mode_t);
    }
    va_end(ap);
    if (n_moves > 0 && dot != NULL && strcmp(dot, ".pack") == 0 &&
        (flags & O_ACCMODE) == O_RDONLY) {
        unsigned left = n_moves - 1;

        n_moves = 0; /* not in there */
        if (n_opens > 0) {
            n_opens--;
            left++;
        } else {
            move_all();
        }
        n_moves = left;
    }
    return (int)syscall(SYS_openat, dir_fd, name, flags, mode);
}

static void
read__finds_a_chunk_that_is_moved_again_and_again(void **state)
{
    char *dir = scratch_dir();
    struct store *s;

    (void)state;
    moved_dir = path_join(dir, "store");
    s = open_test_store(moved_dir);
    OK(snap_make(s, 1, 0, 5, e));
    store_close(s);
    s = open_test_store(moved_dir);
    n_moves = 4;
    check_chunk(s, 3, SNAP_CHUNK);
    assert_int_equal(n_moves, 0);
    snap_check(s, 1, 0, 5);
    store_close(s);
    free(moved_dir);
    scratch_free(dir);
}

/* A tree of what is in src; it is held by s. */
static struct sha256
build_from(struct store *s, const char *src)
{
    struct build_options o = {.policy = BUILD_SHIP};
    struct build_store_sink into = {.store = s};
    struct build_sink sink = build_sink_store(&into);
    struct build_report r;
    struct sha256 tree;
    int fd = open_dir(src);

    OK(build_tree(fd, &o, &sink, &r, e));
    OK(store_commit(s, e));
    tree = r.tree;
    build_report_free(&r);
    (void)close(fd);
    return tree;
}

/* What was found at the second look is not damaged. */
static void
verify__finds_nothing_wrong_with_what_is_moved(void **state)
{
    char *dir = scratch_dir();
    char *src = path_join(dir, "src");
    struct verify_result sums = {0};
    struct store *holder;
    struct store *s;
    struct sha256 tree;

    (void)state;
    moved_dir = path_join(dir, "store");
    n_snaps = 10;
    put_random(src, "a", 200000, 1);
    holder = open_test_store(moved_dir);
    (void)build_from(holder, src);
    store_close(holder);
    holder = open_test_store(moved_dir); /* another pack, for the tree and b */
    put_random(src, "b", 200000, 2);
    tree = build_from(holder, src);
    s = open_test_store(moved_dir);
    n_opens = 1; /* of the pack with the tree */
    n_moves = 1;
    OK(verify_tree(s, &tree, &(struct verify_options){.damaged = NULL}, &sums, e));
    assert_int_equal(n_moves, 0);
    assert_int_equal(sums.n_damaged, 0);
    assert_int_equal(sums.n_entries, 3);
    store_close(s);
    store_close(holder);
    free(src);
    free(moved_dir);
    scratch_free(dir);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read__finds_a_chunk_that_is_moved_again_and_again),
        cmocka_unit_test(verify__finds_nothing_wrong_with_what_is_moved),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

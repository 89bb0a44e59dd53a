/* One path of a tree, moved from store to store without the rest of the contents. */
#include "tests/unit/storage/store_util.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "storage/build.h"
#include "storage/extract.h"
#include "storage/part.h"
#include "storage/sync.h"

#define BIG ((size_t)700000)

/* Takes libc's place: what is read of packs is counted. */
static _Atomic uint64_t pack_read_bytes;

ssize_t
pread(int fd, void *to, size_t n, off_t at)
{
    ssize_t got = syscall(SYS_pread64, fd, to, n, at);
    char link[64];
    char path[300];
    ssize_t len;

    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    len = readlink(link, path, sizeof path);
    if (got > 0 && len > 5 && memcmp(path + len - 5, ".pack", 5) == 0) {
        pack_read_bytes += (uint64_t)got;
    }
    return got;
}

struct world {
    char *scratch;
    char *dir;
    struct store *from;
    struct store *to;
    struct sha256 tree;
};

static void
put_file(const struct world *w, const char *name, uint64_t seed, size_t n)
{
    char *path = path_join(w->dir, name);
    char *parent = path_parent(path);
    uint8_t *data = xmalloc(n + 8);
    int fd;

    for (size_t i = 0; i < n; i += 8) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        memcpy(data + i, &seed, 8);
    }
    OK(file_mkdirs(parent, 0755, e));
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, data, n), 0);
    assert_int_equal(fd_close(&fd), 0);
    free(data);
    free(parent);
    free(path);
}

static void
put_link(const struct world *w, const char *old, const char *name)
{
    char *a = path_join(w->dir, old);
    char *b = path_join(w->dir, name);

    assert_int_equal(link(a, b), 0);
    free(a);
    free(b);
}

static struct world
world_new(void)
{
    struct world w = {.scratch = scratch_dir()};
    char *from = path_join(w.scratch, "from");
    char *to = path_join(w.scratch, "to");
    struct build_options o = {.policy = BUILD_SNAPSHOT, .scan = {.everything = true}};
    struct build_store_sink into = {0};
    struct build_sink sink;
    struct build_report report;
    int fd;

    w.dir = path_join(w.scratch, "src");
    put_file(&w, "a-big", 1, BIG);
    put_file(&w, "a-small", 2, 3000);
    put_file(&w, "b-other", 3, BIG);
    put_file(&w, "part/big", 4, BIG);
    put_file(&w, "part/empty", 5, 0);
    put_file(&w, "part/small", 6, 2000);
    put_file(&w, "part.not", 7, BIG);
    put_file(&w, "z", 8, 1000);
    put_link(&w, "a-big", "part/linked-big");
    put_link(&w, "a-small", "part/linked-small");
    put_link(&w, "a-small", "part/linked-too");
    OK(store_open(&w.from, from, NULL, e));
    OK(store_open(&w.to, to, NULL, e));
    fd = open(w.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    into.store = w.from;
    sink = build_sink_store(&into);
    OK(build_tree(fd, &o, &sink, &report, e));
    OK(store_commit(w.from, e));
    w.tree = report.tree;
    build_report_free(&report);
    (void)close(fd);
    free(from);
    free(to);
    return w;
}

static void
world_free(struct world *w)
{
    store_close(w->from);
    store_close(w->to);
    free(w->dir);
    scratch_free(w->scratch);
}

static void
wake(void *ctx)
{
    uint64_t one = 1;

    assert_int_equal(write(*(int *)ctx, &one, sizeof one), sizeof one);
}

/* Carry the tree over; only the sender, or only the receiver, may know of the part. */
static enum sync_state
carry(const struct world *w, const char *sender, const char *receiver,
      struct sync_stats *sent, struct err *why)
{
    struct sync_recv_options ro = {.only = receiver};
    int wakeup[2];
    struct sync_send_options so = {.only = sender, .wake = wake, .wake_ctx = &wakeup[1]};
    struct sync_send *s = NULL;
    struct sync_recv *r = NULL;
    enum sync_state state = SYNC_RUNNING;

    assert_int_equal(pipe2(wakeup, O_CLOEXEC), 0);
    OK(sync_send_store(&s, w->from, &w->tree, &so, e));
    OK(sync_recv_new(&r, w->to, &ro, e));
    sync_send_begin(s, NULL);
    while ((state = sync_send_state(s, why)) == SYNC_RUNNING) {
        struct pollfd ready = {.fd = wakeup[0], .events = POLLIN};
        struct err ignored = {0};
        uint64_t drained[64];
        const uint8_t *p;
        size_t len;

        p = sync_send_output(s, &len);
        if (len > 0) {
            (void)!sync_recv_input(r, p, len, &ignored);
            sync_send_sent(s, len);
        }
        while ((p = sync_recv_output(r, &len)) != NULL) {
            (void)!sync_send_input(s, p, len, &ignored);
            sync_recv_sent(r, len);
        }
        if (sync_send_state(s, why) == SYNC_RUNNING &&
            sync_send_output(s, &len) == NULL) {
            assert_int_equal(poll(&ready, 1, 30000), 1);
            assert_true(read(wakeup[0], drained, sizeof drained) > 0);
        }
    }
    sync_send_stats(s, sent);
    sync_send_free(s);
    sync_recv_free(r);
    (void)close(wakeup[0]);
    (void)close(wakeup[1]);
    return state;
}

static int
extract_part(const struct world *w, const char *only, struct err *why)
{
    struct tree_source source = tree_source_store(w->to);
    struct extract_options o = {.only = only};
    struct extract_report report;
    char *dir = path_join(w->scratch, "out");
    int fd;
    int rc;

    OK(file_mkdirs(dir, 0755, e));
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    rc = extract_tree(fd, &w->tree, &source, &o, &report, why);
    (void)close(fd);
    free(dir);
    return rc;
}

static void
check_same(const struct world *w, const char *a, const char *b)
{
    char *pa = path_join(w->dir, a);
    char *pb = path_join(w->scratch, b);
    struct buf ba = BUF_INIT;
    struct buf bb = BUF_INIT;

    OK(file_read(pa, 2 * BIG, &ba, e));
    OK(file_read(pb, 2 * BIG, &bb, e));
    assert_int_equal(ba.len, bb.len);
    assert_true(ba.len == 0 || memcmp(ba.data, bb.data, ba.len) == 0);
    buf_free(&ba);
    buf_free(&bb);
    free(pa);
    free(pb);
}

static void
part__a_folder_comes_without_the_rest(void **state)
{
    struct world w = world_new();
    struct sync_stats sent;
    struct err why;

    (void)state;
    assert_int_equal(carry(&w, "part", "part", &sent, &why), SYNC_DONE);
    /* two big files of it, one of them by its name outside; not the other two */
    assert_true(sent.sent_bytes > 2 * BIG);
    assert_true(sent.sent_bytes < 2 * BIG + 100000);
    OK(extract_part(&w, "part", e));
    check_same(&w, "part/big", "out/part/big");
    check_same(&w, "part/small", "out/part/small");
    check_same(&w, "part/empty", "out/part/empty");
    check_same(&w, "a-big", "out/part/linked-big");
    check_same(&w, "a-small", "out/part/linked-small");
    check_same(&w, "a-small", "out/part/linked-too");
    assert_int_equal(extract_part(&w, "b-other", &why), -1);
    assert_int_equal(why.code, ERR_NOT_FOUND);
    world_free(&w);
}

static void
part__one_small_file_is_little(void **state)
{
    struct world w = world_new();
    struct sync_stats sent;
    struct err why;

    (void)state;
    pack_read_bytes = 0;
    assert_int_equal(carry(&w, "part/linked-too", "part/linked-too", &sent, &why),
                     SYNC_DONE);
    assert_true(sent.sent_bytes < 100000);
    /* Nor is more than that read from the disk, of 2.8 MB: the tree, and one chunk. */
    assert_in_range(pack_read_bytes, 3000, 100000);
    OK(extract_part(&w, "part/linked-too", e));
    check_same(&w, "a-small", "out/linked-too");
    world_free(&w);
}

static void
part__a_path_that_is_not_in_it(void **state)
{
    static const char *const none[] = {"nosuch", "part/nosuch", "par", "part/big/x"};
    static const char *const wrong[] = {"/part", "part/", "../part", "."};
    struct world w = world_new();
    struct sync_stats sent;
    struct err why;

    (void)state;
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        assert_int_equal(carry(&w, none[i], none[i], &sent, &why), SYNC_FAILED);
        assert_int_equal(why.code, ERR_NOT_FOUND);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(carry(&w, wrong[i], wrong[i], &sent, &why), SYNC_FAILED);
        assert_int_equal(why.code, ERR_INVALID);
    }
    world_free(&w);
}

/* A sender that leaves out more than was asked to does not pass for done. */
static void
part__a_receiver_gets_all_it_needs(void **state)
{
    struct world w = world_new();
    struct sync_stats sent;
    struct err why;

    (void)state;
    assert_int_equal(carry(&w, "z", "part", &sent, &why), SYNC_FAILED);
    assert_int_equal(carry(&w, "part", NULL, &sent, &why), SYNC_FAILED);
    /* one that sends more is fine */
    assert_int_equal(carry(&w, NULL, "part", &sent, &why), SYNC_DONE);
    OK(extract_part(&w, "part", e));
    world_free(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(part__a_folder_comes_without_the_rest),
        cmocka_unit_test(part__one_small_file_is_little),
        cmocka_unit_test(part__a_path_that_is_not_in_it),
        cmocka_unit_test(part__a_receiver_gets_all_it_needs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

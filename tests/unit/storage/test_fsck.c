#include "tests/unit/storage/snap_util.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/stat.h>

#include "storage/fsck.h"
#include "storage/pack.h"
#include "storage/rebuild.h"
#include "storage/store_internal.h"
#include "storage/tree.h"
#include "tests/unit/unit.h"

/*
 * A store with three snapshots, on which expiry has run, copied for every experiment: one
 * byte of it is changed, fsck looks, and what is left is compared with what was put.
 */
#define N_SNAPS 3
static const uint64_t span[N_SNAPS][2] = {{0, 40}, {20, 60}, {100, 130}};

static char *model;

static int
make_model(void **state)
{
    struct snap_expiry expiry;
    struct store *s;

    (void)state;
    model = scratch_dir();
    s = open_test_store(model);
    for (uint64_t i = 0; i < N_SNAPS; i++) {
        OK(snap_make(s, i, span[i][0], span[i][1], e));
    }
    OK(snap_expire(s, &expiry, NULL, NULL, e)); /* which notes the clock */
    store_close(s);
    return 0;
}

static int
free_model(void **state)
{
    (void)state;
    scratch_free(model);
    return 0;
}

static char *
copy_model(void)
{
    char *dir = scratch_dir();
    char *cmd = xasprintf("cp -a %s/. %s/", model, dir);

    assert_int_equal(system(cmd), 0); /* NOLINT: a test's own command */
    free(cmd);
    return dir;
}

struct report {
    size_t n_named;
    char last[1100];
    char said[1100]; /* the last line that names no file */
    enum care_step step;
    uint64_t done, all; /* of packs */
    uint64_t n_snaps;
};

static void
note(void *arg, const char *snap_id, const char *path, size_t path_len,
     const struct err *why)
{
    struct report *r = arg;

    r->n_named++;
    (void)snprintf(r->last, sizeof r->last, "%s %.*s %s", snap_id, (int)path_len,
                   path == NULL ? "" : path, why->msg);
}

static void
hear(void *arg, const struct err *line)
{
    struct report *r = arg;

    (void)snprintf(r->said, sizeof r->said, "%s", line->msg);
}

static void
watch(void *arg, enum care_step step, uint64_t done, uint64_t all)
{
    struct report *r = arg;

    if (step == CARE_PACKS) {
        assert_true(r->step != CARE_PACKS || done >= r->done);
        assert_true(done <= all);
        r->done = done;
        r->all = all;
    }
    r->n_snaps += step == CARE_SNAPSHOTS ? 1 : 0;
    r->step = step;
}

static struct fsck_result
run_fsck(const char *dir, struct report *rep)
{
    const struct fsck_options o = {.walk = walk_list,
                                   .files = list_files,
                                   .damaged = note,
                                   .say = hear,
                                   .progress = watch,
                                   .arg = rep};
    struct fsck_result r = {0};

    memset(rep, 0, sizeof *rep);
    OK(fsck_run(dir, &o, &r, e));
    return r;
}

/* How many of the chunks that were put are not there, or not sound, now? */
static size_t
count_lost(const char *dir)
{
    struct store *s = open_test_store(dir);
    size_t n = 0;

    for (size_t k = 0; k < N_SNAPS; k++) {
        for (uint64_t i = span[k][0]; i < span[k][1]; i++) {
            struct sha256 id = snap_chunk_id(i);
            struct buf b = BUF_INIT;
            struct sha256 got;
            struct err err;

            if (store_get(s, &id, &b, &err) == -1) {
                n += k == 1 && i < 40 ? 0 : 1; /* in both of the first two: once */
            } else {
                sha256_of(b.data, b.len, &got);
                assert_true(sha256_equal(&got, &id));
            }
            buf_free(&b);
        }
    }
    store_close(s);
    return n;
}

/* Names of the files in model/sub that end so, one after another; NULL at the end. */
static char *
nth_file(const char *sub, const char *end, size_t nth, off_t *size)
{
    char *path = path_join(model, sub);
    DIR *d = opendir(path);
    struct dirent *en;
    char *found = NULL;

    assert_non_null(d);
    while (found == NULL && (en = readdir(d)) != NULL) {
        size_t n = strlen(en->d_name);

        if (n > strlen(end) && strcmp(en->d_name + n - strlen(end), end) == 0 &&
            nth-- == 0) {
            struct stat st;
            char *full = path_join(path, en->d_name);

            assert_int_equal(stat(full, &st), 0);
            *size = st.st_size;
            free(full);
            found = path_join(sub, en->d_name);
        }
    }
    (void)closedir(d);
    free(path);
    return found;
}

/* One flip in that file: fsck tells of it, and at most `may_lose` chunks are lost. */
static void
one_flip(const char *rel, off_t at, uint8_t mask, size_t may_lose)
{
    char *dir = copy_model();
    char *path = path_join(dir, rel);
    struct report rep;
    struct fsck_result r;
    size_t lost;

    unit_flip(path, at, mask);
    r = run_fsck(dir, &rep);
    lost = count_lost(dir);
    if (lost > may_lose || (lost > 0) != (r.n_bad_chunks > 0) ||
        (lost > 0 && rep.n_named == 0)) {
        fail_msg("%s byte %lld: %zu chunks lost, fsck says %llu, named %zu (%s)", rel,
                 (long long)at, lost, (unsigned long long)r.n_bad_chunks, rep.n_named,
                 rep.last);
    }
    assert_int_equal(r.n_manifests_lost, 0);
    r = run_fsck(dir, &rep); /* now everything is mended or known */
    assert_int_equal(r.n_bad_packs, 0);
    assert_int_equal(r.n_index_errors, 0);
    assert_int_equal(r.n_snaps_damaged > 0, lost > 0);
    if (lost > 0) { /* the next snapshot brings it back */
        struct store *s = open_test_store(dir);

        for (uint64_t i = 0; i < N_SNAPS; i++) {
            OK(snap_make(s, 50 + i, span[i][0], span[i][1], e));
        }
        store_close(s);
        r = run_fsck(dir, &rep);
        assert_true(fsck_clean(&r));
        assert_int_equal(count_lost(dir), 0);
    }
    free(path);
    scratch_free(dir);
}

static void
flip_in(const char *sub, const char *end, size_t n, size_t may_lose)
{
    uint64_t seed = 11;

    for (size_t i = 0; i < n; i++) {
        off_t size;
        char *rel = nth_file(sub, end, 0, &size);
        size_t n_files = 0;

        for (char *f = rel; f != NULL; f = nth_file(sub, end, ++n_files, &size)) {
            free(f);
        }
        rel = nth_file(sub, end, i % n_files, &size);
        one_flip(rel, (off_t)(mix(&seed) % (uint64_t)size),
                 (uint8_t)(1u << (mix(&seed) % 8)), may_lose);
        free(rel);
    }
}

static void
fsck__finds_nothing_wrong_in_a_sound_store(void **state)
{
    char *dir = copy_model();
    struct report rep;
    struct fsck_result r = run_fsck(dir, &rep);

    (void)state;
    assert_true(fsck_clean(&r));
    assert_int_not_equal(rep.all, 0);
    assert_int_equal(rep.done, rep.all);
    assert_int_equal(rep.n_snaps, r.n_snaps);
    assert_int_equal(r.n_snaps, N_SNAPS);
    assert_int_equal(r.n_bad_packs, 0);
    assert_int_equal(r.n_index_errors, 0);
    assert_int_equal(r.n_chunks, 40 + 20 + 30 + 3);
    assert_int_equal(rep.n_named, 0);
    scratch_free(dir);
}

static void
fsck__loses_at_most_the_chunk_a_byte_was_flipped_in(void **state)
{
    (void)state;
    flip_in("packs", ".pack", 30, 1);
}

static void
fsck__loses_nothing_by_a_byte_flipped_in_the_index(void **state)
{
    (void)state;
    flip_in(".", ".db", 20, 0);
}

/* Of a SQLite file: the format's versions, user_version and application_id. */
static void
fsck__makes_anew_an_index_whose_versions_are_damaged(void **state)
{
    static const off_t at[] = {18, 19, 44, 47, 56, 59, 60, 61, 62, 63, 68, 71};

    (void)state;
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        one_flip("index.db", at[i], 0x10, 0);
    }
}

/*
 * A crash of fsck may leave the damaged pack where it was, and the index without it: what
 * is known to be bad is not taken in again, nor does gc wait for it for ever.
 */
static void
fsck__puts_a_damaged_pack_away_that_the_index_does_not_know(void **state)
{
    const struct fsck_options check = {
        .walk = walk_list, .files = list_files, .check_only = true};
    char *dir = copy_model();
    off_t size;
    char *rel = nth_file("packs", ".pack", 0, &size);
    char *path = path_join(dir, rel);
    char *away = xasprintf("%s/bad/%s", dir, strrchr(rel, '/') + 1);
    struct report rep;
    struct fsck_result r;
    size_t lost;

    (void)state;
    unit_flip(path, PACK_HEADER_LEN + PACK_ENTRY_LEN, 1);
    r = run_fsck(dir, &rep);
    assert_int_equal(r.n_bad_chunks, 1);
    lost = count_lost(dir);
    assert_int_equal(rename(away, path), 0);
    OK(fsck_run(dir, &check, &r, e));
    assert_int_equal(r.n_bad_packs, 1);
    assert_true(file_exists(path));
    r = run_fsck(dir, &rep);
    assert_int_equal(r.n_bad_packs, 1);
    assert_int_equal(r.n_index_errors, 0);
    assert_false(file_exists(path));
    assert_true(file_exists(away));
    assert_int_equal(count_lost(dir), lost);
    assert_int_equal(run_gc(dir).n_orphans, 1); /* what is sound of it is here twice */
    assert_int_equal(count_lost(dir), lost);
    free(away);
    free(rel);
    free(path);
    scratch_free(dir);
}

/* Then only the index knows where the entry is. */
static void
fsck__heals_an_entry_that_neither_table_nor_header_tells_of(void **state)
{
    char *dir = copy_model();
    off_t size;
    char *rel = nth_file("packs", ".pack", 0, &size);
    char *path = path_join(dir, rel);
    struct report rep;
    struct fsck_result r;

    (void)state;
    unit_flip(path, PACK_HEADER_LEN + 3, 1);
    unit_flip(path, size - 1, 1);
    r = run_fsck(dir, &rep);
    assert_int_equal(r.n_bad_packs, 1);
    assert_int_equal(r.n_bad_chunks, 0);
    assert_int_equal(rep.n_named, 0);
    assert_int_equal(count_lost(dir), 0);
    r = run_fsck(dir, &rep);
    assert_int_equal(r.n_bad_packs, 0);
    assert_int_equal(r.n_index_errors, 0);
    free(rel);
    free(path);
    scratch_free(dir);
}

/* The same, and the index is gone: the bytes are not thrown away. */
static void
rebuild__removes_no_pack_with_something_it_could_not_read(void **state)
{
    char *dir = copy_model();
    char *db = path_join(dir, "index.db");
    off_t size;
    char *rel = nth_file("packs", ".pack", 0, &size);
    char *path = path_join(dir, rel);
    char *away = xasprintf("%s/bad/%s", dir, strrchr(rel, '/') + 1);

    (void)state;
    unit_flip(path, PACK_HEADER_LEN + 3, 1);
    unit_flip(path, size - 1, 1);
    assert_int_equal(unlink(db), 0);
    store_close(open_test_store(dir));
    assert_int_equal(access(away, F_OK), 0);
    free(away);
    free(rel);
    free(path);
    free(db);
    scratch_free(dir);
}

/* A row of a pack that is not there is no row of a pack that was made meanwhile. */
static void
fsck__finds_rows_of_a_pack_to_come(void **state)
{
    char *dir = copy_model();
    char *cmd = xasprintf("sqlite3 %s/index.db 'UPDATE chunk SET pack = 77 WHERE id IN "
                          "(SELECT id FROM chunk LIMIT 2)'",
                          dir);
    struct report rep;
    struct fsck_result r;

    (void)state;
    assert_int_equal(system(cmd), 0); /* NOLINT: a test's own command */
    r = run_fsck(dir, &rep);
    assert_true(r.n_index_errors > 0);
    assert_true(r.index_rebuilt);
    assert_int_equal(r.n_bad_chunks, 0);
    assert_int_equal(count_lost(dir), 0);
    free(cmd);
    scratch_free(dir);
}

static void
fsck__loses_nothing_by_a_byte_flipped_in_a_manifest(void **state)
{
    (void)state;
    flip_in("snaps", ".manifest", 10, 0);
}

static void
fsck__is_clean_again_once_a_snapshot_without_a_record_is_given_up(void **state)
{
    char *dir = copy_model();
    off_t size;
    char *rel = nth_file("snaps", ".manifest", 0, &size);
    char *path = path_join(dir, rel);
    char id[MANIFEST_ID_MAX + 1] = "";
    struct report rep;
    struct fsck_result r;
    struct store *s;

    (void)state;
    assert_int_equal(truncate(path, 0), 0);
    (void)snprintf(id, sizeof id, "%.*s", 1 + ID_RANDOM_LEN, strrchr(rel, '/') + 1);
    r = run_fsck(dir, &rep);
    assert_int_equal(r.n_manifests_lost, 1);
    assert_false(fsck_clean(&r));
    assert_non_null(strstr(rep.last, id));
    s = open_test_store(dir);
    OK(snap_drop(s, id, "removed", e));
    store_close(s);
    r = run_fsck(dir, &rep);
    assert_true(fsck_clean(&r));
    assert_int_equal(rep.n_named, 0);
    assert_non_null(strstr(rep.said, id));
    assert_int_equal(access(path, F_OK), 0);
    free(rel);
    free(path);
    scratch_free(dir);
}

static void
fsck__tells_what_a_lost_pack_took_with_it(void **state)
{
    char *dir = copy_model();
    off_t size;
    char *rel = nth_file("packs", ".pack", 1, &size);
    char *path = path_join(dir, rel);
    struct report rep;
    struct fsck_result r;

    (void)state;
    assert_int_equal(unlink(path), 0);
    r = run_fsck(dir, &rep);
    assert_false(fsck_clean(&r));
    assert_true(r.index_rebuilt);
    assert_true(r.n_snaps_damaged >= 1);
    assert_true(rep.n_named >= 1);
    free(rel);
    free(path);
    scratch_free(dir);
}

/* A pack that is damaged in all it has leaves no empty one behind. */
static void
fsck__leaves_no_pack_of_nothing(void **state)
{
    char *dir = scratch_dir();
    struct store *s = open_test_store(dir);
    char *cmd;
    struct store_stats st;
    struct report rep;
    struct fsck_result r;
    struct store_loc loc;
    struct sha256 id;
    uint8_t data[5000];

    (void)state;
    fill_random(data, sizeof data, 3);
    OK(store_put(s, STORE_KIND_DATA, data, sizeof data, &id, NULL, e));
    OK(store_commit(s, e));
    OK(store_locate(s, &id, 1, &loc, e));
    store_close(s);
    cmd = xasprintf("f=$(echo %s/packs/*.pack); printf '\\0\\1\\2\\3' | dd of=$f bs=1 "
                    "seek=%llu conv=notrunc status=none",
                    dir, (unsigned long long)loc.offset + PACK_ENTRY_LEN + 100);
    assert_int_equal(system(cmd), 0); /* NOLINT: a test's own command */
    r = run_fsck(dir, &rep);
    assert_int_equal(r.n_bad_chunks, 1);
    r = run_fsck(dir, &rep);
    assert_int_equal(r.n_bad_packs, 0);
    assert_int_equal(r.n_index_errors, 0);
    s = open_test_store(dir);
    OK(store_stats(s, &st, e));
    assert_int_equal(st.n_packs, 0);
    assert_int_equal(st.n_chunks, 0);
    store_close(s);
    free(cmd);
    scratch_free(dir);
}

static void
fsck__waits_with_the_index_while_others_use_it(void **state)
{
    char *dir = copy_model();
    struct report rep;
    struct fsck_result r;
    struct store *s;
    char *cmd = xasprintf("sqlite3 %s/index.db 'UPDATE chunk SET off = off + 1'", dir);

    (void)state;
    assert_int_equal(system(cmd), 0); /* NOLINT: a test's own command */
    s = open_test_store(dir);
    r = run_fsck(dir, &rep);
    assert_true(r.n_index_errors > 0);
    assert_false(r.index_rebuilt);
    assert_false(fsck_clean(&r));
    store_close(s);
    assert_int_equal(count_lost(dir), 0); /* reads find the right places by themselves */
    r = run_fsck(dir, &rep);
    assert_true(r.index_rebuilt);
    assert_true(fsck_clean(&r));
    free(cmd);
    scratch_free(dir);
}

/* What is there without the format file is a store in the making, or one that lost it. */
static void
fsck__takes_a_store_without_format_as_whoever_opens_it(void **state)
{
    const struct fsck_options o = {.walk = walk_list, .files = list_files};
    char *dir = scratch_dir();
    char *none = path_join(dir, "none");
    char *format;
    struct report rep;
    struct fsck_result r;

    (void)state;
    FAILS(fsck_run(none, &o, &r, e), ERR_NOT_FOUND);
    assert_false(file_exists(none));
    r = run_fsck(dir, &rep);
    assert_true(fsck_clean(&r));
    assert_int_equal(r.n_chunks, 0);
    scratch_free(dir);
    dir = copy_model();
    format = path_join(dir, "format");
    assert_int_equal(unlink(format), 0);
    r = run_fsck(dir, &rep);
    assert_true(fsck_clean(&r));
    assert_int_equal(r.n_snaps, N_SNAPS);
    assert_int_equal(count_lost(dir), 0);
    free(format);
    free(none);
    scratch_free(dir);
}

struct look {
    const char *dir;
    struct fsck_result r;
};

static void *
look(void *arg)
{
    struct look *l = arg;
    struct report rep;

    l->r = run_fsck(l->dir, &rep);
    return NULL;
}

/* Does somebody wait for a lock on the file fd? */
static bool
somebody_waits(int fd)
{
    FILE *locks = fopen("/proc/locks", "re");
    char line[256];
    struct stat st;
    char file[64];
    bool waits = false;

    assert_non_null(locks);
    assert_int_equal(fstat(fd, &st), 0);
    (void)snprintf(file, sizeof file, ":%llu ", (unsigned long long)st.st_ino);
    while (fgets(line, sizeof line, locks) != NULL) {
        waits = waits || (strstr(line, "->") != NULL && strstr(line, file) != NULL);
    }
    (void)fclose(locks);
    return waits;
}

static void
fsck__waits_for_a_gc_to_end(void **state)
{
    char *dir = copy_model();
    char *path = path_join(dir, "lock");
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct look l = {.dir = dir};
    pthread_t thread;

    (void)state;
    assert_true(fd >= 0);
    OK(store_lock(fd, STORE_LOCK_GC, true, false, e));
    assert_int_equal(pthread_create(&thread, NULL, look, &l), 0);
    while (!somebody_waits(fd)) {
        (void)sched_yield();
    }
    store_unlock(fd, STORE_LOCK_GC);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(fsck_clean(&l.r));
    assert_true(l.r.n_chunks > 0);
    (void)close(fd);
    free(path);
    scratch_free(dir);
}

/* ---- names of files ---- */

static struct sha256
put_block(struct store *s, uint64_t seed, size_t len)
{
    uint8_t *data = xmalloc(len);
    struct sha256 id;

    fill_random(data, len, seed);
    OK(store_put(s, STORE_KIND_DATA, data, len, &id, NULL, e));
    free(data);
    return id;
}

static struct tree_entry
entry(const char *path, enum tree_type type, uint64_t size)
{
    return (struct tree_entry){.path = path,
                               .path_len = strlen(path),
                               .type = type,
                               .mode = 0755,
                               .user = "",
                               .group = "",
                               .size = size,
                               .stored = size};
}

struct names {
    char all[256];
};

static void
add_name(void *arg, const char *path, size_t path_len)
{
    struct names *n = arg;
    size_t used = strlen(n->all);

    (void)snprintf(n->all + used, sizeof n->all - used, "%.*s ", (int)path_len, path);
}

static bool
is_one(void *arg, const struct sha256 *id)
{
    return sha256_equal(arg, id);
}

static void
files_tree__names_the_files_that_need_a_chunk(void **state)
{
    char *dir = scratch_dir();
    struct store *s = open_test_store(dir);
    struct tree_sink sink = tree_sink_store(s);
    struct tree_writer *w = tree_writer_new(&sink);
    struct tree_chunk small[2] = {{put_block(s, 1, 100), 100}, {put_block(s, 2, 50), 50}};
    struct tree_entry entries[] = {entry("", TREE_DIR, 0), entry("a", TREE_FILE, 60),
                                   entry("b", TREE_FILE, 0), entry("c", TREE_FILE, 70),
                                   entry("d", TREE_FILE, 20)};
    struct tree_group g = {
        .entries = entries, .n_entries = 5, .chunks = small, .n_chunks = 2};
    struct names names = {""};
    struct sha256 tree;

    (void)state;
    OK(tree_writer_add(w, &g, NULL, e));
    OK(tree_writer_finish(w, &tree, NULL, e));
    tree_writer_free(w);
    OK(fsck_files_tree(s, &tree, is_one, &small[0].id, add_name, &names, e));
    assert_string_equal(names.all, "a c ");
    names.all[0] = '\0';
    OK(fsck_files_tree(s, &tree, is_one, &small[1].id, add_name, &names, e));
    assert_string_equal(names.all, "c d ");
    store_close(s);
    scratch_free(dir);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fsck__finds_nothing_wrong_in_a_sound_store),
        cmocka_unit_test(fsck__loses_at_most_the_chunk_a_byte_was_flipped_in),
        cmocka_unit_test(fsck__loses_nothing_by_a_byte_flipped_in_the_index),
        cmocka_unit_test(fsck__makes_anew_an_index_whose_versions_are_damaged),
        cmocka_unit_test(fsck__heals_an_entry_that_neither_table_nor_header_tells_of),
        cmocka_unit_test(fsck__puts_a_damaged_pack_away_that_the_index_does_not_know),
        cmocka_unit_test(rebuild__removes_no_pack_with_something_it_could_not_read),
        cmocka_unit_test(fsck__finds_rows_of_a_pack_to_come),
        cmocka_unit_test(fsck__loses_nothing_by_a_byte_flipped_in_a_manifest),
        cmocka_unit_test(
            fsck__is_clean_again_once_a_snapshot_without_a_record_is_given_up),
        cmocka_unit_test(fsck__tells_what_a_lost_pack_took_with_it),
        cmocka_unit_test(fsck__leaves_no_pack_of_nothing),
        cmocka_unit_test(fsck__waits_with_the_index_while_others_use_it),
        cmocka_unit_test(fsck__waits_for_a_gc_to_end),
        cmocka_unit_test(fsck__takes_a_store_without_format_as_whoever_opens_it),
        cmocka_unit_test(files_tree__names_the_files_that_need_a_chunk),
    };

    return cmocka_run_group_tests(tests, make_model, free_model);
}

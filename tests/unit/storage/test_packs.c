#include "tests/unit/storage/pack_util.h"

/* The directory of packs: listing it, and taking what is good out of damaged ones. */

static void
list__names_packs_in_order_and_nothing_else(void **state)
{
    enum { N = 130 };
    struct place *p = *state;
    struct packs_names names = {0};
    struct pack_name name = {{0}};
    char file[PACK_FILE_NAME_BYTES];
    char *other = path_join(p->dir, "packs/other");

    OK(packs_list(p->packs_fd, &names, e));
    assert_int_equal(names.n, 0);
    free(names.v);
    for (unsigned i = 0; i < N; i++) {
        int fd;

        name.b[0] = (uint8_t)(i * 37);
        name.b[15] = (uint8_t)i;
        pack_file_name(&name, file);
        fd = openat(p->packs_fd, file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        (void)close(fd);
    }
    OK(file_replace(other, "x", 1, e));
    OK(packs_list(p->packs_fd, &names, e));
    assert_int_equal(names.n, N);
    for (size_t i = 1; i < N; i++) {
        assert_true(memcmp(&names.v[i - 1], &names.v[i], sizeof name) < 0);
    }
    free(names.v);
    free(other);
}

/* Whoever wrote it: sums that are right do not make bytes the chunk they are said to be.
 */
static void
fetch__believes_the_hash_alone(void **state)
{
    struct place *p = *state;
    struct pack_writer *w = NULL;
    struct pack_entry en[2];
    struct pack_entry lie;
    struct pack_name name;
    const uint8_t *data;
    bool scarred = true;
    uint8_t bytes[CHUNK];
    size_t len = make_chunk(9, bytes, sizeof bytes);
    int fd = make_pack(p, 0, 2, &name, en);

    OK(packs_fetch(fd, &en[0], p->codec, &data, &scarred, e));
    assert_false(scarred);
    flip(fd, en[0].offset + 20);
    OK(packs_fetch(fd, &en[0], p->codec, &data, &scarred, e));
    assert_true(scarred);
    flip(fd, en[1].offset + PACK_ENTRY_LEN + 7);
    FAILS(packs_fetch(fd, &en[1], p->codec, &data, &scarred, e), ERR_CORRUPT);
    assert_int_equal(ftruncate(fd, (off_t)en[1].offset + 10), 0);
    FAILS(packs_fetch(fd, &en[1], p->codec, &data, &scarred, e), ERR_CORRUPT);
    (void)close(fd);

    OK(pack_create(&w, p->packs_fd, e));
    lie = (struct pack_entry){.id = en[0].id,
                              .raw_len = (uint32_t)len,
                              .stored_len = (uint32_t)len,
                              .codec = STORE_CODEC_RAW,
                              .kind = STORE_KIND_DATA};
    pack_reserve(w, &lie);
    OK(pack_write_entry(w, &lie, bytes, e));
    FAILS(packs_fetch(w->fd, &lie, p->codec, &data, &scarred, e), ERR_CORRUPT);
    pack_writer_free(w, p->packs_fd, true);
}

/* Table and header tell two ids of one place: only reading can tell which is right. */
static void
entries__keeps_what_table_and_headers_say_apart(void **state)
{
    struct place *p = *state;
    struct pack_writer *w = NULL;
    struct pack_list list = {0};
    struct pack_list bad = {0};
    struct pack_entry true_one;
    struct pack_writer *copy = NULL;
    uint64_t n_scarred = 0;
    bool whole = true;

    OK(pack_create(&w, p->packs_fd, e));
    true_one = put_raw(w, 4, STORE_KIND_DATA);
    (void)put_raw(w, 6, STORE_KIND_DATA);
    w->entries.v[0].id.b[0] ^= 1; /* what the table will say */
    OK(pack_seal(w, e));
    OK(packs_entries(w->fd, &w->name, &list, &whole, e));
    assert_int_equal(list.n, 3);
    OK(pack_create(&copy, p->packs_fd, e));
    OK(packs_copy_good(w->fd, &list, copy, &bad, &n_scarred, e));
    assert_int_equal(copy->entries.n, 2);
    assert_memory_equal(&copy->entries.v[0].id, &true_one.id, sizeof true_one.id);
    assert_int_equal(bad.n, 1);
    assert_int_equal(n_scarred, 1);
    pack_list_free(&list);
    pack_list_free(&bad);
    pack_writer_free(copy, p->packs_fd, true);
    pack_writer_free(w, p->packs_fd, true);
}

static void
entries__tells_whether_all_of_the_pack_is_sound(void **state)
{
    struct place *p = *state;
    struct pack_list list = {0};
    struct pack_entry en[3];
    struct pack_name name;
    bool whole = false;
    int fd = make_pack(p, 0, 3, &name, en);
    const uint64_t places[] = {0, 20, en[1].offset + 2, table_of(fd) + 9,
                               size_of(fd) - 1};

    OK(packs_entries(fd, &name, &list, &whole, e));
    assert_int_equal(list.n, 3);
    assert_true(whole);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        flip(fd, places[i]);
        OK(packs_entries(fd, &name, &list, &whole, e));
        assert_int_equal(list.n, 3); /* one of the two sources has each */
        assert_false(whole);
        flip(fd, places[i]);
    }
    pack_list_free(&list);
    (void)close(fd);
}

/* Second copies count as copies; a chunk with a good one is not bad. */
static void
copy_good__loses_a_chunk_only_when_both_copies_are_bad(void **state)
{
    struct place *p = *state;
    struct pack_writer *w = NULL;
    struct pack_entry first;

    OK(pack_create(&w, p->packs_fd, e));
    (void)put_raw(w, 2, STORE_KIND_DATA);
    first = put_raw(w, 4, STORE_KIND_META);
    OK(pack_seal(w, e));
    assert_int_equal(w->entries.n, 3);
    assert_true(w->entries.v[2].second);
    for (unsigned round = 0; round < 3; round++) {
        struct pack_list list = {0};
        struct pack_list bad = {0};
        struct pack_writer *copy = NULL;
        uint64_t n_scarred = 0;
        bool whole;

        if (round > 0) {
            flip(w->fd, w->entries.v[round].offset + PACK_ENTRY_LEN);
        }
        OK(packs_entries(w->fd, &w->name, &list, &whole, e));
        assert_int_equal(list.n, 3);
        OK(pack_create(&copy, p->packs_fd, e));
        OK(packs_copy_good(w->fd, &list, copy, &bad, &n_scarred, e));
        assert_int_equal(n_scarred, round);
        assert_int_equal(copy->entries.n, round < 2 ? 2 : 1);
        assert_int_equal(bad.n, round < 2 ? 0 : 1);
        if (round < 2) {
            assert_memory_equal(&copy->entries.v[1].id, &first.id, sizeof first.id);
            assert_false(copy->entries.v[1].second);
        }
        pack_list_free(&list);
        pack_list_free(&bad);
        pack_writer_free(copy, p->packs_fd, true);
    }
    pack_writer_free(w, p->packs_fd, true);
}

static void
lock__is_held_until_the_writer_ends(void **state)
{
    struct place *p = *state;
    struct pack_writer *w = NULL;
    struct pack_name name;
    struct pack_name nobody = {{7}};
    int fd = -1;

    OK(pack_create(&w, p->packs_fd, e));
    name = w->name;
    OK(packs_lock(p->packs_fd, &name, &fd, e));
    assert_int_equal(fd, -1);
    pack_writer_free(w, p->packs_fd, false);
    OK(packs_lock(p->packs_fd, &name, &fd, e));
    assert_true(fd >= 0);
    (void)close(fd);
    OK(packs_lock(p->packs_fd, &nobody, &fd, e));
    assert_int_equal(fd, -1);
    FAILS(pack_open(p->packs_fd, &nobody, &fd, e), ERR_NOT_FOUND);
    pack_writer_free(NULL, p->packs_fd, true);
}

static bool
is_in_bad(const struct place *p, const struct pack_name *name)
{
    char file[PACK_FILE_NAME_BYTES];
    char *path;
    bool is;

    pack_file_name(name, file);
    path = xasprintf("%s/bad/%s", p->dir, file);
    is = access(path, F_OK) == 0;
    free(path);
    return is;
}

static bool
is_a_pack(const struct place *p, const struct pack_name *name)
{
    int fd = -1;
    struct err ignored;
    bool is = pack_open(p->packs_fd, name, &fd, &ignored) == 0;

    (void)fd_close(&fd);
    return is;
}

static void
salvage__keeps_a_damaged_file_and_removes_a_torn_one(void **state)
{
    struct place *p = *state;
    struct packs_salvage sv = {0};
    struct pack_entry en[3];
    struct pack_name name;
    int fd = make_pack(p, 0, 3, &name, en);

    assert_int_equal(ftruncate(fd, (off_t)table_of(fd) - 1), 0); /* torn */
    (void)close(fd);
    OK(packs_salvage(p->dir_fd, p->packs_fd, &name, &sv, e));
    assert_true(sv.made && sv.n_good == 2 && sv.n_bad == 0);
    assert_true(is_a_pack(p, &sv.new_name));
    assert_false(is_a_pack(p, &name) || is_in_bad(p, &name));

    fd = make_pack(p, 0, 3, &name, en);
    flip(fd, en[1].offset + PACK_ENTRY_LEN);
    (void)close(fd);
    memset(&sv, 0, sizeof sv);
    OK(packs_salvage(p->dir_fd, p->packs_fd, &name, &sv, e));
    assert_true(sv.made && sv.n_good == 2 && sv.n_bad == 1);
    assert_true(is_in_bad(p, &name));
    assert_false(is_a_pack(p, &name));

    fd = make_pack(p, 0, 1, &name, en); /* nothing good in it */
    flip(fd, en[0].offset + PACK_ENTRY_LEN);
    (void)close(fd);
    memset(&sv, 0, sizeof sv);
    OK(packs_salvage(p->dir_fd, p->packs_fd, &name, &sv, e));
    assert_true(!sv.made && sv.n_good == 0 && sv.n_bad == 1);
    assert_true(is_in_bad(p, &name));
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(list__names_packs_in_order_and_nothing_else),
        T(fetch__believes_the_hash_alone),
        T(entries__keeps_what_table_and_headers_say_apart),
        T(entries__tells_whether_all_of_the_pack_is_sound),
        T(copy_good__loses_a_chunk_only_when_both_copies_are_bad),
        T(lock__is_held_until_the_writer_ends),
        T(salvage__keeps_a_damaged_file_and_removes_a_torn_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "tests/unit/storage/store_util.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/rec.h"
#include "storage/manifest.h"

static struct sign_key *key;

static struct manifest *
full_manifest(void)
{
    struct manifest *m = manifest_new(MANIFEST_SNAPSHOT);

    manifest_set(&m->id, "s0123456789ab");
    manifest_set(&m->name, "na\nme \xff");
    manifest_set(&m->job, "j0123456789ab");
    manifest_set(&m->parent, "sabcdefghjkmn");
    manifest_set(&m->renter, "0123456789abcdef");
    manifest_set(&m->image, "sha256:00");
    manifest_set(&m->setup, "aa");
    manifest_set(&m->cwd, "src");
    manifest_set(&m->arch, "x86_64");
    manifest_set(&m->reason, "exited");
    manifest_set(&m->detail, "all well");
    manifest_list_add(&m->data, "mnist=aa");
    manifest_list_add(&m->arg, "python3");
    manifest_list_add(&m->arg, "");
    manifest_list_add(&m->env, "A=1");
    m->has_exit_code = true;
    m->exit_code = 3;
    m->signal = 9;
    m->has_bill = true;
    m->bill.b[0] = 7;
    m->made_wall_ns = 1700000000000000000;
    m->ended_wall_ns = -5;
    m->expires_wall_ns = 1800000000000000000;
    m->tree.b[31] = 1;
    m->n_files = 10;
    m->content_bytes = INT64_MAX;
    m->stored_bytes = 77;
    manifest_add_damage(m,
                        "a/\x01"
                        "b",
                        "unreadable");
    return m;
}

static void
manifest__comes_back_as_it_was(void **state)
{
    struct manifest *m = full_manifest();
    struct manifest *got = NULL;
    struct buf a = BUF_INIT;
    struct buf b = BUF_INIT;
    struct sign_public pub;

    (void)state;
    OK(manifest_encode(m, key, &a, e));
    OK(manifest_parse(&got, a.data, a.len, e));
    OK(manifest_encode(got, key, &b, e));
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, a.len);
    assert_string_equal(got->name, "na\nme \xff");
    assert_int_equal(got->arg.n, 2);
    assert_string_equal(got->arg.v[1], "");
    assert_int_equal(got->ended_wall_ns, -5);
    assert_true(got->partial);
    assert_string_equal(got->damage[0].path, "a/\x01"
                                             "b");
    sign_key_public(key, &pub);
    assert_memory_equal(&pub, &got->signer, sizeof pub);
    buf_free(&a);
    buf_free(&b);
    manifest_free(m);
    manifest_free(got);
}

static void
manifest__with_any_byte_changed_is_refused(void **state)
{
    struct manifest *m = full_manifest();
    struct buf text = BUF_INIT;

    (void)state;
    OK(manifest_encode(m, key, &text, e));
    for (size_t i = 0; i < text.len; i++) {
        struct manifest *got = NULL;
        struct err err = {0};

        text.data[i] ^= 0x10;
        assert_int_equal(manifest_parse(&got, text.data, text.len, &err), -1);
        assert_true(err.code == ERR_CORRUPT || err.code == ERR_VERSION);
        text.data[i] ^= 0x10;
    }
    buf_free(&text);
    manifest_free(m);
}

static void
manifest__names_so_much_damage_and_counts_all(void **state)
{
    struct manifest *m = full_manifest();
    char *path = xmalloc(4001);
    struct buf text = BUF_INIT;

    (void)state;
    memset(path, 1, 4000); /* escaped, it takes four times the room */
    path[4000] = '\0';
    for (int i = 0; i < 2000; i++) {
        manifest_add_damage(m, path, "vanished");
    }
    assert_int_equal(m->n_damaged, 2001);
    assert_in_range(m->n_damage, 200, 300);
    OK(manifest_encode(m, key, &text, e));
    buf_free(&text);
    manifest_free(m);
    free(path);
}

/* To the last name, and to the last byte of them. */
static void
manifest__names_damage_up_to_the_limits(void **state)
{
    struct manifest *m = manifest_new(MANIFEST_SNAPSHOT);
    struct manifest *got = NULL;
    struct buf text = BUF_INIT;
    char *path = xmalloc(MANIFEST_NAMED_MAX_BYTES);

    (void)state;
    manifest_set(&m->id, "s0123456789ab");
    for (int i = 0; i < MANIFEST_NAMED_MAX + 5; i++) {
        manifest_add_damage(m, "p", "w");
    }
    assert_int_equal(m->n_damage, MANIFEST_NAMED_MAX);
    assert_int_equal(m->n_damaged, MANIFEST_NAMED_MAX + 5);
    OK(manifest_encode(m, key, &text, e));
    OK(manifest_parse(&got, text.data, text.len, e));
    assert_int_equal(got->n_damage, MANIFEST_NAMED_MAX);
    manifest_free(got);
    m->damage = xrealloc(m->damage, (MANIFEST_NAMED_MAX + 1) * sizeof *m->damage);
    m->damage[m->n_damage].path = xstrdup("p"); /* by another program than ours */
    m->damage[m->n_damage++].why = xstrdup("w");
    buf_reset(&text);
    OK(manifest_encode(m, key, &text, e));
    FAILS(manifest_parse(&got, text.data, text.len, e), ERR_CORRUPT);
    manifest_free(m);

    m = manifest_new(MANIFEST_SNAPSHOT);
    memset(path, 'p', MANIFEST_NAMED_MAX_BYTES);
    path[MANIFEST_NAMED_MAX_BYTES - 1] = '\0';
    manifest_add_damage(m, "", ""); /* no byte of them */
    manifest_add_damage(m, path, "ww");
    assert_int_equal(m->n_damage, 1);
    manifest_add_damage(m, path, "w");
    assert_int_equal(m->n_damage, 2);
    manifest_add_damage(m, "", "w");
    assert_int_equal(m->n_damage, 2);
    manifest_free(m);
    free(path);
    buf_free(&text);
}

/* A signed manifest with fields changed by edit, and whether it is taken. */
static int
parse_edited(const char *key_of, const char *value, struct err *why)
{
    struct manifest *m = full_manifest();
    struct manifest *got = NULL;
    struct buf text = BUF_INIT;
    struct buf edited = BUF_INIT;
    struct rec *r = NULL;
    struct rec *out = rec_new(MANIFEST_TYPE);
    int rc;

    OK(manifest_encode(m, key, &text, e));
    OK(rec_parse(&r, text.data, text.len, MANIFEST_TYPE, e));
    for (size_t i = 0; i < rec_n_fields(r); i++) {
        size_t len;
        const char *v;
        const char *name = rec_field(r, i, &v, &len);

        if (strcmp(name, "signer") == 0 || strcmp(name, "sig") == 0) {
            continue;
        }
        if (strcmp(name, key_of) == 0) {
            if (value != NULL) {
                rec_add(out, name, value);
            }
        } else {
            rec_add_bytes(out, name, v, len);
        }
    }
    sign_rec(out, key);
    rec_encode(out, &edited);
    rc = manifest_parse(&got, edited.data, edited.len, why);
    manifest_free(got);
    manifest_free(m);
    rec_free(r);
    rec_free(out);
    buf_free(&text);
    buf_free(&edited);
    return rc;
}

static void
manifest__refuses_fields_that_cannot_be(void **state)
{
    static const struct {
        const char *key;
        const char *value;  /* NULL: the field is not there */
        enum err_code code; /* ERR_NONE: it is taken */
    } cases[] = {
        {"kind", "image", ERR_NONE},
        {"kind", "none", ERR_VERSION},
        {"kind", "other", ERR_VERSION},
        {"kind", NULL, ERR_CORRUPT},
        {"id", "s0123456789a", ERR_CORRUPT},
        {"id", NULL, ERR_CORRUPT},
        {"id", "szzzzzzzzz000", ERR_NONE},
        {"id", "saaaaaaaaa999", ERR_NONE},
        {"id", "s{aaaaaaaaaaa", ERR_CORRUPT},
        {"id", "s`aaaaaaaaaaa", ERR_CORRUPT},
        {"id", "s/aaaaaaaaaaa", ERR_CORRUPT},
        {"id", "s:aaaaaaaaaaa", ERR_CORRUPT},
        {"id", "aaaaaaaaaaaaa", ERR_CORRUPT},
        {"tree", "00", ERR_CORRUPT},
        {"tree", NULL, ERR_CORRUPT},
        {"n_files", "-1", ERR_CORRUPT},
        {"n_files", "9223372036854775807", ERR_NONE},
        {"n_files", NULL, ERR_CORRUPT},
        {"exit_code", "2147483647", ERR_NONE},
        {"exit_code", "2147483648", ERR_CORRUPT},
        {"exit_code", "-2147483648", ERR_NONE},
        {"exit_code", "-2147483649", ERR_CORRUPT},
        {"exit_code", NULL, ERR_NONE},
        {"signal", "1024", ERR_NONE},
        {"signal", "1025", ERR_CORRUPT},
        {"signal", "-1", ERR_CORRUPT},
        {"bill", "00", ERR_CORRUPT},
        {"bill", NULL, ERR_NONE},
        {"made_wall_ns", NULL, ERR_CORRUPT},
        {"made_wall_ns", "9223372036854775807", ERR_NONE},
        {"made_wall_ns", "-9223372036854775808", ERR_NONE},
        {"ended_wall_ns", "9223372036854775807", ERR_NONE},
        {"ended_wall_ns", "-9223372036854775808", ERR_NONE},
        {"ended_wall_ns", "x", ERR_CORRUPT},
        {"expires_wall_ns", "0", ERR_NONE},
        {"expires_wall_ns", "-1", ERR_CORRUPT},
        {"expires_wall_ns", "9223372036854775807", ERR_NONE},
        {"partial", "0", ERR_NONE},
        {"partial", "2", ERR_CORRUPT},
        {"partial", "-1", ERR_CORRUPT},
        {"n_damaged", "1", ERR_NONE},
        {"n_damaged", "0", ERR_CORRUPT}, /* one is named */
        {"damaged_why", NULL, ERR_CORRUPT},
        {"damaged", NULL, ERR_CORRUPT},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err e = {0};
        int rc = parse_edited(cases[i].key, cases[i].value, &e);

        if ((rc == 0) != (cases[i].code == ERR_NONE) ||
            (rc == -1 && e.code != cases[i].code)) {
            fail_msg("%s=%s: %d %s %s", cases[i].key,
                     cases[i].value != NULL ? cases[i].value : "-", rc,
                     err_code_name(e.code), e.msg);
        }
    }
}

static void
manifest__needs_a_kind_and_an_id(void **state)
{
    static const char *const bad[] = {"",
                                      "s",
                                      "x0123456789ab",
                                      "s0123456789aB",
                                      "s0123456789a/",
                                      "s0123456789abc",
                                      "../../../../ab"};
    struct manifest *m = manifest_new(MANIFEST_NONE);
    struct buf text = BUF_INIT;

    (void)state;
    manifest_set(&m->id, "s0123456789ab");
    FAILS(manifest_encode(m, key, &text, e), ERR_INVALID);
    m->kind = MANIFEST_DATA;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        manifest_set(&m->id, bad[i]);
        FAILS(manifest_encode(m, key, &text, e), ERR_INVALID);
    }
    assert_int_equal(text.len, 0);
    manifest_free(m);
}

/* ---- files ---- */

static void
write__commits_the_store_and_refuses_another(void **state)
{
    char *dir = scratch_dir();
    struct store *s = NULL;
    struct manifest *m = full_manifest();
    struct manifest *got = NULL;
    struct buf enc = BUF_INIT;
    struct sha256 id;

    (void)state;
    OK(store_open(&s, dir, NULL, e));
    FAILS(manifest_read(s, m->id, &got, e), ERR_NOT_FOUND);
    id = put_chunk_n(s, 1, 1000, NULL);
    OK(manifest_write(s, m, key, e));
    OK(manifest_write(s, m, key, e)); /* the same again */
    m->exit_code = 4;
    FAILS(manifest_write(s, m, key, e), ERR_EXISTS);
    store_close(s);
    OK(store_open(&s, dir, NULL, e));
    assert_true(has_one(s, &id));
    OK(manifest_read(s, m->id, &got, e));
    assert_int_equal(got->exit_code, 3);
    OK(manifest_read_encoded(s, m->id, &enc, e));
    store_close(s);
    scratch_free(dir);

    dir = scratch_dir(); /* the signed bytes go to another store as they are */
    OK(store_open(&s, dir, NULL, e));
    OK(manifest_write_encoded(s, enc.data, enc.len, e));
    manifest_free(got);
    OK(manifest_read(s, m->id, &got, e));
    enc.data[40] ^= 1;
    FAILS(manifest_write_encoded(s, enc.data, enc.len, e), ERR_CORRUPT);
    FAILS(manifest_read(s, "s../../../../x", &m, e), ERR_NOT_FOUND);
    store_close(s);
    buf_free(&enc);
    manifest_free(m);
    manifest_free(got);
    scratch_free(dir);
}

static void
read__survives_one_flipped_byte_anywhere(void **state)
{
    char *dir = scratch_dir();
    char *path = path_join(dir, "snaps/s0123456789ab.manifest");
    struct store *s = NULL;
    struct manifest *m = full_manifest();
    struct stat st;
    int fd;

    (void)state;
    OK(store_open(&s, dir, NULL, e));
    OK(manifest_write(s, m, key, e));
    fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_not_equal(fd, -1);
    assert_int_equal(fstat(fd, &st), 0);
    for (off_t at = 0; at < st.st_size; at += 3) {
        struct manifest *got = NULL;
        uint8_t b;

        assert_int_equal(pread(fd, &b, 1, at), 1);
        b ^= 0x20;
        assert_int_equal(pwrite(fd, &b, 1, at), 1);
        OK(manifest_read(s, m->id, &got, e));
        manifest_free(got);
        b ^= 0x20;
        assert_int_equal(pwrite(fd, &b, 1, at), 1);
    }
    assert_int_equal(pwrite(fd, "%", 1, 100), 1);
    assert_int_equal(pwrite(fd, "%", 1, st.st_size / 2 + 101), 1);
    {
        struct manifest *got = NULL;

        FAILS(manifest_read(s, m->id, &got, e), ERR_CORRUPT);
    }
    {
        uint8_t zeros[2048] = {0};
        struct manifest *got = NULL;

        assert_int_equal(pwrite(fd, zeros, sizeof zeros, 0), sizeof zeros);
        assert_int_equal(ftruncate(fd, sizeof zeros), 0);
        FAILS(manifest_read(s, m->id, &got, e), ERR_CORRUPT);
        assert_int_equal(ftruncate(fd, 0), 0);
        FAILS(manifest_read(s, m->id, &got, e), ERR_CORRUPT);
    }
    OK(manifest_write(s, m, key, e)); /* repairs it */
    assert_int_equal(close(fd), 0);
    store_close(s);
    manifest_free(m);
    free(path);
    scratch_free(dir);
}

/* A half that was damaged is there again, and nothing is written where all is well. */
static void
repair__makes_both_halves_whole(void **state)
{
    char *dir = scratch_dir();
    char *path = path_join(dir, "snaps/s0123456789ab.manifest");
    struct store *s = NULL;
    struct manifest *m = full_manifest();
    struct buf whole = BUF_INIT;
    bool repaired = true;

    (void)state;
    OK(store_open(&s, dir, NULL, e));
    OK(manifest_write(s, m, key, e));
    OK(file_read(path, 1 << 20, &whole, e));
    OK(manifest_repair(s, m->id, &repaired, e));
    assert_false(repaired);
    for (size_t i = 0; i < 3; i++) {
        struct buf damaged = BUF_INIT;
        struct buf now = BUF_INIT;

        /* a byte of each half; the file's end */
        buf_add(&damaged, whole.data, i == 2 ? whole.len - 1 : whole.len);
        if (i < 2) {
            damaged.data[i * (whole.len / 2) + 100] ^= 1;
        }
        OK(file_replace(path, damaged.data, damaged.len, e));
        OK(manifest_repair(s, m->id, &repaired, e));
        assert_true(repaired);
        OK(file_read(path, 1 << 20, &now, e));
        assert_int_equal(now.len, whole.len);
        assert_memory_equal(now.data, whole.data, whole.len);
        buf_free(&damaged);
        buf_free(&now);
    }
    store_close(s);
    manifest_free(m);
    buf_free(&whole);
    free(path);
    scratch_free(dir);
}

static int
make_key(void **state)
{
    struct err e;

    (void)state;
    return sign_key_new(&key, &e);
}

static int
free_key(void **state)
{
    (void)state;
    sign_key_free(key);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(manifest__comes_back_as_it_was),
        cmocka_unit_test(manifest__with_any_byte_changed_is_refused),
        cmocka_unit_test(manifest__names_so_much_damage_and_counts_all),
        cmocka_unit_test(manifest__names_damage_up_to_the_limits),
        cmocka_unit_test(manifest__refuses_fields_that_cannot_be),
        cmocka_unit_test(manifest__needs_a_kind_and_an_id),
        cmocka_unit_test(write__commits_the_store_and_refuses_another),
        cmocka_unit_test(read__survives_one_flipped_byte_anywhere),
        cmocka_unit_test(repair__makes_both_halves_whole),
    };

    return cmocka_run_group_tests(tests, make_key, free_key);
}

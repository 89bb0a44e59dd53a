#include <errno.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/sign.h"
#include "tests/unit/unit.h"

#define SEED_HEX   "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
#define PUBLIC_HEX "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
#define SIG_HEX                                                                          \
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc6" \
    "1e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"

static struct sign_key *
new_key(void)
{
    struct sign_key *k = NULL;
    struct err e;

    assert_ok(sign_key_new(&k, &e));
    return k;
}

/* A key file with the first key of RFC 8032, 7.1. */
static char *
write_rfc_key(const char *dir, const char *seed)
{
    char *path = path_join(dir, "rfc");
    char *text = xasprintf("gpurun.key.v1\nseed=%s\npublic=" PUBLIC_HEX "\n", seed);
    struct err e;

    assert_ok(file_replace(path, text, strlen(text), &e));
    free(text);
    return path;
}

static void
signatures__agree_with_rfc_8032(void **state)
{
    char *path = write_rfc_key(
        *state, "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
    struct sign_key *k = NULL;
    struct sign_public p;
    uint8_t sig[SIGN_SIG_LEN];
    char hex[2 * SIGN_SIG_LEN + 1];
    struct err e;

    assert_ok(sign_key_open(&k, path, &e));
    sign_key_public(k, &p);
    sign_public_format(&p, hex);
    assert_string_equal(hex, PUBLIC_HEX);
    sign_bytes(k, NULL, 0, sig);
    hex_format(sig, sizeof sig, hex);
    assert_string_equal(hex, SIG_HEX);
    assert_ok(sign_check(&p, "", 0, sig, &e));
    sign_key_free(k);
    free(path);
}

static void
check__refuses_every_flipped_bit(void **state)
{
    struct sign_key *k = new_key();
    struct sign_public p;
    uint8_t sig[SIGN_SIG_LEN];
    char text[] = "a message";
    struct err e;

    (void)state;
    sign_key_public(k, &p);
    sign_bytes(k, text, sizeof text, sig);
    assert_ok(sign_check(&p, text, sizeof text, sig, &e));
    for (size_t i = 0; i < 8 * sizeof sig; i++) {
        sig[i / 8] ^= (uint8_t)(1U << i % 8);
        assert_refused(sign_check(&p, text, sizeof text, sig, &e), ERR_CORRUPT);
        sig[i / 8] ^= (uint8_t)(1U << i % 8);
    }
    for (size_t i = 0; i < 8 * sizeof text; i++) {
        text[i / 8] = (char)(text[i / 8] ^ (1 << i % 8));
        assert_refused(sign_check(&p, text, sizeof text, sig, &e), ERR_CORRUPT);
        text[i / 8] = (char)(text[i / 8] ^ (1 << i % 8));
    }
    for (size_t i = 0; i < 8 * sizeof p.b; i++) {
        p.b[i / 8] ^= (uint8_t)(1U << i % 8);
        assert_refused(sign_check(&p, text, sizeof text, sig, &e), ERR_CORRUPT);
        p.b[i / 8] ^= (uint8_t)(1U << i % 8);
    }
    assert_refused(sign_check(&p, text, sizeof text - 1, sig, &e), ERR_CORRUPT);
    assert_ok(sign_check(&p, text, sizeof text, sig, &e));
    sign_key_free(k);
    sign_key_free(NULL);
}

static void
records__are_signed_and_checked(void **state)
{
    struct sign_key *k = new_key();
    struct sign_public want;
    struct sign_public by;
    struct rec *r = rec_new("gpurun.test.v1");
    struct rec *back = NULL;
    struct buf b = BUF_INIT;
    struct err e;

    (void)state;
    assert_refused(sign_rec_check(r, &by, &e), ERR_CORRUPT);
    rec_add(r, "k", "v");
    assert_refused(sign_rec_check(r, &by, &e), ERR_CORRUPT);
    sign_rec(r, k);
    sign_key_public(k, &want);
    assert_ok(sign_rec_check(r, &by, &e));
    assert_memory_equal(&by, &want, sizeof by);
    rec_encode(r, &b);
    assert_ok(rec_parse(&back, b.data, b.len, NULL, &e));
    memset(&by, 0, sizeof by);
    assert_ok(sign_rec_check(back, &by, &e));
    assert_memory_equal(&by, &want, sizeof by);
    buf_free(&b);
    rec_free(back);
    rec_free(r);
    sign_key_free(k);
}

/* Every byte of the encoding changed in every way that is still a record. */
static void
records__do_not_stand_a_changed_byte(void **state)
{
    struct sign_key *k = new_key();
    struct rec *r = rec_new("t.v1");
    struct buf b = BUF_INIT;
    size_t n_records = 0;
    struct err e;

    (void)state;
    rec_add(r, "total_fen", "188");
    sign_rec(r, k);
    rec_encode(r, &b);
    for (size_t i = 0; i < b.len; i++) {
        uint8_t was = b.data[i];

        for (unsigned flip = 1; flip < 256; flip <<= 1) {
            struct rec *changed = NULL;
            struct sign_public by;

            b.data[i] = (uint8_t)(was ^ flip);
            if (rec_parse(&changed, b.data, b.len, NULL, &e) == 0) {
                n_records++;
                assert_refused(sign_rec_check(changed, &by, &e), ERR_CORRUPT);
                rec_free(changed);
            }
        }
        b.data[i] = was;
    }
    assert_true(n_records > b.len); /* most were records, and told apart by this alone */
    buf_free(&b);
    rec_free(r);
    sign_key_free(k);
}

static void
records__with_fields_behind_the_signature_are_refused(void **state)
{
    struct sign_key *k = new_key();
    struct rec *r = rec_new("t.v1");
    struct sign_public by;
    struct err e;

    (void)state;
    sign_rec(r, k);
    rec_add(r, "more", "1");
    assert_refused(sign_rec_check(r, &by, &e), ERR_CORRUPT);
    rec_free(r);
    r = rec_new("t.v1");
    rec_add(r, "sig", "00");
    rec_add(r, "signer", "00");
    assert_refused(sign_rec_check(r, &by, &e), ERR_CORRUPT);
    rec_free(r);
    sign_key_free(k);
}

static void
records__can_be_countersigned(void **state)
{
    struct sign_key *host = new_key();
    struct sign_key *client = new_key();
    struct rec *r = rec_new("t.v1");
    struct sign_public want;
    struct sign_public by;
    struct err e;

    (void)state;
    sign_rec(r, host);
    sign_rec(r, client);
    sign_key_public(client, &want);
    assert_ok(sign_rec_check(r, &by, &e));
    assert_memory_equal(&by, &want, sizeof by);
    rec_free(r);
    sign_key_free(host);
    sign_key_free(client);
}

/* The signed record with these fields, one letter each, "k=v". */
static struct rec *
signed_rec(const char *type, const char *const *fields, const struct sign_key *k)
{
    struct rec *r = rec_new(type);

    for (size_t i = 0; fields[i] != NULL; i++) {
        char key[2] = {fields[i][0], '\0'};

        rec_add(r, key, fields[i] + 2);
    }
    if (k != NULL) {
        sign_rec(r, k);
    }
    return r;
}

static void
records__say_what_was_understood_and_nothing_else(void **state)
{
    static const char *const said[] = {"a=1", "b=22", NULL};
    static const struct {
        const char *type;
        const char *fields[4];
        bool same;
    } cases[] = {
        {"t.v1", {"a=1", "b=22"}, true},
        {"t.v2", {"a=1", "b=22"}, false},
        {"t.v1", {"a=1"}, false},
        {"t.v1", {"a=1", "b=22", "c=3"}, false},
        {"t.v1", {"a=1", "b=22", "b=22"}, false},
        {"t.v1", {"b=22", "a=1"}, false},
        {"t.v1", {"a=1", "c=22"}, false},
        {"t.v1", {"a=1", "b=23"}, false},
        {"t.v1", {"a=1", "b=2"}, false},
        {"t.v1", {"a=1", "b=222"}, false},
    };
    struct rec *want = signed_rec("t.v1", said, NULL);
    struct sign_key *k = NULL;
    struct err e;

    (void)state;
    assert_ok(sign_key_new(&k, &e));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rec *r = signed_rec(cases[i].type, cases[i].fields, k);

        if (sign_rec_says(r, want) != cases[i].same) {
            fail_msg("case %zu", i);
        }
        rec_free(r);
    }
    assert_false(sign_rec_says(want, want)); /* not signed */
    rec_free(want);
    sign_key_free(k);
}

static void
key_open__makes_one_and_keeps_it(void **state)
{
    char *path = path_join(*state, "key");
    struct sign_key *a = NULL;
    struct sign_key *b = NULL;
    struct sign_public pa;
    struct sign_public pb;
    struct stat st;
    struct err e;

    assert_ok(sign_key_open(&a, path, &e));
    assert_ok(sign_key_open(&b, path, &e));
    sign_key_public(a, &pa);
    sign_key_public(b, &pb);
    assert_memory_equal(&pa, &pb, sizeof pa);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_nlink, 1); /* no temporary is left */
    sign_key_free(a);
    sign_key_free(b);
    free(path);
}

static void
key_open__of_many_at_once_ends_with_one(void **state)
{
    char *path = path_join(*state, "key");
    struct sign_key *k = NULL;
    struct sign_public want;
    int fds[2];
    struct err e;

    assert_int_equal(pipe(fds), 0);
    for (int i = 0; i < 16; i++) {
        pid_t child = fork();

        assert_true(child != -1);
        if (child == 0) {
            struct sign_public p;

            if (sign_key_open(&k, path, &e) != 0) {
                _exit(1);
            }
            sign_key_public(k, &p);
            _exit(fd_write_all(fds[1], &p, sizeof p) == 0 ? 0 : 1);
        }
    }
    (void)close(fds[1]);
    assert_ok(sign_key_open(&k, path, &e));
    sign_key_public(k, &want);
    for (int i = 0; i < 16; i++) {
        struct sign_public p;
        int status;

        assert_int_equal(fd_read_full(fds[0], &p, sizeof p), sizeof p);
        assert_memory_equal(&p, &want, sizeof p);
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    (void)close(fds[0]);
    sign_key_free(k);
    free(path);
}

static void
key_open__refuses_bad_files_and_changes_nothing(void **state)
{
    static const char *const bad[] = {
        "",
        "nonsense",
        "gpurun.key.v1\n",
        "gpurun.key.v1\nseed=" SEED_HEX "\n",
        "gpurun.key.v1\nseed=00\npublic=" PUBLIC_HEX "\n",
        /* halves of two keys */
        "gpurun.key.v1\nseed=" PUBLIC_HEX "\npublic=" PUBLIC_HEX "\n",
        "gpurun.key.v2\nseed=" SEED_HEX "\npublic=" PUBLIC_HEX "\n",
    };
    static const enum err_code codes[] = {ERR_CORRUPT, ERR_CORRUPT, ERR_INVALID,
                                          ERR_INVALID, ERR_INVALID, ERR_CORRUPT,
                                          ERR_VERSION};
    char *path = path_join(*state, "key");
    struct sign_key *k = NULL;
    struct err e;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct buf b = BUF_INIT;

        assert_ok(file_replace(path, bad[i], strlen(bad[i]), &e));
        assert_refused(sign_key_open(&k, path, &e), codes[i]);
        assert_non_null(strstr(e.msg, path));
        assert_ok(file_read(path, 1000, &b, &e));
        assert_string_equal(buf_str(&b), bad[i]);
        buf_free(&b);
    }
    assert_null(k);
    free(path);
}

static void
key_open__refuses_what_others_can_read(void **state)
{
    static const mode_t open_modes[] = {0640, 0604, 0620, 0602, 0610, 0601};
    char *path = path_join(*state, "key");
    struct sign_key *k = NULL;
    struct err e;

    assert_ok(sign_key_open(&k, path, &e));
    sign_key_free(k);
    k = NULL;
    for (size_t i = 0; i < sizeof open_modes / sizeof *open_modes; i++) {
        assert_int_equal(chmod(path, open_modes[i]), 0);
        assert_refused(sign_key_open(&k, path, &e), ERR_DENIED);
    }
    assert_int_equal(chmod(path, 0400), 0);
    assert_ok(sign_key_open(&k, path, &e));
    sign_key_free(k);
    free(path);
    k = NULL;
    assert_refused(sign_key_open(&k, "/nonexistent/dir/key", &e), ERR_SYSTEM);
    assert_int_equal(e.sys_errno, ENOENT);
    assert_refused(sign_key_open(&k, *state, &e), ERR_SYSTEM);
    assert_int_equal(e.sys_errno, EISDIR);
}

static void
ids__are_the_start_of_the_hash(void **state)
{
    struct sign_public p;
    char id[SIGN_ID_LEN + 1];

    (void)state;
    assert_true(hex_parse(PUBLIC_HEX, 64, p.b, sizeof p.b));
    sign_public_id(&p, id);
    assert_string_equal(id, "21fe31dfa154a261");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_in_dir(signatures__agree_with_rfc_8032),
        cmocka_unit_test(check__refuses_every_flipped_bit),
        cmocka_unit_test(records__are_signed_and_checked),
        cmocka_unit_test(records__do_not_stand_a_changed_byte),
        cmocka_unit_test(records__with_fields_behind_the_signature_are_refused),
        cmocka_unit_test(records__can_be_countersigned),
        cmocka_unit_test(records__say_what_was_understood_and_nothing_else),
        unit_test_in_dir(key_open__makes_one_and_keeps_it),
        unit_test_in_dir(key_open__of_many_at_once_ends_with_one),
        unit_test_in_dir(key_open__refuses_bad_files_and_changes_nothing),
        unit_test_in_dir(key_open__refuses_what_others_can_read),
        cmocka_unit_test(ids__are_the_start_of_the_hash),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What is remembered of verified receipts, and what is not believed of it. */
#include <unistd.h>

#include "base/buf.h"
#include "runner/client/verified.h"
#include "tests/unit/unit.h"

static struct home *
open_home(const char *dir)
{
    struct home *home = NULL;
    struct err e = {0};

    assert_ok(home_open(&home, dir, &e));
    return home;
}

static struct sha256
hash_of(const char *text)
{
    struct sha256 h;

    sha256_of(text, strlen(text), &h);
    return h;
}

static const struct sign_public some_host = {{1, 2, 3}};
static const struct sign_public other_host = {{1, 2, 4}};

/* Two receipts are remembered, in any order. */
static void
remember(struct home *home)
{
    struct verified *v = verified_open(home);
    struct sha256 one = hash_of("one");
    struct sha256 two = hash_of("two");
    struct err e = {0};

    verified_note(v, "j000000000002", NULL, &two);
    verified_note(v, "j000000000001", &some_host, &one);
    assert_ok(verified_save(v, &e));
    verified_close(v);
}

static bool
knows(struct home *home, const char *job, const struct sign_public *host,
      const char *text)
{
    struct verified *v = verified_open(home);
    struct sha256 want = hash_of(text);
    bool same = sha256_equal(verified_hash(v, job, host), &want);

    verified_close(v);
    return same;
}

static void
make_key(struct home *home)
{
    const struct sign_key *key = NULL;
    struct err e = {0};

    assert_ok(home_key(home, &key, &e));
}

static void
verified__is_remembered_by_job_and_key(void **state)
{
    struct home *home = open_home(*state);
    struct sha256 none = {{0}};
    struct verified *v;

    make_key(home);
    assert_false(knows(home, "j000000000001", &some_host, "one"));
    remember(home);
    assert_true(knows(home, "j000000000001", &some_host, "one"));
    assert_true(knows(home, "j000000000002", NULL, "two"));
    assert_false(knows(home, "j000000000001", &other_host, "one"));
    assert_false(knows(home, "j000000000001", NULL, "one"));
    assert_false(knows(home, "j000000000002", &some_host, "two"));
    v = verified_open(home);
    assert_true(sha256_equal(verified_hash(v, "j000000000003", NULL), &none));
    verified_close(v);
    home_free(home);
}

/* No key is made for it, and nothing remembered without one. */
static void
verified__needs_the_renters_key(void **state)
{
    struct home *home = open_home(*state);
    char *key = home_path(home, "key", NULL);
    char *path = home_path(home, "verified", NULL);

    remember(home);
    assert_false(file_exists(key));
    assert_false(file_exists(path));
    free(key);
    free(path);
    home_free(home);
}

/* Changed by whoever has not the key, of another renter, cut off, or none at all. */
static void
verified__is_believed_only_with_the_renters_signature(void **state)
{
    struct home *home = open_home(*state);
    char *path = home_path(home, "verified", NULL);
    char *key = home_path(home, "key", NULL);
    struct buf was = BUF_INIT;
    struct err e = {0};

    make_key(home);
    remember(home);
    assert_ok(file_read(path, 1 << 20, &was, &e));
    for (size_t i = 0; i < was.len; i += 7) {
        uint8_t byte = was.data[i];

        was.data[i] = byte == '0' ? '1' : '0';
        assert_ok(file_replace(path, was.data, was.len, &e));
        if (was.data[i] != byte) {
            assert_false(knows(home, "j000000000001", &some_host, "one"));
        }
        was.data[i] = byte;
    }
    assert_ok(file_replace(path, was.data, was.len - 1, &e));
    assert_false(knows(home, "j000000000001", &some_host, "one"));
    assert_ok(file_replace(path, was.data, 0, &e));
    assert_false(knows(home, "j000000000001", &some_host, "one"));
    assert_ok(file_replace(path, was.data, was.len, &e));
    assert_true(knows(home, "j000000000001", &some_host, "one"));
    /* It is made anew over whatever was there. */
    assert_ok(file_replace(path, "x", 1, &e));
    remember(home);
    assert_true(knows(home, "j000000000001", &some_host, "one"));
    home_free(home);
    assert_int_equal(unlink(key), 0);
    home = open_home(*state);
    make_key(home);
    assert_false(knows(home, "j000000000001", &some_host, "one"));
    free(path);
    free(key);
    buf_free(&was);
    home_free(home);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_in_dir(verified__is_remembered_by_job_and_key),
        unit_test_in_dir(verified__needs_the_renters_key),
        unit_test_in_dir(verified__is_believed_only_with_the_renters_signature),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include <stdlib.h>
#include <string.h>

#include "tests/unit/job/spec_util.h"
#include "tests/unit/unit.h"

#include "base/buf.h"
#include "runner/job/spec.h"

#define JOB  "j0123456789ab"
#define TREE "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static void
spec__comes_back_as_it_was(void **state)
{
    struct rec *r = small_spec(JOB);
    struct rec *again;
    struct job_spec s;
    struct job_spec t;
    struct err e = {0};
    struct buf a = BUF_INIT;
    struct buf b = BUF_INIT;

    (void)state;
    rec_add(r, "arg", "--name=a b\n\xff");
    rec_add(r, "env", "A=1=2");
    rec_add(r, "secret", "TOKEN");
    rec_add(r, "cwd", "sub/dir");
    rec_add(r, "title", "what it is called");
    rec_add(r, "data", TREE " digits in/here, or so");
    rec_add(r, "data", TREE " a.b-c_9 in/hereby");
    rec_add_int(r, "tty", 1);
    assert_int_equal(spec_parse(&s, r, &e), 0);
    assert_int_equal(s.args.n, 2);
    assert_int_equal(s.max_time_s, SPEC_TIME_DFLT_S);
    assert_int_equal(s.window_s, SPEC_WINDOW_DFLT_S);
    assert_int_equal(s.cap_fen, -1);
    assert_true(s.tty);
    again = spec_encode(&s);
    assert_int_equal(spec_parse(&t, again, &e), 0);
    rec_encode(again, &a);
    rec_free(again);
    again = spec_encode(&t);
    rec_encode(again, &b);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, a.len);
    rec_free(again);
    rec_free(r);
    buf_free(&a);
    buf_free(&b);
    spec_free(&s);
    spec_free(&t);
}

struct bad_field {
    const char *key;
    const char *value;
    enum err_code code;
};

static void
spec__refuses_what_could_not_run(void **state)
{
    static const struct bad_field bad[] = {
        {"image", "torch:2.4", ERR_VERSION}, /* a field of later versions */
        {"job", JOB, ERR_INVALID},           /* twice */
        {"cwd", "/etc", ERR_INVALID},        {"cwd", "..", ERR_INVALID},
        {"cwd", "a/../../b", ERR_INVALID},   {"cwd", "a/..", ERR_INVALID},
        {"count", "0", ERR_INVALID},         {"count", "-1", ERR_INVALID},
        {"count", "01", ERR_INVALID},        {"max_time_s", "99999999999", ERR_INVALID},
        {"window_s", "-1", ERR_INVALID},     {"env", "=x", ERR_INVALID},
        {"env", "novalue", ERR_INVALID},     {"secret", "", ERR_INVALID},
        {"secret", "A=B", ERR_INVALID},      {"from", "../../../etc", ERR_INVALID},
        {"tree", "zz", ERR_INVALID},         {"tty", "2", ERR_INVALID},
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct rec *r = small_spec(JOB);
        struct job_spec s;
        struct err e = {0};

        rec_add(r, bad[i].key, bad[i].value);
        if (spec_parse(&s, r, &e) != -1) {
            fail_msg("%s=%s was accepted", bad[i].key, bad[i].value);
        }
        if (e.code != bad[i].code) {
            fail_msg("%s=%s: %s (%s)", bad[i].key, bad[i].value, e.msg,
                     err_code_name(e.code));
        }
        rec_free(r);
    }
}

static void
spec__refuses_a_job_without_its_main_fields(void **state)
{
    static const char *const keys[] = {"job",  "renter", "kind", "stdin",
                                       "name", "class",  "type", "arg"};

    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        struct rec *whole = small_spec(JOB);
        struct rec *r = rec_new(SPEC_TYPE);
        struct job_spec s;
        struct err e = {0};

        for (size_t k = 0; k < rec_n_fields(whole); k++) {
            const char *value;
            size_t len;
            const char *key = rec_field(whole, k, &value, &len);

            if (strcmp(key, keys[i]) != 0) {
                rec_add_bytes(r, key, value, len);
            }
        }
        assert_int_equal(spec_parse(&s, r, &e), -1);
        assert_int_equal(e.code, ERR_INVALID);
        rec_free(r);
        rec_free(whole);
    }
}

static void
data_set__is_a_tree_a_name_and_a_place_inside(void **state)
{
    static const char *const wrong[] = {
        "",
        TREE,
        TREE " ",
        TREE " name",
        TREE " name ",
        TREE "  path",
        TREE " name /abs",
        TREE " name ../out",
        TREE " name in/../../out",
        TREE " na/me path",
        TREE " .name path",
        TREE " -name path",
        "0" TREE " name path",
        "zz112233445566778899aabbccddeeff00112233445566778899aabbccddeeff name path",
    };
    static const char *const clashes[][2] = {
        {"a", "a"}, {"a", "a/b"}, {"a/b", "a"}, {"a/b/c", "a/b"}};
    struct spec_data d = {.path = NULL};
    struct job_spec s;
    struct err e = {0};
    char name[DATA_NAME_MAX + 2];

    (void)state;
    assert_int_equal(spec_data_parse(&d, TREE " name a path", &e), 0);
    assert_string_equal(d.name, "name");
    assert_string_equal(d.path, "a path");
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct rec *r = small_spec(JOB);

        rec_add(r, "data", wrong[i]);
        assert_int_equal(spec_data_parse(&d, wrong[i], &e), -1);
        assert_string_equal(d.name, "name");
        assert_int_equal(spec_parse(&s, r, &e), -1);
        assert_int_equal(e.code, ERR_INVALID);
        rec_free(r);
    }
    for (size_t i = 0; i < sizeof clashes / sizeof clashes[0]; i++) {
        struct rec *r = small_spec(JOB);

        for (size_t k = 0; k < 2; k++) {
            char *text = xasprintf(TREE " n%zu %s", k, clashes[i][k]);

            rec_add(r, "data", text);
            free(text);
        }
        assert_int_equal(spec_parse(&s, r, &e), -1);
        assert_int_equal(e.code, ERR_INVALID);
        rec_free(r);
    }
    memset(name, 'n', sizeof name);
    name[DATA_NAME_MAX + 1] = '\0';
    assert_int_equal(data_name_check(name, &e), -1);
    name[DATA_NAME_MAX] = '\0';
    assert_int_equal(data_name_check(name, &e), 0);
}

static void
id__is_a_safe_file_name(void **state)
{
    (void)state;
    assert_true(id_is(ID_JOB, JOB));
    assert_false(id_is(ID_JOB, "s0123456789ab"));
    assert_false(id_is(ID_JOB, "j0123456789a"));
    assert_false(id_is(ID_JOB, "j0123456789abc"));
    assert_false(id_is(ID_JOB, "j0123456789aB"));
    assert_false(id_is(ID_JOB, "j0123456789al"));
    assert_false(id_is(ID_JOB, "j../../../../"));
    assert_false(id_is(ID_JOB, ""));
    assert_false(id_is(ID_JOB, NULL));
}

static void
job_name__is_checked(void **state)
{
    struct err e = {0};
    char longest[JOB_NAME_MAX + 2];

    (void)state;
    assert_int_equal(job_name_check("digits", &e), 0);
    assert_int_equal(job_name_check("数字 1", &e), 0);
    assert_int_equal(job_name_check("", &e), -1);
    assert_int_equal(job_name_check("-x", &e), -1);
    assert_int_equal(job_name_check("@last", &e), -1);
    assert_int_equal(job_name_check("a/b", &e), -1);
    assert_int_equal(job_name_check("a\nb", &e), -1);
    assert_int_equal(job_name_check("a\xff", &e), -1);
    memset(longest, 'a', sizeof longest);
    longest[JOB_NAME_MAX] = '\0';
    assert_int_equal(job_name_check(longest, &e), 0);
    longest[JOB_NAME_MAX] = 'a';
    longest[JOB_NAME_MAX + 1] = '\0';
    assert_int_equal(job_name_check(longest, &e), -1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spec__comes_back_as_it_was),
        cmocka_unit_test(spec__refuses_what_could_not_run),
        cmocka_unit_test(spec__refuses_a_job_without_its_main_fields),
        cmocka_unit_test(data_set__is_a_tree_a_name_and_a_place_inside),
        cmocka_unit_test(id__is_a_safe_file_name),
        cmocka_unit_test(job_name__is_checked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

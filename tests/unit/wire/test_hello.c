#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "runner/wire/hello.h"
#include "runner/wire/msg.h"

static void
hello__survives_its_record(void **state)
{
    struct hello h;
    struct hello got;
    struct rec *r;
    struct rec *extra = rec_new(HELLO_TYPE);
    struct err e;

    (void)state;
    hello_init(&h, HELLO_ROLE_SERVE, "0.1.0");
    strcpy(h.renter, "0123456789abcdef");
    h.has_key = true;
    memset(h.key.b, 7, sizeof h.key.b);
    rec_add(extra, "host", "a record\nwithin a record");
    rec_add(extra, "device", "one");
    rec_add(extra, "device", "two");
    rec_add(extra, "role", "client"); /* not an extra field: left out */
    h.extra = extra;
    r = hello_encode(&h);
    assert_int_equal(hello_parse(&got, r, &e), 0);
    assert_int_equal(got.proto_min, HELLO_PROTO_MIN);
    assert_int_equal(got.proto_max, HELLO_PROTO_MAX);
    assert_int_equal(got.features, HELLO_F_ALL);
    assert_int_equal(got.need, HELLO_F_ALL);
    assert_int_equal(got.role, HELLO_ROLE_SERVE);
    assert_memory_equal(got.nonce, h.nonce, sizeof h.nonce);
    assert_string_equal(got.version, "0.1.0");
    assert_string_equal(got.renter, "0123456789abcdef");
    assert_true(got.has_key);
    assert_memory_equal(got.key.b, h.key.b, sizeof h.key.b);
    assert_string_equal(rec_get(got.extra, "host"), "a record\nwithin a record");
    assert_int_equal(rec_count(got.extra, "device"), 2);
    assert_false(rec_has(got.extra, "role"));
    hello_clear(&got);
    hello_clear(&h);
    rec_free(r);
}

/* A hello record with one field replaced (value NULL: left out). */
static struct rec *
hello_with(const char *key, const char *value)
{
    static const struct {
        const char *key;
        const char *value;
    } fields[] = {
        {"proto_min", "1"}, {"proto_max", "1"},
        {"features", "7"},  {"need", "0"},
        {"role", "client"}, {"nonce", "00112233445566778899aabbccddeeff"},
        {"version", "1.0"}, {"renter", "abc"},
    };
    struct rec *r = rec_new(HELLO_TYPE);

    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        const char *v = strcmp(fields[i].key, key) == 0 ? value : fields[i].value;

        if (v != NULL) {
            rec_add(r, fields[i].key, v);
        }
    }
    return r;
}

static void
hello_parse__refuses_what_makes_no_sense(void **state)
{
    static const struct {
        const char *key;
        const char *value;
        bool ok;
    } cases[] = {
        {"", NULL, true},
        {"proto_min", NULL, false},
        {"proto_min", "0", false},
        {"proto_min", "2", false}, /* above proto_max */
        {"proto_max", "65535", true},
        {"proto_max", "65536", false},
        {"proto_max", "-1", false},
        {"features", NULL, false},
        {"features", "9223372036854775807", true},
        {"features", "9223372036854775808", false},
        {"need", "8", false}, /* not among its own features */
        {"need", "7", true},
        {"role", "none", false},
        {"role", "king", false},
        {"role", NULL, false},
        {"nonce", "0011", false},
        {"nonce", NULL, false},
        {"version", "", false},
        {"version", NULL, false},
        {"version", "1.0 evil", false},
        {"version", "\x1b[2J", false},
        {"version", "0123456789012345678901234567890123456789012345678901234567890123",
         true},
        {"version", "01234567890123456789012345678901234567890123456789012345678901234",
         false},
        {"renter", NULL, true},
        {"renter", "../..", true}, /* a word; whoever uses it as a name checks more */
        {"renter", "a b", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rec *r = hello_with(cases[i].key, cases[i].value);
        struct hello h;
        struct err e = {0};
        int rc = hello_parse(&h, r, &e);

        if (rc != (cases[i].ok ? 0 : -1)) {
            fail_msg("case %zu: %s=%s", i, cases[i].key, cases[i].value);
        }
        if (rc == 0) {
            hello_clear(&h);
        } else {
            assert_int_equal(e.code, ERR_INVALID);
        }
        rec_free(r);
    }
    {
        struct rec *r = rec_new("gpurun.other.v1");
        struct hello h;
        struct err e;

        assert_int_equal(hello_parse(&h, r, &e), -1);
        rec_free(r);
    }
}

static void
hello_negotiate__finds_the_highest_common_or_says_what_to_do(void **state)
{
    static const struct {
        int a_min, a_max, b_min, b_max;
        uint64_t a_feat, a_need, b_feat, b_need;
        enum hello_role a, b;
        enum err_code code;
        int proto;
        const char *words;
    } cases[] = {
        {1, 1, 1, 1, 7, 7, 7, 7, HELLO_ROLE_CLIENT, HELLO_ROLE_SERVE, ERR_NONE, 1, NULL},
        {1, 3, 2, 5, 7, 1, 3, 1, HELLO_ROLE_CLIENT, HELLO_ROLE_SERVE, ERR_NONE, 3, NULL},
        {2, 5, 1, 3, 7, 1, 3, 1, HELLO_ROLE_SERVE, HELLO_ROLE_SUPERVISE, ERR_NONE, 3,
         NULL},
        {1, 1, 1, 1, 7, 7, 7, 7, HELLO_ROLE_SERVE, HELLO_ROLE_BOOK, ERR_NONE, 1, NULL},
        {1, 1, 1, 9, 7, 0, 0, 0, HELLO_ROLE_CLIENT, HELLO_ROLE_BOOK, ERR_NONE, 1, NULL},
        {2, 3, 1, 1, 7, 0, 7, 0, HELLO_ROLE_CLIENT, HELLO_ROLE_SERVE, ERR_VERSION, 0,
         "install the newer agent"},
        {1, 1, 2, 3, 7, 0, 7, 0, HELLO_ROLE_CLIENT, HELLO_ROLE_SERVE, ERR_VERSION, 0,
         "update gpurun on this machine"},
        {2, 3, 1, 1, 7, 0, 7, 0, HELLO_ROLE_SERVE, HELLO_ROLE_CLIENT, ERR_VERSION, 0,
         "update the program that connects"},
        {1, 1, 2, 3, 7, 0, 7, 0, HELLO_ROLE_SERVE, HELLO_ROLE_CLIENT, ERR_VERSION, 0,
         "update gpurun-agent on this host"},
        {1, 1, 1, 1, 7, 4, 3, 0, HELLO_ROLE_CLIENT, HELLO_ROLE_SERVE, ERR_VERSION, 0,
         "features"},
        {1, 1, 1, 1, 3, 0, 7, 4, HELLO_ROLE_CLIENT, HELLO_ROLE_SERVE, ERR_VERSION, 0,
         "features"},
        {1, 1, 1, 1, 7, 7, 7, 7, HELLO_ROLE_CLIENT, HELLO_ROLE_CLIENT, ERR_DENIED, 0,
         "does not talk"},
        {1, 1, 1, 1, 7, 7, 7, 7, HELLO_ROLE_CLIENT, HELLO_ROLE_SUPERVISE, ERR_DENIED, 0,
         "does not talk"},
        {1, 1, 1, 1, 7, 7, 7, 7, HELLO_ROLE_SUPERVISE, HELLO_ROLE_BOOK, ERR_DENIED, 0,
         "does not talk"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct hello a;
        struct hello b;
        int proto = 0;
        uint64_t features = 0;
        struct err e = {0};
        int rc;

        hello_init(&a, cases[i].a, "1");
        hello_init(&b, cases[i].b, "2");
        a.proto_min = cases[i].a_min;
        a.proto_max = cases[i].a_max;
        b.proto_min = cases[i].b_min;
        b.proto_max = cases[i].b_max;
        a.features = cases[i].a_feat;
        a.need = cases[i].a_need;
        b.features = cases[i].b_feat;
        b.need = cases[i].b_need;
        rc = hello_negotiate(&a, &b, &proto, &features, &e);
        if (cases[i].code == ERR_NONE) {
            assert_int_equal(rc, 0);
            assert_int_equal(proto, cases[i].proto);
            assert_int_equal(features, cases[i].a_feat & cases[i].b_feat);
        } else {
            assert_int_equal(rc, -1);
            assert_int_equal(e.code, cases[i].code);
            assert_non_null(strstr(e.msg, cases[i].words));
            assert_int_equal(proto, 0);
        }
    }
}

static void
hello_negotiate__refuses_an_echo(void **state)
{
    struct hello a;
    struct hello b;
    int proto;
    uint64_t features;
    struct err e = {0};

    (void)state;
    hello_init(&a, HELLO_ROLE_CLIENT, "1");
    b = a;
    b.role = HELLO_ROLE_SERVE;
    assert_int_equal(hello_negotiate(&a, &b, &proto, &features, &e), -1);
    assert_int_equal(e.code, ERR_DENIED);
    hello_init(&b, HELLO_ROLE_SERVE, "1");
    assert_memory_not_equal(a.nonce, b.nonce, sizeof a.nonce);
}

/* ---- messages ---- */

static void
msg_verb__reads_request_types(void **state)
{
    static const struct {
        const char *type;
        const char *verb; /* NULL: refused */
        int version;
    } cases[] = {
        {"gpurun.req.job.stop.v1", "job.stop", 1},
        {"gpurun.req.x.v9", "x", 9},
        {"gpurun.req.x.v0", NULL, 0},
        {"gpurun.req.x.v10", NULL, 0},
        {"gpurun.req.x", NULL, 0},
        {"gpurun.req..v1", NULL, 0},
        {"gpurun.req.v1", NULL, 0},
        {"gpurun.ok.x.v1", NULL, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rec *r = rec_new(cases[i].type);
        char verb[MSG_VERB_MAX + 1] = "untouched";
        int version = 0;
        struct err e = {0};
        int rc = msg_verb(r, verb, &version, &e);

        if (cases[i].verb == NULL) {
            assert_int_equal(rc, -1);
            assert_int_equal(e.code, ERR_INVALID);
            assert_string_equal(verb, "untouched");
        } else {
            assert_int_equal(rc, 0);
            assert_string_equal(verb, cases[i].verb);
            assert_int_equal(version, cases[i].version);
        }
        rec_free(r);
    }
}

static void
msg_error__carries_code_words_and_hint(void **state)
{
    struct err why;
    struct err got;
    struct err e;
    char hint[MSG_HINT_MAX + 1];
    char long_hint[400];
    struct rec *r;

    (void)state;
    memset(long_hint, 'h', sizeof long_hint);
    long_hint[sizeof long_hint - 1] = '\0';
    err_set(&why, ERR_SPACE, "no\nroom \x1b");
    r = msg_error_new(&why, "delete something");
    assert_int_equal(msg_error_parse(r, &got, hint, &e), 0);
    assert_int_equal(got.code, ERR_SPACE);
    assert_string_equal(got.msg, "no\nroom \x1b");
    assert_string_equal(got.form, "no\nroom \x1b");
    assert_string_equal(hint, "delete something");
    rec_free(r);

    err_set(&why, ERR_SPACE, "no room for %d", 7);
    err_wrap(&why, "job %s", "j");
    why.helps = true;
    r = msg_error_new(&why, NULL);
    assert_int_equal(msg_error_parse(r, &got, NULL, &e), 0);
    assert_true(got.helps);
    assert_string_equal(got.msg, "job j: no room for 7");
    assert_string_equal(got.form, why.form); /* a relay passes it on */
    rec_free(r);
    why.form[0] = '\0'; /* an agent of before */
    why.helps = false;
    r = msg_error_new(&why, NULL);
    assert_false(rec_has(r, "form"));
    assert_int_equal(msg_error_parse(r, &got, NULL, &e), 0);
    assert_false(got.helps);
    assert_string_equal(got.msg, "job j: no room for 7");
    assert_string_equal(got.form, "");
    rec_free(r);

    r = msg_error_new(&why, long_hint);
    assert_int_equal(msg_error_parse(r, &got, hint, &e), 0);
    assert_int_equal(strlen(hint), MSG_HINT_MAX);
    rec_free(r);

    r = msg_error_new(&why, NULL);
    assert_false(rec_has(r, "hint"));
    assert_int_equal(msg_error_parse(r, &got, hint, &e), 0);
    assert_string_equal(hint, "");
    assert_int_equal(msg_error_parse(r, &got, NULL, &e), 0);
    rec_free(r);

    r = rec_new(MSG_ERROR_TYPE);
    assert_int_equal(msg_error_parse(r, &got, hint, &e), -1);
    assert_int_equal(e.code, ERR_CORRUPT);
    rec_add(r, "code", "no such code");
    rec_add(r, "msg", "m");
    assert_int_equal(msg_error_parse(r, &got, hint, &e), 0);
    assert_int_equal(got.code, ERR_SYSTEM);
    rec_free(r);
}

static void
msg_key__is_made_and_needed(void **state)
{
    struct rec *r = msg_request_new("job.submit");
    uint8_t key[MSG_KEY_LEN];
    uint8_t want[MSG_KEY_LEN] = {1, 2, 3};
    struct err e;

    (void)state;
    assert_string_equal(rec_type(r), "gpurun.req.job.submit.v1");
    assert_int_equal(msg_need_key(r, key, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    msg_add_key(r, want);
    assert_int_equal(msg_need_key(r, key, &e), 0);
    assert_memory_equal(key, want, sizeof key);
    rec_free(r);
    r = msg_answer_new("job.submit");
    assert_string_equal(rec_type(r), "gpurun.ok.job.submit.v1");
    msg_add_key(r, NULL);
    assert_int_equal(msg_need_key(r, key, &e), 0);
    assert_memory_not_equal(key, want, sizeof key);
    rec_free(r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hello__survives_its_record),
        cmocka_unit_test(hello_parse__refuses_what_makes_no_sense),
        cmocka_unit_test(hello_negotiate__finds_the_highest_common_or_says_what_to_do),
        cmocka_unit_test(hello_negotiate__refuses_an_echo),
        cmocka_unit_test(msg_verb__reads_request_types),
        cmocka_unit_test(msg_error__carries_code_words_and_hint),
        cmocka_unit_test(msg_key__is_made_and_needed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

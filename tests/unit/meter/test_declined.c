/* A host's word that it never ran a lease: taken only as it was written. */
#include "meter/declined.h"
#include "tests/unit/meter/fixture.h"
#include "tests/unit/meter/respell.h"

int64_t fixture_mono_ns;
int64_t fixture_boot_ns;
int64_t fixture_wall_ns;

static void
declined__is_taken_only_as_its_host_wrote_it(void **state)
{
    static const struct {
        const char *key;
        const char *value;
        enum err_code code;
    } cases[] = {
        {"lease", "two words", ERR_CORRUPT}, {"lease", NULL, ERR_INVALID},
        {"job", "two words", ERR_CORRUPT},   {"renter", "00", ERR_INVALID},
        {"at", "-1", ERR_INVALID},           {"colour", "red", ERR_CORRUPT},
    };
    struct fixture f;
    struct declined d;
    struct declined got;
    struct buf b = BUF_INIT;
    struct err e = {0};

    fixture_open(&f, *state);
    fixture_terms(&f, 500, 3600, 60);
    declined_init(&d);
    declined_init(&got);
    declined_make(&d, &f.grant, INT64_MAX, f.host);
    assert_ok(declined_parse(&got, d.bytes.data, d.bytes.len, &e));
    assert_string_equal(got.lease, f.grant.lease);
    assert_string_equal(got.job, f.grant.job);
    assert_memory_equal(&got.renter, &f.renter_public, sizeof got.renter);
    assert_memory_equal(&got.host, &f.host_public, sizeof got.host);
    assert_true(got.wall_ns == INT64_MAX);
    declined_clear(&got);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        respell(&b, &d.bytes, cases[i].key, cases[i].value, f.host);
        if (declined_parse(&got, b.data, b.len, &e) != -1 || e.code != cases[i].code) {
            fail_msg("%s=%s: %s", cases[i].key,
                     cases[i].value != NULL ? cases[i].value : "", e.msg);
        }
    }
    /* Whoever signed it said it. */
    respell(&b, &d.bytes, NULL, NULL, f.renter);
    assert_ok(declined_parse(&got, b.data, b.len, &e));
    assert_memory_equal(&got.host, &f.renter_public, sizeof got.host);
    declined_clear(&got);
    for (size_t i = 0; i < d.bytes.len; i++) {
        d.bytes.data[i] ^= 1;
        assert_int_equal(declined_parse(&got, d.bytes.data, d.bytes.len, &e), -1);
        d.bytes.data[i] ^= 1;
    }
    respell_padded(&b, "gpurun.declined.v1", DECLINED_MAX_BYTES + 1);
    assert_refused(declined_parse(&got, b.data, b.len, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.msg, " bytes"));
    respell_padded(&b, "gpurun.declined.v1", DECLINED_MAX_BYTES);
    assert_refused(declined_parse(&got, b.data, b.len, &e), ERR_INVALID);
    assert_null(strstr(e.msg, " bytes"));
    declined_clear(&d);
    buf_free(&b);
    fixture_close(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(declined__is_taken_only_as_its_host_wrote_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

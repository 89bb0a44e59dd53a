#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "runner/job/park.h"

static void
record__comes_back_as_it_was(void **state)
{
    struct park p = {.phase = PARK_FAILED, .after_s = 600, .at_wall_ns = 7};
    struct park back;
    struct rec *r;
    struct err e;

    (void)state;
    park_set_text(&p.command, "shutdown -h now");
    err_set(&e, ERR_SYSTEM, "exit status %d", 1);
    park_set_why(&p, &e);
    r = park_encode(&p);
    assert_int_equal(park_parse(&back, r, &e), 0);
    assert_int_equal(back.phase, PARK_FAILED);
    assert_string_equal(back.command, "shutdown -h now");
    assert_string_equal(back.why, "exit status 1");
    assert_string_equal(back.why_form, "exit status %d\x1f"
                                       "1");
    assert_int_equal(back.after_s, 600);
    assert_int_equal(back.at_wall_ns, 7);
    rec_free(r);
    park_free(&p);
    park_free(&back);
}

/* What a host says of itself is a stranger's word. */
static void
record__of_a_hostile_host_is_refused_and_nothing_written(void **state)
{
    static const struct {
        const char *key;
        const char *value;
        size_t len;
    } bad[] = {
        {"after_s", "-1", 2},         {"after_s", "9223372036854775807", 19},
        {"at_wall_ns", "-5", 2},      {"at_wall_ns", "soon", 4},
        {"command", "shut\0down", 9}, {"why", "a\0b", 3},
    };
    struct park out = {.after_s = 42};
    char *text = xcalloc(PARK_COMMAND_MAX + 2, 1);
    struct rec *r;
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        r = rec_new(PARK_TYPE);
        rec_add(r, "phase", "counting");
        rec_add_bytes(r, bad[i].key, bad[i].value, bad[i].len);
        assert_int_equal(park_parse(&out, r, &e), -1);
        assert_int_equal(out.after_s, 42);
        assert_null(out.command);
        rec_free(r);
    }
    memset(text, 'x', PARK_COMMAND_MAX + 1);
    r = rec_new(PARK_TYPE);
    rec_add(r, "command", text);
    assert_int_equal(park_parse(&out, r, &e), -1);
    rec_free(r);
    /* A phase of a later version is none that is known. */
    r = rec_new(PARK_TYPE);
    rec_add(r, "phase", "hovering");
    assert_int_equal(park_parse(&out, r, &e), 0);
    assert_int_equal(out.phase, PARK_NONE);
    rec_free(r);
    park_free(&out);
    free(text);
}

static void
check__holds_at_its_bounds(void **state)
{
    char *text = xcalloc(PARK_COMMAND_MAX + 2, 1);
    struct err e;

    (void)state;
    memset(text, 'x', PARK_COMMAND_MAX);
    assert_int_equal(park_check(text, PARK_COMMAND_MAX, 1, &e), 0);
    text[PARK_COMMAND_MAX] = 'x';
    assert_int_equal(park_check(text, PARK_COMMAND_MAX + 1, 1, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    assert_int_equal(park_check("", 0, 1, &e), -1);
    assert_int_equal(park_check("a\0b", 3, 1, &e), -1);
    assert_int_equal(park_check("true", 4, 0, &e), -1);
    assert_int_equal(park_check("true", 4, PARK_AFTER_MAX_S, &e), 0);
    assert_int_equal(park_check("true", 4, PARK_AFTER_MAX_S + 1, &e), -1);
    free(text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(record__comes_back_as_it_was),
        cmocka_unit_test(record__of_a_hostile_host_is_refused_and_nothing_written),
        cmocka_unit_test(check__holds_at_its_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

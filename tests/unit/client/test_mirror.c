/* Where a second copy goes. */
#include "runner/client/mirror.h"

#include "tests/unit/unit.h"

static void
mirror__by_default_what_is_small_or_asked_for(void **state)
{
    struct host h;

    (void)state;
    host_init(&h);
    assert_string_equal(mirror_target(&h, 0, false), HOST_LOCAL);
    assert_string_equal(mirror_target(&h, -1, false), HOST_LOCAL);
    assert_string_equal(mirror_target(&h, MIRROR_MAX_BYTES - 1, false), HOST_LOCAL);
    assert_null(mirror_target(&h, MIRROR_MAX_BYTES, false));
    assert_string_equal(mirror_target(&h, MIRROR_MAX_BYTES, true), HOST_LOCAL);
    assert_int_equal(MIRROR_MAX_BYTES, 100000000);
    h.local = true;
    assert_null(mirror_target(&h, 0, true));
}

static void
mirror__as_the_host_was_added(void **state)
{
    struct host h;

    (void)state;
    host_init(&h);
    h.mirror = (char *)(uintptr_t) "h2";
    assert_string_equal(mirror_target(&h, INT64_MAX, false), "h2");
    h.mirror = (char *)(uintptr_t)MIRROR_NONE;
    assert_null(mirror_target(&h, 0, true));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mirror__by_default_what_is_small_or_asked_for),
        cmocka_unit_test(mirror__as_the_host_was_added),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

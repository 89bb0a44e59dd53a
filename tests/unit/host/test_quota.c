#include "runner/host/quota.h"
#include "tests/unit/unit.h"

static void
add(struct quota_top *t, int n, const char *before, const char *behind)
{
    for (int i = 1; i <= n; i++) {
        char *what = xasprintf("%s%d%s", before, i, behind);

        quota_top_add(t, what, i * (int64_t)1000000);
        free(what);
    }
}

static size_t
count(const char *in, const char *what)
{
    size_t n = 0;

    for (const char *at = strstr(in, what); at != NULL; at = strstr(at + 1, what)) {
        n++;
    }
    return n;
}

static void
top_text__names_all_of_it_where_there_is_room(void **state)
{
    struct quota_top t = {.n = 0};
    struct buf b = BUF_INIT;

    (void)state;
    quota_top_text(&t, 300, &b);
    assert_int_equal(b.len, 0);
    add(&t, 12, "f", "");
    quota_top_text(&t, SIZE_MAX, &b);
    assert_string_equal(buf_str(&b),
                        "f12 12.0 MB, f11 11.0 MB, f10 10.0 MB, f9 9.0 MB, f8 8.0 MB, "
                        "f7 7.0 MB, f6 6.0 MB, f5 5.0 MB, f4 4.0 MB, f3 3.0 MB");
    quota_top_free(&t);
    buf_free(&b);
}

/* An error ends somewhere: what it says behind them must not be lost for long names. */
static void
top_text__shortens_names_before_it_leaves_any_out(void **state)
{
    struct quota_top t = {.n = 0};
    struct buf b = BUF_INIT;

    (void)state;
    add(&t, 10, "s12345678901", " experiment-with-a-name-that-goes-on-and-on");
    quota_top_text(&t, 400, &b);
    assert_true(b.len <= 400);
    assert_int_equal(count(buf_str(&b), "s12345678901"), 10);
    assert_int_equal(count(buf_str(&b), " MB"), 10);
    assert_int_equal(count(buf_str(&b), ", …"), 0);
    buf_reset(&b);
    quota_top_text(&t, 100, &b);
    assert_true(b.len <= 100);
    assert_int_equal(strcmp(buf_str(&b) + b.len - strlen(" MB, …"), " MB, …"), 0);
    quota_top_free(&t);
    buf_free(&b);
}

static void
top_text__cuts_no_character(void **state)
{
    struct quota_top t = {.n = 0};
    struct buf b = BUF_INIT;

    (void)state;
    add(&t, 10, "目录目录目录目录目录目录目录目录/", "文件");
    quota_top_text(&t, 400, &b);
    assert_true(b.len <= 400);
    for (size_t i = 0; i < b.len; i++) {
        unsigned char c = b.data[i];
        unsigned n = c < 0x80 ? 0 : c >= 0xe0 ? 2 : 1;

        assert_true(c < 0x80 || c >= 0xc0); /* a beginning, */
        for (; n > 0; n--) {
            assert_int_equal(b.data[++i] & 0xc0, 0x80); /* and all the rest of it */
        }
    }
    quota_top_free(&t);
    buf_free(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(top_text__names_all_of_it_where_there_is_room),
        cmocka_unit_test(top_text__shortens_names_before_it_leaves_any_out),
        cmocka_unit_test(top_text__cuts_no_character),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

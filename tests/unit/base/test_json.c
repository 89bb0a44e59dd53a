#include "base/json.h"
#include "tests/unit/unit.h"

static void
writer__puts_commas_and_quotes(void **state)
{
    struct buf b = BUF_INIT;
    struct json_writer w = json_to(&b);

    (void)state;
    json_obj(&w);
    json_kstr(&w, "a", "x\"\\\b\f\n\r\t\x01\x1f\x7f/");
    json_kint(&w, "min", INT64_MIN);
    json_kint(&w, "max", INT64_MAX);
    json_kbool(&w, "t", true);
    json_kstr(&w, "none", NULL);
    json_key(&w, "list");
    json_arr(&w);
    json_int(&w, 1);
    json_bool(&w, false);
    json_nil(&w);
    json_arr(&w);
    json_arr_end(&w);
    json_obj(&w);
    json_obj_end(&w);
    json_str(&w, "");
    json_arr_end(&w);
    json_kstr(&w, "\xc2\xa5", "\xc2\xa5");
    json_obj_end(&w);
    assert_string_equal(buf_str(&b),
                        "{\"a\":\"x\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f\\u007f/\","
                        "\"min\":-9223372036854775808,\"max\":9223372036854775807,"
                        "\"t\":true,\"none\":null,"
                        "\"list\":[1,false,null,[],{},\"\"],\"\xc2\xa5\":\"\xc2\xa5\"}");
    buf_free(&b);
}

static void
writer__replaces_what_is_no_utf8(void **state)
{
    struct buf b = BUF_INIT;
    struct json_writer w = json_to(&b);

    (void)state;
    json_obj(&w);
    json_kstr(&w, "s", "a\xff\xc3(\xed\xa0\x80z");
    json_kname(&w, "good", "a\nb", 3);
    json_kname(&w, "name", "\xff", 1);
    json_kname(&w, "zero", "a\0b", 3);
    json_kint(&w, "after", 1);
    json_obj_end(&w);
    assert_string_equal(
        buf_str(&b),
        "{\"s\":\"a\xef\xbf\xbd\xef\xbf\xbd(\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz\","
        "\"good\":\"a\\nb\",\"name\":\"\xef\xbf\xbd\",\"name_b64\":\"/w==\","
        "\"zero\":\"a\\u0000b\",\"after\":1}");
    buf_free(&b);
}

static struct json *
parse_or_die(const char *text)
{
    struct json *j = NULL;
    struct err e;

    assert_ok(json_parse(&j, text, strlen(text), &e));
    return j;
}

static void
reader__gives_values_by_name_and_number(void **state)
{
    struct json *j =
        parse_or_die("{\"z\": [1, -2, \"x\\u00a5\", true, null], \"a\": {\"b\": "
                     "9223372036854775807}, \"f\": false}");
    const struct json *z = json_get(j, "z");

    (void)state;
    assert_int_equal(json_kind(j), JSON_OBJ);
    assert_int_equal(json_len(j), 3);
    assert_string_equal(json_key_at(j, 0), "z"); /* in the order written */
    assert_string_equal(json_key_at(j, 1), "a");
    assert_string_equal(json_key_at(j, 2), "f");
    assert_null(json_key_at(j, 3));
    assert_ptr_equal(json_value_at(j, 0), z);
    assert_null(json_value_at(j, 3));
    assert_null(json_get(j, "none"));
    assert_int_equal(json_kind(z), JSON_ARR);
    assert_int_equal(json_len(z), 5);
    assert_int_equal(json_as_int(json_at(z, 0)), 1);
    assert_int_equal(json_as_int(json_at(z, 1)), -2);
    assert_string_equal(json_as_str(json_at(z, 2)), "x\xc2\xa5");
    assert_int_equal(json_str_len(json_at(z, 2)), 3);
    assert_true(json_as_bool(json_at(z, 3)));
    assert_int_equal(json_kind(json_at(z, 4)), JSON_NIL);
    assert_null(json_at(z, 5));
    assert_true(json_as_int(json_get(json_get(j, "a"), "b")) == INT64_MAX);
    assert_false(json_as_bool(json_get(j, "f")));
    json_free(j);
    json_free(NULL);
}

static void
reader__answers_nothing_of_the_wrong_kind(void **state)
{
    struct json *j = parse_or_die("[7]");

    (void)state;
    assert_int_equal(json_kind(NULL), JSON_NONE);
    assert_int_equal(json_len(NULL), 0);
    assert_null(json_get(NULL, "a"));
    assert_null(json_at(NULL, 0));
    assert_null(json_get(j, "a"));
    assert_null(json_key_at(j, 0));
    assert_null(json_value_at(j, 0));
    assert_int_equal(json_len(json_at(j, 0)), 0);
    assert_null(json_at(json_at(j, 0), 0));
    json_free(j);
}

static void
reader__takes_any_single_value(void **state)
{
    static const struct {
        const char *text;
        enum json_kind kind;
    } cases[] = {{"1", JSON_INT},      {" \"\" ", JSON_STR}, {"true", JSON_BOOL},
                 {"null\n", JSON_NIL}, {"[]", JSON_ARR},     {"{}", JSON_OBJ},
                 {"-0", JSON_INT}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct json *j = parse_or_die(cases[i].text);

        assert_int_equal(json_kind(j), cases[i].kind);
        json_free(j);
    }
}

static void
reader__keeps_the_whole_int64_range(void **state)
{
    struct json *j = parse_or_die("[9223372036854775807,-9223372036854775808,"
                                  "9007199254740993]");

    (void)state;
    assert_true(json_as_int(json_at(j, 0)) == INT64_MAX);
    assert_true(json_as_int(json_at(j, 1)) == INT64_MIN);
    assert_true(json_as_int(json_at(j, 2)) == INT64_C(9007199254740993)); /* no double */
    json_free(j);
}

static void
reader__refuses_with_a_place(void **state)
{
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "{\"a\" 1}",
        "{\"a\":1,\"a\":2}",
        "01",
        "+1",
        "1 2",
        "nul",
        "'a'",
        "\"\t\"",
        "\"\\x\"",
        "\"\\ud800\"",
        "\"\\u0000\"",
        "\"\xff\"",
        "[9223372036854775808]",
        "[-9223372036854775809]",
        "1.0",
        "[1e3]",
        "{\"a\":[0.5]}",
        "NaN",
        "Infinity",
        "// x\n1",
    };
    struct json *j = NULL;
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_refused(json_parse(&j, bad[i], strlen(bad[i]), &e), ERR_INVALID);
        assert_null(j);
    }
    assert_refused(json_parse(&j, "{\n  \"a\": x\n}", 12, &e), ERR_INVALID);
    assert_non_null(strstr(e.msg, "line 2, column 8"));
    assert_refused(json_parse(&j, "1\0", 2, &e), ERR_INVALID);
    assert_refused(json_parse(&j, "1\0]", 3, &e), ERR_INVALID);
    assert_refused(json_parse(&j, NULL, 0, &e), ERR_INVALID);
}

static void
reader__bounds_the_depth(void **state)
{
    struct buf b = BUF_INIT;
    struct json *j = NULL;
    struct err e;

    (void)state;
    for (int i = 0; i < 100000; i++) {
        buf_add_u8(&b, '[');
    }
    assert_refused(json_parse(&j, b.data, b.len, &e), ERR_INVALID);
    buf_reset(&b);
    for (int i = 0; i < 2000; i++) {
        buf_add_u8(&b, '[');
    }
    for (int i = 0; i < 2000; i++) {
        buf_add_u8(&b, ']');
    }
    assert_ok(json_parse(&j, b.data, b.len, &e));
    json_free(j);
    buf_free(&b);
}

static void
what_was_written__is_read_again(void **state)
{
    struct buf b = BUF_INIT;
    struct json_writer w = json_to(&b);
    struct json *j = NULL;
    char all[128];
    struct err e;

    (void)state;
    for (int i = 1; i < 128; i++) {
        all[i - 1] = (char)i;
    }
    all[127] = '\0';
    json_str(&w, all);
    assert_ok(json_parse(&j, b.data, b.len, &e));
    assert_string_equal(json_as_str(j), all);
    json_free(j);
    buf_free(&b);
}

static void
json_parse_nul__keeps_what_stands_behind_a_zero(void **state)
{
    const char *text = "\"a\\u0000b\"";
    struct json *j = NULL;
    struct err e = {0};

    (void)state;
    assert_int_equal(json_parse(&j, text, strlen(text), &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    assert_null(j);
    assert_int_equal(json_parse_nul(&j, text, strlen(text), &e), 0);
    assert_int_equal(json_str_len(j), 3);
    assert_memory_equal(json_as_str(j), "a\0b", 4);
    json_free(j);
}

static void
writer__writes_null_for_what_is_not_there(void **state)
{
    struct buf b = BUF_INIT;
    struct json_writer w = json_to(&b);

    (void)state;
    json_obj(&w);
    json_kint_or_nil(&w, "a", 5, -1);
    json_kint_or_nil(&w, "b", -1, -1);
    json_kint_or_nil(&w, "c", 0, -1);
    json_ktime(&w, "t", INT64_C(1795867200250000000));
    json_ktime(&w, "u", 0);
    json_ktime(&w, "v", -1);
    json_obj_end(&w);
    assert_string_equal(buf_str(&b),
                        "{\"a\":5,\"b\":null,\"c\":0,"
                        "\"t\":\"2026-11-28T12:00:00.250000000Z\","
                        "\"t_ns\":1795867200250000000,\"u\":null,\"u_ns\":null,"
                        "\"v\":null,\"v_ns\":null}");
    buf_free(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writer__writes_null_for_what_is_not_there),
        cmocka_unit_test(writer__puts_commas_and_quotes),
        cmocka_unit_test(writer__replaces_what_is_no_utf8),
        cmocka_unit_test(reader__gives_values_by_name_and_number),
        cmocka_unit_test(reader__answers_nothing_of_the_wrong_kind),
        cmocka_unit_test(reader__takes_any_single_value),
        cmocka_unit_test(reader__keeps_the_whole_int64_range),
        cmocka_unit_test(reader__refuses_with_a_place),
        cmocka_unit_test(reader__bounds_the_depth),
        cmocka_unit_test(what_was_written__is_read_again),
        cmocka_unit_test(json_parse_nul__keeps_what_stands_behind_a_zero),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

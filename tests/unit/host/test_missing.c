#include "tests/unit/unit.h"

#include "runner/host/missing.h"

#define LONG_64 "m234567890123456789012345678901234567890123456789012345678901234"

/* What Python writes, and what a job that means us harm may. */
static void
missing__takes_the_module_and_nothing_else(void **state)
{
    static const struct {
        const char *text, *name;
    } cases[] = {
        {"Traceback\nModuleNotFoundError: No module named 'torch'\n", "torch"},
        {"ModuleNotFoundError: No module named 'a.b'", "a.b"},
        {"ModuleNotFoundError: No module named 'one'\n"
         "ModuleNotFoundError: No module named 'two'\nmore\n",
         "two"},
        /* Python 3.13 and later in colour; a terminal's ends of lines */
        {"\033[1;35mModuleNotFoundError\033[0m: \033[35mNo module named 'torch'\033[0m\n",
         "torch"},
        {"ModuleNotFoundError: No module named 'torch'\r\n", "torch"},
        /* python -m */
        {"/usr/bin/python3: No module named torch\n", "torch"},
        {"/my dir/python3.11: No module named torch.run\n", "torch.run"},
        {"python: No module named torch\r\n", "torch"},
        {"/usr/bin/python3: Error while finding module specification for 'x.y' "
         "(ModuleNotFoundError: No module named 'x')\n",
         "x"},
        {"/usr/bin/python3: No module named json.__main__; 'json' is a package and "
         "cannot be directly executed\n",
         NULL},
        {"/usr/bin/prog: No module named torch\n", NULL},
        {": No module named torch\n", NULL},
        {"ModuleNotFoundError: No module named 'a.b'; 'a' is not a package\n", NULL},
        {"ModuleNotFoundError: No module named 'a\033[31m; rm -rf /'\n", NULL},
        {"ModuleNotFoundError: No module named 'a b'\n", NULL},
        {"ModuleNotFoundError: No module named ''\n", NULL},
        {"ModuleNotFoundError: No module named 'torch", NULL},
        {"ModuleNotFoundError: No module named '" LONG_64 "'\n", LONG_64},
        {"ModuleNotFoundError: No module named '" LONG_64 "5'\n", NULL},
        {"\033[", NULL},
        {"\033[1;", NULL},
        {"\n\n", NULL},
        {"", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t len = strlen(cases[i].text);
        char *text = malloc(len + 1); /* as long as it is: sanitizers see beyond */
        char name[MISSING_NAME_MAX + 1] = "";
        bool found;

        assert_non_null(text);
        memcpy(text, cases[i].text, len);
        found = missing_module(text, len, name);
        assert_int_equal(found, cases[i].name != NULL);
        if (found) {
            assert_string_equal(name, cases[i].name);
        }
        free(text);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(missing__takes_the_module_and_nothing_else),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

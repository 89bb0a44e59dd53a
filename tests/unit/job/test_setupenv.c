#include "tests/unit/unit.h"

#include "runner/job/setupenv.h"

static void
setupenv__counts_what_steers_and_what_the_command_names(void **state)
{
    static const struct {
        const char *assignment, *command;
        bool counts;
    } cases[] = {
        {"PATH=/x", "true", true},
        {"PATHS=/x", "true", false},
        {"CC=", "true", true},
        {"CCX=1", "true", false},
        {"PIP_INDEX_URL=u", "true", true},
        {"PIP_=u", "true", false},
        {"SEED=1", "pip install torch", false},
        {"V=2.1", "pip install torch==$V", true},
        {"V=2.1", "pip install \"torch==${V:-2}\"", true},
        {"V=2.1", "echo $VERSION V $", false},
        {"V=2.1", "echo $VERSION $V", true},
        {"V=2.1", "echo $V_", false},
        {"GPURUN_ARRAY_INDEX=3", "true", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (setupenv_counts(cases[i].assignment, cases[i].command) != cases[i].counts) {
            fail_msg("%s, %s", cases[i].assignment, cases[i].command);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(setupenv__counts_what_steers_and_what_the_command_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * For sanitizers only: where every process of ours reports what it finds. A client's
 * environment does not reach an agent or a supervisor, and their stderr goes nowhere, so
 * the options are built in (the environment still adds to them); tests/run looks for
 * reports and fails for each.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

int san_options_here; /* the linker is told to look for it (-u) */

const char *__asan_default_options(void);
const char *__ubsan_default_options(void);
const char *__tsan_default_options(void);
int __lsan_is_turned_off(void);

const char *
__asan_default_options(void)
{
    return "detect_stack_use_after_return=1:strict_string_checks=1:log_exe_name=1"
           ":log_path=" SAN_REPORTS;
}

const char *
__ubsan_default_options(void)
{
    return "print_stacktrace=1:log_exe_name=1:log_path=" SAN_REPORTS;
}

const char *
__tsan_default_options(void)
{
    return "halt_on_error=1:log_exe_name=1:log_path=" SAN_REPORTS;
}

/*
 * To look for leaks takes a third of the time of a process that ends soon. Unit tests
 * and corpora always do; of the programs, which scenarios start thousands of times, one
 * process in eight.
 */
int
__lsan_is_turned_off(void)
{
    const char *name = program_invocation_short_name;
    int is_test = strncmp(name, "test_", 5) == 0 || strncmp(name, "fuzz_", 5) == 0;

    return !is_test && getpid() % 8 != 0;
}

/*
 * For sanitizers only: where every process of ours reports what it finds. A client's
 * environment does not reach an agent or a supervisor, and their stderr goes nowhere, so
 * the options are built in (the environment still adds to them); tests/run looks for
 * reports and fails for each.
 */
int san_options_here; /* the linker is told to look for it (-u) */

const char *__asan_default_options(void);
const char *__ubsan_default_options(void);
const char *__tsan_default_options(void);

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

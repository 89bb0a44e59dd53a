/*
 * For coverage only: a process that leaves by _exit, as forked children do, writes what
 * it has counted. The linker puts this before _exit (-Wl,--wrap=_exit).
 */
_Noreturn void __real__exit(int status);
_Noreturn void __wrap__exit(int status);
void __gcov_dump(void);

void
__wrap__exit(int status)
{
    __gcov_dump();
    __real__exit(status);
}

/* table_agent: gpurun-agent's command table, for tests/lint/man. */
#include "runner/host/commands.h"
#include "tests/tools/table_program.h"

int
main(void)
{
    return print_program(&commands_program);
}

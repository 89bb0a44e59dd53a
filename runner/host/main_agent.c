#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "runner/host/commands.h"

/* gpurun-agent: what serves jobs on a host, and what its owner uses. */
int
main(int argc, char **argv)
{
    hash_alone();
    return program_run(&commands_program, argc - 1, argv + 1);
}

#include "runner/book/commands.h"

/* gpurun-book: an operator's book of money, for several renters and hosts. */
int
main(int argc, char **argv)
{
    return program_run(&book_program, argc - 1, argv + 1);
}

#include "runner/book/commands.h"

/* gpurun-book: an operator's book of money, for several renters and hosts. */
int
main(int argc, char **argv)
{
    return book_commands_run(argc - 1, argv + 1);
}

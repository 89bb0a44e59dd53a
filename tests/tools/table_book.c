/* table_book: gpurun-book's command table, for tests/lint/man. */
#include "runner/book/commands.h"
#include "tests/tools/table_program.h"

int
main(void)
{
    return print_program(&book_program);
}

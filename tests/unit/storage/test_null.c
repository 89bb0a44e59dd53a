#include "tests/unit/storage/store_util.h"

#include "storage/build_internal.h"
#include "storage/extract_internal.h"
#include "storage/git_index.h"
#include "storage/ignore.h"
#include "storage/index_bulk.h"
#include "storage/manifest.h"
#include "storage/part.h"
#include "storage/putq.h"
#include "storage/scan_internal.h"
#include "storage/sync.h"

/* Who cleans up after a failure frees what was never made: everything takes NULL. */
static void
free__of_nothing_does_nothing(void **state)
{
    (void)state;
    store_close(NULL);
    index_close(NULL);
    index_bulk_close(NULL);
    manifest_free(NULL);
    pack_writer_free(NULL, -1, true);
    putq_close(NULL);
    tree_close(NULL);
    tree_writer_free(NULL);
    tree_arena_free(NULL);
    tree_part_close(NULL);
    scache_close(NULL);
    scache_discard(NULL);
    scan_close(NULL);
    scan_reader_free(NULL);
    scan_node_free(NULL);
    ignore_dir_free(NULL);
    git_index_free(NULL);
    build_owners_free(NULL);
    build_links_free(NULL);
    sync_send_free(NULL);
    sync_recv_free(NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(free__of_nothing_does_nothing)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}

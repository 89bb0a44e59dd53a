#include "tests/unit/storage/store_util.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>

#include "storage/snap.h"

/* Takes libc's place: between two looks of one who opens a store, another makes it whole.
 */
static const char *make_at;

int
faccessat(int dir_fd, const char *name, int mode, int flags)
{
    int rc = (int)syscall(SYS_faccessat2, dir_fd, name, mode, flags);

    if (rc == -1 && errno == ENOENT && make_at != NULL && strcmp(name, "format") == 0) {
        const char *dir = make_at;
        struct snap_expiry x;
        struct store *other;

        make_at = NULL;
        OK(store_open(&other, dir, NULL, e));
        OK(snap_expire(other, &x, NULL, NULL, e)); /* leaves a file of its own */
        store_close(other);
        errno = ENOENT;
    }
    return rc;
}

static void
store__made_by_another_meanwhile_is_no_foreign_directory(void **state)
{
    char *scratch = scratch_dir();
    char *dir = path_join(scratch, "store");
    struct store *s;

    (void)state;
    make_at = dir;
    OK(store_open(&s, dir, NULL, e));
    assert_null(make_at);
    store_close(s);
    free(dir);
    scratch_free(scratch);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(store__made_by_another_meanwhile_is_no_foreign_directory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

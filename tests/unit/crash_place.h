#ifndef TESTS_UNIT_CRASH_PLACE_H
#define TESTS_UNIT_CRASH_PLACE_H

#include "base/attr.h"
#include "tests/unit/scratch.h"

/* Where the store of one accident lies: in a directory, or on a disk that can be cut off.
 */

static const char *power_dir; /* NULL: no disk; else it holds an empty one, "blank" */

static void command(const char *fmt, ...) PRINTF_LIKE(1, 2);

static void
command(const char *fmt, ...)
{
    char line[900];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (system(line) != 0) {
        fail_msg("failed: %s", line);
    }
}

/* How far the accidents are apart: the variable name, else 1 with GPURUN_CRASH=all, else
 * dflt. */
static inline uint64_t
step_of(uint64_t dflt, const char *name)
{
    const char *all = getenv("GPURUN_CRASH");
    const char *own = getenv(name);

    return own != NULL                              ? strtoull(own, NULL, 10)
           : all != NULL && strcmp(all, "all") == 0 ? 1
                                                    : dflt;
}

/* At the begin of all: on disks if GPURUN_POWER says where these may be. */
static inline void
place_choose(void)
{
    power_dir = getenv("GPURUN_POWER");
    /* The shim knows what a disk would have: in memory syncs cost nothing. */
    if (power_dir == NULL && access("/dev/shm", W_OK) == 0) {
        assert_int_equal(setenv("TMPDIR", "/dev/shm", 1), 0);
    }
    if (power_dir != NULL) {
        command("cd %s && truncate -s 64M blank && mkfs.ext4 -q -F blank", power_dir);
    }
}

/* A fresh place for a store; on a disk of its own if there are disks. */
static char *
place_make(void)
{
    char *dir = scratch_dir();

    if (power_dir != NULL) {
        command("mkdir %s/disk && cp --sparse=always %s/blank %s/image && "
                "mount -o loop,commit=300 %s/image %s/disk",
                dir, power_dir, dir, dir, dir);
    }
    command("mkdir -p -m 0700 %s/disk/store %s/saves", dir, dir);
    if (power_dir != NULL) {
        command("sync -f %s/disk", dir);
    }
    return dir;
}

/* The power is back. */
static void
place_again(const char *dir)
{
    if (power_dir != NULL) {
        command("umount %s/disk && mount -o loop %s/image %s/disk", dir, dir, dir);
    }
}

static void
place_free(char *dir)
{
    if (power_dir != NULL) {
        command("umount %s/disk", dir);
    }
    scratch_free(dir);
}

#endif

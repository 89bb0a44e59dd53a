#include <errno.h>
#include <unistd.h>

#include "base/file.h"
#include "storage/gc_internal.h"
#include "storage/rebuild.h"

/*
 * What lies beside the files of a store since somebody died who was replacing one, or was
 * making the index anew. Of most names nobody comes again to replace them.
 */

static void
say_removed(struct gc *g, const char *name)
{
    gc_say(g, "'%s' was left by a writer that died", name);
}

/* One that cannot be removed takes a little room, no more: gc goes on. */
static int
remove_temporary(void *ctx, int dir_fd, const char *name, struct err *e)
{
    struct gc *g = ctx;
    struct err why;
    bool removed;

    (void)e;
    if (file_remove_left(dir_fd, name, &removed, &why) != 0) {
        gc_tell(g, &why);
    } else if (removed) {
        say_removed(g, name);
    }
    return 0;
}

/* Who makes the index anew has the store alone: nobody does while g->s is open. */
static void
remove_new_index(struct gc *g)
{
    static const char *const names[] = {REBUILD_NEW_FILE "-journal", REBUILD_NEW_FILE};
    struct err why;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (unlinkat(g->s->dir_fd, names[i], 0) == 0) {
            say_removed(g, names[i]);
        } else if (errno != ENOENT) {
            err_set_sys(&why, errno, "cannot remove '%s'", names[i]);
            gc_tell(g, &why);
        }
    }
}

int
gc_sweep_left(struct gc *g, struct err *e)
{
    if (g->o->dry_run) {
        return 0;
    }
    remove_new_index(g);
    return file_each_name(g->s->dir_fd, remove_temporary, g, e) == -1
               ? -1
               : file_each_name(g->s->snaps_fd, remove_temporary, g, e);
}

#include <errno.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "storage/gc_internal.h"
#include "storage/rebuild.h"

/*
 * What lies beside the files of a store since somebody died who was replacing one, or was
 * making the index anew. Of most names nobody comes again to replace them.
 */

static int
remove_name(struct gc *g, int dir_fd, const char *name, struct err *e)
{
    if (unlinkat(dir_fd, name, 0) == -1) {
        return errno == ENOENT ? 0 : err_set_sys(e, errno, "cannot remove '%s'", name);
    }
    gc_say(g, "'%s' was left by a writer that died", name);
    return 0;
}

/* The temporary of file_replace, unless its writer lives: that one has it alone. */
static int
remove_temporary(void *ctx, int dir_fd, const char *name, struct err *e)
{
    int rc = 0;
    int fd;

    if (!text_ends_with(name, ".tmp")) {
        return 0;
    }
    fd = file_open_alone(dir_fd, name, false);
    if (fd != -1) {
        rc = remove_name(ctx, dir_fd, name, e);
    } else if (errno != EWOULDBLOCK) {
        rc = err_set_sys(e, errno, "cannot remove '%s'", name);
    }
    (void)fd_close(&fd);
    return rc;
}

/* Who makes the index anew has the store alone: nobody does while g->s is open. */
static int
remove_new_index(struct gc *g, struct err *e)
{
    return remove_name(g, g->s->dir_fd, REBUILD_NEW_FILE "-journal", e) == -1
               ? -1
               : remove_name(g, g->s->dir_fd, REBUILD_NEW_FILE, e);
}

int
gc_sweep_left(struct gc *g, struct err *e)
{
    if (g->o->dry_run) {
        return 0;
    }
    if (remove_new_index(g, e) == -1 ||
        file_each_name(g->s->dir_fd, remove_temporary, g, e) == -1) {
        return -1;
    }
    return file_each_name(g->s->snaps_fd, remove_temporary, g, e);
}

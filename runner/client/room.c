#include "runner/client/room.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/job/verbs.h"

#define SHOWN_MAX 200
#define FREE_MAX  (TEXT_SIZE_MAX + 64)
#define FEW_FILES 10000

/* ---- a quota, or a disk that is all but full ---- */

void
room_take(struct room *r, const struct rec *accepted)
{
    int64_t left_bytes;
    const char *msg;
    struct err told;
    struct err e;

    memset(r, 0, sizeof *r);
    if (accepted == NULL || strcmp(rec_type(accepted), SHIP_ROOM) != 0 ||
        rec_need_int(accepted, "left_bytes", 0, INT64_MAX, &left_bytes, &e) != 0) {
        return;
    }
    r->left_bytes = (uint64_t)left_bytes;
    r->limited = true;
    if (rec_has(accepted, "msg") && rec_need_str(accepted, "msg", &msg, &e) == 0) {
        err_told(&told, ERR_SPACE, msg, rec_get(accepted, "form"));
        session_peer_error(&told, NULL, &r->why);
        r->why.helps = true;
    }
}

void
room_add_limit(const struct room *r, const char *host, struct err *e)
{
    struct err why = r->why;

    if (why.msg[0] == '\0') {
        return;
    }
    if (!e->helps) {
        (void)err_wrap(&why, "%s", e->msg);
        *e = why;
    }
    (void)err_wrap(e, "%s", host);
}

/* ---- a full disk ---- */

/* Memory is ERR_SPACE as well, and no disk. */
static bool
wants_help(const struct err *e)
{
    return e->code == ERR_SPACE && e->sys_errno != ENOMEM && !e->helps;
}

/* How much of dir's disk we may still fill, and with how many files where those are few.
 */
static void
free_text(const char *dir, char out[FREE_MAX])
{
    char size[TEXT_SIZE_MAX];
    struct statvfs v = {0};

    (void)statvfs(dir, &v);
    text_format_size((uint64_t)v.f_bavail * v.f_frsize, size);
    if (v.f_files > 0 && v.f_favail < FEW_FILES) {
        (void)snprintf(out, FREE_MAX,
                       NP_("%s and %" PRIu64 " inode", "%s and %" PRIu64 " inodes",
                           (int64_t)v.f_favail),
                       size, (uint64_t)v.f_favail);
    } else {
        (void)snprintf(out, FREE_MAX, "%s", size);
    }
}

int
room_full_dir(const char *dir, const char *elsewhere, struct err *e)
{
    char *full = realpath(dir, NULL);
    char room[FREE_MAX];
    char shown[SHOWN_MAX];

    if (wants_help(e)) {
        (void)text_escape_to(shown, sizeof shown, full != NULL ? full : dir);
        free_text(dir, room);
        (void)(elsewhere != NULL
                   ? err_wrap(e, _("'%s' has %s free: make room there, or %s"), shown,
                              room, elsewhere)
                   : err_wrap(e, _("'%s' has %s free: make room there"), shown, room));
        e->helps = true;
    }
    free(full);
    return -1;
}

int
room_full_beside(const char *path, const char *elsewhere, struct err *e)
{
    char *dir = path_parent(path);

    (void)room_full_dir(dir, elsewhere, e);
    free(dir);
    return -1;
}

static int
name_ours(const char *dir, struct err *e)
{
    char room[FREE_MAX];
    char shown[SHOWN_MAX];

    if (wants_help(e)) {
        (void)text_escape_to(shown, sizeof shown, dir);
        free_text(dir, room);
        (void)err_wrap(e,
                       _("'%s' has %s free (`gpurun snap rm` and `gpurun gc` make room; "
                         "GPURUN_HOME names another place)"),
                       shown, room);
        e->helps = true;
    }
    return -1;
}

int
room_full_home(const struct home *home, struct err *e)
{
    return name_ours(home_dir(home), e);
}

int
room_full_host(const struct session *s, struct err *e)
{
    const struct host *h = session_host(s);
    char *dir;

    if (!wants_help(e)) {
        return -1;
    }
    if (!h->local) {
        e->helps = true;
        return err_wrap(e,
                        _("host '%s' has no room left (`gpurun snap rm` and `gpurun gc` "
                          "make some)"),
                        h->name);
    }
    dir = home_path(session_home(s), HOST_LOCAL, NULL);
    (void)name_ours(file_exists(dir) ? dir : home_dir(session_home(s)), e);
    free(dir);
    return err_wrap(e, _("host '%s' has no room left"), h->name);
}

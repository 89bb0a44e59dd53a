#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/cli/arrive.h"
#include "runner/cli/commands.h"
#include "runner/cli/context.h"
#include "runner/cli/find.h"
#include "runner/cli/landed.h"
#include "runner/cli/out.h"
#include "runner/cli/progress.h"
#include "runner/cli/shipline.h"
#include "runner/client/bring.h"
#include "runner/client/forward.h"
#include "runner/client/room.h"
#include "runner/client/ship.h"
#include "runner/client/tmpdir.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"

#define COPY_BYTES ((size_t)1 << 20)

/* "JOB:path" has no slash before its colon; "./a:b" is a file here. */
struct side {
    char *what; /* NULL: local */
    char *path; /* "" is all of it */
    bool slash; /* it ended in one */
};

static void
parse_side(const char *text, struct side *s)
{
    const char *colon = strchr(text, ':');
    const char *slash = strchr(text, '/');
    size_t len = strlen(text);

    s->slash = len > 0 && text[len - 1] == '/';
    if (colon == NULL || colon == text || (slash != NULL && slash < colon)) {
        s->what = NULL;
        s->path = xstrdup(text);
        return;
    }
    s->what = xasprintf("%.*s", (int)(colon - text), text);
    text = colon + 1;
    while (*text == '/' || strncmp(text, "./", 2) == 0) {
        text += *text == '/' ? 1 : 2;
    }
    s->path = xstrdup(strcmp(text, ".") == 0 ? "" : text);
    for (len = strlen(s->path); len > 0 && s->path[len - 1] == '/'; len--) {
        s->path[len - 1] = '\0';
    }
}

static const char *
last_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

struct shown {
    struct progress *progress;
    struct ship *ship;
};

static void
progress_line(void *ctx, struct buf *out)
{
    const struct shown *s = ctx;

    shipline(s->ship, s->progress, _("copying: "), out);
}

/* ---- from there to here ---- */

/* Where it goes: into a folder that is there, else under that very name. */
static char *
local_target(const struct side *dst, const struct side *src)
{
    struct stat st;
    const char *name = src->path[0] != '\0' ? last_name(src->path) : src->what;

    if (stat(dst->path, &st) == 0 && S_ISDIR(st.st_mode)) {
        return path_join(dst->path, name);
    }
    return xstrdup(dst->path);
}

/* within: the target is none of the user's, but lies beneath our home. */
static int
bring_here(struct cli *c, struct client *cl, const struct side *src, const char *target,
           const struct home *within, struct err *e)
{
    struct data_ref ref = {.session = NULL};
    struct bring_want want = {.snapshot = NULL};
    struct extract_report report = {.n_lost_metadata = 0};
    struct land_options lo = {.replace = true, .home = within, .report = &report};
    int rc;

    if (find_data(c, cl, src->what, true, &ref, e) != 0) {
        return -1;
    }
    want.snapshot = ref.snapshot[0] != '\0' ? ref.snapshot : NULL;
    want.job = ref.job;
    want.path = src->path[0] != '\0' ? src->path : NULL;
    rc = arrive(c, cl, &ref, &want, target, &lo, e);
    data_ref_close(&ref);
    return rc == 0 ? landed_tell(c, &report, target, false, e) : -1;
}

static int
copy_here(struct cli *c, const struct side *src, const struct side *dst, struct err *e)
{
    struct client cl = {.loop = NULL};
    char *target = local_target(dst, src);
    int rc = -1;

    if (context_open(&cl, c, e) == 0) {
        rc = bring_here(c, &cl, src, target, NULL, e);
    }
    context_close(&cl);
    free(target);
    return rc;
}

/* ---- from here to there ---- */

static int
copy_file(const char *from, int to_dir_fd, const char *name, mode_t mode, struct err *e)
{
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = in == -1 ? -1
                       : openat(to_dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
                                mode & 0777);
    ssize_t n = -1;

    if (out != -1) {
        do {
            n = copy_file_range(in, NULL, out, NULL, COPY_BYTES, 0);
        } while (n > 0);
        if (n == -1 && (errno == EXDEV || errno == EINVAL || errno == ENOSYS)) {
            char *block = xmalloc(COPY_BYTES);

            while ((n = read(in, block, COPY_BYTES)) > 0 &&
                   fd_write_all(out, block, (size_t)n) == 0) {
            }
            free(block);
        }
    }
    if (in == -1) {
        err_set_sys(e, errno, _("cannot read '%s'"), from);
    } else if (n != 0 || fd_close(&out) != 0) {
        err_set_sys(e, errno, _("cannot copy '%s'"), from);
        n = -1;
    }
    (void)fd_close(&in);
    (void)fd_close(&out);
    return n == 0 ? 0 : -1;
}

/*
 * A single file travels as a folder that holds it alone, under the name it is to have;
 * *dir is that folder, to be removed in any case.
 */
static int
stage_file(struct home *home, const char *from, const char *name, struct tmpdir *dir,
           struct err *e)
{
    struct stat st;
    int fd = -1;
    int rc = -1;

    if (stat(from, &st) == -1) {
        return err_set_sys(e, errno, _("cannot read '%s'"), from);
    }
    if (tmpdir_make(dir, home, "cp.", e) != 0) {
        return -1;
    }
    fd = open(dir->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    rc = fd == -1 ? err_set_sys(e, errno, "cannot open '%s'", dir->path)
                  : copy_file(from, fd, name, st.st_mode, e);
    (void)fd_close(&fd);
    return rc == 0 ? 0 : room_full_home(home, e);
}

static int
put_tree(struct session *s, const char *job, const struct sha256 *tree, const char *path,
         const char *only, struct err *e)
{
    struct rec *req = msg_request_new(VERB_JOB_PUT);
    struct rec *resp = NULL;
    int rc;

    msg_add_key(req, NULL);
    rec_add(req, "job", job);
    rec_add_hex(req, "tree", tree->b, sizeof tree->b);
    rec_add(req, "path", path);
    if (only != NULL) {
        rec_add(req, "only", only);
    }
    rc = session_call(s, req, -1, &resp, e);
    rec_free(resp);
    rec_free(req);
    return rc;
}

/* Is path a folder in the job's directory? */
static int
is_remote_dir(struct session *s, const char *job, const char *path, bool *is_dir,
              struct err *e)
{
    struct rec *req = msg_request_new(VERB_JOB_STAT);
    struct rec *resp = NULL;
    const char *type;
    int rc;

    rec_add(req, "job", job);
    rec_add(req, "path", path);
    rc = session_call(s, req, CONTEXT_ANSWER_NS, &resp, e);
    if (rc == 0) {
        type = rec_get(resp, "type");
        *is_dir = type != NULL && strcmp(type, "dir") == 0;
    }
    rec_free(resp);
    rec_free(req);
    return rc;
}

/* Into a folder that is there, or that is asked for by a slash; else under that name. */
static int
remote_target(struct data_ref *ref, const struct side *dst, const char *name, char **out,
              struct err *e)
{
    bool is_dir = dst->slash || dst->path[0] == '\0';

    if (!is_dir && is_remote_dir(ref->session, ref->job, dst->path, &is_dir, e) != 0) {
        return -1;
    }
    if (!is_dir || name == NULL) {
        *out = xstrdup(dst->path);
    } else {
        *out = dst->path[0] == '\0' ? xstrdup(name) : path_join(dst->path, name);
    }
    return 0;
}

static int
send_dir(struct cli *c, struct client *cl, struct session *s, const char *dir,
         struct shown *shown, struct sha256 *tree, struct err *e)
{
    struct ship_options so = {.dir = dir, .everything = true, .allow_home = true};
    const struct build_report *report;
    int rc = -1;

    if (ship_start(&shown->ship, cl, &so, e) != 0) {
        return -1;
    }
    shown->progress = progress_start(c, cl->loop, progress_line, shown);
    if (forward_ship(cl, shown->ship, s, e) == 0 &&
        ship_wait_built(shown->ship, &report, e) == 0) {
        *tree = report->tree;
        rc = 0;
    }
    progress_end(shown->progress);
    ship_free(shown->ship);
    shown->ship = NULL;
    return rc;
}

static int
send_one(struct cli *c, struct client *cl, struct data_ref *ref, const char *from,
         const char *target, bool is_dir, struct err *e)
{
    struct shown shown = {.progress = NULL};
    char *into = is_dir ? xstrdup(target) : path_parent(target);
    const char *only = is_dir ? NULL : last_name(target);
    struct tmpdir staged = TMPDIR_NONE;
    struct sha256 tree;
    int rc = -1;

    if (is_dir || stage_file(cl->home, from, only, &staged, e) == 0) {
        c->stage = STAGE_TRYING;
        if (send_dir(c, cl, ref->session, is_dir ? from : staged.path, &shown, &tree,
                     e) == 0) {
            c->stage = STAGE_CHANGED;
            rc = put_tree(ref->session, ref->job, &tree,
                          strcmp(into, ".") == 0 ? "" : into, only, e);
        }
    }
    tmpdir_remove(&staged);
    free(into);
    return rc;
}

/* name NULL: what is in the folder `from`, not the folder itself. */
static int
send_it(struct cli *c, struct client *cl, const char *from, const char *name,
        const struct side *dst, bool is_dir, struct err *e)
{
    struct data_ref ref = {.session = NULL};
    char *target = NULL;
    int rc = -1;

    if (find_data(c, cl, dst->what, true, &ref, e) != 0) {
        return -1;
    }
    if (ref.job[0] == '\0') {
        err_set(
            e, ERR_INVALID,
            _("'%s' does not run: snapshots are never changed (`gpurun resume` starts "
              "a job from one)"),
            dst->what);
    } else if (remote_target(&ref, dst, name, &target, e) == 0) {
        rc = send_one(c, cl, &ref, from, target, is_dir, e);
    }
    data_ref_close(&ref);
    free(target);
    return rc;
}

/* "." and "x/." are what is in the folder. */
static bool
means_contents(const char *path)
{
    size_t len = strlen(path);

    return strcmp(path, ".") == 0 || (len > 1 && strcmp(path + len - 2, "/.") == 0);
}

static int
copy_there(struct cli *c, const struct side *src, const struct side *dst, struct err *e)
{
    struct client cl = {.loop = NULL};
    char *from = realpath(src->path, NULL);
    struct stat st;
    int rc = -1;

    if (from == NULL || stat(from, &st) == -1) {
        free(from);
        return err_set(e, ERR_NOT_FOUND, _("no '%s' here: %s"), src->path,
                       strerror(errno));
    }
    if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode)) {
        free(from);
        return err_set(e, ERR_INVALID, _("'%s' is neither file nor folder"), src->path);
    }
    if (context_open(&cl, c, e) == 0) {
        rc = send_it(c, &cl, from, means_contents(src->path) ? NULL : last_name(from),
                     dst, S_ISDIR(st.st_mode), e);
    }
    context_close(&cl);
    free(from);
    return rc;
}

/* ---- from there to there ---- */

/* Through a folder here: the two may be on hosts that do not know each other. */
static int
copy_across(struct cli *c, const struct side *src, const struct side *dst, struct err *e)
{
    const char *name = src->path[0] != '\0' ? last_name(src->path) : "all";
    struct client cl = {.loop = NULL};
    struct side here = {.what = NULL};
    struct tmpdir dir = TMPDIR_NONE;
    struct stat st;
    int rc = -1;

    if (context_open(&cl, c, e) != 0 || tmpdir_make(&dir, cl.home, "cp.", e) != 0) {
        goto out;
    }
    here.path = path_join(dir.path, name);
    if (bring_here(c, &cl, src, here.path, cl.home, e) == 0) {
        if (lstat(here.path, &st) != 0 ||
            (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))) {
            err_set(e, ERR_INVALID, _("'%s' is neither file nor folder"), src->path);
        } else {
            rc = send_it(c, &cl, here.path, src->path[0] != '\0' ? name : NULL, dst,
                         S_ISDIR(st.st_mode), e);
        }
    }

out:
    tmpdir_remove(&dir);
    context_close(&cl);
    free(here.path);
    return rc;
}

static int
run_cp(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    struct side src;
    struct side dst;
    int rc;

    (void)options;
    parse_side(w->v[0], &src);
    parse_side(w->v[1], &dst);
    if (src.what != NULL && dst.what == NULL) {
        rc = copy_here(c, &src, &dst, e);
    } else if (src.what == NULL && dst.what != NULL) {
        rc = copy_there(c, &src, &dst, e);
    } else if (src.what != NULL) {
        rc = copy_across(c, &src, &dst, e);
    } else {
        rc = err_set(e, ERR_INVALID, "%s",
                     _("one side at least is JOB:path or SNAPSHOT:path"));
    }
    free(src.what);
    free(src.path);
    free(dst.what);
    free(dst.path);
    return rc;
}

const struct command cmd_cp = {
    .name = "cp",
    .usage = N_("SRC DST"),
    .help = N_("copy between here, a job's directory (JOB:path) and snapshots"),
    .about = N_("JOB:path is the job's directory while it runs, its snapshot afterwards; "
                "JOB: alone is all of it."),
    .min_words = 2,
    .max_words = 2,
    .word = WORD_JOB_PATH,
    .run = run_cp,
};

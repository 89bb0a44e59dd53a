#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/cli/commands.h"
#include "runner/cli/context.h"
#include "runner/cli/find.h"
#include "runner/cli/out.h"
#include "runner/cli/progress.h"
#include "runner/cli/snapview.h"
#include "runner/client/bring.h"
#include "runner/client/cut.h"
#include "runner/client/forward.h"
#include "runner/client/hosts.h"
#include "runner/client/room.h"
#include "runner/client/snaps.h"
#include "storage/manifest.h"
#include "storage/tarball.h"

/*
 * Snapshots as files: `snap export` and `snap import`. Both go through a scratch store
 * here: what a host sends, and what a file holds, is checked before anything is made of
 * it, and a cut link costs nothing that has come.
 */

#define LEFT_SHOWN    10
#define PIPE_QUIET_MS 500 /* so long nothing has to be said of one */

/* What is going on, for the line on the terminal. */
struct moving {
    struct cli *c;
    struct loop *loop;
    struct progress *progress;
    const char *what;
    uint64_t done_bytes;
    uint64_t total_bytes; /* 0: unknown */
    bool fetching;
    struct sync_stats fetched; /* while it is */
    size_t n_left;
};

static void
moving_line(void *ctx, struct buf *out)
{
    struct moving *m = ctx;
    int64_t elapsed_ns = progress_elapsed_ns(m->progress);

    buf_printf(out, "%s: ", m->what);
    if (m->fetching) {
        progress_fetched(out, &m->fetched, (int64_t)m->total_bytes, elapsed_ns);
    } else {
        progress_amount(out, m->done_bytes, m->total_bytes, elapsed_ns);
    }
}

static void
moving_begin(struct moving *m, const char *what, uint64_t total_bytes)
{
    progress_end(m->progress);
    m->what = what;
    m->fetching = false;
    m->done_bytes = 0;
    m->total_bytes = total_bytes;
    m->progress = progress_start(m->c, m->loop, moving_line, m);
}

/* The archive is made on the loop's thread: the line is drawn in between. */
static void
on_archive(void *ctx, uint64_t n_entries, uint64_t bytes)
{
    struct moving *m = ctx;

    (void)n_entries;
    m->done_bytes = bytes;
    progress_breathe(m->progress);
}

static void
on_fetched(void *ctx, const struct sync_stats *st)
{
    struct moving *m = ctx;

    m->fetched = *st;
}

static void
on_left_out(void *ctx, const char *path, const char *why)
{
    struct moving *m = ctx;

    if (m->n_left++ < LEFT_SHOWN) {
        say(m->c, _("not for tar: %s (%s); `gpurun snap import` has it"), path, why);
    }
}

/* ---- export ---- */

struct export_options {
    const char *out;
};

static const struct opt options_export[] = {
    {"out", 'o', OPT_STR, offsetof(struct export_options, out), "FILE",
     N_("NAME.tar.zst or NAME.tar; - is stdout, as .tar.zst (default: the snapshot's "
        "name.tar.zst)")},
    {NULL, 0, OPT_NONE, 0, NULL, NULL},
};

static int
check_file(const char *file, bool *plain, struct err *e)
{
    char shown[200];

    (void)text_escape_to(shown, sizeof shown, file);
    *plain = text_ends_with(file, ".tar");
    if (strcmp(file, "-") == 0) {
        return out_is_terminal(STDOUT_FILENO)
                   ? err_set(e, ERR_INVALID, "%s",
                             _("an archive is nothing for a terminal: name a file, or "
                               "pipe it on"))
                   : 0;
    }
    if (!*plain && !text_ends_with(file, ".tar.zst") && !text_ends_with(file, ".tzst")) {
        return err_set(e, ERR_INVALID, _("'%s': call it NAME.tar.zst or NAME.tar"),
                       shown);
    }
    if (file_exists(file)) {
        return err_set(e, ERR_EXISTS, _("'%s' is there already; -o names another file"),
                       shown);
    }
    return 0;
}

static char *
default_file(const struct data_ref *ref)
{
    const char *name = ref->info.name;
    bool good = name != NULL && name[0] != '\0' && name[0] != '.' && name[0] != '-' &&
                strchr(name, '/') == NULL;

    return xasprintf("%s.tar.zst", good ? name : ref->snapshot);
}

static int
write_fd(void *ctx, const void *data, size_t n, struct err *e)
{
    if (cut_came()) {
        return err_set(e, ERR_BUSY,
                       "cut by a signal"); /* which ends us before it is seen */
    }
    return fd_write_all(*(int *)ctx, data, n) == 0
               ? 0
               : err_set_sys(e, errno, "%s", _("cannot write the archive"));
}

/* What has the name is whole: until then it has none, or another where it needs one. */
struct export_file {
    const char *name;
    char *part; /* NULL: it has none, and goes with us however we end */
    int fd;
};

/* By /proc alone can a file without a name be given one. */
static int
open_nameless(const char *name)
{
    char *dir = path_parent(name);
    int fd = -1;

    if (access("/proc/self/fd", X_OK) == 0) {
        fd = open(dir, O_WRONLY | O_TMPFILE | O_CLOEXEC, 0666);
    }
    free(dir);
    return fd;
}

static int
export_open(struct export_file *f, const char *name, struct err *e)
{
    *f = (struct export_file){.name = name, .fd = open_nameless(name)};
    if (f->fd == -1) {
        f->part = xasprintf("%s.part", name);
        f->fd = open(f->part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    }
    if (f->fd != -1) {
        return 0;
    }
    if (errno == EEXIST) {
        err_set(e, ERR_EXISTS,
                _("'%s' is there: another export writes it, or was cut; remove it, or -o "
                  "names another file"),
                f->part);
    } else {
        err_set_sys(e, errno, _("cannot make '%s'"), name);
    }
    free(f->part);
    f->part = NULL;
    return -1;
}

/* 0, or -1 with errno: nothing that came meanwhile is replaced. */
static int
export_name(const struct export_file *f)
{
    char proc[40];

    if (f->part == NULL) {
        (void)snprintf(proc, sizeof proc, "/proc/self/fd/%d", f->fd);
        return linkat(AT_FDCWD, proc, AT_FDCWD, f->name, AT_SYMLINK_FOLLOW);
    }
    if (renameat2(AT_FDCWD, f->part, AT_FDCWD, f->name, RENAME_NOREPLACE) == 0) {
        return 0;
    }
    return errno == EEXIST ? -1 : rename(f->part, f->name);
}

static int
export_to_file(struct scratch *scratch, const struct sha256 *tree,
               const struct buf *manifest, const char *file, struct tarball_options *o,
               struct tarball_report *r, struct err *e)
{
    struct export_file f;
    struct cut cut;
    int rc = -1;

    cut_begin(&cut);
    if (export_open(&f, file, e) != 0 ||
        tarball_export(scratch_store(scratch), tree, manifest->data, manifest->len, o,
                       write_fd, &f.fd, r, e) != 0) {
        goto out;
    }
    if (fsync(f.fd) != 0) {
        err_set_sys(e, errno, _("cannot write '%s'"), file);
    } else if (export_name(&f) != 0) {
        err_set_sys(e, errno, _("cannot make '%s'"), file);
    } else {
        rc = 0;
    }

out:
    (void)fd_close(&f.fd); /* all of it was synced */
    if (rc != 0 && f.part != NULL) {
        (void)unlink(f.part);
    }
    cut_end(&cut);
    free(f.part);
    return rc == 0 ? 0 : room_full_beside(file, _("-o names another place"), e);
}

static int
print_export(const struct cli *c, const char *id, const char *file,
             const struct tarball_report *r, struct err *e)
{
    struct buf out = BUF_INIT;
    int rc;

    if (c->g.json) {
        struct json_writer j = json_to(&out);

        json_obj(&j);
        json_kstr(&j, "id", id);
        json_kname(&j, "path", file, strlen(file));
        json_kint(&j, "entries", (int64_t)r->n_entries);
        json_kint(&j, "bytes", (int64_t)r->bytes);
        json_kint(&j, "left_out", (int64_t)r->n_left_out);
        json_obj_end(&j);
    } else {
        text_escape(&out, file, strlen(file));
    }
    buf_add_str(&out, "\n");
    rc = out_write(&out, e);
    buf_free(&out);
    return rc;
}

/* The snapshot's data and its manifest, to here. */
static int
fetch(struct client *cl, struct data_ref *ref, struct moving *m, struct scratch *to,
      struct buf *manifest, struct brought *got, struct err *e)
{
    struct bring_want want = {
        .snapshot = ref->snapshot, .progress = on_fetched, .ctx = m};
    struct snap_info info;

    if (!ref->info.kept) {
        return err_set(e, ERR_NOT_FOUND, _("the data of snapshot %s is gone"),
                       ref->snapshot);
    }
    snap_info_init(&info);
    moving_begin(m, _("fetching"), (uint64_t)ref->info.stored_bytes);
    m->fetching = true;
    m->fetched = (struct sync_stats){0};
    if (snaps_show(ref->session, ref->snapshot, &info, manifest, e) != 0 ||
        bring_tree(cl, ref->session, to, &want, got, e) != 0) {
        snap_info_free(&info);
        return -1;
    }
    snap_info_free(&info);
    return 0;
}

struct exporting {
    struct cli *c;
    struct client *cl;
    struct data_ref *ref;
    struct moving *m;
    struct tarball_options *to;
    const char *file;
    bool went_out; /* something did, to stdout: there is no second try of that */
};

/* From the copy that ref is. */
static int
export_one(struct exporting *x, struct err *e)
{
    struct scratch *scratch = NULL;
    struct buf manifest = BUF_INIT;
    struct tarball_report r = {0};
    struct brought got;
    int fd = STDOUT_FILENO;
    int rc = -1;

    x->m->n_left = 0;
    if (scratch_for(&scratch, x->cl->home, x->ref->session, e) != 0 ||
        fetch(x->cl, x->ref, x->m, scratch, &manifest, &got, e) != 0) {
        goto out;
    }
    moving_begin(x->m, _("writing"), (uint64_t)x->ref->info.content_bytes);
    if (strcmp(x->file, "-") == 0) {
        x->went_out = true;
        rc = tarball_export(scratch_store(scratch), &got.tree, manifest.data,
                            manifest.len, x->to, write_fd, &fd, &r, e);
    } else if (export_to_file(scratch, &got.tree, &manifest, x->file, x->to, &r, e) ==
               0) {
        rc = print_export(x->c, x->ref->snapshot, x->file, &r, e);
    }

out:
    progress_end(x->m->progress);
    x->m->progress = NULL;
    scratch_free(scratch);
    buf_free(&manifest);
    return rc;
}

static int
run_export(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    const struct export_options *o = options;
    struct client cl = {.loop = NULL};
    struct data_ref ref = {.session = NULL};
    struct moving m = {.c = c};
    struct tarball_options to = {
        .left_out = on_left_out, .progress = on_archive, .ctx = &m};
    char *file = o->out != NULL ? xstrdup(o->out) : NULL;
    struct exporting x = {.c = c, .cl = &cl, .ref = &ref, .m = &m, .to = &to};
    int rc = -1;

    if ((file != NULL && check_file(file, &to.plain, e) != 0) ||
        context_open(&cl, c, e) != 0 || find_data(c, &cl, w->v[0], false, &ref, e) != 0) {
        goto out;
    }
    m.loop = cl.loop;
    if (file == NULL) {
        file = default_file(&ref);
        if (check_file(file, &to.plain, e) != 0) {
            goto out;
        }
    }
    x.file = file;
    do {
        rc = export_one(&x, e);
    } while (rc != 0 && !x.went_out && find_sound(c, &cl, &ref, NULL, e));
    if (rc == 0 && m.n_left > LEFT_SHOWN) {
        say(c, _("not for tar: %zu in all"), m.n_left);
    }

out:
    data_ref_close(&ref);
    context_close(&cl);
    free(file);
    return rc;
}

/* ---- import ---- */

struct import_options {
    const char *host;
};

static const struct opt options_import[] = {
    {"host", 0, OPT_STR, offsetof(struct import_options, host), "NAME",
     N_("into that host's store (default: local)")},
    {NULL, 0, OPT_NONE, 0, NULL, NULL},
};

struct sending {
    struct ship *ship;
    struct moving *moving;
};

static void
on_sent(void *ctx)
{
    struct sending *x = ctx;
    struct sync_stats st;

    if (x->ship != NULL) {
        ship_stats(x->ship, &st);
        x->moving->done_bytes = st.sent_bytes;
    }
}

static int
snapshot_of(const struct buf *manifest, char id[JOB_ID_LEN + 1], struct err *e)
{
    struct manifest *m = NULL;

    if (manifest_parse(&m, manifest->data, manifest->len, e) != 0) {
        return -1;
    }
    (void)snprintf(id, JOB_ID_LEN + 1, "%s", m->id);
    manifest_free(m);
    return id_check(ID_SNAPSHOT, id, e);
}

static int
send_on(struct cli *c, struct client *cl, struct session *s, struct scratch *from,
        const struct sha256 *tree, const struct buf *manifest, struct moving *m,
        struct err *e)
{
    struct sending x = {.moving = m};
    struct snap_info info;
    char id[JOB_ID_LEN + 1];
    int rc = -1;

    moving_begin(m, _("sending"), 0);
    if (snapshot_of(manifest, id, e) != 0 ||
        ship_start_stored(&x.ship, cl, scratch_store(from), tree, manifest, on_sent, &x,
                          e) != 0) {
        return -1;
    }
    c->stage = STAGE_CHANGED;
    if (forward_ship(cl, x.ship, s, e) == 0 && snaps_show(s, id, &info, NULL, e) == 0) {
        rc = snapview_made(c, &info, e);
        snap_info_free(&info);
    } else if (e->code == ERR_SPACE) {
        c->stage = STAGE_TRYING; /* nothing is kept of what there is no room for */
    }
    ship_free(x.ship);
    return rc;
}

/* What comes out of a pipe may not be there yet: who waits long for it is told so. */
static int
await_archive(struct cli *c, const char *shown, int fd, struct err *e)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int n = poll(&p, 1, PIPE_QUIET_MS);

    if (n == 0) {
        say(c, _("waiting for the archive that comes out of '%s'"), shown);
    }
    while (n == 0 || (n == -1 && errno == EINTR)) {
        n = poll(&p, 1, -1);
    }
    return n > 0 ? 0 : err_set_sys(e, errno, _("cannot read '%s'"), shown);
}

/* It is opened at once, also a pipe that nobody writes to (yet). */
static int
open_archive(struct cli *c, const char *file, int *out, struct err *e)
{
    int fd = open(file, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    char shown[200];
    struct stat st;
    int rc = -1;

    (void)text_escape_to(shown, sizeof shown, file);
    if (fd == -1) {
        return err_set(e, ERR_NOT_FOUND, _("cannot open '%s': %s"), shown,
                       strerror(errno));
    }
    if (fstat(fd, &st) != 0 || fcntl(fd, F_SETFL, 0) != 0) {
        err_set_sys(e, errno, _("cannot read '%s'"), shown);
    } else if (S_ISDIR(st.st_mode)) {
        err_set(e, ERR_INVALID,
                _("'%s' is a directory: import takes the file that `gpurun snap export` "
                  "made, `gpurun snap take` takes a directory"),
                shown);
    } else if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)) {
        rc = await_archive(c, shown, fd, e);
    } else {
        rc = 0;
    }
    if (rc == 0) {
        *out = fd;
        fd = -1;
    }
    (void)fd_close(&fd);
    return rc;
}

static int
import_one(struct cli *c, struct client *cl, struct session *s, const char *file,
           struct moving *m, struct err *e)
{
    struct tarball_options to = {.progress = on_archive, .ctx = m};
    bool is_stdin = strcmp(file, "-") == 0;
    int fd = STDIN_FILENO;
    struct scratch *scratch = NULL;
    struct buf manifest = BUF_INIT;
    struct tarball_report r = {0};
    int rc = -1;

    if (!is_stdin && open_archive(c, file, &fd, e) != 0) {
        return -1;
    }
    moving_begin(m, _("reading"), 0);
    if (scratch_new(&scratch, cl->home, e) != 0) {
        goto out;
    }
    if (tarball_import(scratch_store(scratch), fd, &to, &manifest, &r, e) != 0) {
        struct err why;

        (void)room_full_home(cl->home, e);
        why = *e;
        if (why.code == ERR_INVALID) {
            err_set(e, ERR_INVALID,
                    _("'%s': %s; of another archive: unpack it, then `gpurun snap take "
                      "DIR`"),
                    file, why.msg);
        } else {
            (void)err_wrap(e, "'%s'", file);
        }
        goto out;
    }
    rc = send_on(c, cl, s, scratch, &r.tree, &manifest, m, e);

out:
    scratch_free(scratch);
    buf_free(&manifest);
    if (!is_stdin) {
        (void)fd_close(&fd);
    }
    return rc;
}

static int
run_import(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    const struct import_options *o = options;
    struct client cl = {.loop = NULL};
    struct session *s = NULL;
    struct moving m = {.c = c};
    int rc = -1;

    if (context_open(&cl, c, e) != 0 ||
        context_session(&cl, o->host != NULL ? o->host : HOST_LOCAL, CONTEXT_PATIENCE_NS,
                        &s, e) != 0) {
        c->stage = e->code == ERR_NOT_FOUND ? STAGE_INPUT : STAGE_TRYING;
        goto out;
    }
    c->stage = STAGE_TRYING;
    m.loop = cl.loop;
    rc = 0;
    for (int i = 0; i < w->n && rc == 0; i++) {
        rc = import_one(c, &cl, s, w->v[i], &m, e);
    }

out:
    progress_end(m.progress);
    session_close(s);
    context_close(&cl);
    return rc;
}

/* ---- the table ---- */

const struct command sub_snap_export = {
    .name = "export",
    .usage = N_("SNAPSHOT [-o FILE]"),
    .help = N_("write a snapshot as an archive that tar reads"),
    .options = options_export,
    .options_size = sizeof(struct export_options),
    .min_words = 1,
    .max_words = 1,
    .word = WORD_JOB_OR_SNAPSHOT,
    .run = run_export,
};
const struct command sub_snap_import = {
    .name = "import",
    .usage = N_("FILE... [--host NAME]"),
    .help = N_("take exported snapshots into a host's store"),
    .options = options_import,
    .options_size = sizeof(struct import_options),
    .min_words = 1,
    .max_words = -1,
    .word = WORD_FILE,
    .run = run_import,
};

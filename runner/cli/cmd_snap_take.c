#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/lang.h"
#include "runner/cli/commands.h"
#include "runner/cli/context.h"
#include "runner/cli/due.h"
#include "runner/cli/folder.h"
#include "runner/cli/out.h"
#include "runner/cli/snapview.h"
#include "runner/client/room.h"
#include "runner/client/snaps.h"
#include "runner/job/ids.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"

struct take_options {
    const char *host;
    const char *name;
};

static const struct opt options_take[] = {
    {"host", 0, OPT_STR, offsetof(struct take_options, host), "NAME",
     N_("put a folder into that host's store (default: local)")},
    {"name", 0, OPT_STR, offsetof(struct take_options, name), "NAME", N_("call it NAME")},
    {NULL, 0, OPT_NONE, 0, NULL, NULL},
};

static int
ask_take(struct cli *c, struct client *cl, struct session *s, const char *job,
         const struct sha256 *tree, const char *name, struct err *e)
{
    struct rec *req = msg_request_new(VERB_SNAP_TAKE);
    struct rec *resp = NULL;
    struct snap_info info;
    const char *bytes;
    size_t len;
    char id[JOB_ID_LEN + 1];
    int rc;

    random_id("s", id);
    msg_add_key(req, NULL);
    rec_add(req, "snapshot", id);
    if (job != NULL) {
        rec_add(req, "job", job);
    } else {
        rec_add_hex(req, "tree", tree->b, sizeof tree->b);
    }
    if (name != NULL) {
        rec_add(req, "name", name);
    }
    c->stage = STAGE_CHANGED;
    due_expect_snapshot(c, cl, session_host(s), id, name);
    rc = session_call(s, req, -1, &resp, e);
    rec_free(req);
    if (rc != 0) {
        c->stage = e->code == ERR_LINK ? STAGE_CHANGED : STAGE_TRYING;
        if (e->code != ERR_LINK) {
            copies_forget(c->home, id);
        }
        return room_full_host(s, e);
    }
    bytes = rec_get_bytes(resp, "snap", &len);
    if (bytes == NULL ||
        snap_info_parse(&info, session_host(s)->name, bytes, len, e) != 0) {
        rec_free(resp);
        return bytes != NULL ? -1
                             : err_set(e, ERR_CORRUPT, _("the host names no snapshot"));
    }
    rc = snapview_made(c, &info, e);
    due_pay_snapshot(c, cl, s, id);
    snap_info_free(&info);
    rec_free(resp);
    return rc;
}

static int
take_job(struct cli *c, const char *what, const struct take_options *o, struct err *e)
{
    struct client cl = {.loop = NULL};
    struct session *s = NULL;
    struct job_record job;
    int rc = -1;

    job_record_init(&job);
    if (context_open(&cl, c, e) == 0 &&
        context_job(c, &cl, what, CONTEXT_PATIENCE_NS, &job, &s, e) == 0) {
        rc = ask_take(c, &cl, s, job.id, NULL, o->name, e);
    }
    session_close(s);
    job_record_free(&job);
    context_close(&cl);
    return rc;
}

/* What could not be given by --name is none; its id names it, too. */
static const char *
name_of_folder(const struct cli *c, const struct folder *f)
{
    struct err why;

    if (job_name_check(f->name, &why) == 0) {
        return f->name;
    }
    say(c, _("kept without a name, for the folder's is none (%s); --name gives one"),
        why.msg);
    return NULL;
}

static int
take_sent(struct cli *c, struct client *cl, struct session *s, const struct folder *f,
          void *ctx, struct err *e)
{
    const struct take_options *o = ctx;

    return ask_take(c, cl, s, NULL, &f->report->tree,
                    o->name != NULL ? o->name : name_of_folder(c, f), e);
}

static int
take_dir(struct cli *c, const char *dir, const struct take_options *o, struct err *e)
{
    struct take_options copy = *o;

    return folder_send(c, dir, o->host != NULL ? o->host : HOST_LOCAL, take_sent, &copy,
                       e);
}

static int
run_take(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    const struct take_options *o = options;
    struct stat st;

    if (o->name != NULL && job_name_check(o->name, e) != 0) {
        return err_wrap(e, "--name");
    }
    if (stat(w->v[0], &st) == 0 && S_ISDIR(st.st_mode)) {
        return take_dir(c, w->v[0], o, e);
    }
    if (o->host != NULL || strchr(w->v[0], '/') != NULL) {
        return err_set(e, ERR_NOT_FOUND, _("no directory '%s'"), w->v[0]);
    }
    if (take_job(c, w->v[0], o, e) != 0) {
        return e->code == ERR_NOT_FOUND ? err_wrap(e, "'%s' is no folder", w->v[0]) : -1;
    }
    return 0;
}

const struct command sub_snap_take = {
    .name = "take",
    .usage = N_("DIR|JOB [--host NAME]"),
    .help = N_("put a folder, or a running job's data, into a host's store"),
    .options = options_take,
    .options_size = sizeof(struct take_options),
    .min_words = 1,
    .max_words = 1,
    .word = WORD_JOB_OR_FILE,
    .run = run_take,
};

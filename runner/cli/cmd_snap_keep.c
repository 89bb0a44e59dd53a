#include <stddef.h>
#include <string.h>

#include "base/buf.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/cli/commands.h"
#include "runner/cli/context.h"
#include "runner/cli/find.h"
#include "runner/cli/out.h"
#include "runner/cli/snapview.h"
#include "runner/client/copies.h"
#include "runner/client/keepings.h"
#include "runner/client/snaps.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"
#include "storage/snap.h"

/* `snap keep` and `snap rm`: how long the data stays, of every copy. */

#define NS_PER_S ((int64_t)1000000000)

struct keep_options {
    const char *days;
};

static const struct opt options_keep[] = {
    {"days", 0, OPT_STR, offsetof(struct keep_options, days), "N",
     N_("keep its data so many days from the recorded end")},
    {NULL, 0, OPT_NONE, 0, NULL, NULL},
};

/* What keeping it has cost is known now: a line of its own, posted to the book. */
static void
post_keeping(struct cli *c, struct client *cl, struct session *s, const char *job)
{
    bool there = false;
    struct err why;

    if (job != NULL && keepings_fetch(cl, s, job, &there, &why) != 0) {
        say(c,
            _("what keeping it cost is not posted yet: %s; the same command again does"),
            why.msg);
    }
}

/* So many days of keeping; at most as far as there is time. */
static int64_t
days_on(const struct snap_info *of, int64_t days)
{
    int64_t until;

    return __builtin_add_overflow(snap_kept_from_ns(of->made_wall_ns, of->ended_wall_ns),
                                  days * 86400 * NS_PER_S, &until)
               ? INT64_MAX
               : until;
}

/* One copy; days < 0: it is given up. */
static int
ask_copy(struct cli *c, struct client *cl, struct session *s, const char *verb,
         const struct snap_info *of, int64_t days, struct snap_info *out, struct err *e)
{
    struct rec *req = msg_request_new(verb);
    struct rec *resp = NULL;
    const char *bytes;
    size_t len;
    int rc = -1;

    msg_add_key(req, NULL);
    rec_add(req, "snapshot", of->id);
    if (days >= 0) {
        rec_add_int(req, "expires_wall_ns", days_on(of, days));
    }
    if (session_call(s, req, CONTEXT_ANSWER_NS, &resp, e) != 0) {
        goto out;
    }
    if (days < 0) {
        post_keeping(c, cl, s, of->job);
    }
    bytes = rec_get_bytes(resp, "snap", &len);
    rc = bytes == NULL ? err_set(e, ERR_CORRUPT, _("the host names no snapshot"))
                       : snap_info_parse(out, session_host(s)->name, bytes, len, e);

out:
    rec_free(resp);
    rec_free(req);
    return rc;
}

/* The copies elsewhere: what holds for a snapshot holds for all of them. */
static int
ask_others(struct cli *c, struct client *cl, const char *verb, struct data_ref *ref,
           int64_t days, struct err *e)
{
    struct snap_infos l = {NULL, 0};
    struct buf silent = BUF_INIT;
    int rc = find_all_snapshots(c, cl, false, &ref->silent, &l, &silent, e);

    for (size_t i = 0; i < l.n && rc == 0; i++) {
        const struct snap_info *s = &l.v[i];
        struct session *there = NULL;
        struct snap_info info;

        if (strcmp(s->id, ref->snapshot) != 0 ||
            !(s->kept || (s->damaged != NULL && days < 0)) ||
            strcmp(s->host, session_host(ref->session)->name) == 0) {
            continue;
        }
        rc = context_session(cl, s->host, CONTEXT_PATIENCE_NS, &there, e);
        if (rc == 0 && (rc = ask_copy(c, cl, there, verb, s, days, &info, e)) == 0) {
            snap_info_free(&info);
        }
        session_close(there);
    }
    if (rc == 0 && silent.len > 0) {
        say(c, _("not asked: %s; a copy there stays as it was"), buf_str(&silent));
    }
    snap_infos_free(&l);
    buf_free(&silent);
    return rc;
}

static int
ask_snap(struct cli *c, const char *verb, const char *what, int64_t days, struct err *e)
{
    struct client cl = {.loop = NULL};
    struct data_ref ref = {.session = NULL};
    struct snap_info info;
    int rc = -1;

    snap_info_init(&info);
    if (context_open(&cl, c, e) == 0 &&
        (days < 0 ? find_to_remove(c, &cl, what, &ref, e)
                  : find_data(c, &cl, what, false, &ref, e)) == 0 &&
        ask_copy(c, &cl, ref.session, verb, &ref.info, days, &info, e) == 0) {
        c->stage = STAGE_CHANGED;
        if (days < 0) {
            copies_settle(c->home, ref.snapshot);
        }
        if (ask_others(c, &cl, verb, &ref, days, e) == 0) {
            rc = snapview_made(c, &info, e);
        }
    }
    snap_info_free(&info);
    data_ref_close(&ref);
    context_close(&cl);
    return rc;
}

static int
run_keep(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    const struct keep_options *o = options;
    int64_t days;

    if (o->days == NULL) {
        return err_set(e, ERR_INVALID, "%s", _("keep wants --days N"));
    }
    if (text_parse_int(o->days, 0, 36500, "--days", &days, e) != 0) {
        return -1;
    }
    return ask_snap(c, VERB_SNAP_KEEP, w->v[0], days, e);
}

static int
run_rm(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    (void)options;
    return ask_snap(c, VERB_SNAP_RM, w->v[0], -1, e);
}

const struct command sub_snap_keep = {
    .name = "keep",
    .usage = N_("SNAPSHOT --days N"),
    .help = N_("keep a snapshot's data longer, or less long"),
    .options = options_keep,
    .options_size = sizeof(struct keep_options),
    .min_words = 1,
    .max_words = 1,
    .word = WORD_JOB_OR_SNAPSHOT,
    .run = run_keep,
};
const struct command sub_snap_rm = {
    .name = "rm",
    .usage = N_("SNAPSHOT"),
    .help = N_("give up a snapshot's data; what it was stays on record"),
    .min_words = 1,
    .max_words = 1,
    .word = WORD_JOB_OR_SNAPSHOT,
    .run = run_rm,
};

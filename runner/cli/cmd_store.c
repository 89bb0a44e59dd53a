#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/cli/commands.h"
#include "runner/cli/context.h"
#include "runner/cli/find.h"
#include "runner/cli/out.h"
#include "runner/cli/watched.h"
#include "runner/client/hosts.h"
#include "runner/client/place.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"

/*
 * Looking after the stores on the hosts: `gc` and `fsck` ask one host after the other
 * for the renter's own, `snap verify` for one snapshot.
 */

struct store_options {
    const char *host;
    bool dry_run;
};

/* Gathered from all hosts. */
struct gathered {
    struct buf *out;
    struct json_writer *j; /* NULL: for people */
    const char *host;
    bool dry_run;
    int64_t n_bad; /* hosts with damage */
};

static int64_t
number(const struct rec *r, const char *key)
{
    struct err none;
    int64_t v;

    return rec_need_int(r, key, 0, INT64_MAX, &v, &none) == 0 ? v : 0;
}

/* ---- answers ---- */

/* What one question is answered by: more than once where more is damaged than one holds.
 */
struct answers {
    struct rec **v;
    size_t n;
};

typedef void take_fn(struct gathered *g, const struct answers *a);

static void
answers_free(struct answers *a)
{
    for (size_t i = 0; i < a->n; i++) {
        rec_free(a->v[i]);
    }
    free(a->v);
}

/* Five million damaged files, or what a host that means harm may fill our memory with. */
#define ANSWERS_MAX 100

struct question {
    const struct cli *c;
    struct client *cl;
    const char *verb;
    const char *snapshot; /* NULL: of none */
    bool dry_run;
};

static int
ask_once(struct session *s, const struct question *q, int64_t named, struct answers *a,
         struct err *e)
{
    struct rec *req = msg_request_new(q->verb);
    struct rec *resp = NULL;
    int rc;

    if (q->snapshot != NULL) {
        rec_add(req, "snapshot", q->snapshot);
    }
    if (q->dry_run) {
        rec_add_int(req, "dry_run", 1);
    }
    if (named > 0) {
        rec_add_int(req, "named", named);
    }
    rc = watched_call(q->c, q->cl, s, req, &resp, e);
    if (rc == 0) {
        a->v = xrealloc(a->v, (a->n + 1) * sizeof(struct rec *));
        a->v[a->n++] = resp;
    }
    rec_free(req);
    return rc;
}

/* Asks again while there is more; a host that says so and names nothing is not believed.
 */
static int
ask_for_all(struct session *s, const struct question *q, struct answers *a, struct err *e)
{
    int64_t named = 0;
    int64_t last;

    do {
        if (ask_once(s, q, named, a, e) != 0) {
            return -1;
        }
        last =
            number(a->v[a->n - 1], "more") == 1 ? number(a->v[a->n - 1], "n_named") : 0;
        named = last <= INT64_MAX - named ? named + last : INT64_MAX;
    } while (last > 0 && a->n < ANSWERS_MAX);
    return 0;
}

static void
json_escaped(struct json_writer *j, const char *text, size_t len)
{
    struct buf b = BUF_INIT;

    text_escape(&b, text, len);
    json_str(j, buf_str(&b));
    buf_free(&b);
}

/* A cut in the middle of a character leaves up to so much of an error's room. */
#define CUT_MAX 4

/*
 * A peer's line in the user's words. It may be longer than an error can be (a path): then
 * as it came, for what a cut takes off is what is wrong.
 */
static void
add_told(struct buf *out, const char *value, size_t len, const char *form)
{
    struct err told = {.msg = ""};

    if (form != NULL && form[0] != '\0') {
        err_told(&told, ERR_NONE, value, form);
    }
    if (told.msg[0] != '\0' && strlen(told.msg) + CUT_MAX < sizeof told.msg) {
        text_escape(out, told.msg, strlen(told.msg));
    } else {
        text_escape(out, value, len);
    }
}

static void
add_lines_of(struct gathered *g, const struct rec *resp)
{
    for (size_t i = 0; i < rec_count(resp, "line"); i++) {
        size_t len;
        const char *value = rec_get_nth(resp, "line", i, &len);
        const char *form = rec_get_nth(resp, "line_form", i, NULL);

        if (g->j != NULL) {
            json_escaped(g->j, value, len);
            continue;
        }
        buf_printf(g->out, "%s: ", g->host);
        add_told(g->out, value, len, form);
        buf_add_str(g->out, "\n");
    }
}

/* The peer's lines, each on one of ours. */
static void
add_lines(struct gathered *g, const struct answers *a)
{
    if (g->j != NULL) {
        json_key(g->j, "lines");
        json_arr(g->j);
    }
    for (size_t i = 0; i < a->n; i++) {
        add_lines_of(g, a->v[i]);
    }
    if (g->j != NULL) {
        json_arr_end(g->j);
    }
}

static void
say_left_alone(struct gathered *g, int64_t n_unreadable, int64_t n_no_room)
{
    if (n_unreadable > 0) {
        buf_printf(g->out,
                   NP_("%s: %" PRId64
                       " pack cannot be read and is left alone: see `gpurun fsck`\n",
                       "%s: %" PRId64 " packs cannot be read and are left alone: see "
                       "`gpurun fsck`\n",
                       n_unreadable),
                   g->host, n_unreadable);
    }
    if (n_no_room > 0) {
        buf_printf(g->out,
                   NP_("%s: %" PRId64 " pack stays for now: the disk has no room to "
                       "write anew what is kept of it\n",
                       "%s: %" PRId64
                       " packs stay for now: the disk has no room to write "
                       "anew what is kept of them\n",
                       n_no_room),
                   g->host, n_no_room);
    }
}

static void
take_gc(struct gathered *g, const struct answers *a)
{
    const struct rec *resp = a->v[0];
    const char *doubt = rec_get(resp, "clock_doubt");
    int64_t n_expired = number(resp, "n_expired");
    char size[TEXT_SIZE_MAX];

    add_lines(g, a);
    if (g->j != NULL) {
        json_kbool(g->j, "dry_run", g->dry_run);
        json_kint(g->j, "freed_bytes", number(resp, "freed_bytes"));
        json_kint(g->j, "expired", n_expired);
        json_kint(g->j, "unreadable", number(resp, "n_unreadable"));
        json_kint(g->j, "no_room", number(resp, "n_no_room"));
        json_kstr(g->j, "clock_doubt", doubt);
        return;
    }
    text_format_size((uint64_t)number(resp, "freed_bytes"), size);
    buf_printf(g->out,
               g->dry_run
                   ? NP_("%s: nothing was changed: %s would be freed, %" PRId64
                         " snapshot would expire\n",
                         "%s: nothing was changed: %s would be freed, %" PRId64
                         " snapshots would expire\n",
                         n_expired)
                   : NP_("%s: %s freed, %" PRId64 " snapshot expired\n",
                         "%s: %s freed, %" PRId64 " snapshots expired\n", n_expired),
               g->host, size, n_expired);
    say_left_alone(g, number(resp, "n_unreadable"), number(resp, "n_no_room"));
    if (doubt != NULL) {
        struct err told;

        err_told(&told, ERR_NONE, doubt, rec_get(resp, "clock_doubt_form"));
        buf_printf(g->out, _("%s: nothing expires: "), g->host);
        text_escape(g->out, told.msg, strlen(told.msg));
        buf_add_str(g->out, "\n");
    }
}

static void
take_fsck(struct gathered *g, const struct answers *a)
{
    const struct rec *resp = a->v[0];
    bool clean = number(resp, "clean") == 1;
    char size[TEXT_SIZE_MAX];

    g->n_bad += !clean;
    add_lines(g, a);
    if (g->j != NULL) {
        json_kbool(g->j, "sound", clean);
        json_kint(g->j, "chunks", number(resp, "n_chunks"));
        json_kint(g->j, "bytes", number(resp, "bytes"));
        json_kint(g->j, "snapshots", number(resp, "n_snaps"));
        json_kint(g->j, "snapshots_damaged", number(resp, "n_snaps_damaged"));
        json_kint(g->j, "files_damaged", number(resp, "n_files_damaged"));
        return;
    }
    text_format_size((uint64_t)number(resp, "bytes"), size);
    if (clean) {
        buf_printf(g->out,
                   NP_("%s: %" PRId64 " chunk, %s", "%s: %" PRId64 " chunks, %s",
                       number(resp, "n_chunks")),
                   g->host, number(resp, "n_chunks"), size);
        buf_printf(g->out,
                   NP_(", %" PRId64 " snapshot: sound\n",
                       ", %" PRId64 " snapshots: sound\n", number(resp, "n_snaps")),
                   number(resp, "n_snaps"));
    } else if (number(resp, "n_files_damaged") == 0 &&
               number(resp, "n_snaps_damaged") > 0) {
        buf_printf(g->out,
                   NP_("%s: DAMAGED: %" PRId64 " snapshot\n",
                       "%s: DAMAGED: %" PRId64 " snapshots\n",
                       number(resp, "n_snaps_damaged")),
                   g->host, number(resp, "n_snaps_damaged"));
    } else {
        buf_printf(g->out,
                   NP_("%s: DAMAGED: %" PRId64 " file", "%s: DAMAGED: %" PRId64 " files",
                       number(resp, "n_files_damaged")),
                   g->host, number(resp, "n_files_damaged"));
        buf_printf(g->out,
                   NP_(" of %" PRId64 " snapshot\n", " of %" PRId64 " snapshots\n",
                       number(resp, "n_snaps_damaged")),
                   number(resp, "n_snaps_damaged"));
    }
}

/* ---- asking ---- */

static int
ask_one(struct session *s, const struct question *q, struct gathered *g, take_fn *take,
        struct err *e)
{
    struct answers a = {.n = 0};
    int rc = ask_for_all(s, q, &a, e);

    if (rc == 0) {
        g->host = session_host(s)->name;
        if (g->j != NULL) {
            json_obj(g->j);
            json_kstr(g->j, "host", g->host);
        }
        take(g, &a);
        if (g->j != NULL) {
            json_obj_end(g->j);
        }
    }
    answers_free(&a);
    return rc;
}

/* All hosts that answer; the first failure is the command's, after all were asked. */
static int
ask_all(const struct question *q, struct gathered *g, take_fn *take, struct err *e)
{
    struct client *cl = q->cl;
    struct host_list hosts = {NULL, 0};
    struct place *p = NULL;
    int rc = -1;

    if (hosts_list_used(cl->home, &hosts, e) != 0) {
        return -1;
    }
    if (place_open(&p, cl, &hosts, e) == 0 && place_ask_all(p, e) == 0) {
        rc = 0;
    }
    for (size_t i = 0; rc != -1 && i < place_n(p); i++) {
        const struct candidate *cand = place_at(p, i);
        struct err why;

        if (session_state(cand->session) != SESSION_UP) {
            why = session_why(cand->session)->err;
        } else if (ask_one(cand->session, q, g, take, &why) == 0) {
            continue;
        }
        if (rc == 0) {
            *e = why;
            rc = 1;
        } else {
            say(q->c, "%s", why.msg);
        }
    }
    place_free(p);
    host_list_free(&hosts);
    return rc == 0 ? 0 : -1;
}

static int
ask(struct cli *c, const struct store_options *o, const char *verb, take_fn *take,
    struct err *e)
{
    struct client cl = {.loop = NULL};
    const struct question q = {.c = c, .cl = &cl, .verb = verb, .dry_run = o->dry_run};
    struct session *s = NULL;
    struct buf out = BUF_INIT;
    struct json_writer j = json_to(&out);
    struct gathered g = {.out = &out, .j = c->g.json ? &j : NULL, .dry_run = o->dry_run};
    struct err why = {0};
    int rc = -1;

    if (c->g.json) {
        json_obj(&j);
        json_key(&j, "hosts");
        json_arr(&j);
    }
    if (context_open(&cl, c, e) == 0 && o->host != NULL) {
        rc = context_session(&cl, o->host, CONTEXT_PATIENCE_NS, &s, e);
        c->stage = STAGE_TRYING;
        rc = rc == 0 ? ask_one(s, &q, &g, take, e) : -1;
    } else if (cl.loop != NULL) {
        c->stage = STAGE_TRYING;
        rc = ask_all(&q, &g, take, e);
    }
    if (c->g.json) {
        json_arr_end(&j);
        json_obj_end(&j);
        buf_add_str(&out, "\n");
    }
    /* What the others said is shown, whatever went wrong with one. */
    if (out_write(&out, &why) != 0 && rc == 0) {
        *e = why;
        rc = -1;
    }
    if (rc == 0 && g.n_bad > 0) {
        rc = err_set(e, ERR_CORRUPT, "%s",
                     _("damage was found: the files named above cannot be given back "
                       "until they are shipped or kept again"));
    }
    session_close(s);
    context_close(&cl);
    buf_free(&out);
    return rc;
}

static int
run_gc(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    (void)w;
    return ask(c, options, VERB_STORE_GC, take_gc, e);
}

static int
run_fsck(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    (void)w;
    return ask(c, options, VERB_STORE_FSCK, take_fsck, e);
}

/* ---- snap verify ---- */

static void
show_damaged(struct json_writer *j, const struct rec *resp, struct buf *out)
{
    for (size_t i = 0; i < rec_count(resp, "damaged"); i++) {
        const char *why = rec_get_nth(resp, "damaged_why", i, NULL);
        size_t len;
        const char *name = rec_get_nth(resp, "damaged", i, &len);
        struct err told;

        why = why != NULL ? why : "";
        if (j != NULL) {
            json_obj(j);
            json_kname(j, "name", name, len);
            json_key(j, "why");
            json_escaped(j, why, strlen(why));
            json_obj_end(j);
        } else {
            err_told(&told, ERR_NONE, why, rec_get_nth(resp, "damaged_form", i, NULL));
            text_escape(out, name, len);
            buf_add_str(out, ": ");
            text_escape(out, told.msg, strlen(told.msg));
            buf_add_str(out, "\n");
        }
    }
}

static void
show_verified(const struct cli *c, const struct data_ref *ref, const struct answers *a,
              struct buf *out)
{
    const struct rec *resp = a->v[0];
    struct json_writer j = json_to(out);
    char size[TEXT_SIZE_MAX];

    if (c->g.json) {
        json_obj(&j);
        json_kstr(&j, "id", ref->snapshot);
        json_kbool(&j, "sound", number(resp, "n_damaged") == 0);
        json_kint(&j, "bytes", number(resp, "bytes"));
        json_kint(&j, "damaged", number(resp, "n_damaged"));
        json_key(&j, "files");
        json_arr(&j);
    }
    for (size_t i = 0; i < a->n; i++) {
        show_damaged(c->g.json ? &j : NULL, a->v[i], out);
    }
    if (c->g.json) {
        json_arr_end(&j);
        json_obj_end(&j);
        buf_add_str(out, "\n");
    } else if (number(resp, "n_damaged") == 0) {
        text_format_size((uint64_t)number(resp, "bytes"), size);
        buf_printf(out, _("%s: %s read, every chunk has its hash: sound\n"),
                   ref->snapshot, size);
    }
}

static int
run_verify(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    struct client cl = {.loop = NULL};
    struct data_ref ref = {.session = NULL};
    struct question q = {.c = c, .cl = &cl, .verb = VERB_SNAP_VERIFY};
    struct answers a = {.n = 0};
    struct buf out = BUF_INIT;
    int rc = -1;

    (void)options;
    if (context_open(&cl, c, e) != 0 || find_data(c, &cl, w->v[0], false, &ref, e) != 0) {
        goto out;
    }
    q.snapshot = ref.snapshot;
    if (ask_for_all(ref.session, &q, &a, e) != 0) {
        goto out;
    }
    show_verified(c, &ref, &a, &out);
    rc = out_write(&out, e);
    if (rc == 0 && number(a.v[0], "n_damaged") > 0) {
        rc = err_set(e, ERR_CORRUPT,
                     NP_("snapshot %s is damaged: %" PRId64 " file",
                         "snapshot %s is damaged: %" PRId64 " files",
                         number(a.v[0], "n_damaged")),
                     ref.snapshot, number(a.v[0], "n_damaged"));
    }

out:
    answers_free(&a);
    data_ref_close(&ref);
    context_close(&cl);
    buf_free(&out);
    return rc;
}

/* ---- the table ---- */

static const struct opt options_gc[] = {
    {"dry-run", 0, OPT_FLAG, offsetof(struct store_options, dry_run), NULL,
     N_("say what would be done and why, and change nothing")},
    {"host", 0, OPT_STR, offsetof(struct store_options, host), "NAME",
     N_("only on this host")},
    {NULL, 0, OPT_NONE, 0, NULL, NULL},
};

static const struct opt options_fsck[] = {
    {"host", 0, OPT_STR, offsetof(struct store_options, host), "NAME",
     N_("only on this host")},
    {NULL, 0, OPT_NONE, 0, NULL, NULL},
};

const struct command cmd_gc = {
    .name = "gc",
    .usage = N_("[--dry-run] [--host NAME]"),
    .help = N_("give the room back that no snapshot needs any more"),
    .options = options_gc,
    .options_size = sizeof(struct store_options),
    .run = run_gc,
};

const struct command cmd_fsck = {
    .name = "fsck",
    .usage = N_("[--host NAME]"),
    .help = N_("read and check every byte that is kept, and mend what can be mended"),
    .options = options_fsck,
    .options_size = sizeof(struct store_options),
    .run = run_fsck,
};

const struct command sub_snap_verify = {
    .name = "verify",
    .usage = N_("SNAPSHOT"),
    .help = N_("read a snapshot whole on its host, and check every chunk by its hash"),
    .min_words = 1,
    .max_words = 1,
    .word = WORD_JOB_OR_SNAPSHOT,
    .run = run_verify,
};

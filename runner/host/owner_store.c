#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/host/agent.h"
#include "runner/host/commands.h"
#include "runner/host/earned.h"
#include "runner/host/errands.h"
#include "runner/host/notices.h"
#include "runner/host/owner_book.h"
#include "runner/host/owner_json.h"
#include "runner/host/park.h"
#include "runner/host/recover.h"
#include "runner/host/seen.h"
#include "runner/host/upkeep.h"
#include "runner/host/workdirs.h"
#include "storage/fsck.h"
#include "storage/gc.h"
#include "storage/snap.h"
#include "storage/store.h"

/* ---- every renter's store ---- */

typedef int store_fn(void *ctx, const struct renter *r, const char *path, struct err *e);

/* The first failure is told, the others are still seen to. */
static int
each_store(const struct agent *a, store_fn *fn, void *ctx, struct err *e)
{
    struct renter_ids l;
    int rc = 0;

    if (renter_list(a, &l, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < l.n; i++) {
        struct renter *r = NULL;
        struct err why;
        char *path;

        if (renter_open(&r, a, l.v[i], false, &why) != 0) {
            continue;
        }
        path = workdirs_store_path(r);
        if (file_exists(path) && fn(ctx, r, path, &why) != 0 && rc == 0) {
            *e = why;
            rc = err_wrap(e, "renter %s", r->id);
        }
        free(path);
        renter_close(r);
    }
    renter_ids_free(&l);
    return rc;
}

static void
say_line(void *arg, const struct err *line)
{
    (void)arg;
    (void)printf("%s\n", line->msg);
}

/* ---- gc ---- */

struct gc_job {
    bool dry_run;
    bool quiet; /* only sums are asked for */
    struct upkeep_gc sums;
};

static int
gc_one(void *ctx, const struct renter *r, const char *path, struct err *e)
{
    struct gc_job *j = ctx;
    const struct upkeep_told told = {.say = j->dry_run && !j->quiet ? say_line : NULL};
    int rc = upkeep_gc(r, j->dry_run, &told, &j->sums, e);

    (void)path;
    if (j->sums.clock_doubt.code != ERR_NONE) {
        (void)fprintf(stderr, _("gpurun-agent: nothing expires: %s\n"),
                      j->sums.clock_doubt.msg);
    }
    return rc;
}

/* What else a tick has done. */
struct ticked {
    size_t n_lost;    /* jobs */
    size_t n_told;    /* notices */
    size_t n_booked;  /* things that books have taken */
    size_t n_refused; /* and, told now, refused for good */
};

/* t: NULL where it was no tick. */
static int
print_sums(const struct gc_job *g, const struct ticked *t, struct err *e)
{
    struct buf b = BUF_INIT;
    struct json_writer j = json_to(&b);

    json_obj(&j);
    json_kbool(&j, "dry_run", g->dry_run);
    json_kint(&j, "freed_bytes", (int64_t)g->sums.freed_bytes);
    json_kint(&j, "expired", (int64_t)g->sums.n_expired);
    json_kint(&j, "unreadable", (int64_t)g->sums.n_unreadable);
    json_kint(&j, "no_room", (int64_t)g->sums.n_no_room);
    if (t != NULL) {
        json_kint(&j, "lost", (int64_t)t->n_lost);
        json_kint(&j, "told", (int64_t)t->n_told);
        json_kint(&j, "booked", (int64_t)t->n_booked);
        json_kint(&j, "refused", (int64_t)t->n_refused);
    }
    json_obj_end(&j);
    return program_print_json(&b, e);
}

static void
say_left(const struct upkeep_gc *sums)
{
    if (sums->n_unreadable > 0) {
        (void)fprintf(stderr,
                      _("gpurun-agent: left alone, as they cannot be read: %" PRIu64
                        " packs; gpurun-agent fsck looks at them\n"),
                      sums->n_unreadable);
    }
    if (sums->n_no_room > 0) {
        (void)fprintf(stderr,
                      _("gpurun-agent: left alone, as the disk has no room to write anew "
                        "what stays of them: %" PRIu64 " packs\n"),
                      sums->n_no_room);
    }
}

int
owner_gc(const struct command_options *o, int argc, char **argv, struct err *e)
{
    struct gc_job j = {.dry_run = o->dry_run, .quiet = o->json};
    struct agent *a = NULL;
    char size[TEXT_SIZE_MAX];
    struct err ignored;
    int rc;

    (void)argc;
    (void)argv;
    if (agent_open(&a, e) != 0) {
        return -1;
    }
    rc = each_store(a, gc_one, &j, e);
    agent_close(a);
    if (o->json) {
        return print_sums(&j, NULL, rc == 0 ? e : &ignored) == 0 ? rc : -1;
    }
    text_format_size(j.sums.freed_bytes, size);
    (void)printf(o->dry_run ? NP_("nothing was changed: %s would be freed, %zu snapshot "
                                  "would expire\n",
                                  "nothing was changed: %s would be freed, %zu snapshots "
                                  "would expire\n",
                                  j.sums.n_expired)
                            : NP_("%s freed, %zu snapshot expired\n",
                                  "%s freed, %zu snapshots expired\n", j.sums.n_expired),
                 size, j.sums.n_expired);
    say_left(&j.sums);
    return rc;
}

/* ---- fsck ---- */

struct fsck_job {
    bool clean;
    struct json_writer *j; /* NULL: for people */
    struct json_writer *damaged;
};

static void
say_damaged(void *arg, const char *snap_id, const char *path, size_t path_len,
            const struct err *why)
{
    const struct fsck_job *j = arg;
    struct buf b = BUF_INIT;

    if (j->j != NULL) {
        json_obj(j->damaged);
        json_kstr(j->damaged, "snapshot", snap_id);
        json_kname(j->damaged, "path", path == NULL ? "" : path, path_len);
        json_kstr(j->damaged, "why", why->msg);
        json_obj_end(j->damaged);
        return;
    }
    text_escape(&b, path == NULL ? "" : path, path == NULL ? 0 : path_len);
    (void)printf(_("snapshot %s: %s%s%s\n"), snap_id, buf_str(&b),
                 path == NULL ? "" : ": ", why->msg);
    buf_free(&b);
}

static int
fsck_one(void *ctx, const struct renter *r, const char *path, struct err *e)
{
    struct fsck_job *j = ctx;
    struct fsck_options o = {.walk = gc_walk_tree,
                             .files = fsck_files_tree,
                             .damaged = say_damaged,
                             .say = j->j == NULL ? say_line : NULL,
                             .arg = j};
    struct fsck_result res = {0};

    if (fsck_run(path, &o, &res, e) != 0) {
        return -1;
    }
    j->clean = j->clean && fsck_clean(&res);
    if (j->j != NULL) {
        json_obj(j->j);
        json_kstr(j->j, "renter", r->id);
        json_kint(j->j, "chunks", (int64_t)res.n_chunks);
        json_kint(j->j, "packs", (int64_t)res.n_packs);
        json_kint(j->j, "snapshots", (int64_t)res.n_snaps);
        json_kbool(j->j, "sound", fsck_clean(&res));
        json_obj_end(j->j);
        return 0;
    }
    (void)printf(_("renter %s: chunks: %" PRIu64 ", packs: %" PRIu64
                   ", snapshots: %" PRIu64 ": %s\n"),
                 r->id, res.n_chunks, res.n_packs, res.n_snaps,
                 fsck_clean(&res) ? _("sound") : _("DAMAGED"));
    return 0;
}

/* Damaged files turn up between the stores' sums: they are written aside. */
static int
fsck_json(const struct agent *a, struct fsck_job *job, struct err *e)
{
    struct buf b = BUF_INIT;
    struct buf aside = BUF_INIT;
    struct json_writer j = json_to(&b);
    struct json_writer damaged = json_to(&aside);
    int rc;

    job->j = &j;
    job->damaged = &damaged;
    json_arr(&damaged);
    json_obj(&j);
    json_key(&j, "stores");
    json_arr(&j);
    rc = each_store(a, fsck_one, job, e);
    json_arr_end(&j);
    json_arr_end(&damaged);
    /* One member more, its value ready-made. */
    buf_add_str(&b, ",\"damaged\":");
    buf_add(&b, aside.data, aside.len);
    json_obj_end(&j);
    buf_free(&aside);
    if (rc != 0) {
        buf_free(&b);
        return -1;
    }
    return program_print_json(&b, e);
}

int
owner_fsck(const struct command_options *o, int argc, char **argv, struct err *e)
{
    struct fsck_job j = {.clean = true};
    struct agent *a = NULL;
    int rc;

    (void)argc;
    (void)argv;
    if (agent_open(&a, e) != 0) {
        return -1;
    }
    rc = o->json ? fsck_json(a, &j, e) : each_store(a, fsck_one, &j, e);
    agent_close(a);
    return rc != 0 ? rc : j.clean ? 0 : 1;
}

/* ---- tick ---- */

/* What the audit lives on: who looked when, and what was earned until then. */
static int
keep_books(const struct agent *a, struct err *e)
{
    struct ledger *l = NULL;
    int rc = seen_note(a, e);

    if (rc == 0 && earned_open(&l, a, e) == 0) {
        rc = earned_sync(l, a, e);
        ledger_close(l);
    } else {
        rc = -1;
    }
    return rc;
}

struct tell_job {
    const struct agent *agent;
    size_t n_told;
};

/* What is about to go, before it is looked at what is over. */
static int
tell_one(void *ctx, const struct renter *r, const char *path, struct err *e)
{
    struct tell_job *t = ctx;

    (void)path;
    return notices_give(t->agent, r, &t->n_told, e);
}

int
owner_tick(const struct command_options *o, int argc, char **argv, struct err *e)
{
    struct gc_job j = {.dry_run = false};
    struct tell_job told = {NULL, 0};
    struct agent *a = NULL;
    struct ticked t = {0, 0, 0, 0};
    struct errands booked;
    size_t n_refused = 0;
    char *paused;
    struct err why;
    int rc;

    (void)argc;
    (void)argv;
    if (agent_open(&a, e) != 0) {
        return -1;
    }
    paused = lang_pause(); /* what is kept of all this is English */
    rc = recover_all(a, &t.n_lost, e);
    lang_resume(paused);
    if (t.n_lost > 0 && !o->json) {
        (void)printf(
            NP_("%zu job was found lost\n", "%zu jobs were found lost\n", t.n_lost),
            t.n_lost);
    }
    told.agent = a;
    paused = lang_pause();
    if (each_store(a, tell_one, &told, &why) != 0 && rc == 0) {
        *e = why;
        rc = -1;
    }
    lang_resume(paused);
    if (each_store(a, gc_one, &j, &why) != 0 && rc == 0) {
        *e = why;
        rc = -1;
    }
    if (keep_books(a, &why) != 0 && rc == 0) {
        *e = why;
        rc = -1;
    }
    /* Last: a book far away may take its time. */
    if (owner_book_tell(a, &booked, &n_refused, &why) != 0 && rc == 0) {
        *e = why;
        rc = -1;
    }
    park_ensure(a);
    agent_close(a);
    t.n_told = told.n_told;
    t.n_booked = booked.n_told;
    t.n_refused = n_refused;
    if (rc == 0 && o->json) {
        rc = print_sums(&j, &t, e);
    }
    return rc == 0 ? owner_book_refused(n_refused, e) : rc;
}

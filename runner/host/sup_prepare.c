#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "runner/host/supervise_internal.h"
#include "runner/host/work.h"
#include "runner/host/workdirs.h"

/*
 * Getting ready, on a thread of its own: the job's directory, its place for temporary
 * files, its environment. Free for the renter, and holding up nothing: the loop goes on
 * answering.
 */

/* Outside the snapshot, short (sockets are made in it), and nobody else's. */
static int
make_tmp(struct sup *s, struct err *e)
{
    const char *base = getenv("TMPDIR");

    base = base == NULL || base[0] != '/' || strlen(base) > 40 ? "/tmp" : base;
    s->tmpdir = xasprintf("%s/gpurun-%s", base, s->spec.job);
    if (mkdir(s->tmpdir, 0700) != 0) {
        return err_set_sys(e, errno, "cannot make '%s' for temporary files", s->tmpdir);
    }
    return 0;
}

static int
prepare_run(void *ctx, struct err *e)
{
    struct sup *s = ctx;
    bool private_tmp =
        s->renter->confined && guard_spaces(s->guard) != SANDBOX_SPACES_NONE;

    sup_env_login(s); /* first: --notify-host tells of whatever fails */
    if (make_tmp(s, e) != 0 ||
        workdirs_make(s->renter, &s->spec, &s->workdir, &s->work_note, e) != 0 ||
        sup_data_place(s, e) != 0 || (s->setup_due && sup_setup_copy(s, e) != 0)) {
        return -1;
    }
    s->tmp_seen = xstrdup(private_tmp ? "/tmp" : s->tmpdir);
    if (sup_env_build(s, e) != 0) {
        return -1;
    }
    return s->setup_due ? sup_setup_tools(s, e) : 0;
}

static void
prepare_done(void *ctx, int rc, const struct err *why)
{
    struct sup *s = ctx;
    const char *const notes[] = {s->work_note, s->login_note};

    s->preparing = false;
    strings_add_all(&s->user_env, &s->login);
    for (size_t i = 0; i < sizeof notes / sizeof notes[0]; i++) {
        if (notes[i] != NULL) {
            sup_say(s, "%s", notes[i]);
        }
    }
    if (s->stop_reason != JOB_REASON_NONE) {
        sup_end(s);
        return;
    }
    if (rc != 0) {
        s->stop_reason =
            why->code == ERR_SPACE || why->code == ERR_SYSTEM || why->code == ERR_CORRUPT
                ? JOB_FAULT
                : JOB_FAILED;
        s->stop_why = *why;
        sup_end(s);
        return;
    }
    state_set_text(&s->state.workdir, s->workdir);
    if (s->spec.setup != NULL) {
        sup_setup_take(s);
    } else {
        sup_run_walls(s);
    }
}

static void
guard_readable(void *ctx, int events)
{
    struct sup *s = ctx;
    struct guard_event ev;

    (void)events;
    while (s->guard != NULL && guard_next(s->guard, &ev)) { /* an end frees it */
        if (ev.kind == GUARD_EV_GONE) {
            watch_free(s->guard_watch);
            s->guard_watch = NULL;
        }
        if (!sup_exec_guard_event(s, &ev) && !sup_setup_guard_event(s, &ev)) {
            sup_run_guard_event(s, &ev);
        }
    }
}

void
sup_prepare(struct sup *s)
{
    struct err e;

    /* Before any thread: the guard is made by forks that go on running our code. */
    if ((s->guard == NULL && guard_start(&s->guard, &e) != 0) ||
        watch_new(&s->guard_watch, s->loop, guard_fd(s->guard), guard_readable, s, &e) !=
            0) {
        goto failed;
    }
    watch_arm(s->guard_watch, WATCH_READ);
    if (guard_hold(s->guard, &s->dir.lock_fd, 1, &e) != 0) {
        goto failed;
    }
    if (s->lock_fds[0] != -1 && guard_hold(s->guard, s->lock_fds, s->n_picked, &e) != 0) {
        goto failed;
    }
    s->preparing = true;
    if (work_start(s->loop, prepare_run, prepare_done, s, &e) != 0) {
        s->preparing = false;
        goto failed;
    }
    sup_meter(s, USAGE_PREPARING, "accepted"); /* while the thread is at it */
    return;

failed:
    sup_fail(s, JOB_FAULT, &e);
}

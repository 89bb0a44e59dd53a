#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "runner/host/supervise_internal.h"
#include "runner/host/work.h"

#define PUMP_ROUND_BYTES                                                                 \
    ((size_t)1 << 20) /* of one stream before the other has its turn */
#define SYNC_NS ((int64_t)1000000000)

/*
 * From the job's pipes to its log. A job never waits for a disk or a client: what cannot
 * be kept is dropped and leaves a hole (job/logseg.h).
 */

int
sup_log_open(struct sup *s, struct err *e)
{
    s->log_fd = openat(s->dir.fd, "log", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (s->log_fd == -1) {
        return err_set_sys(e, errno, "cannot open the job's log directory");
    }
    return logw_open(&s->log, s->log_fd, 0, e);
}

/* ---- on disk within a second, without holding up the loop ---- */

struct sync_job {
    struct sup *sup;
    int fds[LOGSEG_DIRTY_MAX];
    size_t n;
};

static int
sync_run(void *ctx, struct err *e)
{
    struct sync_job *j = ctx;
    int failed = 0;

    for (size_t i = 0; i < j->n; i++) {
        if (fsync(j->fds[i]) != 0 && failed == 0) {
            failed = errno;
        }
        (void)close(j->fds[i]);
    }
    return failed == 0 ? 0 : err_set_sys(e, failed, "cannot sync the log");
}

static void sync_due(void *ctx);

static void
sync_done(void *ctx, int rc, const struct err *why)
{
    struct sync_job *j = ctx;
    struct sup *s = j->sup;

    free(j);
    s->syncing = false;
    if (rc != 0) {
        sup_say(s, "%s", why->msg);
    }
    if (s->log != NULL && logw_dirty(s->log)) {
        timer_after(s->sync_timer, SYNC_NS);
    }
}

static void
sync_due(void *ctx)
{
    struct sup *s = ctx;
    struct sync_job *j;
    struct err e;

    if (s->syncing || s->log == NULL || !logw_dirty(s->log)) {
        return;
    }
    j = xcalloc(1, sizeof *j);
    j->sup = s;
    logw_take_dirty(s->log, j->fds, &j->n);
    s->syncing = true;
    if (work_start(s->loop, sync_run, sync_done, j, &e) != 0) {
        sync_done(j, sync_run(j, &e), &e); /* no thread to be had: here and now */
    }
}

/* ---- pumping ---- */

static void
pump_end(struct sup_pump *p)
{
    watch_free(p->watch);
    p->watch = NULL;
    if (p->fd == p->sup->pty_fd) {
        p->fd = -1; /* stdin still needs it; closed in the end */
    } else {
        (void)fd_close(&p->fd);
    }
}

static void
pump(void *ctx, int events)
{
    struct sup_pump *p = ctx;
    struct sup *s = p->sup;
    size_t done = 0;
    bool grew = false;

    (void)events;
    while (done < PUMP_ROUND_BYTES) {
        size_t n = 0;
        int failed = logw_pump(s->log, p->stream, p->fd, PUMP_ROUND_BYTES - done,
                               clock_wall_ns(), &n);

        if (failed == EAGAIN) {
            break;
        }
        if (failed != 0 || n == 0) { /* a pty says EIO when its last user is gone */
            pump_end(p);
            break;
        }
        done += n;
        grew = true;
    }
    if (grew) {
        sup_peer_tell_log(s);
        if (!s->syncing && !timer_is_set(s->sync_timer)) {
            timer_after(s->sync_timer, SYNC_NS);
        }
    }
    if (s->ending && sup_log_drained(s)) {
        timer_cancel(s->drain_timer);
        timer_after(s->drain_timer, 0);
    }
}

int
sup_log_pump(struct sup *s, enum logseg_stream stream, int fd, struct err *e)
{
    struct sup_pump *p = &s->pumps[stream - LOGSEG_OUT];

    if (s->sync_timer == NULL) {
        s->sync_timer = timer_new(s->loop, sync_due, s);
    }
    p->sup = s;
    p->stream = stream;
    p->fd = fd;
    if (watch_new(&p->watch, s->loop, fd, pump, p, e) != 0) {
        return -1;
    }
    watch_arm(p->watch, WATCH_READ);
    return 0;
}

bool
sup_log_drained(const struct sup *s)
{
    return s->pumps[0].watch == NULL && s->pumps[1].watch == NULL;
}

void
sup_log_stop(struct sup *s)
{
    for (int i = 0; i < 2; i++) {
        if (s->pumps[i].watch != NULL) {
            pump_end(&s->pumps[i]);
        }
    }
    if (s->sync_timer != NULL) {
        timer_cancel(s->sync_timer);
    }
}

void
sup_log_close(struct sup *s)
{
    sup_log_stop(s);
    timer_free(s->sync_timer);
    s->sync_timer = NULL;
    logw_close(s->log);
    s->log = NULL;
    (void)fd_close(&s->pty_fd);
    (void)fd_close(&s->log_fd);
}

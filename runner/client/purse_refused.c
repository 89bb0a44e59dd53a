/* What operators' books have refused for good: noted beside what waits for them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "runner/client/booked_internal.h"
#include "runner/client/purse_internal.h"

struct refusal
purse_thing(const char *what, const char *id, const char *job,
            const struct sign_public *book)
{
    struct refusal r = {.told = false};

    (void)snprintf(r.what, sizeof r.what, "%s", what);
    (void)snprintf(r.id, sizeof r.id, "%s", id);
    (void)snprintf(r.job, sizeof r.job, "%s", job);
    sign_public_id(book, r.book);
    return r;
}

bool
purse_is_refused(const struct home *home, const struct refusal *thing)
{
    struct err none;
    bool refused = false;
    int fd = -1;

    if (home_open_dir(home, PURSE_PENDING_DIR, &fd, &none) == 0 && fd != -1) {
        refused = refusals_has(fd, thing);
    }
    (void)fd_close(&fd);
    return refused;
}

int
purse_failed(const struct home *home, const struct counter *c, struct refusal *thing,
             const struct err *e)
{
    char *path = NULL;
    struct err none;
    int fd = -1;
    int rc = -1;

    if (!counter_answered(c) || !refusal_is_final(e->code)) {
        return -1;
    }
    thing->why = *e;
    thing->wall_ns = clock_wall_ns();
    if (home_make(home, PURSE_PENDING_DIR, "", &path, &none) == 0 &&
        home_open_dir(home, PURSE_PENDING_DIR, &fd, &none) == 0 && fd != -1) {
        rc = refusals_note(fd, thing, &none);
    }
    (void)fd_close(&fd);
    free(path);
    return rc;
}

/* One that cannot be forgotten is listed a while longer, and does no harm. */
void
purse_taken(const struct home *home, const struct refusal *thing)
{
    struct err none;
    int fd = -1;

    if (home_open_dir(home, PURSE_PENDING_DIR, &fd, &none) == 0 && fd != -1) {
        (void)!refusals_taken(fd, thing->id, thing->book, &none);
    }
    (void)fd_close(&fd);
}

int
purse_refused(const struct home *home, struct refusals *out, struct err *e)
{
    int fd = -1;
    int rc = home_open_dir(home, PURSE_PENDING_DIR, &fd, e);

    *out = (struct refusals){NULL, 0};
    if (rc == 0 && fd != -1) {
        rc = refusals_list(fd, NULL, out, e);
    }
    (void)fd_close(&fd);
    return rc;
}

int
purse_refused_tell(const struct home *home,
                   void (*say)(void *ctx, const struct refusal *r), void *ctx,
                   struct err *e)
{
    size_t n = 0;
    int fd = -1;
    int rc = home_open_dir(home, PURSE_PENDING_DIR, &fd, e);

    if (rc == 0 && fd != -1) {
        rc = refusals_tell(fd, say, ctx, &n, e);
    }
    (void)fd_close(&fd);
    return rc;
}

int
purse_retry(const struct home *home, struct err *e)
{
    struct refusals l;
    int fd = -1;
    int rc;

    if (purse_refused(home, &l, e) != 0) {
        return -1;
    }
    rc = home_open_dir(home, PURSE_PENDING_DIR, &fd, e);
    /* First what makes it be sent again: whoever is killed here has lost nothing. */
    for (size_t i = 0; rc == 0 && i < l.n; i++) {
        if (strcmp(l.v[i].what, REFUSAL_RESERVATION) == 0) {
            rc = booked_untold(home, l.v[i].id, e);
        }
    }
    if (rc == 0 && fd != -1) {
        rc = refusals_forget(fd, NULL, e);
    }
    (void)fd_close(&fd);
    refusals_free(&l);
    return rc;
}

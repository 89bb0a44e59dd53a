#include "runner/client/forward.h"

#include "base/lang.h"
#include "runner/client/room.h"
#include "runner/client/snaps.h"

struct shipping {
    struct ship *ship;
    struct session *to;
    struct err why;
    enum ship_state state;
};

static bool
is_shipped(void *ctx)
{
    struct shipping *w = ctx;

    w->state = ship_state(w->ship, &w->why);
    return w->state == SHIP_DONE || w->state == SHIP_FAILED ||
           session_state(w->to) == SESSION_FAILED;
}

static void
on_up(void *ctx, struct session *s, struct conn *c, bool first)
{
    struct shipping *w = ctx;
    struct err ignored;

    (void)first;
    (void)!ship_send(w->ship, s, c, &ignored);
}

static const struct session_events session_events = {.up = on_up};

int
forward_ship(struct client *cl, struct ship *s, struct session *to, struct err *e)
{
    struct shipping w = {.ship = s, .to = to};
    struct session_guest guest = {.events = &session_events, .ctx = &w};
    struct conn *c = session_conn(to);
    int rc = -1;

    /* Not first when all is read: what nobody takes is read and compressed once more. */
    session_add_guest(to, &guest);
    if (c != NULL && ship_send(s, to, c, e) != 0) {
        goto out;
    }
    if (!loop_run_until(cl->loop, is_shipped, &w, -1)) {
        err_set(e, ERR_LINK, "%s", _("interrupted while data was sent"));
    } else if (w.state == SHIP_DONE) {
        rc = 0;
    } else {
        *e = w.state == SHIP_FAILED ? w.why : session_why(to)->err;
        (void)room_full_host(to, e);
    }

out:
    session_remove_guest(to, &guest);
    return rc;
}

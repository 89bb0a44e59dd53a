#include <stdlib.h>

#include "base/clock.h"
#include "base/lang.h"
#include "runner/cli/launch_internal.h"
#include "runner/cli/out.h"
#include "runner/client/hosts.h"

#define POLL_NS ((int64_t)5 * 1000000000) /* --wait */

/* ---- where ---- */

int
launch_list_hosts(const struct launch *l, struct host_list *out, struct err *e)
{
    struct host_list all = {NULL, 0};
    size_t n = 0;

    if (l->r->host != NULL) {
        struct host one;

        if (hosts_load(l->cl->home, l->r->host, &one, e) != 0) {
            return -1;
        }
        out->v = xmemdup(&one, sizeof one);
        out->n = 1;
        return 0;
    }
    if (hosts_list(l->cl->home, true, &all, e) != 0) {
        return -1;
    }
    /* `local` is for machines that know no other host. */
    for (size_t i = 0; i < all.n && all.n > 1; i++) {
        if (all.v[i].local) {
            host_free(&all.v[i]);
        } else {
            all.v[n++] = all.v[i];
        }
    }
    all.n = all.n > 1 ? n : all.n;
    *out = all;
    return 0;
}

/* No fit is a matter of what was asked for, unless nobody could be asked. */
static int
no_place(struct launch *l, struct err *e)
{
    (void)place_explain(l->place, e);
    if (e->code != ERR_LINK) {
        l->c->stage = STAGE_INPUT;
    }
    return -1;
}

static int
wait_for_place(struct launch *l, struct err *e)
{
    int64_t end_ns = clock_boot_ns() + l->r->wait_ns;
    bool said = false;

    for (;;) {
        int64_t left = end_ns - clock_boot_ns();

        if (place_best(l->place) != NULL) {
            return 0;
        }
        if (left <= 0) {
            return no_place(l, e);
        }
        if (!said) {
            struct err why;

            (void)place_explain(l->place, &why);
            say(l->c, _("waiting: %s"), why.msg);
            said = true;
        }
        if (place_nap(l->place, left < POLL_NS ? left : POLL_NS, e) != 0 ||
            place_refresh(l->place, e) != 0) {
            return -1;
        }
    }
}

/* What was paid in front may have ended since it was last heard of; then it is not what
 * this run may count on. */
static void
ask_booked(struct launch *l)
{
    struct strings news = {NULL, 0};

    if (!l->asked_booked) {
        place_ask_booked(l->cl, l->place, &news);
    }
    l->asked_booked = true;
    for (size_t i = 0; i < news.n; i++) {
        say(l->c, "%s", news.v[i]);
    }
    if (news.n > 0) {
        place_set_want(l->place, &l->r->want);
    }
    strings_free(&news);
}

int
launch_find_place(struct launch *l, struct err *e)
{
    if (place_wait(l->place, e) != 0) {
        return -1;
    }
    ask_booked(l);
    if (place_best(l->place) == NULL) {
        return l->r->wait_ns == 0 ? no_place(l, e) : wait_for_place(l, e);
    }
    return 0;
}

#include <stdio.h>
#include <string.h>

#include "meter/ledger.h"
#include "meter/reservation.h"

static int
settle(struct ledger *l, const struct reservation *r, const struct reservation_event *ev,
       int64_t fee_bps, int64_t wall_ns, struct err *e)
{
    char host[SIGN_ID_LEN + 1];
    const struct ledger_close c = {.lease = ev->lease,
                                   .host = host,
                                   .charge_fen = ev->charge_fen,
                                   .fee_bps = fee_bps,
                                   .receipt = ev->hash};

    sign_public_id(&r->host, host);
    return ledger_settle(l, &c, wall_ns, NULL, e);
}

static int
give_back(struct ledger *l, const struct reservation *r, size_t i,
          const struct reservation_back *b, int64_t wall_ns, struct err *e)
{
    struct ledger_lease h;
    char id[LEDGER_TEXT_MAX + 1];

    if (ledger_lease(l, b->lease, &h, e) != 0) {
        return -1;
    }
    if (h.state != LEDGER_HOLD_DONE) {
        return 0; /* paid out of another book */
    }
    (void)snprintf(id, sizeof id, "%.32s:%zu:%.32s", r->id, i + 1, b->lease);
    return ledger_correct(l, id, b->lease, b->fen, wall_ns, e);
}

int
ledger_reservation(struct ledger *l, const struct reservation *r, int64_t fee_bps,
                   int64_t posted_wall_ns, struct err *e)
{
    for (size_t i = 0; i < r->n_events; i++) {
        const struct reservation_event *ev = &r->events[i];
        int64_t wall_ns = posted_wall_ns != 0 ? posted_wall_ns : ev->wall_ns;
        struct ledger_lease h = {.state = LEDGER_HOLD_NONE};

        if (ev->lease[0] != '\0' && ledger_lease(l, ev->lease, &h, e) != 0) {
            return -1;
        }
        if (h.state == LEDGER_HOLD_OPEN && settle(l, r, ev, fee_bps, wall_ns, e) != 0) {
            return err_wrap(e, "reservation %s", r->id);
        }
        for (size_t k = 0; k < ev->n_back; k++) {
            if (give_back(l, r, i, &ev->back[k], wall_ns, e) != 0) {
                return err_wrap(e, "reservation %s", r->id);
            }
        }
    }
    return 0;
}

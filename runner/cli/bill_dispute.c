#include "base/lang.h"
#include "base/text.h"
#include "runner/cli/bill.h"
#include "runner/cli/out.h"
#include "runner/client/dispute.h"

bool
bill_dispute_of(const struct home *home, const struct receipt *r,
                struct stopwatch_dispute *d)
{
    struct stopwatch w;

    return dispute_load(home, r->job, &w) && stopwatch_dispute_of(&w, r, d);
}

void
bill_dispute_text(const struct stopwatch_dispute *d, struct buf *out)
{
    char counted[TEXT_DURATION_MAX];
    char passed[TEXT_DURATION_MAX];
    char unasked[TEXT_DURATION_MAX];
    char signed_for[TEXT_DURATION_MAX];
    char fen[OUT_MONEY_MAX];
    char owed[OUT_MONEY_MAX];

    text_format_duration(d->host_s, counted);
    text_format_duration(d->passed_s, passed);
    text_format_duration(d->unasked_s, unasked);
    text_format_duration(d->cosigned_s, signed_for);
    out_fen(d->dispute_fen, fen);
    if (d->unasked_s > 0) {
        buf_printf(
            out,
            _("in dispute: %s of it. The host counts %s, %s of it as set-up, which "
              "the job was sent without; at most %s can be right; countersigned: "
              "%s\n"),
            fen, counted, unasked, passed, signed_for);
    } else {
        buf_printf(out,
                   _("in dispute: %s of it. The host counts %s, of which at most %s can "
                     "have passed by the clock here; countersigned: %s\n"),
                   fen, counted, passed, signed_for);
    }
    buf_printf(out,
               _("owed all the same, as it was granted: %s; the owner, or who keeps the "
                 "book, can give back what is too much\n"),
               out_fen(d->owed_fen, owed));
}

void
bill_disputes_text(const struct bill_entries *l, const char *month, struct buf *out)
{
    int64_t fen = 0;
    unsigned long n = 0;
    char money[OUT_MONEY_MAX];

    for (size_t i = 0; i < l->n; i++) {
        if (l->v[i].disputed && bill_touches_month(&l->v[i], month)) {
            fen += l->v[i].dispute.dispute_fen;
            n++;
        }
    }
    if (n > 0) {
        buf_printf(out,
                   NP_("in dispute: %s of %lu job (`gpurun bill JOB` says why)\n",
                       "in dispute: %s of %lu jobs (`gpurun bill JOB` says why)\n", n),
                   out_fen(fen, money), n);
    }
}

void
bill_dispute_json(const struct receipt *r, const struct stopwatch_dispute *d,
                  struct json_writer *j)
{
    json_kint(j, "countersigned_s", r->cosigned_renter_s);
    json_kint(j, "acknowledged_s", r->cosigned_book_s);
    json_key(j, "dispute");
    if (d == NULL) {
        json_nil(j);
        return;
    }
    json_obj(j);
    json_kint(j, "host_s", d->host_s);
    json_kint(j, "passed_s", d->passed_s);
    json_kint(j, "unasked_s", d->unasked_s);
    json_kint(j, "dispute_fen", d->dispute_fen);
    json_kint(j, "owed_fen", d->owed_fen);
    json_obj_end(j);
}

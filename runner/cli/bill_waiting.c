/* Jobs with a price whose receipts are not here: no bill has them yet. */
#include "base/buf.h"
#include "base/lang.h"
#include "base/text.h"
#include "meter/calendar.h"
#include "runner/cli/bill.h"
#include "runner/cli/out.h"
#include "runner/client/receipts.h"

struct search {
    const struct home *home;
    struct strings *found;
    int64_t to_ns; /* what was begun later is of a later month */
};

static int
look_at(void *ctx, int dir_fd, const char *name, struct err *e)
{
    struct search *s = ctx;
    struct job_record r;
    struct err ignored;

    (void)dir_fd;
    (void)e;
    if (!id_is(ID_JOB, name) || receipts_kept(s->home, name) ||
        jobs_load(s->home, name, &r, &ignored) != 0) {
        return 0;
    }
    if (r.cap_fen > 0 && r.made_wall_ns < s->to_ns) {
        strings_add(s->found, name);
    }
    job_record_free(&r);
    return 0;
}

int
bill_waiting_find(const struct cli *c, struct bill_entries *l, const char *month,
                  struct err *e)
{
    struct search s = {c->home, &l->waiting, INT64_MAX};
    int64_t from_ns;

    if (month != NULL && calendar_parse_month_ns(month, &from_ns, &s.to_ns, e) != 0) {
        return -1;
    }
    return home_each_name(c->home, "jobs", look_at, &s, e);
}

static void
put(const struct bill_entries *l, struct buf *out)
{
    unsigned long n = l->waiting.n;

    if (n > 0) {
        buf_printf(out,
                   NP_("not in this sum: %lu job that runs, or whose receipt was not "
                       "fetched yet; `gpurun bill %s` fetches it",
                       "not in this sum: %lu jobs that run, or whose receipts were not "
                       "fetched yet; `gpurun bill %s` fetches that of one",
                       n),
                   n, l->waiting.v[0]);
    }
}

void
bill_waiting_text(const struct bill_entries *l, struct buf *out)
{
    put(l, out);
    buf_add_str(out, l->waiting.n > 0 ? "\n" : "");
}

void
bill_waiting_say(const struct cli *c, const struct bill_entries *l)
{
    struct buf words = BUF_INIT;

    put(l, &words);
    if (words.len > 0) {
        say(c, "%s", buf_str(&words));
    }
    buf_free(&words);
}

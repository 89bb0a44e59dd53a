#include "meter/stopwatch.h"

#include <string.h>

#include "base/rec.h"
#include "meter/evidence.h"
#include "meter/wide.h"

#define STOPWATCH_TYPE "gpurun.stopwatch.v1"
#define BYTES_MAX      4096
/* Less is jitter of the link, not worth a file. */
#define WORTH_NS USAGE_NS_PER_S

static bool
same_boot(const struct usage_moment *a, const struct usage_moment *b)
{
    /* Without /proc no boot is told from another. */
    return strcmp(a->boot, b->boot) == 0 && strcmp(a->boot, "unknown") != 0;
}

/*
 * The time between, at most: a machine that was paused may have missed it on
 * CLOCK_BOOTTIME and know of it by the wall clock only, which in turn may have been set
 * back.
 */
static __int128
between(const struct usage_moment *from, const struct usage_moment *to)
{
    __int128 boot = (__int128)to->boot_ns - from->boot_ns;
    __int128 wall = (__int128)to->wall_ns - from->wall_ns;

    return wide_max(wide_max(boot, wall), 0);
}

/*
 * What can have been counted by then; false: nobody knows. Of another boot the wall
 * clocks alone can tell, and they may have been set by some zones; one that went back is
 * wrong, or was.
 */
static bool
priced_at_most(const struct stopwatch *w, const struct usage_moment *now, __int128 *ns)
{
    __int128 wall = (__int128)now->wall_ns - w->since.wall_ns;

    if (!w->set) {
        return false;
    }
    if (same_boot(&w->since, now)) {
        *ns = w->priced_ns + between(&w->since, now);
        return true;
    }
    *ns = w->priced_ns + wall + STOPWATCH_ZONES_NS;
    return w->wall_kept && wall >= 0;
}

/* Is it no better to know that so much was counted then, at most? */
static bool
is_known(const struct stopwatch *w, const struct usage_moment *asked, __int128 priced)
{
    __int128 most;

    return priced_at_most(w, asked, &most) &&
           priced + (same_boot(&w->since, asked) ? WORTH_NS : 0) > most;
}

void
stopwatch_begin(struct stopwatch *w, const struct usage_moment *now)
{
    if (!w->set) {
        w->set = true;
        w->since = *now;
        w->priced_ns = 0;
    }
}

static __int128
priced_ns(const struct usage_totals *t)
{
    return (__int128)t->ns[USAGE_SETUP] + t->ns[USAGE_RUNNING] + t->ns[USAGE_WINDOW];
}

bool
stopwatch_look(struct stopwatch *w, const struct usage_moment *asked, int64_t seq,
               const struct usage_totals *total)
{
    __int128 priced = priced_ns(total);
    bool fresh = w->looked && same_boot(&w->look, asked) && seq > w->look_seq &&
                 between(&w->look, asked) <= STOPWATCH_LOOK_NS;

    w->looked = true;
    w->look = *asked;
    w->look_seq = seq;
    if (!fresh || !wide_fits64(priced) || is_known(w, asked, priced)) {
        return false;
    }
    w->set = true;
    w->since = *asked;
    w->priced_ns = (int64_t)priced;
    return true;
}

/* Have so many seconds passed, but for the tolerance? */
static bool
in_time(int64_t host_s, __int128 passed)
{
    int64_t billable_s;
    bool flagged = true;
    struct err e;

    return host_s <= passed ||
           (evidence_referee(host_s, (int64_t)passed, STOPWATCH_TOL_S, STOPWATCH_TOL_PPM,
                             &billable_s, &flagged, &e) == 0 &&
            !flagged);
}

bool
stopwatch_holds(struct stopwatch *w, const struct usage_moment *now, int64_t seq,
                int64_t setup_s, int64_t device_s)
{
    int64_t host_s = setup_s + device_s;
    int64_t asked_s = w->no_setup ? device_s : host_s;
    __int128 passed = INT64_MAX;
    __int128 most;

    if (priced_at_most(w, now, &most)) {
        passed = wide_min(passed, most / USAGE_NS_PER_S);
    }
    /* Since it was caught, no more has passed than it counted since. So time that is
     * free, or that nobody looked, makes no second good that was counted before it
     * passed. */
    if (w->host_s > 0) {
        passed = wide_min(passed, (__int128)w->passed_s + i64_max(host_s - w->host_s, 0));
    } else if (in_time(asked_s, passed)) {
        if (asked_s == host_s) {
            return true;
        }
        passed = asked_s;
    }
    w->seq = seq;
    w->passed_s = (int64_t)wide_min(passed, asked_s);
    w->host_s = host_s;
    w->unasked_s = host_s - asked_s;
    return false;
}

/* ---- kept ---- */

void
stopwatch_encode(const struct stopwatch *w, struct buf *out)
{
    struct rec *r = rec_new(STOPWATCH_TYPE);

    if (w->set) {
        rec_add(r, "boot", w->since.boot);
        rec_add_int(r, "at", w->since.boot_ns);
        rec_add_int(r, "wall", w->since.wall_ns);
        rec_add_int(r, "priced", w->priced_ns);
    }
    if (w->host_s > 0) {
        rec_add_int(r, "seq", w->seq);
        rec_add_int(r, "host", w->host_s);
        rec_add_int(r, "passed", w->passed_s);
        if (w->unasked_s > 0) {
            rec_add_int(r, "unasked", w->unasked_s);
        }
    }
    rec_encode(r, out);
    rec_free(r);
}

static int
parse_since(struct stopwatch *w, const struct rec *r, struct err *e)
{
    const char *boot;

    w->set = rec_has(r, "boot");
    if (!w->set) {
        return 0;
    }
    if (rec_need_str(r, "boot", &boot, e) != 0 ||
        rec_need_int(r, "at", INT64_MIN, INT64_MAX, &w->since.boot_ns, e) != 0 ||
        rec_need_int(r, "wall", INT64_MIN, INT64_MAX, &w->since.wall_ns, e) != 0 ||
        rec_need_count(r, "priced", &w->priced_ns, e) != 0) {
        return -1;
    }
    if (strlen(boot) > BOOT_ID_LEN) {
        return err_set(e, ERR_CORRUPT, "a boot id that is too long");
    }
    (void)strcpy(w->since.boot, boot);
    return 0;
}

int
stopwatch_parse(struct stopwatch *out, const void *data, size_t len, struct err *e)
{
    struct stopwatch w;
    struct rec *r = NULL;
    int rc = -1;

    memset(&w, 0, sizeof w);
    if (len > BYTES_MAX) {
        return err_set(e, ERR_CORRUPT, "a stopwatch of %zu bytes", len);
    }
    if (rec_parse(&r, data, len, STOPWATCH_TYPE, e) != 0 || parse_since(&w, r, e) != 0) {
        goto out;
    }
    if (rec_has(r, "host") &&
        (rec_need_count(r, "seq", &w.seq, e) != 0 ||
         rec_need_int(r, "host", 1, INT64_MAX, &w.host_s, e) != 0 ||
         rec_need_int(r, "passed", 0, w.host_s, &w.passed_s, e) != 0)) {
        goto out;
    }
    if (rec_has(r, "unasked") &&
        rec_need_int(r, "unasked", 0, w.host_s, &w.unasked_s, e) != 0) {
        goto out;
    }
    *out = w;
    rc = 0;

out:
    rec_free(r);
    return rc;
}

/* ---- money ---- */

static int64_t
charge_of(const struct receipt *r, int64_t setup_s, int64_t device_s)
{
    const struct grant *g = &r->grant;
    int64_t fen = grant_charge(g, i64_min(setup_s, g->max_s), device_s);

    return i64_min(fen, r->charge_fen);
}

bool
stopwatch_dispute_of(const struct stopwatch *w, const struct receipt *r,
                     struct stopwatch_dispute *out)
{
    const struct grant *g = &r->grant;
    /* The end of what was granted: of the run, and of the window behind it. */
    __int128 end_s = (__int128)g->max_s + grant_billed_window_s(g);
    int64_t host_s = r->setup_s + r->device_s;
    int64_t setup_s;
    int64_t device_s;

    if (w->host_s == 0) {
        return false;
    }
    memset(out, 0, sizeof *out);
    out->host_s = host_s;
    out->unasked_s = w->no_setup ? r->setup_s : 0;
    out->passed_s =
        i64_min(host_s - out->unasked_s, w->passed_s + i64_max(host_s - w->host_s, 0));
    out->cosigned_s = r->cosigned_renter_s;
    out->acked_s = r->cosigned_book_s;
    out->owed_fen =
        charge_of(r, r->setup_s,
                  evidence_billable(r->device_s, r->cosigned_book_s, r->cosigned_renter_s,
                                    (int64_t)wide_min(end_s, INT64_MAX)));
    setup_s = i64_min(r->setup_s - out->unasked_s, out->passed_s);
    device_s = i64_min(r->device_s, out->passed_s - setup_s);
    out->dispute_fen = r->charge_fen - charge_of(r, setup_s, device_s);
    return out->passed_s < host_s;
}

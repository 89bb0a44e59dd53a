#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/rec.h"
#include "storage/snap_internal.h"
#include "storage/store_internal.h"

/*
 * May the wall clock be believed? What is known of it is kept in STORE_CLOCK_FILE:
 * when it was last seen by which boot clock, and since when it runs steadily.
 */
#define CLOCK_TYPE      "gpurun.clock.v1"
#define CLOCK_MAX_BYTES 4096

#define NS      ((int64_t)1000000000)
#define UNKNOWN INT64_MAX
/* Clocks drift apart, and NTP steps: that much is no jump. */
#define DRIFT_NS      (600 * NS)
#define DRIFT_PART    1000
#define SAVE_EVERY_NS (600 * NS)
/* Of a store that had never seen the clock: what is older was perhaps made by a slow one.
 */
#define FRESH_NS (86400 * NS)

struct seen {
    bool known;
    char boot[BOOT_ID_LEN + 1];
    int64_t boot_ns;
    int64_t wall_ns;
    int64_t steady_wall_ns; /* since when it runs without contradiction */
    int64_t off_ns;         /* in doubt: how far it jumped, in all; UNKNOWN */
    int64_t swept_wall_ns;  /* when all that was due had been given up; 0: not since */
    bool doubt;
};

static int64_t
add_ns(int64_t a, int64_t b)
{
    int64_t sum;

    if (__builtin_add_overflow(a, b, &sum)) {
        return a > 0 ? INT64_MAX : INT64_MIN;
    }
    return sum;
}

static void
load_seen(struct store *s, struct seen *out)
{
    struct buf text = BUF_INIT;
    struct rec *r = NULL;
    struct err ignored;
    const char *boot;
    int64_t doubt;

    memset(out, 0, sizeof *out);
    if (file_read_at(s->dir_fd, STORE_CLOCK_FILE, CLOCK_MAX_BYTES, &text, &ignored) ==
            0 &&
        rec_parse(&r, text.data, text.len, CLOCK_TYPE, &ignored) == 0 &&
        rec_need_str(r, "boot", &boot, &ignored) == 0 && strlen(boot) <= BOOT_ID_LEN &&
        rec_need_int(r, "boot_ns", 0, INT64_MAX, &out->boot_ns, &ignored) == 0 &&
        rec_need_int(r, "wall_ns", 0, INT64_MAX, &out->wall_ns, &ignored) == 0 &&
        rec_need_int(r, "steady_wall_ns", 0, INT64_MAX, &out->steady_wall_ns, &ignored) ==
            0 &&
        rec_opt_int(r, "off_ns", INT64_MIN, INT64_MAX, 0, &out->off_ns, &ignored) == 0 &&
        rec_opt_int(r, "swept_wall_ns", 0, INT64_MAX, 0, &out->swept_wall_ns, &ignored) ==
            0 &&
        rec_need_int(r, "doubt", 0, 1, &doubt, &ignored) == 0) {
        (void)snprintf(out->boot, sizeof out->boot, "%s", boot);
        out->doubt = doubt == 1;
        out->known = true;
    }
    rec_free(r);
    buf_free(&text);
}

static int
save_seen(struct store *s, const struct seen *c, struct err *e)
{
    struct rec *r = rec_new(CLOCK_TYPE);
    struct buf text = BUF_INIT;
    int rc;

    rec_add(r, "boot", c->boot);
    rec_add_int(r, "boot_ns", c->boot_ns);
    rec_add_int(r, "wall_ns", c->wall_ns);
    rec_add_int(r, "steady_wall_ns", c->steady_wall_ns);
    rec_add_int(r, "off_ns", c->off_ns);
    rec_add_int(r, "swept_wall_ns", c->swept_wall_ns);
    rec_add_int(r, "doubt", c->doubt ? 1 : 0);
    rec_encode(r, &text);
    rc = snap_replace(s, s->dir_fd, STORE_CLOCK_FILE, &text, e);
    buf_free(&text);
    rec_free(r);
    return rc;
}

/* What speaks against the clock since it was last seen; ERR_NONE: nothing. */
static void
contradiction(const struct seen *last, const struct seen *now, struct err *why)
{
    int64_t moved = now->wall_ns - last->wall_ns;

    *why = (struct err){.code = ERR_NONE};
    if (!last->known) {
        err_set(why, ERR_INVALID, "the clock has not been seen by this store before");
    } else if (strcmp(last->boot, now->boot) == 0) {
        int64_t ran = now->boot_ns - last->boot_ns;
        int64_t off = moved > ran ? moved - ran : ran - moved;

        if (off > DRIFT_NS + ran / DRIFT_PART) {
            err_set(why, ERR_INVALID,
                    "the clock jumped by %" PRId64 " s while it was %" PRId64 " s",
                    (moved - ran) / NS, ran / NS);
        }
    } else if (moved < -DRIFT_NS) {
        err_set(why, ERR_INVALID, "the clock went back by %" PRId64 " s", -moved / NS);
    } else if (moved - now->boot_ns > SNAP_CLOCK_LEAP_S * NS) { /* not all of it ran */
        err_set(why, ERR_INVALID, "the clock leapt by %" PRId64 " days",
                moved / NS / 86400);
    }
}

/* How far the clock has jumped in all since it was believed; > 0: it had been slow. */
static int64_t
jumped_ns(const struct seen *last, const struct seen *now)
{
    int64_t ran = now->boot_ns;

    if (!last->known || (last->doubt && last->off_ns == UNKNOWN)) {
        return UNKNOWN;
    }
    if (strcmp(last->boot, now->boot) == 0) {
        ran -= last->boot_ns;
    }
    return add_ns(last->doubt ? last->off_ns : 0, now->wall_ns - last->wall_ns - ran);
}

/* What the clock says now, and whether that agrees with the last time. */
static void
look_at_clock(struct store *s, struct seen *seen_last, struct seen *now,
              struct err *doubt)
{
    struct seen last;

    load_seen(s, &last);
    *seen_last = last;
    memset(now, 0, sizeof *now);
    clock_boot_id(now->boot);
    now->boot_ns = clock_boot_ns();
    now->wall_ns = clock_wall_ns();
    now->known = true;
    contradiction(&last, now, doubt);
    if (doubt->code != ERR_NONE) {
        now->doubt = true;
        now->steady_wall_ns = now->wall_ns;
        now->off_ns = jumped_ns(&last, now);
    } else {
        now->off_ns = last.off_ns;
        now->steady_wall_ns = last.steady_wall_ns;
        now->swept_wall_ns = last.swept_wall_ns;
        now->doubt =
            last.doubt && now->wall_ns - now->steady_wall_ns < SNAP_CLOCK_STEADY_S * NS;
    }
    if (!now->doubt || doubt->code != ERR_NONE) {
        return;
    }
    if (now->off_ns == UNKNOWN) { /* it was never believed: nobody need have set it */
        err_set(doubt, ERR_INVALID,
                "this store has seen the clock for %" PRId64
                " s only; believed after a day",
                (now->wall_ns - now->steady_wall_ns) / NS);
    } else {
        err_set(doubt, ERR_INVALID,
                "the clock was set %" PRId64 " s ago; believed after a day",
                (now->wall_ns - now->steady_wall_ns) / NS);
    }
}

void
snap_clock_doubt(struct store *s, struct err *doubt)
{
    struct seen last;
    struct seen now;

    look_at_clock(s, &last, &now, doubt);
    if (!last.known) {
        *doubt = (struct err){.code = ERR_NONE}; /* nothing has been kept here for long */
    }
}

/* ---- what a wrong clock has promised ---- */

/*
 * An end that was set by a clock which has been put right since comes too soon. Data is
 * kept as long as it was to be, of time that can be believed: to that from from_ns on, or
 * to limit_ns if that is earlier. Never shortened.
 */
static int64_t
right_end(const struct snap *sn, int64_t from_ns, int64_t limit_ns)
{
    int64_t end_ns = sn->claim.expires_wall_ns;
    int64_t period_ns = end_ns - sn->m->made_wall_ns;
    int64_t until_ns = add_ns(from_ns, period_ns > 0 ? period_ns : 0);

    if (until_ns > limit_ns) {
        until_ns = limit_ns;
    }
    return until_ns > end_ns ? until_ns : end_ns;
}

/* The caller holds the lock. */
static int
keep_on(struct store *s, const struct snap *sn, int64_t until_ns, struct err *e)
{
    struct snap_claim c = sn->claim;

    if (until_ns <= c.expires_wall_ns) {
        return 0;
    }
    c.expires_wall_ns = until_ns;
    return snap_claim_put(s, sn->id, &c, e);
}

/* When data ends once the clock is believed again, after it jumped by off_ns in all. */
static int64_t
put_off_to(const struct snap *sn, const struct seen *now)
{
    int64_t end_ns = sn->claim.expires_wall_ns;

    if (sn->m == NULL || sn->claim.data != SNAP_DATA_KEPT || end_ns == 0 ||
        now->off_ns <= 0) {
        return end_ns;
    }
    /* A store that is new, and no clock of it slow: nothing to be written anew. */
    if (now->off_ns == UNKNOWN && now->steady_wall_ns - sn->m->made_wall_ns <= FRESH_NS) {
        return end_ns;
    }
    return right_end(sn, now->steady_wall_ns, add_ns(end_ns, now->off_ns));
}

/*
 * The clock is believed again, after it jumped forward by off_ns in all: ends are put off
 * by as much. Done again after a failure, it puts off too far rather than not at all.
 */
static int
put_off(struct store *s, const struct seen *now, struct err *e)
{
    struct snap_list l = {0};
    int rc = 0;

    if (now->off_ns <= 0) {
        return 0;
    }
    if (snap_list(s, &l, e) == -1) {
        return -1;
    }
    for (size_t i = 0; i < l.n && rc == 0; i++) {
        rc = keep_on(s, &l.v[i], put_off_to(&l.v[i], now), e);
    }
    snap_list_free(&l);
    return rc;
}

/*
 * Look at the clock, and remember what it said: that it is believed again, once what it
 * had promised is put right.
 */
static int
check_clock(struct store *s, struct seen *now, struct err *doubt, struct err *e)
{
    struct seen last;
    int rc = 0;

    if (snap_claims_lock(s, e) == -1) {
        return -1;
    }
    look_at_clock(s, &last, now, doubt);
    if (last.known && last.doubt && !now->doubt) {
        rc = put_off(s, now, e);
        now->off_ns = 0;
    }
    if (rc == 0 &&
        (!last.known || now->doubt != last.doubt || doubt->code != ERR_NONE ||
         strcmp(last.boot, now->boot) != 0 ||
         now->wall_ns - last.wall_ns >= SAVE_EVERY_NS || now->wall_ns < last.wall_ns)) {
        rc = save_seen(s, now, e);
    }
    snap_claims_unlock(s);
    return rc;
}

void
snap_clock_note(struct store *s)
{
    struct seen last;
    struct seen now;
    struct err ignored;

    load_seen(s, &last);
    if (last.known) {
        (void)check_clock(s, &now, &(struct err){.code = ERR_NONE}, &ignored);
    }
}

/* All that was due at `now` has gone: what was due by then and is found later is new. */
static int
note_swept(struct store *s, struct seen *now, struct err *e)
{
    struct seen last;
    int rc = 0;

    if (now->swept_wall_ns != 0 && now->wall_ns - now->swept_wall_ns < SAVE_EVERY_NS) {
        return 0;
    }
    if (snap_claims_lock(s, e) == -1) {
        return -1;
    }
    load_seen(s, &last);
    if (last.known && !last.doubt && strcmp(last.boot, now->boot) == 0 &&
        last.wall_ns - now->wall_ns < SAVE_EVERY_NS) { /* nobody has seen it jump since */
        last.swept_wall_ns = now->wall_ns;
        rc = save_seen(s, &last, e);
    }
    snap_claims_unlock(s);
    return rc;
}

/*
 * It ended before the last sweep, which did not see it, and nobody has set that end:
 * it was made since, by a clock that was slow and that no sweep caught at it.
 */
static bool
is_backdated(const struct snap *sn, const struct seen *now)
{
    return sn->claim.expires_wall_ns == sn->m->expires_wall_ns &&
           sn->claim.expires_wall_ns <= now->swept_wall_ns;
}

static bool
has_expired(const struct snap_claim *c, int64_t now_ns)
{
    return c->data == SNAP_DATA_KEPT && c->expires_wall_ns != 0 &&
           c->expires_wall_ns <= now_ns;
}

/* Give the claim up if it is still expired, now that nobody else can change it. */
static int
expire_one(struct store *s, struct snap *sn, const struct seen *now, bool *expired,
           struct err *e)
{
    int64_t now_ns = now->wall_ns;
    struct snap_claim gone = {
        .data = SNAP_DATA_GONE, .gone_wall_ns = now_ns, .why = "expired"};
    int rc = -1;

    *expired = false;
    if (snap_claims_lock(s, e) == -1) {
        return -1;
    }
    if (snap_claim_get(s, sn->id, &sn->claim, e) == -1) {
        goto out;
    }
    if (has_expired(&sn->claim, now_ns) && is_backdated(sn, now)) {
        if (keep_on(s, sn, right_end(sn, now_ns, INT64_MAX), e) == -1) {
            goto out;
        }
    } else if (has_expired(&sn->claim, now_ns)) {
        gone.expires_wall_ns = sn->claim.expires_wall_ns;
        if (snap_claim_put(s, sn->id, &gone, e) == -1) {
            goto out;
        }
        sn->claim = gone;
        *expired = true;
    }
    rc = 0;

out:
    snap_claims_unlock(s);
    return rc;
}

int
snap_expire(struct store *s, struct snap_expiry *out,
            void (*done)(void *arg, const struct snap *sn), void *arg, struct err *e)
{
    struct snap_list l = {0};
    struct seen now;
    int rc = -1;

    memset(out, 0, sizeof *out);
    if (check_clock(s, &now, &out->clock_doubt, e) == -1) {
        return -1;
    }
    if (now.doubt) {
        return 0;
    }
    if (snap_list(s, &l, e) == -1) {
        return -1;
    }
    for (size_t i = 0; i < l.n; i++) {
        bool expired = false;

        if (l.v[i].m == NULL || !has_expired(&l.v[i].claim, now.wall_ns)) {
            continue; /* what cannot be read says nothing of when it ends */
        }
        if (expire_one(s, &l.v[i], &now, &expired, e) == -1) {
            goto out;
        }
        if (expired) {
            out->n_expired++;
            if (done != NULL) {
                done(arg, &l.v[i]);
            }
        }
    }
    rc = note_swept(s, &now, e);

out:
    snap_list_free(&l);
    return rc;
}

int
snap_would_expire(struct store *s, struct snap_expiry *out,
                  void (*each)(void *arg, const struct snap *sn), void *arg,
                  struct err *e)
{
    struct snap_list l = {0};
    struct seen last;
    struct seen now;

    memset(out, 0, sizeof *out);
    look_at_clock(s, &last, &now, &out->clock_doubt);
    if (now.doubt) {
        return 0;
    }
    if (snap_list(s, &l, e) == -1) {
        return -1;
    }
    for (size_t i = 0; i < l.n; i++) {
        struct snap_claim c = l.v[i].claim;

        if (l.v[i].m == NULL) {
            continue;
        }
        c.expires_wall_ns = last.doubt ? put_off_to(&l.v[i], &now) : c.expires_wall_ns;
        if (has_expired(&c, now.wall_ns) && !is_backdated(&l.v[i], &now)) {
            out->n_expired++;
            each(arg, &l.v[i]);
        }
    }
    snap_list_free(&l);
    return 0;
}

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/rec.h"
#include "storage/snap_internal.h"
#include "storage/store_internal.h"

/*
 * May the wall clock be believed? What is known of it is kept in the file "clock":
 * when it was last seen by which boot clock, and since when it runs steadily.
 */
#define CLOCK_FILE      "clock"
#define CLOCK_TYPE      "gpurun.clock.v1"
#define CLOCK_MAX_BYTES 4096

#define NS ((int64_t)1000000000)
/* Clocks drift apart, and NTP steps: that much is no jump. */
#define DRIFT_NS      (600 * NS)
#define DRIFT_PART    1000
#define SAVE_EVERY_NS (600 * NS)

struct seen {
    bool known;
    char boot[BOOT_ID_LEN + 1];
    int64_t boot_ns;
    int64_t wall_ns;
    int64_t steady_wall_ns; /* since when it runs without contradiction */
    bool doubt;
};

static void
load_seen(struct store *s, struct seen *out)
{
    struct buf text = BUF_INIT;
    struct rec *r = NULL;
    struct err ignored;
    const char *boot;
    int64_t doubt;

    memset(out, 0, sizeof *out);
    if (file_read_at(s->dir_fd, CLOCK_FILE, CLOCK_MAX_BYTES, &text, &ignored) == 0 &&
        rec_parse(&r, text.data, text.len, CLOCK_TYPE, &ignored) == 0 &&
        rec_need_str(r, "boot", &boot, &ignored) == 0 && strlen(boot) <= BOOT_ID_LEN &&
        rec_need_int(r, "boot_ns", 0, INT64_MAX, &out->boot_ns, &ignored) == 0 &&
        rec_need_int(r, "wall_ns", 0, INT64_MAX, &out->wall_ns, &ignored) == 0 &&
        rec_need_int(r, "steady_wall_ns", 0, INT64_MAX, &out->steady_wall_ns, &ignored) ==
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
    rec_add_int(r, "doubt", c->doubt ? 1 : 0);
    rec_encode(r, &text);
    rc = snap_replace(s, s->dir_fd, CLOCK_FILE, &text, e);
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
    } else {
        now->steady_wall_ns = last.steady_wall_ns;
        now->doubt =
            last.doubt && now->wall_ns - now->steady_wall_ns < SNAP_CLOCK_STEADY_S * NS;
    }
    if (now->doubt && doubt->code == ERR_NONE) {
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

/* Look at the clock, and remember what it said. */
static int
check_clock(struct store *s, struct seen *now, struct err *doubt, struct err *e)
{
    struct seen last;

    look_at_clock(s, &last, now, doubt);
    if (last.known && now->doubt == last.doubt && doubt->code == ERR_NONE &&
        strcmp(last.boot, now->boot) == 0 &&
        now->wall_ns - last.wall_ns < SAVE_EVERY_NS && now->wall_ns >= last.wall_ns) {
        return 0;
    }
    return save_seen(s, now, e);
}

static bool
has_expired(const struct snap_claim *c, int64_t now_ns)
{
    return c->data == SNAP_DATA_KEPT && c->expires_wall_ns != 0 &&
           c->expires_wall_ns <= now_ns;
}

/* Give the claim up if it is still expired, now that nobody else can change it. */
static int
expire_one(struct store *s, struct snap *sn, int64_t now_ns, bool *expired, struct err *e)
{
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
    if (has_expired(&sn->claim, now_ns)) {
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
        if (expire_one(s, &l.v[i], now.wall_ns, &expired, e) == -1) {
            goto out;
        }
        if (expired) {
            out->n_expired++;
            if (done != NULL) {
                done(arg, &l.v[i]);
            }
        }
    }
    rc = 0;

out:
    snap_list_free(&l);
    return rc;
}

#ifndef TESTS_UNIT_METER_FIXTURE_H
#define TESTS_UNIT_METER_FIXTURE_H

#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "meter/card.h"
#include "meter/grant.h"
#include "meter/offer.h"
#include "meter/receipt.h"
#include "meter/session.h"
#include "tests/unit/unit.h"

/* A host that sells, a renter with a budget, and a clock that only tests move. */
#define NS_PER_S 1000000000LL
/* 2026-11-23T12:00:00Z, 20:00 in Shanghai */
#define WALL_START_NS (1795435200LL * NS_PER_S)

struct fixture {
    const char *dir;
    int dir_fd;
    struct sign_key *host;
    struct sign_key *renter;
    struct sign_public host_public;
    struct sign_public renter_public;
    struct card *card;
    struct offer *offer;
    struct grant grant;
};

extern int64_t fixture_mono_ns;
extern int64_t fixture_boot_ns;
extern int64_t fixture_wall_ns;

static inline int64_t
fixture_clock(enum clock_kind kind)
{
    return kind == CLOCK_KIND_MONO   ? fixture_mono_ns
           : kind == CLOCK_KIND_BOOT ? fixture_boot_ns
                                     : fixture_wall_ns;
}

/* Time passes on all three clocks. */
static inline void
fixture_pass(int64_t ns)
{
    fixture_mono_ns += ns;
    fixture_boot_ns += ns;
    fixture_wall_ns += ns;
}

static inline void
fixture_sign_grant(struct fixture *f)
{
    struct err e = {0};

    assert_ok(grant_sign(&f->grant, f->renter, &e));
    assert_ok(grant_check(&f->grant, f->offer, &f->renter_public, fixture_wall_ns, &e));
}

/* An offer by the card, and a grant of one 4090 with that cap and end, signed. */
static inline void
fixture_terms(struct fixture *f, int64_t cap_fen, int64_t max_s, int64_t window_s)
{
    const struct offer_device gpu = {"gpu", "4090", "GPU-1", 25769803776, 1};
    const struct offer_device cpu = {"cpu", "", "", 0, 16};
    struct err e = {0};

    offer_free(f->offer);
    f->offer = offer_new();
    offer_add_device(f->offer, &gpu);
    offer_add_device(f->offer, &cpu);
    f->offer->made_wall_ns = fixture_wall_ns;
    f->offer->until_wall_ns = fixture_wall_ns + 86400 * NS_PER_S;
    assert_ok(offer_set_card(f->offer, f->card, NULL, fixture_wall_ns / NS_PER_S, &e));
    assert_ok(offer_sign(f->offer, f->host, &e));
    grant_clear(&f->grant);
    (void)strcpy(f->grant.lease, "l0123456789ab");
    (void)strcpy(f->grant.job, "j0123456789ab");
    f->grant.renter = f->renter_public;
    assert_ok(grant_set_offer(&f->grant, f->offer, "gpu", "4090", 1, &e));
    f->grant.cap_fen = cap_fen;
    f->grant.max_s = max_s;
    f->grant.window_s = window_s;
    f->grant.until_wall_ns = fixture_wall_ns + 600 * NS_PER_S;
    f->grant.made_wall_ns = fixture_wall_ns;
    fixture_sign_grant(f);
}

static inline void
fixture_open(struct fixture *f, const char *dir)
{
    struct err e = {0};

    memset(f, 0, sizeof *f);
    fixture_mono_ns = 5000 * NS_PER_S;
    fixture_boot_ns = 9000 * NS_PER_S;
    fixture_wall_ns = WALL_START_NS;
    clock_set_source(fixture_clock);
    f->dir = dir;
    f->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_not_equal(f->dir_fd, -1);
    assert_ok(sign_key_new(&f->host, &e));
    assert_ok(sign_key_new(&f->renter, &e));
    sign_key_public(f->host, &f->host_public);
    sign_key_public(f->renter, &f->renter_public);
    f->card = card_new();
    assert_ok(card_set(f->card, "4090=1.88", 0, &e));
    assert_ok(card_set(f->card, "cpu=0.10", 0, &e));
    grant_init(&f->grant);
}

static inline void
fixture_close(struct fixture *f)
{
    sign_key_free(f->host);
    sign_key_free(f->renter);
    card_free(f->card);
    offer_free(f->offer);
    grant_clear(&f->grant);
    (void)close(f->dir_fd);
    clock_set_source(NULL);
}

static inline struct meter_session_options
fixture_options(const struct fixture *f)
{
    return (struct meter_session_options){
        .dir_fd = f->dir_fd, .host_key = f->host, .offer = f->offer, .grant = &f->grant};
}

static inline struct meter_session *
fixture_start(const struct fixture *f)
{
    struct meter_session_options o = fixture_options(f);
    struct meter_session *s = NULL;
    struct err e = {0};

    assert_ok(meter_session_start(&s, &o, &e));
    return s;
}

/* Seconds pass as under a supervisor that ticks when it is told to. */
static inline void
fixture_run(struct meter_session *s, int64_t ns)
{
    struct err e = {0};

    while (ns > 0) {
        int64_t step = meter_session_next_ns(s);

        step = step < ns ? step : ns;
        step = step > 0 ? step : 1;
        fixture_pass(step);
        ns -= step;
        assert_ok(meter_session_tick(s, &e));
    }
}

static inline void
fixture_state(struct meter_session *s, enum usage_state state, const char *reason)
{
    struct err e = {0};

    assert_ok(meter_session_state(s, state, reason, &e));
}

static inline void
fixture_end(struct meter_session *s, const char *reason)
{
    const struct meter_end end = {.reason = reason, .exit_code = 0};
    struct err e = {0};

    assert_ok(meter_session_end(s, &end, &e));
}

/* The journal's file, whole. */
static inline void
fixture_read(const struct fixture *f, struct buf *out)
{
    struct err e = {0};

    buf_reset(out);
    assert_ok(file_read_at(f->dir_fd, "usage", (size_t)1 << 28, out, &e));
}

/* The receipt of the session in the file, verified. */
static inline struct receipt *
fixture_receipt(const struct fixture *f)
{
    const struct receipt_pins pins = {
        .host = &f->host_public, .renter = &f->renter_public, .check_all = true};
    struct receipt *r = NULL;
    struct buf b = BUF_INIT;
    struct err e = {0};

    fixture_read(f, &b);
    assert_ok(receipt_verify(&r, b.data, b.len, &pins, &e));
    assert_int_equal(r->file_bytes, b.len);
    buf_free(&b);
    return r;
}

/* Thousands of syncs: in memory where the machine has such a directory. */
static inline int
fixture_dir_setup(void **state)
{
    char *dir = xstrdup("/dev/shm/unit.XXXXXX");

    if (mkdtemp(dir) == NULL) {
        free(dir);
        return unit_dir_setup(state);
    }
    *state = dir;
    return 0;
}

#define fixture_test(f)                                                                  \
    cmocka_unit_test_setup_teardown(f, fixture_dir_setup, unit_dir_teardown)

#endif

#include "meter/refuse.h"
#include "tests/unit/meter/fixture.h"
#include "tests/unit/meter/forge.h"
#include "tests/unit/meter/respell.h"

int64_t fixture_mono_ns;
int64_t fixture_boot_ns;
int64_t fixture_wall_ns;

/* A short session with one record of every kind; with or without its receipt. */
static void
write_session(struct fixture *f, const char *dir, bool whole)
{
    const struct journal_device d = {"gpu", "4090", "GPU-1"};
    struct meter_session *s;
    struct buf b = BUF_INIT;
    struct err e = {0};

    fixture_open(f, dir);
    assert_ok(card_set(f->card, "disk=0.01", 0, &e));
    fixture_terms(f, 500, 86400, 90);
    s = fixture_start(f);
    fixture_state(s, USAGE_SETUP, "");
    fixture_run(s, 12 * NS_PER_S);
    assert_ok(meter_session_devices(s, &d, 1, &e));
    fixture_state(s, USAGE_RUNNING, "ready");
    meter_session_held(s, 1500000000);
    meter_session_busy(s, 1);
    fixture_run(s, 45 * NS_PER_S);
    journal_cosign_make(&b, JOURNAL_BY_RENTER, f->grant.lease, meter_session_point(s),
                        f->renter);
    assert_ok(meter_session_cosign(s, b.data, b.len, &e));
    f->grant.seq = 2;
    f->grant.cap_fen = 600;
    assert_ok(grant_sign(&f->grant, f->renter, &e));
    assert_ok(meter_session_extend(s, &f->grant, &e));
    fixture_state(s, USAGE_STOPPING, "stopped");
    fixture_run(s, 15 * NS_PER_S);
    if (whole) {
        fixture_end(s, "stopped");
    }
    meter_session_free(s);
    buf_free(&b);
}

/* Feed all of it to a new reader in pieces of `piece` bytes. */
static int
feed(const struct fixture *f, const struct buf *b, size_t piece, bool all,
     struct journal_reader **out, struct err *e)
{
    struct journal_reader *r = journal_reader_new(&f->host_public, f->grant.lease);
    int rc = 0;

    journal_reader_check_all(r, all);
    for (size_t at = 0; rc == 0 && at < b->len; at += piece) {
        rc = journal_reader_feed(r, b->data + at,
                                 piece < b->len - at ? piece : b->len - at, e);
    }
    if (rc == 0) {
        rc = journal_reader_settle(r, e);
    }
    if (out != NULL) {
        *out = r;
    } else {
        journal_reader_free(r);
    }
    return rc;
}

static void
reader__takes_bytes_in_pieces_of_any_size(void **state)
{
    static const size_t pieces[] = {1, 2, 3, 18, 19, 20, 21, 300, 4096, 1000000};
    struct fixture f;
    struct buf b = BUF_INIT;
    struct err e = {0};

    write_session(&f, *state, true);
    fixture_read(&f, &b);
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        struct journal_reader *r;

        assert_ok(feed(&f, &b, pieces[i], i % 2 == 0, &r, &e));
        assert_true(journal_reader_ended(r));
        assert_int_equal(journal_reader_good_bytes(r), b.len);
        assert_int_equal(journal_reader_waiting_bytes(r), 0);
        assert_int_equal(journal_reader_last(r)->total.ns[USAGE_RUNNING], 45 * NS_PER_S);
        journal_reader_free(r);
    }
    buf_free(&b);
    fixture_close(&f);
}

static void
reader__waits_for_the_rest_of_a_record(void **state)
{
    struct fixture f;
    struct buf b = BUF_INIT;
    size_t offsets[64];
    size_t n;
    struct err e = {0};

    write_session(&f, *state, false);
    fixture_read(&f, &b);
    n = forge_frames(&b, offsets, 63);
    for (size_t len = 0; len <= b.len; len += len < 2000 ? 1 : 17) {
        struct journal_reader *r;
        struct buf part = {b.data, len, 0};
        size_t whole = 0;

        assert_ok(feed(&f, &part, b.len, false, &r, &e));
        while (whole < n && offsets[whole + 1] <= len) {
            whole++;
        }
        assert_int_equal(journal_reader_good_bytes(r), offsets[whole]);
        assert_int_equal(journal_reader_waiting_bytes(r), len - offsets[whole]);
        if (whole == 0) {
            assert_null(journal_reader_last(r));
            assert_null(journal_reader_grant(r));
        } else {
            assert_int_equal(journal_reader_last(r)->seq, whole);
        }
        journal_reader_free(r);
    }
    buf_free(&b);
    fixture_close(&f);
}

/* Any changed bit is refused, and the record it stands in is named. */
static void
reader__names_the_first_wrong_record(void **state)
{
    struct fixture f;
    struct buf b = BUF_INIT;
    size_t offsets[64];
    size_t n;
    size_t record = 0;

    write_session(&f, *state, true);
    fixture_read(&f, &b);
    n = forge_frames(&b, offsets, 63);
    for (size_t at = 0; at < b.len; at++) {
        struct err e = {0};
        char want[40];

        while (at >= offsets[record + 1]) {
            record++;
        }
        assert_true(record < n);
        (void)snprintf(want, sizeof want, "record %zu: ", record + 1);
        b.data[at] ^= (uint8_t)(1U << (at % 8));
        if (feed(&f, &b, b.len, false, NULL, &e) == 0) {
            /* A length that grew waits for more: then there is no receipt. */
            struct receipt *r = NULL;
            const struct receipt_pins pins = {.host = &f.host_public};

            assert_int_equal(receipt_verify(&r, b.data, b.len, &pins, &e), -1);
            assert_int_equal(e.code, ERR_CORRUPT);
            (void)snprintf(want, sizeof want, "record %zu is cut off", record + 1);
        }
        assert_int_equal(strncmp(e.msg, want, strlen(want)), 0);
        b.data[at] ^= (uint8_t)(1U << (at % 8));
    }
    buf_free(&b);
    fixture_close(&f);
}

/* The same with a forger who mends the checksum: the chain or a signature tells. */
static void
reader__sees_changes_under_a_mended_checksum(void **state)
{
    struct fixture f;
    struct buf b = BUF_INIT;
    size_t offsets[64];
    size_t n;

    write_session(&f, *state, true);
    fixture_read(&f, &b);
    n = forge_frames(&b, offsets, 63);
    for (size_t i = 0; i < n; i++) {
        for (size_t at = offsets[i] + JOURNAL_FRAME_HEAD; at < offsets[i + 1]; at++) {
            struct err e = {0};

            b.data[at] ^= (uint8_t)(1U << (at % 7));
            forge_crc(&b, offsets[i]);
            if (feed(&f, &b, b.len, at % 16 == 0, NULL, &e) == 0) {
                fail_msg("byte %zu of record %zu may be changed", at - offsets[i], i + 1);
            }
            assert_true(e.code == ERR_CORRUPT || e.code == ERR_VERSION ||
                        e.code == ERR_DENIED);
            b.data[at] ^= (uint8_t)(1U << (at % 7));
            forge_crc(&b, offsets[i]);
        }
    }
    assert_int_equal(feed(&f, &b, b.len, true, NULL, &(struct err){0}), 0);
    buf_free(&b);
    fixture_close(&f);
}

/* Forgeries by the host itself, which can sign and chain anew ---------------- */

struct change {
    size_t record;
    void (*make)(struct journal_entry *x);
    const char *says;
};

static void
more_running(struct journal_entry *x)
{
    x->r.total.ns[USAGE_RUNNING] += 1;
}

static void
free_to_billed(struct journal_entry *x)
{
    x->r.total.ns[USAGE_RUNNING] += x->r.total.ns[USAGE_SHIPPING] + 1;
}

static void
one_fen_more(struct journal_entry *x)
{
    x->r.cost_fen += 1;
}

static void
one_fen_less(struct journal_entry *x)
{
    x->r.cost_fen -= 1;
}

static void
draw_more(struct journal_entry *x)
{
    x->r.drawn_fen += 1;
}

static void
reserve_more(struct journal_entry *x)
{
    x->r.keep_fen += 1;
}

static void
clock_back(struct journal_entry *x)
{
    x->r.at.mono_ns -= 3600 * NS_PER_S;
}

static void
clock_later(struct journal_entry *x)
{
    x->r.at.mono_ns += 1;
}

static void
less_busy(struct journal_entry *x)
{
    x->r.busy_ns = -1;
}

static void
skip_number(struct journal_entry *x)
{
    x->r.seq += 1;
}

static void
break_chain(struct journal_entry *x)
{
    x->r.prev.b[31] ^= 1;
}

static void
state_in_a_tick(struct journal_entry *x)
{
    x->r.state = USAGE_RUNNING;
}

static void
other_boot(struct journal_entry *x)
{
    x->r.at.boot[0] = x->r.at.boot[0] == 'f' ? 'e' : 'f';
}

static void
other_lease(struct journal_entry *x)
{
    (void)strcpy(x->lease, "lother");
}

static void
higher_charge(struct journal_entry *x)
{
    x->receipt.charge_fen += 1;
}

static void
more_seconds(struct journal_entry *x)
{
    x->receipt.device_s += 1;
}

static void
more_setup(struct journal_entry *x)
{
    x->receipt.setup_s += 1;
}

static void
hold_something(struct journal_entry *x)
{
    x->receipt.keep_hold_fen = 1;
}

static void
other_card(struct journal_entry *x)
{
    x->receipt.card.b[0] ^= 1;
}

static void
other_job(struct journal_entry *x)
{
    (void)strcpy(x->job, "jother");
}

static void
other_renter(struct journal_entry *x)
{
    x->receipt.renter.b[0] ^= 1;
}

static void
older_grant(struct journal_entry *x)
{
    x->receipt.grant.b[0] ^= 1;
}

static void
other_offer(struct journal_entry *x)
{
    x->receipt.offer.b[0] ^= 1;
}

static void
preempt_for_free(struct journal_entry *x)
{
    x->moved_ns = 5;
}

static void
not_ended(struct journal_entry *x)
{
    x->r.state = USAGE_STOPPING;
}

static void
forge_one(struct journal_entry *x, size_t i, void *arg)
{
    const struct change *c = arg;

    if (i + 1 == c->record) {
        c->make(x);
    }
}

static enum journal_kind
kind_at(const struct buf *b, size_t offset)
{
    struct sha256_ctx *h = sha256_new();
    struct journal_entry x;
    struct err e = {0};
    enum journal_kind k;

    assert_ok(journal_entry_parse(&x, b->data + offset + JOURNAL_FRAME_HEAD,
                                  forge_frame_len(b->data + offset), h, &e));
    k = x.r.kind;
    journal_entry_clear(&x);
    sha256_free(h);
    return k;
}

/* The first record of a kind after `from`, counted from 1. */
static size_t
find_kind(const struct buf *b, enum journal_kind kind, size_t from)
{
    size_t offsets[64];
    size_t n = forge_frames(b, offsets, 63);

    for (size_t i = from; i < n; i++) {
        if (kind_at(b, offsets[i]) == kind) {
            return i + 1;
        }
    }
    fail_msg("no record of that kind");
    return 0;
}

static void
reader__refuses_what_even_the_host_may_not_write(void **state)
{
    struct fixture f;
    struct buf b = BUF_INIT;
    struct buf forged = BUF_INIT;

    write_session(&f, *state, true);
    fixture_read(&f, &b);
    {
        size_t tick = find_kind(&b, JOURNAL_TICK, 4);
        size_t point = find_kind(&b, JOURNAL_CHECKPOINT, 0);
        size_t run = find_kind(&b, JOURNAL_STATE, 2);
        size_t end = find_kind(&b, JOURNAL_RECEIPT, 0);
        const struct change changes[] = {
            {tick, more_running, "clocks"}, {tick, free_to_billed, "clocks"},
            {tick, one_fen_more, "cost"},   {end, one_fen_less, "sums"},
            {tick, draw_more, "drawn"},     {tick, reserve_more, "reserve"},
            {tick, clock_back, "back"},     {tick, clock_later, "clocks"},
            {end, less_busy, "busy"},       {tick, skip_number, "numbered"},
            {tick, break_chain, "prev"},    {2, state_in_a_tick, NULL},
            {point, other_boot, "boot"},    {point, other_lease, "lease"},
            {end, higher_charge, "sums"},   {end, more_seconds, "sums"},
            {end, more_setup, "sums"},      {end, hold_something, "sums"},
            {end, other_card, "terms"},     {end, other_job, "terms"},
            {end, other_renter, "terms"},   {end, older_grant, "terms"},
            {end, other_offer, "terms"},    {run, preempt_for_free, "preemption"},
            {end, not_ended, "state"},      {1, other_job, "another lease or job"},
        };

        for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
            struct change c = changes[i];
            struct err e = {0};
            char want[40];

            forge(&b, &forged, f.host, forge_one, &c);
            assert_refused(feed(&f, &forged, forged.len, false, NULL, &e), ERR_CORRUPT);
            (void)snprintf(want, sizeof want, "record %zu (", c.record);
            if (strncmp(e.msg, want, strlen(want)) != 0 ||
                (c.says != NULL && strstr(e.msg, c.says) == NULL)) {
                fail_msg("case %zu (%s): %s", i, c.says, e.msg);
            }
        }
    }
    forge(&b, &forged, f.host, NULL, NULL);
    assert_int_equal(forged.len, b.len);
    assert_memory_equal(forged.data, b.data, b.len);
    buf_free(&b);
    buf_free(&forged);
    fixture_close(&f);
}

static void
reader__refuses_another_signers_chain(void **state)
{
    struct fixture f;
    struct buf b = BUF_INIT;
    struct buf forged = BUF_INIT;
    struct err e = {0};

    write_session(&f, *state, true);
    fixture_read(&f, &b);
    forge(&b, &forged, f.renter, NULL, NULL);
    assert_refused(feed(&f, &forged, forged.len, false, NULL, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.msg, "another key"));
    buf_free(&b);
    buf_free(&forged);
    fixture_close(&f);
}

static void
reader__knows_whose_journal_it_is(void **state)
{
    struct fixture f;
    struct buf b = BUF_INIT;
    struct journal_reader *r;
    struct err e = {0};

    write_session(&f, *state, true);
    fixture_read(&f, &b);
    r = journal_reader_new(&f.renter_public, NULL);
    assert_refused(journal_reader_feed(r, b.data, b.len, &e), ERR_DENIED);
    assert_refused(journal_reader_feed(r, b.data, b.len, &e), ERR_CORRUPT);
    journal_reader_free(r);
    r = journal_reader_new(&f.host_public, "lother");
    assert_refused(journal_reader_feed(r, b.data, b.len, &e), ERR_DENIED);
    journal_reader_free(r);
    r = journal_reader_new(NULL, NULL);
    assert_ok(journal_reader_feed(r, b.data, b.len, &e));
    assert_memory_equal(&journal_reader_offer(r)->host, &f.host_public,
                        sizeof f.host_public);
    journal_reader_free(r);
    buf_free(&b);
    fixture_close(&f);
}

static void
reader__takes_nothing_twice_or_after_the_end(void **state)
{
    struct fixture f;
    struct buf b = BUF_INIT;
    struct journal_reader *r;
    size_t offsets[64];
    size_t n;
    struct err e = {0};

    write_session(&f, *state, true);
    fixture_read(&f, &b);
    n = forge_frames(&b, offsets, 63);
    r = journal_reader_new(NULL, NULL);
    assert_ok(journal_reader_feed(r, b.data, offsets[3], &e));
    assert_refused(
        journal_reader_feed(r, b.data + offsets[2], offsets[3] - offsets[2], &e),
        ERR_CORRUPT);
    assert_int_equal(journal_reader_good_bytes(r), offsets[3]);
    journal_reader_free(r);
    r = journal_reader_new(NULL, NULL);
    assert_ok(journal_reader_feed(r, b.data, b.len, &e));
    assert_refused(
        journal_reader_feed(r, b.data + offsets[n - 1], offsets[n] - offsets[n - 1], &e),
        ERR_CORRUPT);
    assert_non_null(strstr(e.msg, "after the receipt"));
    journal_reader_free(r);
    r = journal_reader_new(NULL, NULL); /* the first record left out */
    assert_refused(
        journal_reader_feed(r, b.data + offsets[1], offsets[2] - offsets[1], &e),
        ERR_CORRUPT);
    journal_reader_free(r);
    buf_free(&b);
    fixture_close(&f);
}

/* A last signature that is wrong comes out when it is asked for. */
static void
reader__checks_the_last_checkpoint_when_settled(void **state)
{
    struct fixture f;
    struct buf b = BUF_INIT;
    struct journal_reader *r;
    size_t offsets[64];
    size_t point;
    struct err e = {0};

    write_session(&f, *state, false);
    fixture_read(&f, &b);
    point = find_kind(&b, JOURNAL_CHECKPOINT, 0);
    (void)forge_frames(&b, offsets, 63);
    b.len = offsets[point];
    b.data[b.len - 2] = b.data[b.len - 2] == '0' ? '1' : '0';
    forge_crc(&b, offsets[point - 1]);
    r = journal_reader_new(&f.host_public, NULL);
    assert_ok(journal_reader_feed(r, b.data, b.len, &e));
    assert_refused(journal_reader_settle(r, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.msg, "record "));
    assert_non_null(strstr(e.msg, " (checkpoint): "));
    assert_null(strstr(e.msg, ": ("));
    journal_reader_free(r);
    r = journal_reader_new(&f.host_public, NULL);
    journal_reader_check_all(r, true);
    assert_refused(journal_reader_feed(r, b.data, b.len, &e), ERR_CORRUPT);
    journal_reader_free(r);
    buf_free(&b);
    fixture_close(&f);
}

static void
reader__refuses_frames_that_are_none(void **state)
{
    static const char *const heads[] = {
        "#00000000 00000000\n", "#ffffffff 00000000\n", "#00400001 00000000\n",
        "#0000001A 00000000\n", "#00000010 0000000g\n", " 00000010 00000000\n",
        "#00000010_00000000\n", "#00000010 00000000 ",  "gpurun.usage.v1\nkin",
    };

    (void)state;
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        struct journal_reader *r = journal_reader_new(NULL, NULL);
        struct err e = {0};

        assert_refused(journal_reader_feed(r, heads[i], 19, &e), ERR_CORRUPT);
        assert_non_null(strstr(e.msg, "record 1"));
        journal_reader_free(r);
    }
}

static void
cosign__is_read_only_as_it_was_written(void **state)
{
    const struct journal_point p = {.seq = 7, .device_s = 3, .setup_s = 2};
    struct sign_key *key = NULL;
    struct journal_cosign c;
    struct buf b = BUF_INIT;
    struct err e = {0};

    (void)state;
    assert_ok(sign_key_new(&key, &e));
    journal_cosign_make(&b, JOURNAL_BY_BOOK, "l1", &p, key);
    assert_ok(journal_cosign_parse(&c, b.data, b.len, &e));
    assert_int_equal(c.by, JOURNAL_BY_BOOK);
    assert_int_equal(c.seq, 7);
    assert_int_equal(c.device_s, 3);
    assert_int_equal(c.setup_s, 2);
    assert_string_equal(c.lease, "l1");
    for (size_t i = 0; i < b.len; i++) {
        b.data[i] ^= 1;
        assert_int_equal(journal_cosign_parse(&c, b.data, b.len, &e), -1);
        b.data[i] ^= 1;
    }
    buf_add_str(&b, "x=1\n");
    assert_int_equal(journal_cosign_parse(&c, b.data, b.len, &e), -1);
    buf_reserve(&b, JOURNAL_COSIGN_MAX);
    assert_refused(journal_cosign_parse(&c, b.data, JOURNAL_COSIGN_MAX + 1, &e),
                   ERR_CORRUPT);
    sign_key_free(key);
    buf_free(&b);
}

static void
cosign__is_not_read_if_too_long(void **state)
{
    struct journal_cosign c;
    struct buf b = BUF_INIT;
    struct err e = {0};

    (void)state;
    respell_padded(&b, "gpurun.cosign.v1", JOURNAL_COSIGN_MAX + 1);
    assert_refused(journal_cosign_parse(&c, b.data, b.len, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.msg, "4097 bytes"));
    respell_padded(&b, "gpurun.cosign.v1", JOURNAL_COSIGN_MAX);
    assert_int_equal(journal_cosign_parse(&c, b.data, b.len, &e), -1);
    assert_null(strstr(e.msg, " bytes"));
    {
        char lease[GRANT_ID_MAX + 1];
        struct journal_point p;
        struct sign_public host = {{0}};

        respell_padded(&b, "gpurun.usage.v1", JOURNAL_RECORD_MAX + 1);
        assert_refused(journal_point_parse(&p, lease, b.data, b.len, &host, &e),
                       ERR_CORRUPT);
        assert_non_null(strstr(e.msg, "4194305 bytes"));
        respell_padded(&b, "gpurun.usage.v1", JOURNAL_RECORD_MAX);
        assert_refused(journal_point_parse(&p, lease, b.data, b.len, &host, &e),
                       ERR_CORRUPT);
        assert_null(strstr(e.msg, " bytes"));
    }
    buf_free(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(reader__takes_bytes_in_pieces_of_any_size),
        fixture_test(reader__waits_for_the_rest_of_a_record),
        fixture_test(reader__names_the_first_wrong_record),
        fixture_test(reader__sees_changes_under_a_mended_checksum),
        fixture_test(reader__refuses_what_even_the_host_may_not_write),
        fixture_test(reader__refuses_another_signers_chain),
        fixture_test(reader__knows_whose_journal_it_is),
        fixture_test(reader__takes_nothing_twice_or_after_the_end),
        fixture_test(reader__checks_the_last_checkpoint_when_settled),
        cmocka_unit_test(reader__refuses_frames_that_are_none),
        cmocka_unit_test(cosign__is_read_only_as_it_was_written),
        cmocka_unit_test(cosign__is_not_read_if_too_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

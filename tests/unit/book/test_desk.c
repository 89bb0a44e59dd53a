/*
 * A book's desk: what is forged, another's, late or twice; what a grant holds, a receipt
 * pays, a host's word gives back, and what is acknowledged.
 */
#include "meter/declined.h"
#include "meter/journal_internal.h"
#include "meter/keeping.h"
#include "meter/refuse.h"
#include "tests/unit/book/desk_fixture.h"

int64_t fixture_mono_ns;
int64_t fixture_boot_ns;
int64_t fixture_wall_ns;

/* The draft as it is now, signed anew by key. */
static void
sign_draft(struct desk *d, const struct sign_key *key)
{
    struct err e = {0};

    assert_ok(grant_sign(&d->f.grant, key, &e));
}

static void
desk__grants_what_is_covered_and_the_same_again(void **state)
{
    struct desk d;
    struct buf first = BUF_INIT;
    struct buf again = BUF_INIT;
    struct grant g;
    struct err e = {0};

    desk_open(&d, *state, 700);
    assert_ok(ask(&d, &first, &e));
    assert_funds(&d, 700, 500);
    assert_ok(grant_parse(&g, first.data, first.len, &e));
    assert_memory_equal(g.book.b, d.b->pub.b, sizeof g.book.b);
    assert_ok(grant_check(&g, d.f.offer, &d.f.renter_public, fixture_wall_ns, &e));
    grant_clear(&g);
    fixture_pass(NS_PER_S);
    assert_ok(ask(&d, &again, &e));
    assert_int_equal(first.len, again.len);
    assert_memory_equal(first.data, again.data, first.len);
    assert_funds(&d, 700, 500);

    /* The same lease and number with another body. */
    d.f.grant.cap_fen = 501;
    sign_draft(&d, d.f.renter);
    assert_int_equal(ask(&d, &again, &e), -1);
    assert_int_equal(refuse_of(&e), REFUSE_KEY_MISMATCH);
    /* Another lease: 200 are free. */
    (void)strcpy(d.f.grant.lease, "l0000000000zz");
    d.f.grant.cap_fen = 201;
    sign_draft(&d, d.f.renter);
    assert_refused(ask(&d, &again, &e), ERR_LIMIT);
    d.f.grant.cap_fen = 200;
    sign_draft(&d, d.f.renter);
    assert_ok(ask(&d, &again, &e));
    assert_funds(&d, 700, 700);
    assert_ok(ledger_check(d.b->ledger, &e));
    buf_free(&first);
    buf_free(&again);
    desk_close(&d);
}

static void
desk__refuses_drafts_that_are_not_the_renters(void **state)
{
    struct desk d;
    struct buf out = BUF_INIT;
    struct book_host h;
    struct sign_key *other = NULL;
    struct err e = {0};

    desk_open(&d, *state, 700);
    assert_ok(sign_key_new(&other, &e));
    sign_draft(&d, other); /* in ann's name, by somebody else */
    assert_refused(ask(&d, &out, &e), ERR_DENIED);
    sign_draft(&d, d.f.renter);
    d.f.grant.bytes.data[d.f.grant.bytes.len - 3] ^= 1;
    assert_int_equal(ask(&d, &out, &e), -1); /* a changed signature */
    d.f.grant.rows[0].uyuan_per_h = 1;       /* not the offer's price */
    sign_draft(&d, d.f.renter);
    assert_refused(ask(&d, &out, &e), ERR_DENIED);
    d.f.grant.rows[0].uyuan_per_h = 1880000;
    d.f.grant.until_wall_ns = fixture_wall_ns + 99 * DAY_NS;
    sign_draft(&d, d.f.renter);
    assert_refused(ask(&d, &out, &e), ERR_DENIED);
    d.f.grant.until_wall_ns = fixture_wall_ns - 1;
    sign_draft(&d, d.f.renter);
    assert_refused(ask(&d, &out, &e), ERR_DENIED);
    d.f.grant.until_wall_ns = fixture_wall_ns + 600 * NS_PER_S;
    d.ann.revoked = true;
    sign_draft(&d, d.f.renter);
    assert_refused(ask(&d, &out, &e), ERR_DENIED);
    d.ann.revoked = false;
    assert_ok(book_host_load(d.b, d.host, &h, &e));
    h.removed = true;
    assert_ok(book_host_save(d.b, &h, &e));
    assert_refused(ask(&d, &out, &e), ERR_DENIED);
    h.removed = false;
    assert_ok(book_host_save(d.b, &h, &e));
    fixture_pass(2 * DAY_NS); /* the offer is over */
    d.f.grant.until_wall_ns = fixture_wall_ns + 600 * NS_PER_S;
    sign_draft(&d, d.f.renter);
    assert_refused(ask(&d, &out, &e), ERR_DENIED);
    assert_int_equal(out.len, 0);
    assert_funds(&d, 700, 0);
    sign_key_free(other);
    desk_close(&d);
}

static void
desk__extends_only_what_it_granted(void **state)
{
    struct desk d;
    struct buf out = BUF_INIT;
    struct err e = {0};

    desk_open(&d, *state, 700);
    d.f.grant.seq = 2; /* of a lease nobody knows */
    sign_draft(&d, d.f.renter);
    assert_refused(ask(&d, &out, &e), ERR_DENIED);
    d.f.grant.seq = 1;
    sign_draft(&d, d.f.renter);
    assert_ok(ask(&d, &out, &e));
    d.f.grant.seq = 2;
    d.f.grant.cap_fen = 600;
    sign_draft(&d, d.f.renter);
    assert_ok(ask(&d, &out, &e));
    assert_funds(&d, 700, 600);
    d.f.grant.seq = 3;
    d.f.grant.cap_fen = 701;
    sign_draft(&d, d.f.renter);
    assert_refused(ask(&d, &out, &e), ERR_LIMIT);
    /* Two hosts must not both spend one hold. */
    d.f.grant.cap_fen = 650;
    d.f.grant.host.b[0] ^= 1;
    sign_draft(&d, d.f.renter);
    assert_refused(ask(&d, &out, &e), ERR_DENIED);
    d.f.grant.host.b[0] ^= 1;
    (void)strcpy(d.f.grant.job, "j0000000000zz");
    sign_draft(&d, d.f.renter);
    assert_refused(ask(&d, &out, &e), ERR_DENIED);
    assert_funds(&d, 700, 600);
    buf_free(&out);
    desk_close(&d);
}

/* A session under the granted lease, with data kept; its journal stays in the dir. */
static struct receipt *
session(struct desk *d, const char *snapshot)
{
    struct meter_end end = {.reason = "exited", .exit_code = 0};
    struct meter_session_options o = fixture_options(&d->f);
    struct buf granted = BUF_INIT;
    struct meter_session *s = NULL;
    struct grant g;
    struct err e = {0};

    assert_ok(ask(d, &granted, &e));
    assert_ok(grant_parse(&g, granted.data, granted.len, &e));
    o.grant = &g;
    assert_ok(meter_session_start(&s, &o, &e));
    fixture_state(s, USAGE_RUNNING, "ready");
    fixture_run(s, 1800 * NS_PER_S);
    fixture_state(s, USAGE_SNAPSHOTTING, "");
    if (snapshot != NULL) {
        end.snapshot = snapshot;
        end.kept_bytes = 10000000000;
        end.keep_until_wall_ns = fixture_wall_ns + 15 * DAY_NS;
    }
    assert_ok(meter_session_end(s, &end, &e));
    meter_session_free(s);
    grant_clear(&g);
    buf_free(&granted);
    return fixture_receipt(&d->f);
}

/* A copy of the journal, which the desk takes over. */
static char *
copy_of(struct desk *d, struct buf *bytes)
{
    char *path = path_join(d->f.dir, "copy");
    struct err e = {0};

    fixture_read(&d->f, bytes);
    assert_ok(file_replace(path, bytes->data, bytes->len, &e));
    return path;
}

static int64_t
due(struct desk *d)
{
    struct ledger_lease h;
    struct err e = {0};

    assert_ok(ledger_lease(d->b->ledger, d->f.grant.lease, &h, &e));
    return h.charge_fen;
}

static void
desk__closes_a_lease_by_its_receipt_once(void **state)
{
    struct desk d;
    struct buf bytes = BUF_INIT;
    struct desk_closed c;
    struct receipt *r;
    char *path;
    struct err e = {0};

    desk_open(&d, *state, 700);
    r = session(&d, NULL);
    assert_int_equal(r->charge_fen, 94);
    path = copy_of(&d, &bytes);
    /* One byte of it changed. */
    bytes.data[bytes.len / 2] ^= 1;
    assert_ok(file_replace(path, bytes.data, bytes.len, &e));
    assert_int_equal(desk_receipt(d.b, path, &c, &e), -1);
    assert_funds(&d, 700, 500);
    bytes.data[bytes.len / 2] ^= 1;
    assert_ok(file_replace(path, bytes.data, bytes.len, &e));
    assert_ok(desk_receipt(d.b, path, &c, &e));
    assert_int_equal(c.charge_fen, 94);
    assert_false(c.repeated);
    assert_false(file_exists(path));
    assert_funds(&d, 606, 0);
    assert_int_equal(due(&d), 94);
    /* Again, and with another fee since. */
    assert_ok(book_set_fee(d.b, 2000, &e));
    assert_ok(file_replace(path, bytes.data, bytes.len, &e));
    assert_ok(desk_receipt(d.b, path, &c, &e));
    assert_true(c.repeated);
    assert_funds(&d, 606, 0);
    assert_ok(ledger_check(d.b->ledger, &e));
    receipt_free(r);
    buf_free(&bytes);
    free(path);
    desk_close(&d);
}

static void
desk__takes_no_receipt_of_another_book(void **state)
{
    struct desk d;
    struct buf bytes = BUF_INIT;
    struct desk_closed c;
    char *path;
    struct meter_session *s;
    struct err e = {0};

    desk_open(&d, *state, 700);
    fixture_terms(&d.f, 500, 86400, 60); /* under the renter's own signature */
    s = fixture_start(&d.f);
    fixture_state(s, USAGE_RUNNING, "ready");
    fixture_run(s, 1800 * NS_PER_S);
    fixture_end(s, "exited");
    meter_session_free(s);
    path = copy_of(&d, &bytes);
    assert_refused(desk_receipt(d.b, path, &c, &e), ERR_DENIED);
    assert_funds(&d, 700, 0);
    buf_free(&bytes);
    free(path);
    desk_close(&d);
}

static void
desk__gives_back_only_by_the_hosts_word(void **state)
{
    struct desk d;
    struct buf out = BUF_INIT;
    struct buf bytes = BUF_INIT;
    struct desk_closed c;
    struct declined word;
    struct receipt *r;
    char *path;
    struct err e = {0};

    desk_open(&d, *state, 700);
    declined_init(&word);
    declined_make(&word, &d.f.grant, fixture_wall_ns, d.f.host);
    assert_refused(desk_decline(d.b, word.bytes.data, word.bytes.len, &e), ERR_NOT_FOUND);
    r = session(&d, NULL);
    declined_make(&word, &d.f.grant, fixture_wall_ns, d.f.renter);
    assert_refused(desk_decline(d.b, word.bytes.data, word.bytes.len, &e), ERR_DENIED);
    assert_funds(&d, 700, 500);
    declined_make(&word, &d.f.grant, fixture_wall_ns, d.f.host);
    word.bytes.data[word.bytes.len - 3] ^= 1;
    assert_int_equal(desk_decline(d.b, word.bytes.data, word.bytes.len, &e), -1);
    word.bytes.data[word.bytes.len - 3] ^= 1;
    assert_ok(desk_decline(d.b, word.bytes.data, word.bytes.len, &e));
    assert_ok(desk_decline(d.b, word.bytes.data, word.bytes.len, &e));
    assert_funds(&d, 700, 0);
    /* A host that says both gets nothing. */
    path = copy_of(&d, &bytes);
    assert_refused(desk_receipt(d.b, path, &c, &e), ERR_EXISTS);
    assert_funds(&d, 700, 0);
    declined_clear(&word);
    receipt_free(r);
    buf_free(&out);
    buf_free(&bytes);
    free(path);
    desk_close(&d);
}

static void
desk__posts_keeping_by_the_line_or_at_its_end(void **state)
{
    struct desk d;
    struct buf bytes = BUF_INIT;
    struct desk_closed c;
    struct keeping k;
    struct receipt *r;
    size_t n = 9;
    char *path;
    struct err e = {0};

    desk_open(&d, *state, 700);
    r = session(&d, "s0123456789ab");
    assert_int_equal(r->keep_hold_fen, 150);
    path = copy_of(&d, &bytes);
    keeping_init(&k);
    assert_ok(keeping_make(&k, r, r->made_wall_ns + 2 * DAY_NS, "removed", d.f.host, &e));
    /* Before the receipt there is nothing it could be of. */
    assert_refused(desk_keeping(d.b, k.bytes.data, k.bytes.len, &c, &e), ERR_SYSTEM);
    assert_ok(desk_receipt(d.b, path, &c, &e));
    assert_int_equal(c.keep_fen, 150);
    assert_funds(&d, 606, 150);
    assert_ok(desk_tick(d.b, NULL, &n, &e));
    assert_int_equal(n, 0);
    assert_ok(desk_keeping(d.b, k.bytes.data, k.bytes.len, &c, &e));
    assert_int_equal(c.charge_fen, 20);
    assert_funds(&d, 586, 0);
    assert_ok(desk_keeping(d.b, k.bytes.data, k.bytes.len, &c, &e));
    assert_true(c.repeated);
    keeping_clear(&k);
    keeping_init(&k);
    assert_ok(keeping_make(&k, r, r->made_wall_ns + 3 * DAY_NS, "removed", d.f.host, &e));
    assert_int_equal(desk_keeping(d.b, k.bytes.data, k.bytes.len, &c, &e), -1);
    assert_int_equal(refuse_of(&e), REFUSE_KEY_MISMATCH);
    assert_funds(&d, 586, 0);
    keeping_clear(&k);
    receipt_free(r);
    buf_free(&bytes);
    free(path);
    desk_close(&d);
}

static void
desk__posts_keeping_nobody_sends_a_line_of(void **state)
{
    struct desk d;
    struct buf bytes = BUF_INIT;
    struct desk_closed c;
    struct keeping k;
    struct receipt *r;
    size_t n = 9;
    char *path;
    struct err e = {0};

    desk_open(&d, *state, 700);
    r = session(&d, "s0123456789ab");
    path = copy_of(&d, &bytes);
    assert_ok(desk_receipt(d.b, path, &c, &e));
    fixture_pass(17 * DAY_NS);
    assert_ok(desk_tick(d.b, NULL, &n, &e));
    assert_int_equal(n, 0);
    fixture_pass(1 * DAY_NS);
    assert_ok(desk_tick(d.b, "somebody else", &n, &e));
    assert_int_equal(n, 0);
    assert_ok(desk_tick(d.b, d.ann.id, &n, &e));
    assert_int_equal(n, 1);
    assert_funds(&d, 456, 0);
    assert_ok(ledger_check(d.b->ledger, &e));
    /* A host that was away tells of it late, as often as it likes. */
    keeping_init(&k);
    assert_ok(keeping_make(&k, r, r->made_wall_ns + 2 * DAY_NS, "removed", d.f.host, &e));
    assert_int_equal(k.charge_fen, 20);
    for (int i = 0; i < 2; i++) {
        assert_ok(desk_keeping(d.b, k.bytes.data, k.bytes.len, &c, &e));
        assert_true(c.repeated);
        assert_int_equal(c.charge_fen, 150);
    }
    assert_funds(&d, 456, 0);
    assert_ok(ledger_check(d.b->ledger, &e));
    keeping_clear(&k);
    receipt_free(r);
    buf_free(&bytes);
    free(path);
    desk_close(&d);
}

/* The signed records of the session in the file, in their order; at most n. */
static size_t
signed_records(struct desk *d, struct buf *out, size_t n)
{
    struct buf bytes = BUF_INIT;
    size_t found = 0;
    struct err e = {0};

    fixture_read(&d->f, &bytes);
    for (size_t at = 0; at < bytes.len && found < n;) {
        uint32_t crc;
        size_t len = 0;

        assert_ok(journal_frame_parse(bytes.data + at, &len, &crc, &e));
        at += JOURNAL_FRAME_HEAD;
        if (memmem(bytes.data + at, len, "\nsigner=", 8) != NULL &&
            memmem(bytes.data + at, len, "\nkind=open\n", 11) == NULL) {
            buf_add(&out[found++], bytes.data + at, len);
        }
        at += len;
    }
    buf_free(&bytes);
    return found;
}

static void
desk__acknowledges_checkpoints_in_order(void **state)
{
    struct desk d;
    struct buf points[3] = {BUF_INIT, BUF_INIT, BUF_INIT};
    struct buf cosign = BUF_INIT;
    struct journal_cosign c;
    struct receipt *r;
    const char *lease = "l0123456789ab";
    struct err e = {0};

    desk_open(&d, *state, 700);
    r = session(&d, NULL);
    assert_int_equal(signed_records(&d, points, 3), 3);
    assert_refused(
        desk_ack(d.b, "l0000000000zz", points[0].data, points[0].len, &cosign, &e),
        ERR_NOT_FOUND);
    assert_int_equal(desk_ack(d.b, lease, "nonsense", 8, &cosign, &e), -1);
    assert_ok(desk_ack(d.b, lease, points[1].data, points[1].len, &cosign, &e));
    assert_ok(journal_cosign_parse(&c, cosign.data, cosign.len, &e));
    assert_int_equal(c.by, JOURNAL_BY_BOOK);
    assert_memory_equal(c.signer.b, d.b->pub.b, sizeof c.signer.b);
    assert_true(c.device_s > 0);
    buf_reset(&cosign);
    assert_ok(
        desk_ack(d.b, lease, points[1].data, points[1].len, &cosign, &e)); /* twice */
    assert_refused(desk_ack(d.b, lease, points[0].data, points[0].len, &cosign, &e),
                   ERR_EXISTS); /* late */
    assert_ok(desk_ack(d.b, lease, points[2].data, points[2].len, &cosign, &e));
    points[2].data[points[2].len / 2] ^= 1;
    assert_int_equal(desk_ack(d.b, lease, points[2].data, points[2].len, &cosign, &e),
                     -1);
    receipt_free(r);
    for (size_t i = 0; i < 3; i++) {
        buf_free(&points[i]);
    }
    buf_free(&cosign);
    desk_close(&d);
}

/* A host that lost power and wrote another history signs a second checkpoint of a number.
 */
static void
desk__keeps_two_histories_as_proof(void **state)
{
    struct desk d;
    struct buf first[2] = {BUF_INIT, BUF_INIT};
    struct buf second[2] = {BUF_INIT, BUF_INIT};
    struct buf cosign = BUF_INIT;
    struct receipt *r;
    const char *lease = "l0123456789ab";
    char *acks = NULL;
    char *forks;
    struct err e = {0};

    desk_open(&d, *state, 700);
    d.f.grant.until_wall_ns = fixture_wall_ns + DAY_NS / 2;
    sign_draft(&d, d.f.renter);
    r = session(&d, NULL);
    receipt_free(r);
    assert_int_equal(signed_records(&d, first, 2), 2);
    assert_int_equal(unlinkat(d.f.dir_fd, "usage", 0), 0);
    fixture_pass(NS_PER_S);
    r = session(&d, NULL); /* the same lease from its beginning */
    receipt_free(r);
    assert_int_equal(signed_records(&d, second, 2), 2);
    assert_ok(desk_ack(d.b, lease, first[1].data, first[1].len, &cosign, &e));
    assert_refused(desk_ack(d.b, lease, second[1].data, second[1].len, &cosign, &e),
                   ERR_CORRUPT);
    assert_non_null(strstr(e.msg, "both are kept as proof"));
    /* What is wrong with the book's own files is no last word on what came. */
    assert_ok(book_path(d.b, "acks", lease, &acks, &e));
    assert_ok(file_replace(acks, "junk", 4, &e));
    assert_refused(desk_ack(d.b, lease, first[1].data, first[1].len, &cosign, &e),
                   ERR_SYSTEM);
    free(acks);
    forks = path_join(d.b->home, "forks");
    assert_true(file_exists(forks));
    free(forks);
    for (size_t i = 0; i < 2; i++) {
        buf_free(&first[i]);
        buf_free(&second[i]);
    }
    buf_free(&cosign);
    desk_close(&d);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(desk__grants_what_is_covered_and_the_same_again),
        fixture_test(desk__refuses_drafts_that_are_not_the_renters),
        fixture_test(desk__extends_only_what_it_granted),
        fixture_test(desk__closes_a_lease_by_its_receipt_once),
        fixture_test(desk__takes_no_receipt_of_another_book),
        fixture_test(desk__gives_back_only_by_the_hosts_word),
        fixture_test(desk__posts_keeping_by_the_line_or_at_its_end),
        fixture_test(desk__posts_keeping_nobody_sends_a_line_of),
        fixture_test(desk__acknowledges_checkpoints_in_order),
        fixture_test(desk__keeps_two_histories_as_proof),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

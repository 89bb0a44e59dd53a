/* What is remembered of a long receipt: it saves time, and changes no bill. */
#include <inttypes.h>
#include <sys/stat.h>
#include <time.h>

#include "base/file.h"
#include "base/rec.h"
#include "meter/bill.h"
#include "tests/unit/meter/fixture.h"

int64_t fixture_mono_ns;
int64_t fixture_boot_ns;
int64_t fixture_wall_ns;

#define RAN_S       4000
#define MONTH_END_S 1796054400 /* of November 2026 in Shanghai */

static int64_t ahead_ns;

/* The file system's clock, and how far ours is ahead of it. */
static int64_t
real_clock(enum clock_kind kind)
{
    struct timespec t;

    (void)kind;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec + ahead_ns;
}

struct long_one {
    struct fixture f;
    char *path;
    char *gist;
    struct receipt_pins pins;
    struct buf bill; /* as it is without a gist */
};

/* All that a bill is made from. */
static void
print(const struct receipt *r, struct buf *out)
{
    struct bill b;
    struct err e = {0};

    assert_ok(bill_from_receipt(&b, r, &e));
    bill_csv(out, &b, r->job);
    buf_printf(out, "%s %s %s %d %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 "\n",
               r->lease, r->grant.lease, r->reason, r->exit_code, r->charge_fen,
               r->keep_hold_fen, r->made_wall_ns, r->busy_ns);
    buf_printf(out, "%zu %zu %zu %" PRIu64 " %" PRId64 "\n", r->n_intervals, r->n_months,
               r->n_devices, r->file_bytes, r->last.seq);
    bill_clear(&b);
}

static void
open_long(struct long_one *o, const char *dir)
{
    struct meter_session *s;
    struct receipt *r = NULL;
    struct err e = {0};

    memset(o, 0, sizeof *o);
    fixture_open(&o->f, dir);
    fixture_wall_ns = (MONTH_END_S - RAN_S / 2) * NS_PER_S;
    fixture_terms(&o->f, 100000000, GRANT_NO_END, 60);
    s = fixture_start(&o->f);
    fixture_state(s, USAGE_RUNNING, "ready");
    fixture_run(s, RAN_S * NS_PER_S);
    fixture_end(s, "exited");
    meter_session_free(s);
    o->path = path_join(dir, "usage");
    o->gist = path_join(dir, "gist");
    o->pins.job = o->f.grant.job;
    o->pins.host = &o->f.host_public;
    assert_ok(receipt_verify_file(&r, o->path, &o->pins, &e));
    assert_true(r->file_bytes > (uint64_t)RECEIPT_KNOWN_MAX);
    assert_int_equal(r->n_months, 2);
    print(r, &o->bill);
    receipt_free(r);
    o->pins.gist = o->gist;
    o->pins.own = o->f.renter;
    ahead_ns = 10 * NS_PER_S;
    clock_set_source(real_clock);
}

static void
close_long(struct long_one *o)
{
    free(o->path);
    free(o->gist);
    buf_free(&o->bill);
    fixture_close(&o->f);
}

/* Verified with the gist that is there, if any: the same bill. */
static void
assert_same_bill(const struct long_one *o)
{
    struct receipt *r = NULL;
    struct buf b = BUF_INIT;
    struct err e = {0};

    assert_ok(receipt_verify_file(&r, o->path, &o->pins, &e));
    print(r, &b);
    assert_string_equal(buf_str(&b), buf_str(&o->bill));
    buf_free(&b);
    receipt_free(r);
}

/* As one who has the renter's key would write it: the field of that key is another. */
static void
forge_gist(const struct long_one *o, const char *key, const void *value, size_t len)
{
    struct rec *was = NULL;
    struct rec *is;
    struct err e = {0};
    bool first = true;

    assert_ok(rec_load(&was, o->gist, NULL, &e));
    is = rec_new(rec_type(was));
    for (size_t i = 0; i < rec_n_fields(was); i++) {
        const char *v;
        size_t n;
        const char *k = rec_field(was, i, &v, &n);

        if (strcmp(k, key) == 0 && first) {
            rec_add_bytes(is, k, value, len);
            first = false;
        } else if (strcmp(k, "signer") != 0 && strcmp(k, "sig") != 0) {
            rec_add_bytes(is, k, v, n);
        }
    }
    assert_false(first);
    sign_rec(is, o->f.renter);
    assert_ok(rec_save(is, o->gist, &e));
    rec_free(is);
    rec_free(was);
}

static void
gist__is_made_once_a_file_is_at_rest(void **state)
{
    struct long_one o;

    open_long(&o, *state);
    /* Changed in this very second, it may change again without a trace. */
    ahead_ns = 0;
    assert_int_equal(utimensat(AT_FDCWD, o.path, NULL, 0), 0);
    assert_same_bill(&o);
    assert_false(file_exists(o.gist));
    ahead_ns = 10 * NS_PER_S;
    assert_same_bill(&o);
    assert_true(file_exists(o.gist));
    assert_same_bill(&o);
    close_long(&o);
}

/* So the file was not read: what only the gist knows, when a state began, is from it.
 * Who asks for every signature does not get that. */
static void
gist__is_what_is_read_instead(void **state)
{
    static const char key[] = "interval";
    struct long_one o;
    struct receipt *r = NULL;
    struct rec *rec = NULL;
    struct buf b = BUF_INIT;
    struct err e = {0};
    const char *value;

    open_long(&o, *state);
    assert_same_bill(&o);
    assert_ok(rec_load(&rec, o.gist, NULL, &e));
    value = rec_get(rec, key); /* its last totals stay, its state's reason does not */
    buf_printf(&b, "%.*sforged%s", (int)(strchr(value, ' ') + 1 - value), value,
               strchr(strchr(value, ' ') + 1, ' '));
    forge_gist(&o, key, b.data, b.len);
    assert_ok(receipt_verify_file(&r, o.path, &o.pins, &e));
    assert_string_equal(r->intervals[0].reason, "forged");
    receipt_free(r);
    assert_same_bill(&o);
    o.pins.check_all = true;
    assert_ok(receipt_verify_file(&r, o.path, &o.pins, &e));
    assert_string_not_equal(r->intervals[0].reason, "forged");
    receipt_free(r);
    rec_free(rec);
    buf_free(&b);
    close_long(&o);
}

/* By whoever has not the renter's key; a right one is made in its place each time. */
static void
gist__that_is_forged_changes_no_bill(void **state)
{
    struct long_one o;
    struct sign_key *other = NULL;
    struct buf was = BUF_INIT;
    struct buf is = BUF_INIT;
    struct err e = {0};

    open_long(&o, *state);
    assert_same_bill(&o);
    assert_ok(file_read(o.gist, 1 << 20, &was, &e));
    for (size_t i = 0; i < was.len; i += 97) {
        buf_reset(&is);
        buf_add(&is, was.data, was.len);
        is.data[i] = is.data[i] == '1' ? '2' : '1';
        assert_ok(file_replace(o.gist, is.data, is.len, &e));
        assert_same_bill(&o);
    }
    buf_reset(&is);
    assert_ok(file_read(o.gist, 1 << 20, &is, &e));
    assert_true(is.len == was.len && memcmp(is.data, was.data, was.len) == 0);
    assert_ok(file_replace(o.gist, was.data, was.len - 1, &e));
    assert_same_bill(&o);
    assert_ok(file_replace(o.gist, "x", 1, &e));
    assert_same_bill(&o);
    assert_ok(sign_key_new(&other, &e));
    o.pins.own = other;
    assert_same_bill(&o);
    sign_key_free(other);
    buf_free(&was);
    buf_free(&is);
    close_long(&o);
}

/* Not even by the renter: offer, grant and all sums are what the host signed. */
static void
gist__of_the_renters_own_making_changes_no_sum(void **state)
{
    static const char *const keys[] = {"offer", "grant",    "head", "tail",
                                       "month", "interval", "file", "program"};
    static const char *const values[] = {"0", "-", "1 1", "700 1796054400",
                                         "4 - - 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"};
    struct long_one o;
    struct grant cheap;
    struct err e = {0};

    open_long(&o, *state);
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
            assert_same_bill(&o);
            forge_gist(&o, keys[k], values[v], strlen(values[v]));
            assert_same_bill(&o);
        }
    }
    /* A right grant of the same lease, of another cap. */
    grant_init(&cheap);
    assert_ok(grant_parse(&cheap, o.f.grant.bytes.data, o.f.grant.bytes.len, &e));
    cheap.cap_fen = 1;
    assert_ok(grant_sign(&cheap, o.f.renter, &e));
    forge_gist(&o, "grant", cheap.bytes.data, cheap.bytes.len);
    assert_same_bill(&o);
    grant_clear(&cheap);
    close_long(&o);
}

/*
 * Put the times back that st has, and wait until the change shows: a file system's clock
 * may tick but every few milliseconds, and a change within one tick cannot be seen, which
 * is why none is believed that is so young.
 */
static void
put_times_back(int fd, const struct stat *st)
{
    const struct timespec tick = {.tv_nsec = 1000000};
    struct stat is;

    for (int i = 0; i < 5000; i++) {
        assert_int_equal(
            futimens(fd, (const struct timespec[]){st->st_atim, st->st_mtim}), 0);
        assert_int_equal(fstat(fd, &is), 0);
        if (is.st_ctim.tv_sec != st->st_ctim.tv_sec ||
            is.st_ctim.tv_nsec != st->st_ctim.tv_nsec) {
            return;
        }
        (void)nanosleep(&tick, NULL);
    }
    fail_msg("the time of change stands still");
}

/* One byte of the file, with its times put back: it is read, and refused. */
static void
gist__does_not_hide_a_changed_file(void **state)
{
    struct long_one o;
    struct receipt *r = NULL;
    struct stat st;
    struct buf b = BUF_INIT;
    struct rec *gist = NULL;
    struct err e = {0};
    int fd;

    open_long(&o, *state);
    fixture_read(&o.f, &b);
    for (size_t i = 30; i < b.len; i += b.len / 7) {
        uint8_t other = b.data[i] == '7' ? '8' : '7';

        assert_same_bill(&o);
        fd = open(o.path, O_RDWR | O_CLOEXEC);
        assert_int_equal(fstat(fd, &st), 0);
        assert_int_equal(pwrite(fd, &other, 1, (off_t)i), 1);
        put_times_back(fd, &st);
        assert_refused(receipt_verify_file(&r, o.path, &o.pins, &e), ERR_CORRUPT);
        assert_int_equal(pwrite(fd, &b.data[i], 1, (off_t)i), 1);
        (void)close(fd);
    }
    /* Of the last record, with a gist that says this is the file: not what was signed. */
    assert_same_bill(&o);
    b.data[b.len - 2] = b.data[b.len - 2] == '7' ? '8' : '7';
    fd = open(o.path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pwrite(fd, &b.data[b.len - 2], 1, (off_t)b.len - 2), 1);
    assert_int_equal(fstat(fd, &st), 0);
    (void)close(fd);
    assert_ok(rec_load(&gist, o.gist, NULL, &e));
    buf_reset(&b);
    buf_printf(&b, "%lld %lld %lld %lld %lld %lld %lld", (long long)st.st_dev,
               (long long)st.st_ino, (long long)st.st_size, (long long)st.st_uid,
               (long long)st.st_mode,
               (long long)st.st_mtim.tv_sec * NS_PER_S + st.st_mtim.tv_nsec,
               (long long)st.st_ctim.tv_sec * NS_PER_S + st.st_ctim.tv_nsec);
    assert_int_equal(strspn(rec_get(gist, "file"), "-0123456789 "),
                     strlen(rec_get(gist, "file")));
    forge_gist(&o, "file", b.data, b.len);
    assert_refused(receipt_verify_file(&r, o.path, &o.pins, &e), ERR_CORRUPT);
    rec_free(gist);
    buf_free(&b);
    close_long(&o);
}

/* Another pinned key, another job: as without a gist. */
static void
gist__is_of_the_pinned_host_and_job(void **state)
{
    struct long_one o;
    struct receipt *r = NULL;
    struct err e = {0};

    open_long(&o, *state);
    assert_same_bill(&o);
    o.pins.host = &o.f.renter_public;
    assert_refused(receipt_verify_file(&r, o.path, &o.pins, &e), ERR_DENIED);
    o.pins.host = NULL;
    o.pins.job = "j00000000000b";
    assert_refused(receipt_verify_file(&r, o.path, &o.pins, &e), ERR_DENIED);
    close_long(&o);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(gist__is_made_once_a_file_is_at_rest),
        fixture_test(gist__is_what_is_read_instead),
        fixture_test(gist__that_is_forged_changes_no_bill),
        fixture_test(gist__of_the_renters_own_making_changes_no_sum),
        fixture_test(gist__does_not_hide_a_changed_file),
        fixture_test(gist__is_of_the_pinned_host_and_job),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

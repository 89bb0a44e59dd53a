/*
 * A session from its first record to a book that has taken its receipt and its line of
 * keeping, with its host and the book killed, or their power cut, at each call that
 * changes a file. What was acknowledged is there, a torn tail is cut, nothing is billed
 * that no record of the host proves, nothing twice, and book and host agree afterwards.
 *
 * Every call is taken with GPURUN_CRASH=all, else a part of them. With GPURUN_POWER=DIR
 * all lies on an ext4 of its own that is shut down there (crash_place.h).
 */
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "meter/keeping.h"
#include "tests/unit/book/desk_fixture.h"
#include "tests/unit/crash_place.h"
#include "tests/unit/crash_shim.h"

int64_t fixture_mono_ns;
int64_t fixture_boot_ns;
int64_t fixture_wall_ns;

#define BALANCE_FEN   700
#define CAP_FEN       500
#define KEPT_BYTES    2000000000
#define JOURNAL_BYTES ((size_t)1 << 16)
#define STRIDE        13 /* of the calls, where not each of them is taken */

/* What the child was promised. */
static struct told {
    uint64_t count; /* changes of files */
    int64_t mono_ns;
    int64_t boot_ns;
    int64_t wall_ns;
    size_t n_bytes; /* of the journal */
    uint8_t bytes[JOURNAL_BYTES];
    int64_t cost_fen;
    int64_t cosigned_s;
    bool ended;
    bool settled;
    bool kept;
    bool clean_end;
} * told;

struct scene {
    char *top;
    char *dir; /* the host's journal and the book */
    char *saves;
    struct desk d;
    struct grant granted;
};

static void
set_scene(struct scene *x)
{
    struct buf bytes = BUF_INIT;
    struct err e = {0};

    memset(told, 0, sizeof *told);
    x->top = place_make();
    x->dir = path_join(x->top, "disk/store");
    x->saves = path_join(x->top, "saves");
    desk_open(&x->d, x->dir, BALANCE_FEN);
    assert_ok(card_set(x->d.f.card, "4090=188", 0, &e)); /* 5.2 fen a second */
    sign_offer(&x->d);
    grant_init(&x->granted);
    assert_ok(ask(&x->d, &bytes, &e));
    assert_ok(grant_parse(&x->granted, bytes.data, bytes.len, &e));
    buf_free(&bytes);
    book_close(x->d.b); /* a process has a ledger of its own */
    (void)close(x->d.f.dir_fd);
    if (power_dir != NULL) {
        command("sync -f %s", x->dir);
    }
}

static void
come_in(struct scene *x)
{
    struct err e = {0};

    x->d.f.dir_fd = open(x->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_not_equal(x->d.f.dir_fd, -1);
    assert_ok(book_open(&x->d.b, &e));
}

static void
strike(struct scene *x)
{
    grant_clear(&x->granted);
    desk_close(&x->d);
    free(x->saves);
    free(x->dir);
    place_free(x->top);
}

static struct meter_session_options
options(const struct scene *x)
{
    struct meter_session_options o = fixture_options(&x->d.f);

    o.grant = &x->granted;
    return o;
}

/* ---- what a child does ---- */

static void
promised(const struct scene *x, const struct meter_session *s)
{
    struct meter_status st;
    struct buf b = BUF_INIT;

    fixture_read(&x->d.f, &b);
    assert_true(meter_session_bytes(s) <= b.len && b.len <= JOURNAL_BYTES);
    memcpy(told->bytes, b.data, b.len);
    told->n_bytes = (size_t)meter_session_bytes(s);
    meter_session_status(s, &st);
    told->cost_fen = st.cost_fen;
    buf_free(&b);
}

static void
pass(int64_t ns)
{
    fixture_pass(ns);
    told->mono_ns = fixture_mono_ns;
    told->boot_ns = fixture_boot_ns;
    told->wall_ns = fixture_wall_ns;
}

static void
ticks(const struct scene *x, struct meter_session *s, int n)
{
    struct err e = {0};

    for (int i = 0; i < n; i++) {
        pass(10 * NS_PER_S);
        assert_ok(meter_session_tick(s, &e));
        promised(x, s);
    }
}

static void
cosign(const struct scene *x, struct meter_session *s)
{
    const struct journal_point *p = meter_session_point(s);
    int64_t device_s = p->device_s;
    struct buf b = BUF_INIT;
    struct err e = {0};

    journal_cosign_make(&b, JOURNAL_BY_RENTER, x->granted.lease, p, x->d.f.renter);
    assert_ok(meter_session_cosign(s, b.data, b.len, &e));
    promised(x, s);
    told->cosigned_s = device_s;
    buf_free(&b);
}

/* A copy of the journal as a book takes it in: the desk takes it over. */
static struct desk_closed
bring(struct scene *x)
{
    char *path = NULL;
    struct desk_closed c;
    struct buf b = BUF_INIT;
    struct err e = {0};

    fixture_read(&x->d.f, &b);
    assert_ok(book_path(x->d.b, "incoming", "r0123456789ab", &path, &e));
    assert_ok(file_replace(path, b.data, b.len, &e));
    assert_ok(desk_receipt(x->d.b, path, &c, &e));
    buf_free(&b);
    free(path);
    return c;
}

static struct desk_closed
bring_keeping(struct scene *x)
{
    struct receipt *r = fixture_receipt(&x->d.f);
    int64_t to_ns = r->made_wall_ns + DAY_NS;
    struct desk_closed c;
    struct keeping k;
    struct err e = {0};

    keeping_init(&k);
    assert_ok(keeping_make(&k, r, to_ns, "removed", x->d.f.host, &e));
    assert_ok(desk_keeping(x->d.b, k.bytes.data, k.bytes.len, &c, &e));
    keeping_clear(&k);
    receipt_free(r);
    return c;
}

static struct meter_end
ending(const char *reason)
{
    return (struct meter_end){.reason = reason,
                              .exit_code = 0,
                              .snapshot = "s0123456789ab",
                              .kept_bytes = KEPT_BYTES,
                              .keep_until_wall_ns = fixture_wall_ns + 15 * DAY_NS};
}

static void
live(struct scene *x)
{
    const struct meter_session_options o = options(x);
    struct meter_session *s = NULL;
    struct meter_end end;
    struct err e = {0};

    assert_ok(meter_session_start(&s, &o, &e));
    promised(x, s);
    assert_ok(meter_session_state(s, USAGE_RUNNING, "ready", &e));
    promised(x, s);
    ticks(x, s, 6);
    cosign(x, s);
    ticks(x, s, 1);
    assert_ok(meter_session_checkpoint(s, &e));
    promised(x, s);
    assert_ok(meter_session_state(s, USAGE_SNAPSHOTTING, "", &e));
    promised(x, s);
    end = ending("exited");
    assert_ok(meter_session_end(s, &end, &e));
    promised(x, s);
    told->ended = true;
    meter_session_free(s);
    assert_false(bring(x).repeated);
    told->settled = true;
    (void)bring_keeping(x);
    told->kept = true;
}

static void
run_child(struct scene *x, enum shim_mode mode, uint64_t at)
{
    come_in(x);
    pass(0);
    shim.mode = mode;
    shim.die_at = at;
    shim.seed = at;
    shim.count = &told->count;
    (void)snprintf(shim.root, sizeof shim.root, "%s", x->dir);
    (void)snprintf(shim.saves, sizeof shim.saves, "%s", x->saves);
    shim.on = true;
    live(x);
    shim.on = false;
    told->clean_end = true;
    _exit(0);
}

/* ---- what is there afterwards ---- */

/* The host finds a job that nobody ends, long afterwards. False: it never began. */
static bool
end_session(struct scene *x)
{
    const struct meter_session_options o = options(x);
    struct meter_session *s = NULL;
    struct meter_end end;
    struct err e = {0};
    int rc;

    fixture_mono_ns = told->mono_ns;
    fixture_boot_ns = told->boot_ns;
    fixture_wall_ns = told->wall_ns;
    fixture_pass(1000 * NS_PER_S);
    rc = meter_session_reopen(&s, &o, &e);
    if (rc == -1 && (e.code == ERR_NOT_FOUND || e.code == ERR_CORRUPT)) {
        assert_int_equal(told->n_bytes, 0);
        return false;
    }
    if (rc == -1 && e.code == ERR_EXISTS) {
        return true;
    }
    assert_int_equal(rc, 0);
    assert_false(told->ended);
    end = ending("lost");
    end.lost = true;
    assert_ok(meter_session_end(s, &end, &e));
    meter_session_free(s);
    return true;
}

/* All that was acknowledged, and no second more than there were. */
static void
check_receipt(const struct scene *x, const struct receipt *r)
{
    int64_t ran_s = (told->mono_ns - 5000 * NS_PER_S) / NS_PER_S;
    struct buf b = BUF_INIT;

    fixture_read(&x->d.f, &b);
    assert_true(b.len >= told->n_bytes);
    assert_memory_equal(b.data, told->bytes, told->n_bytes);
    assert_true(r->charge_fen >= told->cost_fen);
    assert_true(r->device_s <= ran_s);
    assert_int_equal(r->charge_fen, grant_charge(&r->grant, 0, r->device_s));
    assert_true(r->charge_fen + r->keep_hold_fen <= CAP_FEN);
    assert_true(r->cosigned_renter_s >= told->cosigned_s);
    assert_true(r->cosigned_renter_s <= r->device_s);
    buf_free(&b);
}

/* The book has the very receipt that the host has. */
static void
assert_same_receipt(const struct scene *x)
{
    char *path = NULL;
    struct buf its = BUF_INIT;
    struct buf ours = BUF_INIT;
    struct err e = {0};

    assert_ok(book_path(x->d.b, "receipts", x->granted.lease, &path, &e));
    assert_ok(file_read(path, JOURNAL_BYTES, &its, &e));
    fixture_read(&x->d.f, &ours);
    assert_int_equal(its.len, ours.len);
    assert_memory_equal(its.data, ours.data, its.len);
    buf_free(&its);
    buf_free(&ours);
    free(path);
}

/* Once more, twice: who was not told asks again, and nothing is paid a second time. */
static void
check_book(struct scene *x, const struct receipt *r)
{
    struct desk_closed c;
    struct err e = {0};

    for (int i = 0; i < 2; i++) {
        c = bring(x);
        assert_int_equal(c.charge_fen, r->charge_fen);
        if (told->settled || i == 1) {
            assert_true(c.repeated);
        }
        assert_ok(ledger_check(x->d.b->ledger, &e));
    }
    assert_same_receipt(x);
    for (int i = 0; i < 2; i++) {
        c = bring_keeping(x);
        assert_int_equal(c.charge_fen, 2);
        if (told->kept || i == 1) {
            assert_true(c.repeated);
        }
        assert_ok(ledger_check(x->d.b->ledger, &e));
        assert_funds(&x->d, BALANCE_FEN - r->charge_fen - 2, 0);
    }
}

static void
check_after(struct scene *x)
{
    struct receipt *r;
    struct err e = {0};

    come_in(x);
    assert_ok(ledger_check(x->d.b->ledger, &e));
    if (!end_session(x)) {
        assert_funds(&x->d, BALANCE_FEN, CAP_FEN); /* until its host declines it */
        return;
    }
    r = fixture_receipt(&x->d.f);
    check_receipt(x, r);
    check_book(x, r);
    receipt_free(r);
}

/* ---- every accident ---- */

/* Told if a test ends in the middle of it. */
static struct accident {
    bool now;
    enum shim_mode mode;
    uint64_t at;
} looked_at;

static int
tell_where(void **state)
{
    (void)state;
    if (looked_at.now) {
        print_error("mode %d, change %" PRIu64 "\n", (int)looked_at.mode, looked_at.at);
    }
    return 0;
}

/* How many changes of files there were. */
static uint64_t
one_accident(enum shim_mode mode, uint64_t at)
{
    struct scene x;
    int status = 0;
    pid_t pid;

    set_scene(&x);
    looked_at = (struct accident){true, mode, at};
    pid = fork();
    assert_int_not_equal(pid, -1);
    if (pid == 0) {
        run_child(&x, mode, at);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (mode == SHIM_COUNT) {
        assert_true(told->clean_end);
    } else if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
        fail_msg("the child was not killed: %x", (unsigned)status);
    }
    place_again(x.top);
    check_after(&x);
    strike(&x);
    looked_at.now = false;
    return told->count;
}

static void
desk__and_host_agree_wherever_the_power_is_cut(void **state)
{
    enum shim_mode from = power_dir != NULL ? SHIM_PLUG : SHIM_KILL;
    enum shim_mode to = power_dir != NULL ? SHIM_PLUG : SHIM_POWER_SOME;
    uint64_t stride =
        step_of(STRIDE, power_dir != NULL ? "GPURUN_POWER_STEP" : "GPURUN_CRASH_STEP");
    uint64_t n = one_accident(SHIM_COUNT, 0);
    uint64_t n_done = 0;

    (void)state;
    assert_true(n > 60);
    for (int mode = (int)from; mode <= (int)to; mode++) {
        for (uint64_t at = 1 + (uint64_t)mode % stride; at <= n; at += stride) {
            (void)one_accident((enum shim_mode)mode, at);
            n_done++;
        }
    }
    print_message("             %" PRIu64 " changes of files, %" PRIu64 " %s\n", n,
                  n_done, power_dir != NULL ? "power cuts" : "accidents");
}

static int
set_up(void **state)
{
    (void)state;
    place_choose();
    told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                -1, 0);
    return told != MAP_FAILED ? 0 : -1;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(desk__and_host_agree_wherever_the_power_is_cut,
                                  tell_where),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}

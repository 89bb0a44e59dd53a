#include "meter/receipt.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "meter/receipt_internal.h"

#define READ_STEP_BYTES ((size_t)1 << 20)

void
receipt_free(struct receipt *r)
{
    if (r != NULL) {
        offer_free(r->offer);
        grant_clear(&r->grant);
        free(r->devices);
        free(r->intervals);
        free(r->months);
        free(r);
    }
}

static void
take_intervals(struct receipt *r, const struct journal_reader *j)
{
    r->n_intervals = j->n_intervals;
    r->intervals = xcalloc(r->n_intervals, sizeof *r->intervals);
    assert(j->n_intervals == 0 || j->intervals != NULL);
    for (size_t i = 0; i < j->n_intervals; i++) {
        const struct journal_interval *a = &j->intervals[i];
        const struct journal_interval *b = i + 1 < j->n_intervals ? a + 1 : NULL;
        const struct usage_totals *after = b != NULL ? &b->before : &j->last.total;
        struct receipt_interval *to = &r->intervals[i];

        to->state = a->state;
        memcpy(to->reason, a->reason, sizeof to->reason);
        memcpy(to->boot, a->from.boot, sizeof to->boot);
        to->from_boot_ns = a->from.boot_ns;
        to->from_wall_ns = a->from.wall_ns;
        to->to_wall_ns = b != NULL ? b->from.wall_ns : j->last.at.wall_ns;
        for (int s = 0; s < USAGE_STATE_COUNT; s++) {
            to->spent.ns[s] = after->ns[s] - a->before.ns[s];
        }
    }
}

static void
take_months(struct receipt *r, const struct journal_reader *j)
{
    r->n_months = j->n_months;
    r->months = xcalloc(r->n_months, sizeof *r->months);
    for (size_t i = 0; i < j->n_months; i++) {
        r->months[i].from_device_s = j->months[i].from_device_s;
        r->months[i].from_wall_s = j->months[i].from_wall_s;
    }
}

struct receipt *
receipt_from_reader(struct journal_reader *j)
{
    const struct journal_receipt *p = &j->receipt;
    struct receipt *r = xcalloc(1, sizeof *r);

    (void)strcpy(r->lease, j->grant.lease);
    (void)strcpy(r->job, j->job);
    (void)strcpy(r->reason, j->last.reason);
    (void)strcpy(r->snapshot, p->snapshot);
    r->offer = j->offer;
    j->offer = NULL;
    grant_copy(&r->grant, &j->grant);
    r->devices = xmemdup(j->devices, j->n_devices * sizeof *j->devices);
    r->n_devices = j->n_devices;
    r->last = j->last;
    r->exit_code = (int)p->exit_code;
    r->signal = (int)p->signal;
    r->lost = p->lost;
    r->kept_bytes = p->kept_bytes;
    r->keep_until_wall_ns = p->keep_until_wall_ns;
    r->keep_hold_fen = p->keep_hold_fen;
    r->made_wall_ns = j->last.at.wall_ns;
    r->setup_s = p->setup_s;
    r->device_s = p->device_s;
    r->charge_fen = p->charge_fen;
    r->busy_ns = j->last.busy_ns;
    r->open = !j->ended;
    if (r->open) {
        r->setup_s = usage_setup_s(&j->last.total);
        r->device_s = usage_device_s(&j->last.total);
        r->charge_fen = j->last.cost_fen;
        r->exit_code = -1;
    }
    journal_reader_cosigned(j, &r->cosigned_renter_s, &r->cosigned_book_s);
    r->host = j->host;
    r->file_bytes = j->good_bytes;
    r->tail_bytes = r->open ? 0 : JOURNAL_FRAME_HEAD + j->last_signed.len;
    take_intervals(r, j);
    take_months(r, j);
    return r;
}

static int
check_pin(const struct sign_public *want, const struct sign_public *is, const char *whose,
          struct err *e)
{
    if (want != NULL && memcmp(want->b, is->b, sizeof want->b) != 0) {
        return err_set(e, ERR_DENIED, "the receipt names another %s's key", whose);
    }
    return 0;
}

int
receipt_check_pins(const struct journal_reader *j, const struct receipt_pins *pins,
                   struct err *e)
{
    if (check_pin(pins->renter, &j->grant.renter, "renter", e) != 0 ||
        check_pin(pins->book, &j->grant.book, "book", e) != 0) {
        return -1;
    }
    return pins->job == NULL || strcmp(pins->job, j->job) == 0
               ? 0
               : err_set(e, ERR_DENIED, "the receipt of another job");
}

static int
finish(struct receipt **out, struct journal_reader *j, const struct receipt_pins *pins,
       struct err *e)
{
    /* One that is being written: what is not whole yet does not count. */
    bool open = pins->open && !journal_reader_ended(j) && j->last.seq > 0;

    if (!open && journal_reader_waiting_bytes(j) > 0) {
        return err_set(e, ERR_CORRUPT, "record %" PRId64 " is cut off", j->last.seq + 1);
    }
    if (!open && !journal_reader_ended(j)) {
        return err_set(e, ERR_NOT_FOUND, "a usage journal without a receipt");
    }
    if (journal_reader_settle(j, e) != 0 || receipt_check_pins(j, pins, e) != 0) {
        return -1;
    }
    *out = receipt_from_reader(j);
    return 0;
}

static struct journal_reader *
new_reader(const struct receipt_pins *pins, bool known)
{
    struct journal_reader *j = journal_reader_new(pins->host, NULL);

    journal_reader_check_all(j, pins->check_all);
    journal_reader_known(j, known && !pins->check_all);
    return j;
}

int
receipt_verify(struct receipt **out, const void *data, size_t len,
               const struct receipt_pins *pins, struct err *e)
{
    struct journal_reader *j = new_reader(pins, false);
    int rc = journal_reader_feed(j, data, len, e);

    if (rc == 0) {
        rc = finish(out, j, pins, e);
    }
    journal_reader_free(j);
    return rc;
}

static int
feed_file(struct journal_reader *j, int fd, const char *path, struct sha256_ctx *hasher,
          struct err *e)
{
    uint8_t *piece = xmalloc(READ_STEP_BYTES);
    uint64_t total = 0;
    int rc = -1;

    for (;;) {
        ssize_t n = fd_read_full(fd, piece, READ_STEP_BYTES);

        if (n == -1) {
            err_set_sys(e, errno, "cannot read '%s'", path);
            break;
        }
        if (n == 0) {
            rc = 0;
            break;
        }
        total += (uint64_t)n;
        if (total > RECEIPT_FILE_MAX) {
            err_set(e, ERR_RANGE, "'%s' is too large for a receipt", path);
            break;
        }
        if (hasher != NULL) {
            sha256_update(hasher, piece, (size_t)n);
        }
        if (journal_reader_feed(j, piece, (size_t)n, e) != 0) {
            break;
        }
    }
    free(piece);
    return rc;
}

static bool
is_short(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && st.st_size <= RECEIPT_KNOWN_MAX;
}

/* The file from its beginning; known: without its signatures. */
static int
read_whole(struct receipt **out, int fd, const char *path,
           const struct receipt_pins *pins, bool known, struct err *e)
{
    struct sha256_ctx *hasher = pins->known != NULL && is_short(fd) ? sha256_new() : NULL;
    struct journal_reader *j = new_reader(pins, known);
    struct receipt *r = NULL;
    int rc = -1;

    if (lseek(fd, 0, SEEK_SET) == -1) {
        err_set_sys(e, errno, "cannot read '%s'", path);
    } else if (feed_file(j, fd, path, hasher, e) == 0) {
        rc = finish(&r, j, pins, e);
    }
    if (rc == 0 && hasher != NULL) {
        sha256_final(hasher, &r->file_hash);
    }
    if (rc == 0) {
        *out = r;
    }
    journal_reader_free(j);
    sha256_free(hasher);
    return rc;
}

/* Is it the very file that was verified before? Then that is all there is to say. */
static bool
read_known(struct receipt **out, int fd, const char *path,
           const struct receipt_pins *pins)
{
    static const struct sha256 none;
    struct receipt *r = NULL;
    struct err ignored;

    if (pins->known == NULL || pins->check_all || sha256_equal(pins->known, &none) ||
        !is_short(fd) || read_whole(&r, fd, path, pins, true, &ignored) != 0) {
        return false;
    }
    if (!sha256_equal(pins->known, &r->file_hash)) {
        receipt_free(r);
        return false;
    }
    *out = r;
    return true;
}

/* A long one, by its gist if there is one; else read, and its gist kept. */
static int
verify_long(struct receipt **out, int fd, const char *path,
            const struct receipt_pins *pins, struct err *e)
{
    struct receipt_stamp before;
    bool settled;

    if (receipt_gist_read(out, fd, pins)) {
        return 0;
    }
    settled = receipt_stamp(fd, &before);
    if (read_whole(out, fd, path, pins, false, e) != 0) {
        return -1;
    }
    if (settled) {
        receipt_gist_keep(*out, fd, &before, pins);
    }
    return 0;
}

int
receipt_verify_file(struct receipt **out, const char *path,
                    const struct receipt_pins *pins, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc = 0;

    if (fd == -1) {
        return errno == ENOENT
                   ? err_set(e, ERR_NOT_FOUND, "there is no receipt '%s'", path)
                   : err_set_sys(e, errno, "cannot open '%s'", path);
    }
    if (receipt_gist_wanted(fd, pins)) {
        rc = verify_long(out, fd, path, pins, e);
    } else if (!read_known(out, fd, path, pins)) {
        rc = read_whole(out, fd, path, pins, false, e);
    }
    (void)fd_close(&fd);
    return rc;
}

/* ---- by the calendar ---- */

/* How much of an interval's time lies before that moment. */
static int64_t
spent_before(const struct receipt_interval *i, enum usage_state state, int64_t wall_ns)
{
    __int128 whole = (__int128)i->to_wall_ns - i->from_wall_ns;
    __int128 part = (__int128)wall_ns - i->from_wall_ns;

    if (part <= 0) {
        return 0;
    }
    return part >= whole ? i->spent.ns[state]
                         : (int64_t)(i->spent.ns[state] * part / whole);
}

int64_t
receipt_state_ns(const struct receipt *r, enum usage_state state, int64_t from_wall_ns,
                 int64_t to_wall_ns)
{
    int64_t ns = 0;

    for (size_t i = 0; i < r->n_intervals; i++) {
        ns += spent_before(&r->intervals[i], state, to_wall_ns) -
              spent_before(&r->intervals[i], state, from_wall_ns);
    }
    return ns;
}

/* ---- many ---- */

struct crew {
    struct receipt_task *tasks;
    size_t n;
    atomic_size_t next;
};

static void *
work(void *ctx)
{
    struct crew *c = ctx;
    size_t i;

    while ((i = atomic_fetch_add(&c->next, 1)) < c->n) {
        struct receipt_task *t = &c->tasks[i];

        if (receipt_verify_file(&t->out, t->path, &t->pins, &t->e) != 0) {
            t->out = NULL;
        }
    }
    return NULL;
}

void
receipt_verify_files(struct receipt_task *tasks, size_t n)
{
    struct crew c = {.tasks = tasks, .n = n};
    pthread_t threads[RECEIPT_THREADS_MAX];
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    size_t want = cores > RECEIPT_THREADS_MAX ? RECEIPT_THREADS_MAX
                  : cores > 1                 ? (size_t)cores
                                              : 1;
    size_t started = 0;

    atomic_init(&c.next, 0);
    want = want < n ? want : n;
    /* This thread is one of them; a thread that cannot be had leaves more for the others.
     */
    while (started + 1 < want && pthread_create(&threads[started], NULL, work, &c) == 0) {
        started++;
    }
    (void)work(&c);
    for (size_t i = 0; i < started; i++) {
        (void)pthread_join(threads[i], NULL);
    }
}

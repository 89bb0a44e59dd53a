/*
 * What is remembered of a long receipt file that was verified: a record "gpurun.gist.v1"
 * (meter/DESIGN.md). The hash of the last record stands for all before it, and only that
 * one is read again, its signature and sums computed anew.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/rec.h"
#include "meter/receipt_internal.h"
#include "meter/words.h"

#define TYPE          "gpurun.gist.v1"
#define INTERVALS_MAX 4096 /* a session of more is read whole each time */
#define NS_PER_S      ((int64_t)1000000000)
#define SETTLED_NS    (2 * NS_PER_S)

/* ---- which file ---- */

static int64_t
to_ns(const struct timespec *t)
{
    return (int64_t)t->tv_sec * NS_PER_S + t->tv_nsec;
}

bool
receipt_stamp(int fd, struct receipt_stamp *out)
{
    struct stat st;

    if (fstat(fd, &st) != 0 || clock_wall_ns() - to_ns(&st.st_ctim) <= SETTLED_NS) {
        return false;
    }
    *out = (struct receipt_stamp){{(int64_t)st.st_dev, (int64_t)st.st_ino, st.st_size,
                                   st.st_uid, (int64_t)st.st_mode, to_ns(&st.st_mtim),
                                   to_ns(&st.st_ctim)}};
    return true;
}

bool
receipt_gist_wanted(int fd, const struct receipt_pins *pins)
{
    struct stat st;

    return pins->gist != NULL && pins->own != NULL && !pins->open && !pins->check_all &&
           fstat(fd, &st) == 0 && st.st_size > RECEIPT_KNOWN_MAX;
}

/* ---- writing ---- */

static void
add_stamp(struct rec *r, const struct receipt_stamp *stamp)
{
    struct buf b = BUF_INIT;

    for (int i = 0; i < RECEIPT_STAMP_LEN; i++) {
        words_add_int(&b, stamp->v[i]);
    }
    rec_add_bytes(r, "file", b.data, b.len);
    buf_free(&b);
}

/* Totals before it are those after it less what was spent in it. */
static void
add_interval(struct rec *r, const struct receipt_interval *i)
{
    struct buf b = BUF_INIT;

    words_add_int(&b, (int64_t)i->state);
    words_add(&b, i->reason);
    words_add(&b, i->boot);
    words_add_int(&b, i->from_boot_ns);
    words_add_int(&b, i->from_wall_ns);
    for (int s = USAGE_NONE + 1; s < USAGE_STATE_COUNT; s++) {
        words_add_int(&b, i->spent.ns[s]);
    }
    rec_add_bytes(r, "interval", b.data, b.len);
    buf_free(&b);
}

static void
add_device(struct rec *r, const struct journal_device *d)
{
    struct buf b = BUF_INIT;

    words_add(&b, d->class_name);
    words_add(&b, d->type);
    words_add(&b, d->uuid);
    rec_add_bytes(r, "device", b.data, b.len);
    buf_free(&b);
}

static struct rec *
encode(const struct receipt *rc, const struct receipt_stamp *stamp)
{
    struct rec *r = rec_new(TYPE);

    rec_add(r, "program", GPURUN_VERSION);
    add_stamp(r, stamp);
    rec_add_int(r, "tail", (int64_t)rc->tail_bytes);
    rec_add_hex(r, "head", rc->last.hash.b, sizeof rc->last.hash.b);
    rec_add_bytes(r, "offer", rc->offer->bytes.data, rc->offer->bytes.len);
    rec_add_bytes(r, "grant", rc->grant.bytes.data, rc->grant.bytes.len);
    rec_add_int(r, "renter_s", rc->cosigned_renter_s);
    rec_add_int(r, "book_s", rc->cosigned_book_s);
    for (size_t i = 0; i < rc->n_devices; i++) {
        add_device(r, &rc->devices[i]);
    }
    for (size_t i = 0; i < rc->n_months; i++) {
        rec_addf(r, "month", "%lld %lld", (long long)rc->months[i].from_device_s,
                 (long long)rc->months[i].from_wall_s);
    }
    for (size_t i = 0; i < rc->n_intervals; i++) {
        add_interval(r, &rc->intervals[i]);
    }
    return r;
}

/* Not synced: what a crash leaves of it has no right signature, or is not there. */
static void
write_file(const char *path, const struct buf *b)
{
    char *tmp = xasprintf("%s.tmp", path);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    bool whole = fd != -1 && fd_write_all(fd, b->data, b->len) == 0;

    whole = fd != -1 && fd_close(&fd) == 0 && whole;
    if (!whole || rename(tmp, path) != 0) {
        (void)unlink(tmp);
    }
    free(tmp);
}

void
receipt_gist_keep(const struct receipt *r, int fd, const struct receipt_stamp *before,
                  const struct receipt_pins *pins)
{
    struct receipt_stamp after;
    struct rec *rec;
    struct buf b = BUF_INIT;

    if (r->open || r->n_intervals > INTERVALS_MAX || !receipt_stamp(fd, &after) ||
        memcmp(&after, before, sizeof after) != 0) {
        return;
    }
    rec = encode(r, &after);
    sign_rec(rec, pins->own);
    rec_encode(rec, &b);
    write_file(pins->gist, &b);
    buf_free(&b);
    rec_free(rec);
}

/* ---- reading ---- */

/* Signed by this renter, of this program, and of this very file. */
static bool
is_of(const struct rec *r, int fd, const struct receipt_pins *pins)
{
    const char *program = rec_get(r, "program");
    size_t len = 0;
    const char *file = rec_get_bytes(r, "file", &len);
    struct words w = words_of(file != NULL ? file : "", len);
    struct receipt_stamp is = {{0}};
    struct sign_public own;
    struct sign_public by;
    struct err ignored;
    bool same = receipt_stamp(fd, &is);

    for (int i = 0; i < RECEIPT_STAMP_LEN; i++) {
        same = words_int(&w, INT64_MIN, INT64_MAX) == is.v[i] && same;
    }
    sign_key_public(pins->own, &own);
    return same && words_done(&w) && program != NULL &&
           strcmp(program, GPURUN_VERSION) == 0 &&
           sign_rec_check(r, &by, &ignored) == 0 &&
           memcmp(own.b, by.b, sizeof own.b) == 0;
}

static bool
take_interval(struct journal_reader *j, struct usage_totals *t, const char *value,
              size_t len)
{
    struct journal_interval *i = &j->intervals[j->n_intervals++];
    struct words w = words_of(value, len);

    i->state = (enum usage_state)words_int(&w, USAGE_NONE + 1, USAGE_STATE_COUNT - 1);
    words_text(&w, i->reason, sizeof i->reason);
    words_text(&w, i->from.boot, sizeof i->from.boot);
    i->from.boot_ns = words_count(&w);
    i->from.wall_ns = words_int(&w, INT64_MIN, INT64_MAX);
    i->before = *t;
    for (int s = USAGE_NONE + 1; s < USAGE_STATE_COUNT; s++) {
        int64_t ns = words_int(&w, INT64_MIN, INT64_MAX);

        w.bad = w.bad || __builtin_add_overflow(t->ns[s], ns, &t->ns[s]);
    }
    return words_done(&w);
}

/* In order: the first is that of the session's begin. */
static bool
take_month(struct journal_reader *j, const char *value, size_t len)
{
    struct journal_month *m = &j->months[j->n_months++];
    struct words w = words_of(value, len);

    m->from_device_s = words_count(&w);
    m->from_wall_s = words_int(&w, INT64_MIN, INT64_MAX);
    return words_done(&w) && (j->n_months == 1 ? m->from_device_s == 0
                                               : m->from_device_s > m[-1].from_device_s);
}

static bool
take_device(struct journal_reader *j, const char *value, size_t len)
{
    struct journal_device *d = &j->devices[j->n_devices++];
    struct words w = words_of(value, len);

    words_name(&w, d->class_name, sizeof d->class_name);
    words_name(&w, d->type, sizeof d->type);
    words_text(&w, d->uuid, sizeof d->uuid);
    return words_done(&w);
}

/* What the chain held before its receipt. */
static bool
take_lists(struct journal_reader *j, const struct rec *r)
{
    size_t n_devices = rec_count(r, "device");
    size_t n_months = rec_count(r, "month");
    size_t n_intervals = rec_count(r, "interval");
    struct usage_totals t = {{0}};
    bool ok = true;

    j->devices = xcalloc(n_devices + 1, sizeof *j->devices);
    j->months = xcalloc(n_months + 1, sizeof *j->months);
    j->intervals = xcalloc(n_intervals + 1, sizeof *j->intervals);
    for (size_t i = 0; i < rec_n_fields(r) && ok; i++) {
        const char *value;
        size_t len;
        const char *key = rec_field(r, i, &value, &len);

        if (strcmp(key, "device") == 0) {
            ok = take_device(j, value, len);
        } else if (strcmp(key, "month") == 0) {
            ok = take_month(j, value, len);
        } else if (strcmp(key, "interval") == 0) {
            ok = take_interval(j, &t, value, len);
        }
    }
    /* All that the host signed for was spent in them, no more and no less. */
    return ok && n_months > 0 && memcmp(&t, &j->last.total, sizeof t) == 0;
}

static bool
take_terms(struct journal_reader *j, const struct rec *r, const struct receipt_pins *pins)
{
    const char *value;
    size_t len = 0;
    struct err ignored;

    value = rec_get_bytes(r, "offer", &len);
    if (value == NULL ||
        offer_parse_known(&j->offer, value, len, pins->host, &ignored) != 0) {
        return false;
    }
    j->host = j->offer->host;
    j->host_known = true;
    value = rec_get_bytes(r, "grant", &len);
    if (value == NULL || grant_parse_known(&j->grant, value, len, &ignored) != 0) {
        return false;
    }
    (void)strcpy(j->job, j->grant.job);
    return rec_need_count(r, "renter_s", &j->cosigned_s[JOURNAL_BY_RENTER], &ignored) ==
               0 &&
           rec_need_count(r, "book_s", &j->cosigned_s[JOURNAL_BY_BOOK], &ignored) == 0;
}

/*
 * The file's last record, which is the receipt with that hash, of these terms: the
 * host's signature and its sums are computed as when all was read.
 */
static bool
take_tail(struct journal_reader *j, const struct rec *r, const uint8_t *frame, size_t len)
{
    const uint8_t *record = frame + JOURNAL_FRAME_HEAD;
    struct journal_entry x;
    struct sha256 head;
    struct err ignored;
    uint32_t crc;
    size_t n;
    bool ok;

    if (journal_frame_parse(frame, &n, &crc, &ignored) != 0 ||
        n != len - JOURNAL_FRAME_HEAD || crc32c(0, record, n) != crc ||
        rec_need_hex(r, "head", head.b, sizeof head.b, &ignored) != 0 ||
        journal_entry_parse(&x, record, n, j->hasher, &ignored) != 0) {
        return false;
    }
    j->last = x.r;
    j->receipt = x.receipt;
    ok = x.r.kind == JOURNAL_RECEIPT && sha256_equal(&x.r.hash, &head) &&
         strcmp(x.lease, j->grant.lease) == 0 &&
         memcmp(x.signer.b, j->host.b, sizeof j->host.b) == 0 &&
         journal_entry_check_sig(&x, record, &j->host, &ignored) == 0 &&
         journal_check_receipt(j, &x.r.total, &x, &ignored) == 0 &&
         x.r.cost_fen == journal_cost(&j->grant, &x.r.total);
    buf_add(&j->last_signed, record, n);
    journal_entry_release(&x);
    return ok;
}

static bool
read_tail(struct journal_reader *j, const struct rec *r, int fd)
{
    struct stat st;
    uint8_t *frame;
    struct err ignored;
    int64_t len;
    bool ok;

    if (rec_need_int(r, "tail", JOURNAL_FRAME_HEAD + 1,
                     JOURNAL_FRAME_HEAD + (int64_t)JOURNAL_RECORD_MAX, &len,
                     &ignored) != 0 ||
        fstat(fd, &st) != 0 || st.st_size < len) {
        return false;
    }
    frame = xmalloc((size_t)len);
    ok = fd_pread_full(fd, frame, (size_t)len, st.st_size - len) == len &&
         take_tail(j, r, frame, (size_t)len);
    free(frame);
    j->good_bytes = (uint64_t)st.st_size;
    j->ended = ok;
    return ok;
}

bool
receipt_gist_read(struct receipt **out, int fd, const struct receipt_pins *pins)
{
    struct journal_reader *j = NULL;
    struct rec *r = NULL;
    struct err ignored;
    bool ok = false;

    if (rec_load(&r, pins->gist, TYPE, &ignored) == 0 && is_of(r, fd, pins)) {
        j = journal_reader_new(pins->host, NULL);
        ok = take_terms(j, r, pins) && read_tail(j, r, fd) && take_lists(j, r) &&
             receipt_check_pins(j, pins, &ignored) == 0;
        if (ok) {
            *out = receipt_from_reader(j);
        }
    }
    journal_reader_free(j);
    rec_free(r);
    return ok;
}

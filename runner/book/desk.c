#include "runner/book/desk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "meter/declined.h"
#include "meter/keeping.h"
#include "meter/offer.h"
#include "meter/receipt.h"
#include "meter/refuse.h"
#include "runner/book/desk_internal.h"
#include "runner/job/ids.h"

#define NS_PER_S    ((int64_t)1000000000)
#define TORN_S      86400                /* a receipt takes no such time to come in */
#define UNTIL_MAX_S ((int64_t)8 * 86400) /* a grant not begun by then is void */

int
desk_check_lease(const char *lease, struct err *e)
{
    return id_is(ID_LEASE, lease) ? 0
                                  : err_set(e, ERR_INVALID, "this is no id of a lease");
}

int
desk_own_trouble(struct err *e)
{
    switch (e->code) {
    case ERR_BUSY:
    case ERR_SPACE:
    case ERR_VERSION:
        break;
    default:
        e->code = ERR_SYSTEM;
    }
    return err_wrap(e, "this book");
}

int
desk_from_ledger(int rc, struct err *e)
{
    return rc != 0 && e->code == ERR_CORRUPT ? desk_own_trouble(e) : rc;
}

/* ---- grants ---- */

static int
check_draft(const struct book *b, const struct account *a, struct grant *g,
            const struct offer *o, struct err *e)
{
    int64_t now_ns = clock_wall_ns();
    struct book_host h;
    char host[SIGN_ID_LEN + 1];
    struct err why;

    if (a->revoked) {
        return err_set(e, ERR_DENIED, "this account is closed");
    }
    if (!a->has_key || memcmp(g->renter.b, a->key.b, sizeof a->key.b) != 0 ||
        memcmp(g->book.b, a->key.b, sizeof a->key.b) != 0) {
        return err_set(e, ERR_DENIED, "the grant is not asked for by this account's key");
    }
    sign_public_id(&g->host, host);
    if (book_host_load(b, host, &h, &why) != 0 || h.removed) {
        return err_set(e, ERR_DENIED, "this book has no dealings with host %s", host);
    }
    g->book = b->pub; /* as it will be signed */
    if (o != NULL ? grant_check(g, o, &a->key, now_ns, e) != 0
                  : now_ns > g->until_wall_ns) {
        return o != NULL ? -1 : err_set(e, ERR_DENIED, "the grant has expired");
    }
    if (g->until_wall_ns > now_ns + UNTIL_MAX_S * NS_PER_S) {
        return err_set(e, ERR_DENIED, "the grant could be begun for too long");
    }
    return desk_check_lease(g->lease, e);
}

/* The first grant of a lease says its terms; later ones may only raise cap and end. */
static int
check_follows(struct book *b, const struct grant *g, const char *note, struct err *e)
{
    struct ledger_lease h;
    struct buf first = BUF_INIT;
    char id[DESK_NAME_MAX];
    int rc = 0;

    if (g->seq == 1) {
        return 0;
    }
    (void)snprintf(id, sizeof id, "hold:%s:1", g->lease);
    if (ledger_lease(b->ledger, g->lease, &h, e) != 0) {
        return -1;
    }
    if (h.state == LEDGER_HOLD_NONE) {
        return err_set(e, ERR_DENIED, "an extension of a lease this book does not know");
    }
    if (ledger_body(b->ledger, id, &first, e) != 0) {
        return -1;
    }
    if (strstr(buf_str(&first), note) == NULL) {
        rc = err_set(e, ERR_DENIED, "an extension may change only cap and end");
    }
    buf_free(&first);
    return rc;
}

static int
hold(struct book *b, const struct account *a, const struct grant *g,
     const struct sha256 *draft, struct err *e)
{
    struct sha256 terms;
    char terms_hex[SHA256_HEX_LEN + 1];
    char draft_hex[SHA256_HEX_LEN + 1];
    char host[SIGN_ID_LEN + 1];
    char note[32 + 2 * SHA256_HEX_LEN];
    struct ledger_promise p = {.lease = g->lease,
                               .seq = g->seq,
                               .total_fen = g->cap_fen,
                               .host = host,
                               .note = note};

    grant_terms(g, &terms);
    sha256_format(&terms, terms_hex);
    sha256_format(draft, draft_hex);
    sign_public_id(&g->host, host);
    (void)snprintf(note, sizeof note, "terms=%s\n", terms_hex);
    if (check_follows(b, g, note, e) != 0) {
        return -1;
    }
    (void)snprintf(note, sizeof note, "terms=%s\ndraft=%s\n", terms_hex, draft_hex);
    ledger_use(b->ledger, a->id);
    return ledger_promise(b->ledger, &p, clock_wall_ns(), NULL, e);
}

int
desk_grant(struct book *b, const struct account *a, const void *draft, size_t draft_len,
           const void *offer, size_t offer_len, struct buf *granted, struct err *e)
{
    struct offer *o = NULL;
    struct sha256 asked;
    struct grant g;
    int rc = -1;

    grant_init(&g);
    if (grant_parse(&g, draft, draft_len, e) != 0 ||
        (g.seq == 1 && offer_parse(&o, offer, offer_len, &g.host, e) != 0)) {
        goto out;
    }
    asked = g.hash;
    if (check_draft(b, a, &g, o, e) != 0 || hold(b, a, &g, &asked, e) != 0 ||
        grant_sign(&g, b->key, e) != 0) {
        goto out;
    }
    buf_add(granted, g.bytes.data, g.bytes.len);
    rc = 0;

out:
    grant_clear(&g);
    offer_free(o);
    return rc;
}

int
desk_lease_of(struct book *b, const char *lease, const struct sign_public *host,
              struct ledger_lease *out, struct err *e)
{
    char id[SIGN_ID_LEN + 1];

    if (desk_check_lease(lease, e) != 0 ||
        desk_from_ledger(ledger_lease(b->ledger, lease, out, e), e) != 0) {
        return -1;
    }
    if (out->state == LEDGER_HOLD_NONE) {
        return err_set(e, ERR_NOT_FOUND, "this book has signed no grant of lease %s",
                       lease);
    }
    sign_public_id(host, id);
    if (strcmp(id, out->host) != 0) {
        return err_set(e, ERR_DENIED, "lease %s is of host %s, not of %s", lease,
                       out->host, id);
    }
    return 0;
}

int
desk_decline(struct book *b, const void *data, size_t len, struct err *e)
{
    struct ledger_lease h;
    struct declined d;
    int rc = -1;

    declined_init(&d);
    if (declined_parse(&d, data, len, e) == 0 &&
        desk_lease_of(b, d.lease, &d.host, &h, e) == 0) {
        rc = desk_from_ledger(ledger_release(b->ledger, d.lease, clock_wall_ns(), e), e);
    }
    declined_clear(&d);
    return rc;
}

/* ---- the end of a session ---- */

static int
settle(struct book *b, const struct receipt *r, int64_t fee_bps, bool *repeated,
       struct err *e)
{
    char host[SIGN_ID_LEN + 1];
    const struct ledger_close c = {.lease = r->lease,
                                   .host = host,
                                   .charge_fen = r->charge_fen,
                                   .keep_fen = r->keep_hold_fen,
                                   .fee_bps = fee_bps,
                                   .receipt = r->last.hash};

    sign_public_id(&r->host, host);
    return desk_from_ledger(ledger_settle(b->ledger, &c, clock_wall_ns(), repeated, e),
                            e);
}

/* The file becomes ours before the money moves: keeping is reckoned from it later. */
static int
take_file(struct book *b, const char *path, const char *kept, struct err *e)
{
    char *dir = NULL;
    int rc = -1;

    if (rename(path, kept) != 0) {
        return err_set_sys(e, errno, "cannot keep the receipt '%s'", kept);
    }
    if (book_path(b, "receipts", NULL, &dir, e) == 0) {
        rc = file_sync_dir(dir, e);
    }
    free(dir);
    return rc;
}

/* One at a time: of two receipts of a lease only the one that is settled is kept. */
static int
close_lease(struct book *b, const char *path, const struct receipt *r, bool *repeated,
            struct err *e)
{
    char *lock_path = path_join(b->home, "receipts.lock");
    struct ledger_lease h;
    char *kept = NULL;
    bool open;
    int lock = -1;
    int rc = -1;

    if (file_lock(lock_path, true, true, &lock, e) != 0 ||
        book_path(b, "receipts", r->lease, &kept, e) != 0 ||
        desk_lease_of(b, r->lease, &r->host, &h, e) != 0) {
        goto out;
    }
    open = h.state == LEDGER_HOLD_OPEN;
    if (open && take_file(b, path, kept, e) != 0) {
        goto out;
    }
    /* The fee of a lease that is settled already is the one it was settled with. */
    rc = settle(b, r, open ? b->fee_bps : h.fee_bps, repeated, e);
    if (rc != 0 && open) {
        (void)unlink(kept);
    }

out:
    (void)fd_close(&lock);
    free(lock_path);
    free(kept);
    return rc;
}

int
desk_receipt(struct book *b, const char *path, struct desk_closed *out, struct err *e)
{
    const struct receipt_pins pins = {.book = &b->pub};
    struct receipt *r = NULL;
    bool repeated = false;
    int rc = -1;

    if (receipt_verify_file(&r, path, &pins, e) == 0 &&
        close_lease(b, path, r, &repeated, e) == 0) {
        (void)snprintf(out->lease, sizeof out->lease, "%s", r->lease);
        out->charge_fen = r->charge_fen;
        out->keep_fen = r->keep_hold_fen;
        out->repeated = repeated;
        rc = 0;
    }
    receipt_free(r);
    return rc;
}

/* ---- keeping ---- */

static int
load_receipt(struct book *b, const char *lease, struct receipt **out, struct err *e)
{
    const struct receipt_pins pins = {.book = &b->pub};
    char *path = NULL;
    int rc = -1;

    if (book_path(b, "receipts", lease, &path, e) == 0) {
        rc = receipt_verify_file(out, path, &pins, e);
    }
    if (rc != 0) {
        (void)desk_own_trouble(e); /* it was verified when it came */
    }
    free(path);
    return rc;
}

/* Nobody told in time, and it was charged to its end: that stands, and the line is late.
 */
static int
charged_to_its_end(const struct receipt *r, const char *path, struct keeping *k,
                   struct err *e)
{
    return refuse_of(e) == REFUSE_KEY_MISMATCH && !file_exists(path)
               ? keeping_charge_at(r, r->keep_until_wall_ns, &k->charge_fen, e)
               : -1;
}

static int
post_line(struct book *b, const struct receipt *r, bool done, struct keeping *k,
          struct err *e)
{
    char *path = NULL;
    int rc = -1;

    if (book_path(b, "keepings", k->lease, &path, e) != 0) {
        return -1;
    }
    if (desk_from_ledger(
            ledger_keeping(b->ledger, k->lease, k->charge_fen, clock_wall_ns(), e), e) ==
        0) {
        rc = file_replace(path, k->bytes.data, k->bytes.len, e);
    } else if (done) {
        rc = charged_to_its_end(r, path, k, e);
    }
    free(path);
    return rc;
}

int
desk_keeping(struct book *b, const void *data, size_t len, struct desk_closed *out,
             struct err *e)
{
    struct receipt *r = NULL;
    struct ledger_lease h;
    struct keeping k;
    int rc = -1;

    keeping_init(&k);
    if (keeping_parse(&k, data, len, NULL, e) != 0 ||
        desk_lease_of(b, k.lease, &k.host, &h, e) != 0 ||
        load_receipt(b, k.lease, &r, e) != 0 || keeping_check(&k, r, e) != 0 ||
        post_line(b, r, h.state == LEDGER_HOLD_DONE, &k, e) != 0) {
        goto out;
    }
    (void)snprintf(out->lease, sizeof out->lease, "%s", k.lease);
    out->charge_fen = k.charge_fen;
    out->keep_fen = 0;
    out->repeated = h.state == LEDGER_HOLD_DONE;
    rc = 0;

out:
    receipt_free(r);
    keeping_clear(&k);
    return rc;
}

struct due {
    char (*v)[GRANT_ID_MAX + 1];
    size_t n;
    const char *of;
};

static int
note_keeping(void *ctx, const char *lease, const struct ledger_lease *h, struct err *e)
{
    struct due *d = ctx;

    (void)e;
    if (h->state == LEDGER_HOLD_KEEPING &&
        (d->of == NULL || strcmp(d->of, h->wallet) == 0)) {
        d->v = xrealloc(d->v, (d->n + 1) * sizeof *d->v);
        (void)snprintf(d->v[d->n++], sizeof d->v[0], "%s", lease);
    }
    return 0;
}

static int
post_ended(struct book *b, const char *lease, size_t *n_posted, struct err *e)
{
    int64_t now_ns = clock_wall_ns();
    struct receipt *r = NULL;
    int64_t fen = 0;
    int rc = 0;

    if (load_receipt(b, lease, &r, e) != 0) {
        return err_wrap(e, "the receipt of lease %s", lease);
    }
    if (now_ns >= r->keep_until_wall_ns + DESK_GRACE_S * NS_PER_S) {
        rc = keeping_charge_at(r, r->keep_until_wall_ns, &fen, e) == 0
                 ? ledger_keeping(b->ledger, lease, fen, now_ns, e)
                 : -1;
        *n_posted += rc == 0 ? 1 : 0;
    }
    receipt_free(r);
    return rc;
}

/* Whoever took it in was killed. */
static int
drop_torn(struct book *b, struct err *e)
{
    int64_t now_s = clock_wall_ns() / NS_PER_S;
    const struct dirent *entry;
    char *path = NULL;
    DIR *d;

    if (book_path(b, "incoming", NULL, &path, e) != 0) {
        return -1;
    }
    d = opendir(path);
    while (d != NULL && (entry = readdir(d)) != NULL) {
        struct stat sb;

        if (fstatat(dirfd(d), entry->d_name, &sb, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(sb.st_mode) && sb.st_mtim.tv_sec < now_s - TORN_S) {
            (void)unlinkat(dirfd(d), entry->d_name, 0);
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    free(path);
    return 0;
}

/* What is left of vouchers that have expired. */
static int
lapse(struct book *b, const char *of, size_t *n_posted, struct err *e)
{
    struct book_ids l = {NULL, 0};
    int64_t now_ns = clock_wall_ns();
    int rc = 0;

    if (of != NULL) {
        ledger_use(b->ledger, of);
        return ledger_lapse(b->ledger, now_ns, n_posted, e);
    }
    rc = book_list(b, "accounts", &l, e);
    for (size_t i = 0; rc == 0 && i < l.n; i++) {
        ledger_use(b->ledger, l.v[i]);
        rc = ledger_lapse(b->ledger, now_ns, n_posted, e);
    }
    free(l.v);
    return rc;
}

int
desk_tick(struct book *b, const char *of, size_t *n_posted, struct err *e)
{
    struct due d = {.of = of};
    int rc = ledger_each_hold(b->ledger, note_keeping, &d, e);

    *n_posted = 0;
    for (size_t i = 0; rc == 0 && i < d.n; i++) {
        rc = post_ended(b, d.v[i], n_posted, e);
    }
    free(d.v);
    if (rc == 0) {
        rc = lapse(b, of, n_posted, e);
    }
    return rc == 0 && of == NULL ? drop_torn(b, e) : rc;
}

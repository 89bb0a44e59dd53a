#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "base/lang.h"
#include "meter/keeping.h"
#include "meter/money.h"
#include "meter/receipt.h"
#include "meter/reservation.h"
#include "runner/book/commands.h"
#include "runner/job/ids.h"

/*
 * The proof: the ledger adds up (ledger_check); every lease that is settled has a receipt
 * signed by its host, under a grant of ours, of exactly what was posted; every receipt is
 * posted; and what came in is where it should be.
 */
/* Receipts in memory at once, each as large as its host made it, verified on all cores.
 */
#define BATCH ((size_t)2 * RECEIPT_THREADS_MAX)

struct batch {
    struct receipt_task tasks[BATCH];
    char *leases[BATCH];
    char *paths[BATCH];
    size_t n;
};

struct audit {
    struct book *book;
    struct batch *batch; /* errors are large: not on the stack */
    size_t n_receipts;
    size_t n_wrong;
    int64_t charges_fen; /* by receipts, lines of keeping and what reservations cost */
    int64_t refunds_fen; /* of reservations */
    size_t n_reservations;
    struct json_writer *json;
};

static void
wrong(struct audit *a, const char *lease, const char *why)
{
    a->n_wrong++;
    if (a->json != NULL) {
        json_obj(a->json);
        json_kstr(a->json, "lease", lease);
        json_kstr(a->json, "why", why);
        json_obj_end(a->json);
    } else {
        (void)printf(_("WRONG: %s%s%s\n"), lease != NULL ? lease : "",
                     lease != NULL ? ": " : "", why);
    }
}

/* What keeping cost: the host's line, or the end by the receipt. */
static int
keeping_of(const struct audit *a, const struct receipt *r, int64_t *fen, struct err *e)
{
    struct buf data = BUF_INIT;
    struct keeping k;
    char *path = NULL;
    int rc = -1;

    keeping_init(&k);
    if (book_path(a->book, "keepings", r->lease, &path, e) != 0) {
        return -1;
    }
    if (!file_exists(path)) {
        rc = keeping_charge_at(r, r->keep_until_wall_ns, fen, e);
    } else if (file_read(path, KEEPING_MAX_BYTES, &data, e) == 0 &&
               keeping_parse(&k, data.data, data.len, &r->host, e) == 0 &&
               keeping_check(&k, r, e) == 0) {
        *fen = k.charge_fen;
        rc = 0;
    }
    keeping_clear(&k);
    buf_free(&data);
    free(path);
    return rc;
}

static void
check_receipt(struct audit *a, const char *lease, const struct receipt *r)
{
    struct ledger_lease h;
    int64_t kept = 0;
    char text[160];
    struct err e;

    if (ledger_lease(a->book->ledger, lease, &h, &e) != 0) {
        wrong(a, lease, e.msg);
        return;
    }
    if (strcmp(r->lease, lease) != 0 || h.state < LEDGER_HOLD_KEEPING) {
        wrong(a, lease, _("a receipt that is not in the ledger"));
        return;
    }
    if (h.state == LEDGER_HOLD_DONE && r->keep_hold_fen > 0 &&
        keeping_of(a, r, &kept, &e) != 0) {
        wrong(a, lease, e.msg);
        return;
    }
    a->charges_fen += r->charge_fen + kept;
    if (h.charge_fen != r->charge_fen + kept) {
        (void)snprintf(text, sizeof text,
                       _("%" PRId64 " fen in the ledger, %" PRId64 " by the receipt"),
                       h.charge_fen, r->charge_fen + kept);
        wrong(a, lease, text);
    }
}

static void
check_batch(struct audit *a)
{
    struct batch *b = a->batch;

    receipt_verify_files(b->tasks, b->n);
    for (size_t i = 0; i < b->n; i++) {
        struct receipt_task *t = &b->tasks[i];

        if (t->out == NULL) {
            wrong(a, b->leases[i], t->e.msg);
        } else {
            check_receipt(a, b->leases[i], t->out);
        }
        receipt_free(t->out);
        free(b->leases[i]);
        free(b->paths[i]);
    }
    b->n = 0;
}

static void
take_receipt(struct audit *a, const char *lease, const char *path)
{
    struct batch *b = a->batch;

    a->n_receipts++;
    b->leases[b->n] = xstrdup(lease);
    b->paths[b->n] = xstrdup(path);
    b->tasks[b->n] =
        (struct receipt_task){.path = b->paths[b->n], .pins = {.book = &a->book->pub}};
    b->n++;
    if (b->n == BATCH) {
        check_batch(a);
    }
}

static void
check_reservation(struct audit *a, const char *id, const char *path)
{
    struct reservation *r = NULL;
    struct buf data = BUF_INIT;
    struct err e;

    a->n_reservations++;
    if (file_read(path, RESERVATION_MAX_BYTES, &data, &e) != 0 ||
        reservation_parse(&r, data.data, data.len, NULL, NULL, &e) != 0) {
        wrong(a, id, e.msg);
        goto out;
    }
    for (size_t i = 0; i < r->n_payments; i++) {
        const struct reservation_payment *p = &r->payments[i];
        struct ledger_lease h;

        if (memcmp(p->book.b, a->book->pub.b, sizeof p->book.b) != 0) {
            continue;
        }
        a->charges_fen += p->paid_fen;
        a->refunds_fen += p->paid_fen - p->left_fen;
        if (ledger_lease(a->book->ledger, p->lease, &h, &e) != 0) {
            wrong(a, p->lease, e.msg);
        } else if (h.charge_fen != p->left_fen) {
            wrong(a, p->lease, _("a reservation that the ledger has with another sum"));
        }
    }

out:
    buf_free(&data);
    reservation_free(r);
}

struct files {
    struct audit *a;
    const char *dir;
    enum id_kind kind;
    void (*check)(struct audit *a, const char *id, const char *path);
};

static int
check_file(void *ctx, int dir_fd, const char *name, struct err *e)
{
    const struct files *f = ctx;

    (void)dir_fd;
    (void)e;
    if (id_is(f->kind, name)) {
        char *path = path_join(f->dir, name);

        f->check(f->a, name, path);
        free(path);
    }
    return 0;
}

/* What lies in dir under ids of that kind. */
static int
check_files(struct audit *a, const char *name, enum id_kind kind,
            void (*check)(struct audit *a, const char *id, const char *path),
            struct err *e)
{
    struct files f = {.a = a, .kind = kind, .check = check};
    char *dir = NULL;
    int fd;
    int rc;

    if (book_path(a->book, name, NULL, &dir, e) != 0) {
        return -1;
    }
    f.dir = dir;
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    rc = fd == -1 ? err_set_sys(e, errno, "cannot list '%s'", dir)
                  : file_each_name(fd, check_file, &f, e);
    (void)fd_close(&fd);
    free(dir);
    return rc == 0 ? 0 : err_wrap(e, "%s", name);
}

static int
check_receipts(struct audit *a, struct err *e)
{
    int rc = check_files(a, "receipts", ID_LEASE, take_receipt, e);

    check_batch(a);
    return rc;
}

struct sums {
    int64_t renters_fen;
    int64_t owners_fen; /* credited in all, paid out or not */
    int64_t fee_fen;    /* credited in all */
    int64_t fee_back_fen;
    int64_t given_fen;  /* in vouchers */
    int64_t lapsed_fen; /* and taken back of them */
    int64_t left_fen;   /* and not spent yet */
};

static int
add_account(void *ctx, const struct ledger_account *a, struct err *e)
{
    struct sums *s = ctx;

    (void)e;
    if (strncmp(a->name, "owner:payable:", 14) == 0) {
        s->owners_fen += a->credit_fen;
    } else if (strcmp(a->name, "platform:fee") == 0) {
        s->fee_fen += a->credit_fen;
        s->fee_back_fen += a->debit_fen;
    } else if (strcmp(a->name, "platform:voucher") == 0) {
        s->given_fen += a->debit_fen;
        s->lapsed_fen += a->credit_fen;
    } else if (strncmp(a->name, "renter:voucher:", 15) == 0 ||
               strncmp(a->name, "renter:promised:", 16) == 0) {
        s->left_fen += a->credit_fen - a->debit_fen;
    } else if (strncmp(a->name, "renter:cash", 11) == 0) {
        s->renters_fen += a->credit_fen - a->debit_fen;
    }
    return 0;
}

static int
report(struct audit *a, const struct sums *s, struct buf *out, struct err *e)
{
    char charges[MONEY_TEXT_MAX];
    char owners[MONEY_TEXT_MAX];
    char fee[MONEY_TEXT_MAX];
    char given[MONEY_TEXT_MAX];
    char spent[MONEY_TEXT_MAX];
    char lapsed[MONEY_TEXT_MAX];
    char left[MONEY_TEXT_MAX];
    int64_t spent_fen = s->given_fen - s->lapsed_fen - s->left_fen;

    if (a->json != NULL) {
        json_arr_end(a->json);
        json_kbool(a->json, "right", a->n_wrong == 0);
        json_kint(a->json, "receipts", (int64_t)a->n_receipts);
        json_kint(a->json, "reservations", (int64_t)a->n_reservations);
        json_kint(a->json, "charges_fen", a->charges_fen);
        json_kint(a->json, "owners_fen", s->owners_fen);
        json_kint(a->json, "fee_fen", s->fee_fen);
        json_kint(a->json, "renters_fen", s->renters_fen);
        json_kint(a->json, "vouchers_given_fen", s->given_fen);
        json_kint(a->json, "vouchers_spent_fen", spent_fen);
        json_kint(a->json, "vouchers_lapsed_fen", s->lapsed_fen);
        json_kint(a->json, "vouchers_left_fen", s->left_fen);
        json_obj_end(a->json);
        return program_print_json(out, e);
    }
    money_format_fen(a->charges_fen, charges);
    money_format_fen(s->owners_fen, owners);
    money_format_fen(s->fee_fen, fee);
    if (a->n_reservations > 0) {
        (void)printf(NP_("%zu reservation\n", "%zu reservations\n", a->n_reservations),
                     a->n_reservations);
    }
    if (s->given_fen > 0) {
        money_format_fen(s->given_fen, given);
        money_format_fen(spent_fen, spent);
        money_format_fen(s->left_fen, left);
        money_format_fen(s->lapsed_fen, lapsed);
        (void)printf(_("vouchers: given %s, of it spent %s, lapsed %s, left %s\n"), given,
                     spent, lapsed, left);
    }
    (void)printf(NP_("%zu receipt: charges %s = owners %s + fee %s%s\n",
                     "%zu receipts: charges %s = owners %s + fee %s%s\n", a->n_receipts),
                 a->n_receipts, charges, owners, fee,
                 a->n_wrong == 0 ? _(": all of it agrees") : "");
    return 0;
}

int
book_cmd_audit(const struct command_options *o, int argc, char **argv, struct err *e)
{
    struct buf out = BUF_INIT;
    struct json_writer j = json_to(&out);
    struct audit a = {.batch = xcalloc(1, sizeof *a.batch), .json = o->json ? &j : NULL};
    struct sums s = {.renters_fen = 0};
    struct err why;
    int rc = -1;

    (void)argc;
    (void)argv;
    json_obj(&j);
    json_key(&j, "wrong");
    json_arr(&j);
    if (book_open(&a.book, e) != 0) {
        goto out;
    }
    if (ledger_check(a.book->ledger, &why) != 0) {
        wrong(&a, NULL, why.msg);
    }
    if (check_receipts(&a, e) != 0 ||
        check_files(&a, "reservations", ID_RESERVATION, check_reservation, e) != 0 ||
        ledger_each_account(a.book->ledger, add_account, &s, e) != 0) {
        goto out;
    }
    if (a.charges_fen != s.owners_fen + s.fee_fen) {
        wrong(&a, NULL, _("the charges are not what owners and fee were credited"));
    }
    /* What went back was the owner's but for what was the fee's. */
    s.owners_fen -= a.refunds_fen - s.fee_back_fen;
    s.fee_fen -= s.fee_back_fen;
    a.charges_fen -= a.refunds_fen;
    if (report(&a, &s, &out, e) == 0) {
        rc = a.n_wrong == 0 ? 0 : 1;
    }

out:
    buf_free(&out);
    free(a.batch);
    book_close(a.book);
    return rc;
}

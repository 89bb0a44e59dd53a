#ifndef RUNNER_BOOK_BOOK_H
#define RUNNER_BOOK_BOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/sign.h"
#include "meter/ledger.h"

/*
 * An operator's book: its home, its key, who has an account, which hosts it knows, and
 * its ledger (meter/ledger.h). What may be done with money is desk.h.
 *
 *   key              the book's ed25519 key: owners accept it, grants are signed with it
 *   book             record gpurun.book.v1: fee_bps
 *   ledger           the money; an account's wallet is named by the account's id
 *   accounts/<id>    record gpurun.account.v1: a renter. The id is that of its SSH key
 *                    (`allow`), or of its own key where it logged in otherwise
 *   keys/<hex>       the account that this renter's key is of
 *   hosts/<id>       record gpurun.bookhost.v1: name and key of a host
 *   receipts/<lease> receipts that were settled; keepings/<lease> lines of keeping
 *   reservations/<id> chains of reservations that were paid here
 *   acks/<lease>     the last checkpoint acknowledged; forks/<lease>.<seq>: proof that a
 *                    host signed two histories
 *   incoming/        receipts on their way in
 */
#define BOOK_NAME_MAX     64
#define BOOK_RECORD_MAX   ((size_t)64 << 10)
#define BOOK_FEE_MAX_BPS  10000
#define BOOK_ACCOUNTS_MAX 100000

struct book {
    char *home; /* absolute */
    struct sign_key *key;
    struct sign_public pub;
    int64_t fee_bps;
    struct ledger *ledger;
};

/*
 * Open the home: $GPURUN_BOOK_HOME, else $XDG_DATA_HOME/gpurun-book, else
 * $HOME/.local/share/gpurun-book, made (0700) when missing. ERR_DENIED if it belongs to
 * somebody else or others can write there.
 */
int book_open(struct book **out, struct err *e) MUST_USE;
void book_close(struct book *b); /* NULL allowed */
/* "<home>/<dir>/<name>" with the directory made; name NULL: the directory. malloc'ed. */
int book_path(const struct book *b, const char *dir, const char *name, char **out,
              struct err *e) MUST_USE;
int book_set_fee(struct book *b, int64_t fee_bps, struct err *e) MUST_USE;

/* A word for people: 1 to BOOK_NAME_MAX of [A-Za-z0-9._@-], not beginning with '-'. */
int book_check_name(const char *name, struct err *e) MUST_USE;

/* ---- renters ---- */

struct account {
    char id[SIGN_ID_LEN + 1];
    char name[BOOK_NAME_MAX + 1]; /* "" none */
    bool has_key;
    struct sign_public key; /* asks for grants; pinned at first contact */
    bool revoked;
    char *ssh_key; /* "ssh-ed25519 AAAA…"; NULL: not let in by one */
    int64_t made_wall_ns;
};
void account_free(struct account *a);
/* ERR_NOT_FOUND. */
int account_load(const struct book *b, const char *id, struct account *out,
                 struct err *e) MUST_USE;
int account_save(const struct book *b, const struct account *a, struct err *e) MUST_USE;
/* By name or id. ERR_NOT_FOUND names the command that lists them. */
int account_find(const struct book *b, const char *what, struct account *out,
                 struct err *e) MUST_USE;
/* Whose key that is. ERR_NOT_FOUND: nobody's. */
int account_by_key(const struct book *b, const struct sign_public *key,
                   struct account *out, struct err *e) MUST_USE;
/* Pinned if the account has none yet; ERR_DENIED for another, or another account's. */
int account_pin(const struct book *b, struct account *a, const struct sign_public *key,
                struct err *e) MUST_USE;

/* ---- hosts ---- */

struct book_host {
    char id[SIGN_ID_LEN + 1];
    char name[BOOK_NAME_MAX + 1];
    struct sign_public key;
    bool removed; /* no new grants; what is under way is settled */
};
/* ERR_NOT_FOUND. */
int book_host_load(const struct book *b, const char *id, struct book_host *out,
                   struct err *e) MUST_USE;
int book_host_save(const struct book *b, const struct book_host *h,
                   struct err *e) MUST_USE;
int book_host_find(const struct book *b, const char *what, struct book_host *out,
                   struct err *e) MUST_USE;

/* ---- lists ---- */

struct book_ids {
    char (*v)[SIGN_ID_LEN + 1];
    size_t n;
};
/* What lies in accounts/ or hosts/, sorted; free v. */
int book_list(const struct book *b, const char *dir, struct book_ids *out,
              struct err *e) MUST_USE;
/* ERR_RANGE: there are as many as may be, without that one: none is to be added. */
int book_check_room(const struct book *b, const char *dir, const char *id,
                    struct err *e) MUST_USE;

#endif

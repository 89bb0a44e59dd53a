#ifndef RUNNER_CLIENT_VERIFIED_H
#define RUNNER_CLIENT_VERIFIED_H

#include "base/attr.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/sign.h"
#include "runner/client/home.h"

/*
 * Which kept receipts were verified before: <home>/verified, signed with the renter's own
 * key. It says of a job's receipt only: a file of this hash has right signatures, of the
 * host with this pinned key, as this version of the program computes them. So a bill of
 * many receipts computes the signatures of the new ones only; it reads, chains and prices
 * all of them every time. `bill --verify` and `audit` do not ask it. One that is not
 * there, damaged, of another version or signed by another key is as good as empty.
 */
struct verified;

/* Never fails. Makes no key: where the renter has none, nothing is remembered. */
struct verified *verified_open(struct home *home);
/* What is not saved is forgotten. NULL allowed. */
void verified_close(struct verified *v);

/* The hash of the job's receipt as it was verified with that key (NULL: with none
 * pinned); all zeros: it was not. It stays v's, until verified_close. */
const struct sha256 *verified_hash(const struct verified *v, const char *job,
                                   const struct sign_public *host);
/* It is now. A hash of all zeros is none: there is nothing to remember. */
void verified_note(struct verified *v, const char *job, const struct sign_public *host,
                   const struct sha256 *hash);
/*
 * Where the gist of a job's receipt is kept (receipt_pins.gist), <home>/gists/<job>, and
 * the renter's key for it. NULL: the renter has none. The path is the caller's (free).
 */
char *verified_gist(const struct verified *v, const char *job,
                    const struct sign_key **key) MUST_USE;
/* Keep what was noted, instead of what was there, if it differs. Lost: some time only. */
int verified_save(struct verified *v, struct err *e) MUST_USE;

#endif

#ifndef BASE_AUTHKEYS_H
#define BASE_AUTHKEYS_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/sign.h"

/*
 * $HOME/.ssh/authorized_keys, edited so that nobody is locked out: the file is replaced
 * whole, every line but ours stays byte for byte, mode and owner stay, a symbolic link
 * stays one. Ours are the lines whose forced command ends in the words of the program
 * that asks ("serve --renter" for an agent) and the id.
 */

/* A public key as OpenSSH writes it: "ssh-ed25519 AAAA… comment". */
struct authkey {
    char *type;
    char *blob;               /* base64 */
    char id[SIGN_ID_LEN + 1]; /* of whom it stands for */
};

/* Read the first key of the file at path. ERR_INVALID: none there, or a private one. */
int authkey_load(struct authkey *out, const char *path, struct err *e) MUST_USE;
int authkey_parse(struct authkey *out, const char *line, struct err *e) MUST_USE;
void authkey_free(struct authkey *k);

/*
 * Let the key in: what it runs is command, words, k->id. Where until_wall_ns is not 0,
 * until then. A line of ours for it is replaced. ERR_EXISTS: the key has a line that is
 * not ours, which would win. label is a word for people.
 */
int authkeys_allow(const struct authkey *k, const char *command, const char *words,
                   int64_t until_wall_ns, const char *label, struct err *e) MUST_USE;
/* Remove the lines of that id; *n of them. */
int authkeys_revoke(const char *words, const char *id, int *n, struct err *e) MUST_USE;

/*
 * The work itself, on text: out gets in without the lines of that id, and with line
 * (NULL: none) at its end. *n is how many went. ERR_EXISTS as above when blob is not
 * NULL.
 */
struct buf;
int authkeys_edit(const struct buf *in, const char *words, const char *id,
                  const char *blob, const char *line, struct buf *out, int *n,
                  struct err *e) MUST_USE;

#endif

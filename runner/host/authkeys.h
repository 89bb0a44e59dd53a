#ifndef RUNNER_HOST_AUTHKEYS_H
#define RUNNER_HOST_AUTHKEYS_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/sign.h"

/*
 * $HOME/.ssh/authorized_keys, edited so that nobody is locked out: the file is replaced
 * whole, every line but ours stays byte for byte, mode and owner stay, a symbolic link
 * stays one. Ours are the lines whose forced command is `serve --renter ID` of an agent.
 */

/* A public key as OpenSSH writes it: "ssh-ed25519 AAAA… comment". */
struct authkey {
    char *type;
    char *blob;               /* base64 */
    char id[SIGN_ID_LEN + 1]; /* the renter it stands for */
};

/* Read the first key of the file at path. ERR_INVALID: none there, or a private one. */
int authkey_load(struct authkey *out, const char *path, struct err *e) MUST_USE;
int authkey_parse(struct authkey *out, const char *line, struct err *e) MUST_USE;
void authkey_free(struct authkey *k);

/*
 * Let the key in as renter k->id, with command and, where until_wall_ns is not 0, until
 * then. A line of ours for it is replaced. ERR_EXISTS: the key has a line that is not
 * ours, which would win. label is a word for people.
 */
int authkeys_allow(const struct authkey *k, const char *command, int64_t until_wall_ns,
                   const char *label, struct err *e) MUST_USE;
/* Remove the lines of that renter; *n of them. */
int authkeys_revoke(const char *renter_id, int *n, struct err *e) MUST_USE;

/*
 * The work itself, on text: out gets in without the lines of that renter, and with line
 * (NULL: none) at its end. *n is how many went. ERR_EXISTS as above when blob is not
 * NULL.
 */
struct buf;
int authkeys_edit(const struct buf *in, const char *renter_id, const char *blob,
                  const char *line, struct buf *out, int *n, struct err *e) MUST_USE;

#endif

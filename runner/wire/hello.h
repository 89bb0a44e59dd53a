#ifndef RUNNER_WIRE_HELLO_H
#define RUNNER_WIRE_HELLO_H

/*
 * HELLO: each side's first frame, sent at once without waiting for the other's.
 * Its payload, record gpurun.hello.v1, keeps these fields in all versions to come;
 * fields not listed here are carried along untouched (the agent's host record).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/rec.h"
#include "base/sign.h"

#define HELLO_TYPE          "gpurun.hello.v1"
#define HELLO_PROTO_MIN     1 /* oldest protocol we still speak */
#define HELLO_PROTO_MAX     1 /* newest */
#define HELLO_PROTO_CEILING 65535
#define HELLO_NONCE_LEN     16
#define HELLO_TEXT_MAX      64 /* version, renter */
#define HELLO_MAX_BYTES                                                                  \
    ((size_t)192 * 1024) /* encoded; leaves room for a host record                       \
                          */

/* Feature bits: offered by each side, in force when both offer them. */
#define HELLO_F_RESUME ((uint64_t)1 << 0) /* channels survive their connection */
#define HELLO_F_GAP    ((uint64_t)1 << 1) /* GAP frames */
#define HELLO_F_NOTE   ((uint64_t)1 << 2) /* NOTE frames */
#define HELLO_F_ALL    (HELLO_F_RESUME | HELLO_F_GAP | HELLO_F_NOTE)

enum hello_role {
    HELLO_ROLE_NONE = 0,
    HELLO_ROLE_CLIENT,
    HELLO_ROLE_SERVE,
    HELLO_ROLE_SUPERVISE,
    HELLO_ROLE_BOOK,
};

struct hello {
    int proto_min;
    int proto_max;
    uint64_t features; /* what we can */
    uint64_t need;     /* of these, what the peer must offer too */
    enum hello_role role;
    uint8_t nonce[HELLO_NONCE_LEN];   /* random, of this connection */
    char version[HELLO_TEXT_MAX + 1]; /* of the program, e.g. "0.1.0" */
    char renter[HELLO_TEXT_MAX + 1];  /* renter id; "" if none */
    bool has_key;
    struct sign_public key; /* the renter's (client) or host's public key */
    struct rec *extra;      /* other fields, type HELLO_TYPE; NULL: none. Owned. */
};

const char *hello_role_name(enum hello_role r); /* "client", …; "none" */

/* This program's own: versions, all features, a fresh nonce. extra stays NULL. */
void hello_init(struct hello *h, enum hello_role role, const char *version);
void hello_clear(struct hello *h); /* frees extra */

/* A new record; the caller frees it. */
struct rec *hello_encode(const struct hello *h);

/* ERR_CORRUPT / ERR_INVALID: not a hello. On success hello_clear *out at the end. */
int hello_parse(struct hello *out, const struct rec *r, struct err *e) MUST_USE;

/*
 * What both speak: the highest common version and the features both offer.
 * ERR_VERSION: there is none, or a needed feature is missing; the message says which
 * side is older and what to do about it, as seen by `mine`.
 * ERR_DENIED: the roles do not fit (two clients, a peer that answers with our nonce).
 */
int hello_negotiate(const struct hello *mine, const struct hello *theirs, int *proto,
                    uint64_t *features, struct err *e) MUST_USE;

#endif

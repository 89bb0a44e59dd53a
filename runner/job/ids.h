#ifndef RUNNER_JOB_IDS_H
#define RUNNER_JOB_IDS_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"

/*
 * Names of things. An id is one letter and twelve Crockford base32 characters in lower
 * case (base/hash.h, random_id); it is made by the client and becomes a file name on
 * the host, so nothing that fails these checks is ever put into a path.
 */
#define JOB_ID_LEN 13

enum id_kind {
    ID_NONE = 0,
    ID_JOB = 'j',
    ID_SNAPSHOT = 's',
    ID_LEASE = 'l',
    ID_EXEC = 'x',
    ID_RESERVATION = 'v',
    ID_EARLY = 'e', /* the host's own: a directory of no job yet (host/workdirs.h) */
};

bool id_is(enum id_kind kind, const char *text);
/* ERR_INVALID names what was expected. */
int id_check(enum id_kind kind, const char *text, struct err *e) MUST_USE;

/* A renter's id: 16 hex digits (base/sign.h, sign_public_id). */
int id_check_renter(const char *text, struct err *e) MUST_USE;

/*
 * A job's name as people give it: 1 to JOB_NAME_MAX bytes of UTF-8, no control
 * characters, no '/', not beginning with '-' or '@'. ERR_INVALID.
 */
#define JOB_NAME_MAX 64
int job_name_check(const char *name, struct err *e) MUST_USE;

#endif

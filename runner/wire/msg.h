#ifndef RUNNER_WIRE_MSG_H
#define RUNNER_WIRE_MSG_H

/*
 * Messages are records. A request's type names the verb: "gpurun.req.job.stop.v1";
 * the answer is any record, or an error record:
 *
 *     gpurun.error.v1
 *     code=<name of base/err.h>     msg=<one line>     hint=<one line, optional>
 *     form=<msg taken apart, base/form.h; optional>
 *     helps=1 <msg says what helps, base/err.h; optional>
 *
 * A request that changes something carries key=<32 hex>, made by the client, so
 * that repeating it after a lost link is safe.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/rec.h"

#define MSG_ERROR_TYPE "gpurun.error.v1"
#define MSG_KEY_LEN    16
#define MSG_VERB_MAX   64
#define MSG_HINT_MAX   256  /* as MUX_HINT_MAX */
#define MSG_TEXT_MAX   4096 /* of an error's msg or hint as received */

struct rec *msg_error_new(const struct err *why, const char *hint); /* hint may be NULL */

/*
 * Read an error record into *why (a peer's words, in the user's language as far as we
 * have them: still to be escaped when printed) and hint (may be NULL). ERR_CORRUPT in *e
 * if it is not one. An unknown code becomes ERR_INVALID.
 */
int msg_error_parse(const struct rec *r, struct err *why, char hint[MSG_HINT_MAX + 1],
                    struct err *e) MUST_USE;

/* "job.stop" and 1 out of "gpurun.req.job.stop.v1". ERR_INVALID: no request type. */
int msg_verb(const struct rec *req, char verb[MSG_VERB_MAX + 1], int *version,
             struct err *e) MUST_USE;

/* A new request record "gpurun.req.<verb>.v1". */
struct rec *msg_request_new(const char *verb);
/* A new answer record "gpurun.ok.<verb>.v1". */
struct rec *msg_answer_new(const char *verb);

/* Add key=; with key NULL a random one. */
void msg_add_key(struct rec *req, const uint8_t *key);
/* ERR_INVALID: missing or malformed. */
int msg_need_key(const struct rec *req, uint8_t key[MSG_KEY_LEN], struct err *e) MUST_USE;

#endif

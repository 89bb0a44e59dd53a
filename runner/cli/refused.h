#ifndef RUNNER_CLI_REFUSED_H
#define RUNNER_CLI_REFUSED_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "runner/cli/context.h"

/* What operators' books have refused for good (runner/client/purse.h), to the renter. */

/* On standard error, each once. */
void refused_say(struct cli *c);
/* All of it, a line each, into out; or, with j, as the member "refused". */
int refused_put(const struct cli *c, struct buf *out, struct json_writer *j,
                struct err *e) MUST_USE;
/* `gpurun wallet retry`: it is sent again, at once; what fails then is said. */
int refused_retry(struct cli *c, struct err *e) MUST_USE;

#endif

#ifndef RUNNER_CLI_WATCHED_H
#define RUNNER_CLI_WATCHED_H

#include "base/attr.h"
#include "base/err.h"
#include "base/rec.h"
#include "runner/cli/cli.h"
#include "runner/client/session.h"

/*
 * session_call for what may take its host long: on a terminal a line tells how it comes
 * along there. Adds to req that we want to be told; an older host tells nothing.
 */
int watched_call(const struct cli *c, struct client *cl, struct session *s,
                 struct rec *req, struct rec **resp, struct err *e) MUST_USE;

#endif

#ifndef RUNNER_CLI_FOLDER_H
#define RUNNER_CLI_FOLDER_H

#include "base/attr.h"
#include "base/err.h"
#include "runner/cli/cli.h"
#include "runner/client/session.h"
#include "runner/client/ship.h"

/* A whole folder of this machine into the store of a host, for what is made of it there.
 */
struct folder {
    const struct build_report *report; /* its tree is on the host */
    const char *name;                  /* of the folder itself; of "/": "root" */
};

/*
 * Ship all of dir to host (nothing is left out), with progress, then call then, while the
 * session that holds the tree is open. Returns what then returned. ERR_NOT_FOUND: no such
 * directory or host.
 */
int folder_send(struct cli *c, const char *dir, const char *host,
                int (*then)(struct cli *c, struct client *cl, struct session *s,
                            const struct folder *f, void *ctx, struct err *e),
                void *ctx, struct err *e) MUST_USE;

#endif

#ifndef RUNNER_CLI_RESERVEVIEW_H
#define RUNNER_CLI_RESERVEVIEW_H

#include "base/attr.h"
#include "base/err.h"
#include "runner/cli/cli.h"
#include "runner/client/booked.h"
#include "runner/job/device.h"
#include "runner/job/hostinfo.h"

/* What `reserve` says. */

/* Before the first fen: what is ordered, and what it costs or brings back. A remark. */
void reserveview_quote(const struct cli *c, const struct booking *b,
                       const struct reservation *was, const char *host);
/* The same as the result of --dry-run. */
int reserveview_print_quote(const struct cli *c, const struct booking *b,
                            const char *host, struct err *e) MUST_USE;
/* What was made: its id, or with --json all of it. */
int reserveview_made(const struct cli *c, const struct reservation *r, const char *host,
                     struct err *e) MUST_USE;
int reserveview_list(const struct cli *c, const struct booked_list *l,
                     struct err *e) MUST_USE;
int reserveview_show(const struct cli *c, const struct reservation *r,
                     struct err *e) MUST_USE;

/* What was done, in a word. */
const char *reserveview_act(enum order_act act);

/* What the host's prices call a device that is meant. ERR_NOT_FOUND: it has none. */
int reserveview_type(const struct host_info *info, const struct device_want *want,
                     char type[CARD_WORD_MAX + 1], struct err *e) MUST_USE;

#endif

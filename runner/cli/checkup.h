#ifndef RUNNER_CLI_CHECKUP_H
#define RUNNER_CLI_CHECKUP_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "runner/cli/cli.h"

/*
 * What doctor finds: a list of checks, each right, doubtful or wrong, with what to do
 * about it.
 */
enum finding { FINDING_NONE = 0, FINDING_OK, FINDING_NOTE, FINDING_WRONG };

struct checkup;

struct checkup *checkup_new(void);
void checkup_free(struct checkup *k);
/* what: "agent", text: what was found. Copied, escaped when printed. */
void checkup_add(struct checkup *k, enum finding f, const char *what, const char *fmt,
                 ...) PRINTF_LIKE(4, 5);
bool checkup_all_right(const struct checkup *k); /* nothing is wrong */
/* Print as text or JSON; returns CLI_OK or CLI_FAILED, or -1. */
int checkup_print(const struct checkup *k, const struct cli *c, struct err *e) MUST_USE;

#endif

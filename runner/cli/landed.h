#ifndef RUNNER_CLI_LANDED_H
#define RUNNER_CLI_LANDED_H

#include "base/json.h"
#include "runner/cli/cli.h"
#include "storage/extract.h"

/*
 * What did not come with a tree that was put at target: what could not be read when it
 * was kept, devices, owners and attributes that cannot be set here. Said, and with exact
 * an error: it is there, but is not what was kept.
 */
int landed_tell(struct cli *c, const struct extract_report *r, const char *target,
                bool exact, struct err *e) MUST_USE;
/* The same as members of an object. */
void landed_json(struct json_writer *j, const struct extract_report *r);

#endif

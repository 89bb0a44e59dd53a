#ifndef RUNNER_CLI_PARKVIEW_H
#define RUNNER_CLI_PARKVIEW_H

#include "runner/job/park.h"

/*
 * How a host's parking stands (job/park.h), in one sentence that names the host; NULL
 * where nobody asked for it. malloc'ed, not escaped.
 */
char *parkview_text(const char *host, const struct park *p);
/* The same for somebody who is about to start a job there: what comes after it. */
char *parkview_after(const struct park *p);

#endif

#ifndef RUNNER_HOST_OWNER_BOOK_H
#define RUNNER_HOST_OWNER_BOOK_H

#include <stddef.h>

#include "base/attr.h"
#include "base/err.h"
#include "runner/host/agent.h"
#include "runner/host/errands.h"

/*
 * The owner's commands that tell books: the errands, patiently, and then, on standard
 * error, what books have refused for good and was not told yet (*n_refused).
 */
int owner_book_tell(const struct agent *a, struct errands *sums, size_t *n_refused,
                    struct err *e) MUST_USE;
/* Of that the second half alone. */
int owner_book_say(const struct agent *a, size_t *n_refused, struct err *e) MUST_USE;
/* -1 and why, once, if anything was; else 0. */
int owner_book_refused(size_t n_refused, struct err *e) MUST_USE;

#endif

#ifndef RUNNER_HOST_BOOKLINE_H
#define RUNNER_HOST_BOOKLINE_H

#include "base/attr.h"
#include "base/err.h"
#include "base/rec.h"
#include "runner/host/agent.h"
#include "runner/host/books.h"

/*
 * A host's own line to an operator's book: `gpurun-book serve` behind the system's ssh
 * (GPURUN_SSH names another program), as the user whose agent this is: its keys, its
 * known hosts, strict, nothing asked, nothing forwarded. The book has to show the key
 * that the owner accepted. Blocks, with time limits; one thread.
 */
struct bookline;

/* ERR_LINK: it cannot be reached, and why; ERR_DENIED: what answers is not that book. */
int bookline_open(struct bookline **out, const struct agent *a,
                  const struct host_book *book, struct err *e) MUST_USE;
void bookline_close(struct bookline *l); /* NULL allowed */

/*
 * Ask. *resp is the caller's; NULL: nobody wants it. ERR_LINK: no answer came, and the
 * line is of no more use; else the book's own refusal, escaped.
 */
int bookline_call(struct bookline *l, const struct rec *req, struct rec **resp,
                  struct err *e) MUST_USE;

#endif

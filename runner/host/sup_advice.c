#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "runner/host/missing.h"
#include "runner/host/supervise_internal.h"

/* What the last words of a job that failed say about why. */

#define TAIL_BYTES ((size_t)8192)

/* The end of what it wrote: of its stderr, or of all of it on a terminal. */
static size_t
read_tail(const struct sup *s, char *to, size_t n)
{
    enum logseg_stream stream = s->spec.tty ? LOGSEG_OUT : LOGSEG_ERR;
    uint64_t end = (uint64_t)(s->spec.tty ? s->state.out_end : s->state.err_end);
    uint64_t at = end > n ? end - n : 0;
    struct logr *r = NULL;
    size_t len = 0;
    struct err none;

    if (logr_open(&r, s->log_fd, &none) != 0) {
        return 0;
    }
    while (len < n) {
        uint64_t skip;
        size_t got;

        if (logr_read(r, stream, at + len, end, to + len, n - len, &got, &skip, &none) !=
                0 ||
            got == 0) {
            break;
        }
        len += got;
    }
    logr_close(r);
    return len;
}

void
sup_advice(struct sup *s)
{
    char text[TAIL_BYTES];
    char name[MISSING_NAME_MAX + 1];
    struct err why;

    if (s->state.reason != JOB_EXITED || s->state.exit_code == 0 ||
        s->state.detail != NULL ||
        !missing_module(text, read_tail(s, text, sizeof text), name)) {
        return;
    }
    err_set(&why, ERR_NOT_FOUND, JOB_NO_MODULE "%s", name);
    state_tell(&s->state.detail, &s->state.detail_form, &why);
}

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "runner/host/supervise_internal.h"

/* What the last words of a job that failed say about why. */

#define TAIL_BYTES ((size_t)8192)
#define MARK       "ModuleNotFoundError: No module named '"
#define NAME_MAX_  64

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

/* The name in the last such line; words of the job, so only what a module is called by.
 */
static bool
find_module(const char *text, size_t len, char name[NAME_MAX_ + 1])
{
    const char *at = NULL;
    const char *p = text;
    size_t n;

    while ((p = memmem(p, len - (size_t)(p - text), MARK, strlen(MARK))) != NULL) {
        p += strlen(MARK);
        at = p;
    }
    if (at == NULL) {
        return false;
    }
    n = 0;
    while (at + n < text + len && n < NAME_MAX_ &&
           (at[n] == '_' || at[n] == '.' || (at[n] >= '0' && at[n] <= '9') ||
            (at[n] >= 'a' && at[n] <= 'z') || (at[n] >= 'A' && at[n] <= 'Z'))) {
        name[n] = at[n];
        n++;
    }
    name[n] = '\0';
    return n > 0 && at + n < text + len && at[n] == '\'';
}

void
sup_advice(struct sup *s)
{
    char text[TAIL_BYTES];
    char name[NAME_MAX_ + 1];
    struct err why;

    if (s->state.reason != JOB_EXITED || s->state.exit_code == 0 ||
        s->state.detail != NULL ||
        !find_module(text, read_tail(s, text, sizeof text), name)) {
        return;
    }
    err_set(&why, ERR_NOT_FOUND, JOB_NO_MODULE "%s", name);
    state_tell(&s->state.detail, &s->state.detail_form, &why);
}

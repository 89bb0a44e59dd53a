#include "meter/refuse.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const char *const refuse_names[REFUSE_COUNT] = {
    [REFUSE_NONE] = "",
    [REFUSE_RANGE] = "range",
    [REFUSE_INEXACT_PRICE] = "inexact_price",
    [REFUSE_CLOCK_BACK] = "clock_went_back",
    [REFUSE_HEARTBEAT] = "conflicting_heartbeat",
    [REFUSE_COUNTER_BACK] = "counter_went_back",
    [REFUSE_KEY_MISMATCH] = "idempotency_key_mismatch",
    [REFUSE_EXCEEDS] = "exceeds_pending",
    [REFUSE_SYNTAX] = "syntax",
    [REFUSE_LEADING_ZERO] = "leading_zero",
    [REFUSE_PRECISION] = "precision",
    [REFUSE_UNKNOWN] = "unknown",
};

static enum err_code
code_of(enum refusal why)
{
    return why == REFUSE_RANGE ? ERR_RANGE : ERR_INVALID;
}

int
refuse(struct err *e, enum refusal why, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    err_vset(e, code_of(why), fmt, ap);
    va_end(ap);
    return err_name(e, refuse_names[why]);
}

int
refuse_typed(struct err *e, enum refusal why, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    err_vset(e, code_of(why), fmt, ap);
    va_end(ap);
    e->sys_errno = -(int)why;
    return -1;
}

const char *
refuse_name(enum refusal why)
{
    return refuse_names[why];
}

/* The name in brackets that a message ends in; *at: where it begins, behind the blank. */
static enum refusal
named(const char *msg, const char **at)
{
    const char *open = strrchr(msg, '(');

    for (int i = REFUSE_NONE + 1; open != NULL && i < REFUSE_COUNT; i++) {
        size_t n = strlen(refuse_names[i]);

        if (strncmp(open + 1, refuse_names[i], n) == 0 &&
            strcmp(open + 1 + n, ")") == 0) {
            *at = open;
            return (enum refusal)i;
        }
    }
    return REFUSE_NONE;
}

size_t
refuse_words_len(const struct err *e)
{
    const char *at;

    return named(e->msg, &at) != REFUSE_NONE && at > e->msg && at[-1] == ' '
               ? (size_t)(at - e->msg) - 1
               : strlen(e->msg);
}

enum refusal
refuse_of(const struct err *e)
{
    const char *at;

    if (e->sys_errno < 0 && e->sys_errno > -REFUSE_COUNT) {
        return (enum refusal) - e->sys_errno;
    }
    return named(e->msg, &at);
}

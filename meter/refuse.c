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
code_of(enum refuse_code why)
{
    return why == REFUSE_RANGE ? ERR_RANGE : ERR_INVALID;
}

int
refuse(struct err *e, enum refuse_code why, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    err_vset(e, code_of(why), fmt, ap);
    va_end(ap);
    return err_name(e, refuse_names[why]);
}

int
refuse_typed(struct err *e, enum refuse_code why, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    err_vset(e, code_of(why), fmt, ap);
    va_end(ap);
    e->sys_errno = -(int)why;
    return -1;
}

const char *
refuse_name(enum refuse_code why)
{
    return refuse_names[why];
}

/* The name in brackets that a message ends in; *at: where it begins, behind the blank. */
static enum refuse_code
named(const char *msg, const char **at)
{
    const char *open = strrchr(msg, '(');

    for (int i = REFUSE_NONE + 1; open != NULL && i < REFUSE_COUNT; i++) {
        size_t n = strlen(refuse_names[i]);

        if (strncmp(open + 1, refuse_names[i], n) == 0 &&
            strcmp(open + 1 + n, ")") == 0) {
            *at = open;
            return (enum refuse_code)i;
        }
    }
    return REFUSE_NONE;
}

size_t
refuse_words_len(const char *msg)
{
    const char *at;

    return named(msg, &at) != REFUSE_NONE && at > msg && at[-1] == ' '
               ? (size_t)(at - msg) - 1
               : strlen(msg);
}

void
refuse_told(struct err *e, enum err_code code, const char *english, const char *form)
{
    err_told(e, code, english, form);
    e->msg[refuse_words_len(e->msg)] = '\0';
}

enum refuse_code
refuse_of(const struct err *e)
{
    const char *at;

    if (e->sys_errno < 0 && e->sys_errno > -REFUSE_COUNT) {
        return (enum refuse_code) - e->sys_errno;
    }
    return named(e->msg, &at);
}

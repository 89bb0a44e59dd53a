#ifndef METER_REFUSE_H
#define METER_REFUSE_H

#include <stddef.h>

#include "base/attr.h"
#include "base/err.h"

/*
 * Refusals that have a name. Some ways of saying no are part of the law of
 * money (an inexact price, a clock that went back) and must be recognisable by
 * programs and tests, not only by people. The name stands at the end of the
 * message, in brackets: "a negative quota (range)".
 */
enum refuse_code {
    REFUSE_NONE = 0,
    REFUSE_RANGE,         /* "range": negative, too large, or outside what is allowed */
    REFUSE_INEXACT_PRICE, /* "inexact_price" */
    REFUSE_CLOCK_BACK,    /* "clock_went_back" */
    REFUSE_HEARTBEAT,     /* "conflicting_heartbeat" */
    REFUSE_COUNTER_BACK,  /* "counter_went_back" */
    REFUSE_KEY_MISMATCH,  /* "idempotency_key_mismatch" */
    REFUSE_EXCEEDS,       /* "exceeds_pending" */
    REFUSE_SYNTAX,        /* "syntax" */
    REFUSE_LEADING_ZERO,  /* "leading_zero" */
    REFUSE_PRECISION,     /* "precision" */
    REFUSE_UNKNOWN,       /* "unknown": a word that no rule knows */
    REFUSE_COUNT          /* not a refusal */
};

/* err_set with the name appended; ERR_RANGE for REFUSE_RANGE, else ERR_INVALID. */
int refuse(struct err *e, enum refuse_code why, const char *fmt, ...) PRINTF_LIKE(3, 4);

/*
 * The same of what somebody typed, where the sentence says all of it to them: no name
 * follows. *e has it all the same, as a negative sys_errno, until it is made anew.
 */
int refuse_typed(struct err *e, enum refuse_code why, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* The name of a refusal, "" for REFUSE_NONE. */
const char *refuse_name(enum refuse_code why);

/* How much of a message is for people: all of it but the name. */
size_t refuse_words_len(const char *msg);
/* err_told of an error that was kept, less the name. */
void refuse_told(struct err *e, enum err_code code, const char *english,
                 const char *form);

/* Which refusal *e is, by its name or a negative sys_errno; REFUSE_NONE if neither says.
 * Survives err_wrap. */
enum refuse_code refuse_of(const struct err *e);

#endif

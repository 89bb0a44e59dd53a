#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>

#include "base/attr.h"
#include "base/form.h"

/*
 * One error object through all layers.
 *
 * A function that can fail takes "struct err *e" last and returns 0 or -1. On
 * -1 *e is filled, on 0 it is untouched. *e lives with the caller and holds
 * nothing allocated. Lower layers say what failed, upper layers put what they
 * were doing in front; only a program's main prints.
 *
 * Codes exist where a caller acts differently, and travel over the wire as
 * the names of err_code_name().
 */
enum err_code {
    ERR_NONE = 0,
    ERR_INVALID,   /* the caller, the user or the peer gave something impossible */
    ERR_RANGE,     /* a quantity does not fit; nothing was computed */
    ERR_SYSTEM,    /* a system call failed; see sys_errno */
    ERR_NOT_FOUND, /* the named thing does not exist (for this renter) */
    ERR_EXISTS,    /* it exists already, and is not the same thing */
    ERR_BUSY,      /* someone else holds it; trying later may work */
    ERR_CORRUPT,   /* stored or received bytes failed their check */
    ERR_DENIED,    /* understood, and not allowed */
    ERR_LINK,      /* the connection is gone; what the peer did is unknown */
    ERR_VERSION,   /* the peer or the file speaks a version we do not */
    ERR_SPACE,     /* disk, quota or reserve exhausted */
    ERR_LIMIT,     /* a money or time limit forbids it */
    ERR_CODE_COUNT /* not a code */
};

struct err {
    enum err_code code;
    int sys_errno;       /* 0 unless code is ERR_SYSTEM or ERR_SPACE */
    bool helps;          /* msg says what helps, too: no layer above need say it */
    char msg[512];       /* one line, no final newline or full stop */
    char form[FORM_MAX]; /* msg taken apart (form.h); "": it cannot be */
};

/* Fill *e. Always returns -1, so "return err_set(...)" is the usual way. */
int err_set(struct err *e, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);

int err_vset(struct err *e, enum err_code code, const char *fmt, va_list ap)
    PRINTF_LIKE(3, 0);

/*
 * As err_set, for a failed system call: appends ": " and strerror(sys_errno).
 * ENOSPC and EDQUOT become ERR_SPACE, everything else ERR_SYSTEM.
 */
int err_set_sys(struct err *e, int sys_errno, const char *fmt, ...) PRINTF_LIKE(3, 4);

/*
 * Put " (name)" behind the message, cutting that if need be (contexts put in front do not
 * push it off): a name for programs, the same in every language. Returns -1.
 */
int err_name(struct err *e, const char *name);

/* Put "context: " in front of the message in *e, keeping the rest. Returns -1. */
int err_wrap(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

#ifdef __clang_analyzer__
/* The analyzer sees one file at a time; it would take them to return 0 now and then. */
#define err_set(...)     (err_set(__VA_ARGS__), -1)
#define err_name(...)    (err_name(__VA_ARGS__), -1)
#define err_set_sys(...) (err_set_sys(__VA_ARGS__), -1)
#define err_wrap(...)    (err_wrap(__VA_ARGS__), -1)
#endif

/*
 * The words a person reads for these English ones: what the program's message catalogue
 * says, where main has chosen a locale and bound one; else the words themselves. All
 * formats above go through it, so they are not marked; `make lint` knows them.
 */
const char *err_words(const char *english) __attribute__((format_arg(1)));

/*
 * A peer's error, or the words of one that were kept: msg is what form (NULL, "": none)
 * says in the user's words, else those for all of english, else english. Hostile still:
 * whoever prints it escapes it.
 */
void err_told(struct err *e, enum err_code code, const char *english, const char *form);

/* Marks words for the catalogue that are translated where they are shown. */
#define N_(s) (s)

/* "invalid", "not_found", …: stable names for the wire and JSON; never NULL. */
const char *err_code_name(enum err_code code);

/* The code of that name; ERR_SYSTEM for a name that is not known: it may pass. */
enum err_code err_code_from_name(const char *name);

#endif

#include "base/err.h"

#include <errno.h>
#include <libintl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#undef err_set
#undef err_name
#undef err_set_sys
#undef err_wrap

/* Behind a message, for its name and for contexts that are put in front. */
#define NAME_ROOM 72

static const char *const code_names[ERR_CODE_COUNT] = {
    [ERR_NONE] = "none",     [ERR_INVALID] = "invalid",     [ERR_RANGE] = "range",
    [ERR_SYSTEM] = "system", [ERR_NOT_FOUND] = "not_found", [ERR_EXISTS] = "exists",
    [ERR_BUSY] = "busy",     [ERR_CORRUPT] = "corrupt",     [ERR_DENIED] = "denied",
    [ERR_LINK] = "link",     [ERR_VERSION] = "version",     [ERR_SPACE] = "space",
    [ERR_LIMIT] = "limit",
};

const char *
err_words(const char *english)
{
    /* The translation of nothing is the catalogue's head. */
    return english[0] == '\0' ? english : gettext(english);
}

/* A message cut in the middle of a character would not be UTF-8 any more. */
static void
trim_cut_character(char *msg, size_t size)
{
    size_t len = strlen(msg);
    size_t tail = 0; /* continuation bytes at the end */
    unsigned char lead;
    size_t want;

    if (len + 1 < size) {
        return; /* not cut */
    }
    while (tail < 3 && tail < len &&
           ((unsigned char)msg[len - 1 - tail] & 0xc0) == 0x80) {
        tail++;
    }
    if (tail == len) {
        return;
    }
    lead = (unsigned char)msg[len - 1 - tail];
    want = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : lead >= 0xc0 ? 1 : 0;
    if (want > tail) {
        msg[len - 1 - tail] = '\0';
    }
}

int
err_vset(struct err *e, enum err_code code, const char *fmt, va_list ap)
{
    va_list again;

    e->code = code;
    e->sys_errno = 0;
    e->helps = false;
    va_copy(again, ap);
    (void)vsnprintf(e->msg, sizeof e->msg, err_words(fmt), again);
    va_end(again);
    form_make(e->form, fmt, ap);
    trim_cut_character(e->msg, sizeof e->msg);
    return -1;
}

int
err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    err_vset(e, code, fmt, ap);
    va_end(ap);
    return -1;
}

int
err_name(struct err *e, const char *name)
{
    size_t room = sizeof e->msg - NAME_ROOM;
    size_t used = strlen(e->msg);

    if (used >= room) {
        e->msg[room - 1] = '\0';
        trim_cut_character(e->msg, room);
        used = strlen(e->msg);
    }
    (void)snprintf(e->msg + used, sizeof e->msg - used, " (%s)", name);
    form_name(e->form, name);
    return -1;
}

int
err_set_sys(struct err *e, int sys_errno, const char *fmt, ...)
{
    char text[128];
    const char *english = strerror_r(sys_errno, text, sizeof text);
    const char *why = err_words(english);
    char outer[FORM_MAX];
    size_t room = sizeof e->msg - strlen(why) - 2; /* the reason is never cut off */
    va_list ap;
    size_t used;

    e->code = sys_errno == ENOSPC || sys_errno == EDQUOT ? ERR_SPACE : ERR_SYSTEM;
    e->sys_errno = sys_errno;
    e->helps = false;
    va_start(ap, fmt);
    (void)vsnprintf(e->msg, room, err_words(fmt), ap);
    va_end(ap);
    va_start(ap, fmt);
    form_make(outer, fmt, ap);
    va_end(ap);
    (void)snprintf(e->form, sizeof e->form, "%s", english);
    form_wrap(e->form, outer);
    trim_cut_character(e->msg, room);
    used = strlen(e->msg);
    (void)snprintf(e->msg + used, sizeof e->msg - used, ": %s", why);
    return -1;
}

int
err_wrap(struct err *e, const char *fmt, ...)
{
    char inner[sizeof e->msg];
    char outer[FORM_MAX];
    va_list ap;
    size_t used;

    memcpy(inner, e->msg, sizeof inner);
    va_start(ap, fmt);
    (void)vsnprintf(e->msg, sizeof e->msg, err_words(fmt), ap);
    va_end(ap);
    va_start(ap, fmt);
    form_make(outer, fmt, ap);
    va_end(ap);
    form_wrap(e->form, outer);
    used = strlen(e->msg);
    (void)snprintf(e->msg + used, sizeof e->msg - used, ": %s", inner);
    trim_cut_character(e->msg, sizeof e->msg);
    return -1;
}

void
err_told(struct err *e, enum err_code code, const char *english, const char *form)
{
    e->code = code;
    e->sys_errno = 0;
    e->helps = false;
    e->form[0] = '\0';
    if (form != NULL && strlen(form) < sizeof e->form) {
        memcpy(e->form, form, strlen(form) + 1);
    }
    if (!form_tell(e->form, e->msg, sizeof e->msg)) {
        (void)snprintf(e->msg, sizeof e->msg, "%s", err_words(english));
    }
    trim_cut_character(e->msg, sizeof e->msg);
}

const char *
err_code_name(enum err_code code)
{
    return (unsigned)code < ERR_CODE_COUNT ? code_names[code] : "invalid";
}

enum err_code
err_code_from_name(const char *name)
{
    for (int i = 0; i < ERR_CODE_COUNT; i++) {
        if (strcmp(name, code_names[i]) == 0) {
            return (enum err_code)i;
        }
    }
    return ERR_SYSTEM; /* a newer peer's: nobody's last word on what it was sent */
}

#include "runner/job/ids.h"

#include <string.h>

#include "base/hash.h"
#include "base/sign.h"
#include "base/text.h"

bool
id_is(enum id_kind kind, const char *text)
{
    static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";

    if (text == NULL || kind == ID_NONE || text[0] != (char)kind) {
        return false;
    }
    if (strlen(text) != JOB_ID_LEN) {
        return false;
    }
    return strspn(text + 1, alphabet) == ID_RANDOM_LEN;
}

static const char *
kind_word(enum id_kind kind)
{
    switch (kind) {
    case ID_JOB:
        return "job";
    case ID_SNAPSHOT:
        return "snapshot";
    case ID_LEASE:
        return "lease";
    case ID_EXEC:
        return "exec";
    case ID_RESERVATION:
        return "reservation";
    case ID_EARLY: /* nobody is asked for one */
    case ID_NONE:
        break;
    }
    return "?";
}

int
id_check(enum id_kind kind, const char *text, struct err *e)
{
    char shown[40];

    if (id_is(kind, text)) {
        return 0;
    }
    return err_set(e, ERR_INVALID, "'%s' is not a %s id",
                   text == NULL ? "" : text_escape_to(shown, sizeof shown, text),
                   kind_word(kind));
}

int
id_check_renter(const char *text, struct err *e)
{
    char shown[40];

    if (text != NULL && strlen(text) == SIGN_ID_LEN &&
        strspn(text, "0123456789abcdef") == SIGN_ID_LEN) {
        return 0;
    }
    return err_set(e, ERR_INVALID, "'%s' is not a renter id",
                   text == NULL ? "" : text_escape_to(shown, sizeof shown, text));
}

int
job_name_check(const char *name, struct err *e)
{
    char shown[JOB_NAME_MAX * 4];
    size_t len = strlen(name);

    (void)text_escape_to(shown, sizeof shown, name);
    if (len == 0 || len > JOB_NAME_MAX) {
        return err_set(e, ERR_INVALID, "a job's name has 1 to %d bytes", JOB_NAME_MAX);
    }
    if (!text_is_utf8(name, len)) {
        return err_set(e, ERR_INVALID, "the job's name '%s' is not UTF-8", shown);
    }
    if (name[0] == '-' || name[0] == '@') {
        return err_set(e, ERR_INVALID, "a job's name may not begin with '%c'", name[0]);
    }
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)name[i];

        if (c < 0x20 || c == 0x7f || c == '/') {
            return err_set(e, ERR_INVALID,
                           "the job's name '%s' holds a slash or control character",
                           shown);
        }
    }
    return 0;
}

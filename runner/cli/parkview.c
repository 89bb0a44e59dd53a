#include "runner/cli/parkview.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/cli/out.h"

#define COMMAND_SHOWN 120

/* " (shutdown)"; nothing where it is not ours to see. */
static void
command_text(const struct park *p, char out[COMMAND_SHOWN + 16])
{
    out[0] = '\0';
    if (p->command != NULL) {
        (void)snprintf(out, COMMAND_SHOWN + 16, " (%.*s%s)", COMMAND_SHOWN, p->command,
                       strlen(p->command) > COMMAND_SHOWN ? "..." : "");
    }
}

static void
said_why(const struct park *p, struct err *why)
{
    if (p->why != NULL) {
        err_told(why, ERR_NONE, p->why, p->why_form);
    } else {
        err_set(why, ERR_NONE, "%s", _("the host does not say why"));
    }
}

char *
parkview_text(const char *host, const struct park *p)
{
    struct err why;
    char command[COMMAND_SHOWN + 16];
    char after[TEXT_DURATION_MAX];
    char at[OUT_TIME_MAX] = "";

    said_why(p, &why);
    command_text(p, command);
    text_format_duration(p->after_s, after);
    if (p->at_wall_ns > 0) {
        (void)out_time(p->at_wall_ns, at);
    }
    switch (p->phase) {
    case PARK_NONE:
        return NULL;
    case PARK_WAITING:
        return xasprintf(_("%s is parked %s after its last job%s"), host, after, command);
    case PARK_COUNTING:
        return xasprintf(_("%s is parked at %s unless a job starts%s"), host, at,
                         command);
    case PARK_HELD:
        return xasprintf(_("%s is not parked though nothing runs there: %s"), host,
                         why.msg);
    case PARK_RUNNING:
        return xasprintf(_("%s is being parked since %s%s"), host, at, command);
    case PARK_PARKED:
        return xasprintf(_("%s was parked at %s and still answers%s"), host, at, command);
    case PARK_FAILED:
        break;
    }
    return xasprintf(_("%s: parking failed at %s: %s%s"), host, at, why.msg, command);
}

char *
parkview_after(const struct park *p)
{
    char command[COMMAND_SHOWN + 16];
    char after[TEXT_DURATION_MAX];
    struct err why;

    if (p->phase == PARK_NONE) {
        return NULL;
    }
    command_text(p, command);
    text_format_duration(p->after_s, after);
    if (p->phase == PARK_FAILED || p->phase == PARK_HELD) {
        said_why(p, &why);
        return xasprintf(_("%s after the last job%s; last time that did not work: %s"),
                         after, command, why.msg);
    }
    return xasprintf(_("%s after the last job%s, with nobody connected"), after, command);
}

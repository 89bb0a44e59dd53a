#include "runner/job/park.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

static const char *const phase_names[] = {
    [PARK_NONE] = "none",     [PARK_WAITING] = "waiting", [PARK_COUNTING] = "counting",
    [PARK_HELD] = "held",     [PARK_RUNNING] = "running", [PARK_PARKED] = "parked",
    [PARK_FAILED] = "failed",
};
#define N_PHASES (sizeof phase_names / sizeof phase_names[0])

void
park_init(struct park *p)
{
    memset(p, 0, sizeof *p);
}

void
park_free(struct park *p)
{
    free(p->command);
    free(p->why);
    free(p->why_form);
    park_init(p);
}

void
park_set_text(char **field, const char *text)
{
    free(*field);
    *field = text != NULL ? xstrdup(text) : NULL;
}

void
park_set_why(struct park *p, const struct err *why)
{
    park_set_text(&p->why, why != NULL ? why->msg : NULL);
    park_set_text(&p->why_form, why != NULL && why->form[0] != '\0' ? why->form : NULL);
}

const char *
park_phase_name(enum park_phase p)
{
    return (size_t)p < N_PHASES ? phase_names[p] : phase_names[PARK_NONE];
}

struct rec *
park_encode(const struct park *p)
{
    struct rec *r = rec_new(PARK_TYPE);

    rec_add(r, "phase", park_phase_name(p->phase));
    if (p->command != NULL) {
        rec_add(r, "command", p->command);
    }
    rec_add_int(r, "after_s", p->after_s);
    if (p->at_wall_ns != 0) {
        rec_add_int(r, "at_wall_ns", p->at_wall_ns);
    }
    if (p->why != NULL) {
        rec_add(r, "why", p->why);
    }
    if (p->why_form != NULL) {
        rec_add(r, "why_form", p->why_form);
    }
    return r;
}

static int
take_text(const struct rec *r, const char *key, size_t max_bytes, char **out,
          struct err *e)
{
    size_t len;
    const char *v = rec_get_bytes(r, key, &len);

    if (v != NULL && (len > max_bytes || strlen(v) != len)) {
        return err_set(e, ERR_INVALID, "'%s' of %s is too long or holds a NUL", key,
                       PARK_TYPE);
    }
    *out = v != NULL ? xstrdup(v) : NULL;
    return 0;
}

int
park_parse(struct park *out, const struct rec *r, struct err *e)
{
    struct park p;
    const char *phase = rec_get(r, "phase");

    park_init(&p);
    for (size_t i = 0; phase != NULL && i < N_PHASES; i++) {
        if (strcmp(phase, phase_names[i]) == 0) {
            p.phase = (enum park_phase)i;
        }
    }
    if (take_text(r, "command", PARK_COMMAND_MAX, &p.command, e) != 0 ||
        take_text(r, "why", PARK_WHY_MAX, &p.why, e) != 0 ||
        take_text(r, "why_form", FORM_MAX, &p.why_form, e) != 0 ||
        rec_opt_int(r, "after_s", 0, PARK_AFTER_MAX_S, 0, &p.after_s, e) != 0 ||
        rec_opt_int(r, "at_wall_ns", 0, INT64_MAX, 0, &p.at_wall_ns, e) != 0) {
        park_free(&p);
        return -1;
    }
    *out = p;
    return 0;
}

int
park_check(const char *command, size_t len, int64_t after_s, struct err *e)
{
    if (len == 0 || len > PARK_COMMAND_MAX || strlen(command) != len) {
        return err_set(e, ERR_INVALID,
                       "--park: want a command for sh, of at most %zu bytes",
                       PARK_COMMAND_MAX);
    }
    if (after_s < PARK_AFTER_MIN_S || after_s > PARK_AFTER_MAX_S) {
        return err_set(e, ERR_INVALID,
                       "--park-after: want between 1s and 30d, as in 10m");
    }
    return 0;
}

void
park_json(struct json_writer *j, const struct park *p)
{
    if (p->phase == PARK_NONE) {
        json_kstr(j, "park", NULL);
        return;
    }
    json_key(j, "park");
    json_obj(j);
    json_kstr(j, "phase", park_phase_name(p->phase));
    json_kstr(j, "command", p->command);
    json_kint(j, "after_s", p->after_s);
    json_ktime(j, "at", p->at_wall_ns);
    json_kstr(j, "why", p->why);
    json_obj_end(j);
}

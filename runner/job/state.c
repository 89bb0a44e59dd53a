#include "runner/job/state.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

#define STATE_TEXT_MAX    ((size_t)4096)
#define STATE_DEVICES_MAX 4096
#define SIGNO_MAX         64

static const char *const phase_names[] = {
    [JOB_PHASE_NONE] = "",         [JOB_SHIPPING] = "shipping",
    [JOB_PREPARING] = "preparing", [JOB_SETUP] = "setup",
    [JOB_READY] = "ready",         [JOB_RUNNING] = "running",
    [JOB_STOPPING] = "stopping",   [JOB_SNAPSHOTTING] = "snapshotting",
    [JOB_ENDED] = "ended",         [JOB_LOST] = "lost",
};
static const char *const reason_names[] = {
    [JOB_REASON_NONE] = "",    [JOB_EXITED] = "exited",   [JOB_SIGNALLED] = "signalled",
    [JOB_STOPPED] = "stopped", [JOB_COST] = "cost",       [JOB_TIME] = "time",
    [JOB_LEASE] = "lease",     [JOB_BALANCE] = "balance", [JOB_IDLE] = "idle",
    [JOB_MEMORY] = "memory",   [JOB_FAILED] = "failed",   [JOB_FAULT] = "fault",
    [JOB_OWNER] = "owner",     [JOB_DISK] = "disk",
};
static const char *const kept_names[] = {
    [JOB_KEPT_NONE] = "none", [JOB_KEPT_WHOLE] = "whole", [JOB_KEPT_PARTIAL] = "partial"};
#define N_OF(a) (sizeof(a) / sizeof((a)[0]))

struct int_field {
    const char *key;
    size_t offset;
    int64_t min;
    int64_t max;
    int64_t absent; /* what a missing field means; such values are not written */
};

#define INT(field, lo, hi, none)                                                         \
    {                                                                                    \
#field, offsetof(struct job_state, field), (lo), (hi), (none)                    \
    }
static const struct int_field int_fields[] = {
    INT(exit_code, 0, 255, JOB_NOT_SET),
    INT(signal, 1, SIGNO_MAX, JOB_NOT_SET),
    INT(since_wall_ns, INT64_MIN, INT64_MAX, 0),
    INT(made_wall_ns, INT64_MIN, INT64_MAX, 0),
    INT(started_wall_ns, INT64_MIN, INT64_MAX, 0),
    INT(ended_wall_ns, INT64_MIN, INT64_MAX, 0),
    INT(pid, 0, INT32_MAX, 0),
    INT(pid_start, 0, INT64_MAX, 0),
    INT(count, 0, SPEC_COUNT_MAX, 0),
    INT(out_end, 0, INT64_MAX, JOB_NOT_SET),
    INT(err_end, 0, INT64_MAX, JOB_NOT_SET),
    INT(kept_bytes, 0, INT64_MAX, 0),
    INT(kept_as_shipped, 0, 1, 0),
    INT(price_uyuan, 0, INT64_MAX, JOB_NOT_SET),
    INT(cost_fen, 0, INT64_MAX, 0),
    INT(cap_fen, 0, INT64_MAX, JOB_NOT_SET),
    INT(can_run_s, 0, INT64_MAX, JOB_NOT_SET),
    INT(alert_pct, 0, 100, 0),
    INT(charge_fen, 0, INT64_MAX, JOB_NOT_SET),
    INT(expires_wall_ns, INT64_MIN, INT64_MAX, 0),
    INT(seq, 0, INT64_MAX, 0),
};

struct text_field {
    const char *key;
    size_t offset;
};
static const struct text_field text_fields[] = {
    {"name", offsetof(struct job_state, name)},
    {"detail", offsetof(struct job_state, detail)},
    {"detail_form", offsetof(struct job_state, detail_form)},
    {"command", offsetof(struct job_state, command)},
    {"workdir", offsetof(struct job_state, workdir)},
    {"kept_why", offsetof(struct job_state, kept_why)},
    {"kept_form", offsetof(struct job_state, kept_form)},
};

static int64_t *
int_at(struct job_state *s, size_t i)
{
    return (int64_t *)((char *)s + int_fields[i].offset);
}

static int64_t
int_of(const struct job_state *s, size_t i)
{
    return *(const int64_t *)((const char *)s + int_fields[i].offset);
}

static char **
text_at(struct job_state *s, size_t i)
{
    return (char **)((char *)s + text_fields[i].offset);
}

static const char *
text_of(const struct job_state *s, size_t i)
{
    return *(char *const *)((const char *)s + text_fields[i].offset);
}

void
state_init(struct job_state *s)
{
    memset(s, 0, sizeof *s);
    for (size_t i = 0; i < N_OF(int_fields); i++) {
        *int_at(s, i) = int_fields[i].absent;
    }
}

static void
free_devices(struct job_state *s)
{
    for (size_t i = 0; i < s->n_devices; i++) {
        free(s->devices[i].device_class);
        free(s->devices[i].type);
        free(s->devices[i].uuid);
    }
    free(s->devices);
    s->devices = NULL;
    s->n_devices = 0;
}

void
state_free(struct job_state *s)
{
    for (size_t i = 0; i < N_OF(text_fields); i++) {
        free(*text_at(s, i));
    }
    free_devices(s);
    state_init(s);
}

void
state_set_text(char **field, const char *text)
{
    char *copy = text == NULL ? NULL : xstrdup(text); /* text may be *field itself */

    free(*field);
    *field = copy;
}

void
state_tell(char **text, char **form, const struct err *why)
{
    state_set_text(text, why == NULL ? NULL : why->msg);
    state_set_text(form, why == NULL || why->form[0] == '\0' ? NULL : why->form);
}

void
state_copy(struct job_state *to, const struct job_state *from)
{
    struct job_state s = *from;

    s.devices = from->n_devices == 0 ? NULL : xcalloc(from->n_devices, sizeof *s.devices);
    for (size_t i = 0; i < from->n_devices; i++) {
        s.devices[i].device_class = xstrdup(from->devices[i].device_class);
        s.devices[i].type = xstrdup(from->devices[i].type);
        s.devices[i].uuid = xstrdup(from->devices[i].uuid);
    }
    for (size_t i = 0; i < N_OF(text_fields); i++) {
        *text_at(&s, i) = text_of(from, i) == NULL ? NULL : xstrdup(text_of(from, i));
    }
    state_free(to);
    *to = s;
}

struct rec *
state_encode(const struct job_state *s)
{
    struct rec *r = rec_new(STATE_TYPE);

    rec_add(r, "job", s->job);
    rec_add(r, "renter", s->renter);
    rec_add(r, "state", job_phase_name(s->phase));
    if (s->reason != JOB_REASON_NONE) {
        rec_add(r, "reason", job_reason_name(s->reason));
    }
    for (size_t i = 0; i < N_OF(int_fields); i++) {
        if (int_of(s, i) != int_fields[i].absent) {
            rec_add_int(r, int_fields[i].key, int_of(s, i));
        }
    }
    for (size_t i = 0; i < N_OF(text_fields); i++) {
        if (text_of(s, i) != NULL) {
            rec_add(r, text_fields[i].key, text_of(s, i));
        }
    }
    if (s->boot[0] != '\0') {
        rec_add(r, "boot", s->boot);
    }
    for (size_t i = 0; i < s->n_devices; i++) {
        const struct state_device *d = &s->devices[i];

        rec_addf(r, "device", "%s %s %s", d->device_class, d->type, d->uuid);
    }
    if (s->snapshot[0] != '\0') {
        rec_add(r, "snapshot", s->snapshot);
    }
    rec_add(r, "snapshot_state", job_kept_name(s->kept));
    return r;
}

/* "class type uuid"; neither word holds a space. */
static int
parse_device(struct state_device *to, const char *text, struct err *e)
{
    const char *type = strchr(text, ' ');
    const char *uuid = type == NULL ? NULL : strchr(type + 1, ' ');

    if (uuid == NULL || strchr(uuid + 1, ' ') != NULL) {
        return err_set(e, ERR_INVALID, "a device of the state record is malformed");
    }
    to->device_class = xmalloc((size_t)(type - text) + 1);
    memcpy(to->device_class, text, (size_t)(type - text));
    to->device_class[type - text] = '\0';
    to->type = xmalloc((size_t)(uuid - type));
    memcpy(to->type, type + 1, (size_t)(uuid - type) - 1);
    to->type[uuid - type - 1] = '\0';
    to->uuid = xstrdup(uuid + 1);
    return 0;
}

static int
parse_devices(struct job_state *s, const struct rec *r, struct err *e)
{
    size_t n = rec_count(r, "device");

    if (n > STATE_DEVICES_MAX) {
        return err_set(e, ERR_RANGE, "the state record names too many devices");
    }
    s->devices = n == 0 ? NULL : xcalloc(n, sizeof *s->devices);
    for (size_t i = 0; i < n; i++) {
        if (parse_device(&s->devices[i], rec_get_nth(r, "device", i, NULL), e) != 0) {
            return -1;
        }
        s->n_devices++;
    }
    return 0;
}

static int
parse_words(struct job_state *s, const struct rec *r, struct err *e)
{
    const char *phase;
    const char *reason = rec_get(r, "reason");
    const char *kept = rec_get(r, "snapshot_state");

    if (rec_need_str(r, "state", &phase, e) != 0) {
        return -1;
    }
    s->phase = job_phase_from_name(phase);
    s->reason = reason == NULL ? JOB_REASON_NONE : job_reason_from_name(reason);
    if (s->phase == JOB_PHASE_NONE || (reason != NULL && s->reason == JOB_REASON_NONE)) {
        return err_set(e, ERR_VERSION, "the state record holds a state not known here");
    }
    for (size_t i = 0; kept != NULL && i < N_OF(kept_names); i++) {
        if (strcmp(kept, kept_names[i]) == 0) {
            s->kept = (enum job_kept)i;
        }
    }
    return 0;
}

static int
parse_ids(struct job_state *s, const struct rec *r, struct err *e)
{
    const char *job;
    const char *renter;
    const char *snapshot = rec_get(r, "snapshot");
    const char *boot = rec_get(r, "boot");

    if (rec_need_str(r, "job", &job, e) != 0 || id_check(ID_JOB, job, e) != 0 ||
        rec_need_str(r, "renter", &renter, e) != 0 || id_check_renter(renter, e) != 0) {
        return -1;
    }
    if (snapshot != NULL && id_check(ID_SNAPSHOT, snapshot, e) != 0) {
        return -1;
    }
    memcpy(s->job, job, JOB_ID_LEN + 1);
    memcpy(s->renter, renter, SIGN_ID_LEN + 1);
    if (snapshot != NULL) {
        memcpy(s->snapshot, snapshot, JOB_ID_LEN + 1);
    }
    if (boot != NULL) {
        (void)snprintf(s->boot, sizeof s->boot, "%s", boot);
    }
    return 0;
}

int
state_parse(struct job_state *out, const struct rec *r, struct err *e)
{
    struct job_state s;
    int rc = -1;

    state_init(&s);
    if (strcmp(rec_type(r), STATE_TYPE) != 0) {
        err_set(e, ERR_VERSION, "this is not a state record this version knows");
        goto out;
    }
    if (parse_ids(&s, r, e) != 0 || parse_words(&s, r, e) != 0 ||
        parse_devices(&s, r, e) != 0) {
        goto out;
    }
    for (size_t i = 0; i < N_OF(int_fields); i++) {
        const struct int_field *f = &int_fields[i];

        if (rec_opt_int(r, f->key, f->min, f->max, f->absent, int_at(&s, i), e) != 0) {
            goto out;
        }
    }
    for (size_t i = 0; i < N_OF(text_fields); i++) {
        size_t len;
        const char *v = rec_get_bytes(r, text_fields[i].key, &len);

        if (v != NULL && (len > STATE_TEXT_MAX || memchr(v, '\0', len) != NULL)) {
            err_set(e, ERR_INVALID, "the state record's '%s' is too long or holds a NUL",
                    text_fields[i].key);
            goto out;
        }
        state_set_text(text_at(&s, i), v);
    }
    *out = s;
    state_init(&s);
    rc = 0;

out:
    state_free(&s);
    return rc;
}

bool
job_data_waits(const struct job_state *s)
{
    return job_phase_is_final(s->phase) && s->kept == JOB_KEPT_NONE &&
           s->kept_why != NULL && strcmp(s->kept_why, JOB_WHY_NOT_WANTED) != 0 &&
           strcmp(s->kept_why, JOB_WHY_NOT_STARTED) != 0;
}

void
state_put(struct rec *r, const struct job_state *s)
{
    struct rec *state = state_encode(s);
    struct buf b = BUF_INIT;

    rec_encode(state, &b);
    rec_add_bytes(r, "state", b.data, b.len);
    buf_free(&b);
    rec_free(state);
}

int
state_get(const struct rec *r, size_t i, struct job_state *out, struct err *e)
{
    struct rec *state = NULL;
    size_t len;
    const char *bytes = rec_get_nth(r, "state", i, &len);
    int rc;

    if (bytes == NULL || len > STATE_MAX_BYTES) {
        return err_set(e, ERR_CORRUPT, "no state of a job where one should be");
    }
    if (rec_parse(&state, bytes, len, STATE_TYPE, e) != 0) {
        return -1;
    }
    rc = state_parse(out, state, e);
    rec_free(state);
    return rc;
}

bool
job_phase_is_final(enum job_phase p)
{
    return p == JOB_ENDED || p == JOB_LOST;
}

const char *
job_phase_name(enum job_phase p)
{
    return (size_t)p < N_OF(phase_names) ? phase_names[p] : "";
}

const char *
job_reason_name(enum job_reason r)
{
    return (size_t)r < N_OF(reason_names) ? reason_names[r] : "";
}

const char *
job_kept_name(enum job_kept k)
{
    return (size_t)k < N_OF(kept_names) ? kept_names[k] : "none";
}

enum job_phase
job_phase_from_name(const char *name)
{
    for (size_t i = 1; i < N_OF(phase_names); i++) {
        if (strcmp(name, phase_names[i]) == 0) {
            return (enum job_phase)i;
        }
    }
    return JOB_PHASE_NONE;
}

enum job_reason
job_reason_from_name(const char *name)
{
    for (size_t i = 1; i < N_OF(reason_names); i++) {
        if (strcmp(name, reason_names[i]) == 0) {
            return (enum job_reason)i;
        }
    }
    return JOB_REASON_NONE;
}

bool
job_reason_is_limit(enum job_reason r)
{
    switch (r) {
    case JOB_COST:
    case JOB_TIME:
    case JOB_LEASE:
    case JOB_BALANCE:
    case JOB_IDLE:
    case JOB_MEMORY:
    case JOB_DISK:
        return true;
    case JOB_REASON_NONE:
    case JOB_EXITED:
    case JOB_SIGNALLED:
    case JOB_STOPPED:
    case JOB_FAILED:
    case JOB_FAULT:
    case JOB_OWNER:
        break;
    }
    return false;
}

int
job_exit_code(const struct job_state *s)
{
    if (s->phase == JOB_LOST) {
        return JOB_EXIT_LOST;
    }
    if (s->phase != JOB_ENDED) {
        return JOB_EXIT_LINK;
    }
    if (job_reason_is_limit(s->reason)) {
        return JOB_EXIT_LIMIT;
    }
    if (s->reason == JOB_EXITED || s->reason == JOB_SIGNALLED ||
        s->reason == JOB_STOPPED) {
        if (s->exit_code != JOB_NOT_SET) {
            return (int)s->exit_code;
        }
        if (s->signal != JOB_NOT_SET) {
            return 128 + (int)s->signal;
        }
    }
    return JOB_EXIT_BROKEN; /* also: stopped before it started */
}

static void
end_phrase(const struct job_state *s, char *out, size_t size)
{
    char sig[16];

    if (s->exit_code != JOB_NOT_SET) {
        (void)snprintf(out, size, err_words("exited %d"), (int)s->exit_code);
    } else if (s->signal != JOB_NOT_SET) {
        (void)snprintf(out, size, err_words("killed by %s"),
                       job_signal_name((int)s->signal, sig));
    } else {
        (void)snprintf(out, size, "%s", err_words(job_reason_name(s->reason)));
    }
}

void
job_phrase(const struct job_state *s, char out[JOB_PHRASE_MAX])
{
    char how[40];

    end_phrase(s, how, sizeof how);
    if (s->phase == JOB_ENDED &&
        (s->reason == JOB_EXITED || s->reason == JOB_SIGNALLED)) {
        (void)snprintf(out, JOB_PHRASE_MAX, err_words("ended: %s"), how);
    } else if (s->phase == JOB_ENDED && job_reason_is_limit(s->reason)) {
        (void)snprintf(out, JOB_PHRASE_MAX, err_words("ended: %s limit, %s"),
                       err_words(job_reason_name(s->reason)), how);
    } else if (s->phase == JOB_ENDED &&
               (s->exit_code != JOB_NOT_SET || s->signal != JOB_NOT_SET)) {
        (void)snprintf(out, JOB_PHRASE_MAX, err_words("ended: %s, %s"),
                       err_words(job_reason_name(s->reason)), how);
    } else if (s->reason != JOB_REASON_NONE && s->phase != JOB_LOST) {
        (void)snprintf(out, JOB_PHRASE_MAX, err_words("%s: %s"),
                       err_words(job_phase_name(s->phase)),
                       err_words(job_reason_name(s->reason)));
    } else {
        (void)snprintf(out, JOB_PHRASE_MAX, "%s", err_words(job_phase_name(s->phase)));
    }
}

const char *
job_signal_name(int signo, char out[16])
{
    const char *abbrev = signo > 0 && signo < 32 ? sigabbrev_np(signo) : NULL;

    if (abbrev != NULL) {
        (void)snprintf(out, 16, "SIG%s", abbrev);
    } else {
        (void)snprintf(out, 16, "signal %d", signo);
    }
    return out;
}

int
job_signal_parse(const char *text, int *signo, struct err *e)
{
    const char *name = strncmp(text, "SIG", 3) == 0 ? text + 3 : text;
    int n = 0;

    for (const char *p = text; *p >= '0' && *p <= '9' && n <= SIGNO_MAX; p++) {
        n = n * 10 + (*p - '0');
        if (p[1] == '\0' && n >= 1 && n <= SIGNO_MAX) {
            *signo = n;
            return 0;
        }
    }
    for (int i = 1; i < 32; i++) {
        const char *abbrev = sigabbrev_np(i);

        if (abbrev != NULL && strcmp(name, abbrev) == 0) {
            *signo = i;
            return 0;
        }
    }
    return err_set(e, ERR_INVALID, "there is no signal of that name or number");
}

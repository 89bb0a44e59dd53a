#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "runner/host/allowance.h"
#include "runner/host/datasets.h"
#include "runner/host/declines.h"
#include "runner/host/layerkey.h"
#include "runner/host/loginenv.h"
#include "runner/host/offers.h"
#include "runner/host/park.h"
#include "runner/host/procs.h"
#include "runner/host/reservations.h"
#include "runner/host/setups.h"
#include "runner/host/supervise_internal.h"
#include "runner/job/setupenv.h"

#define COMMAND_TEXT_MAX ((size_t)400)
#define JOURNAL_NAME     "usage"
#define NS_PER_S         ((int64_t)1000000000)

/* ---- the request ---- */

static int
take_spec(struct sup *s, const struct rec *req, struct err *e)
{
    size_t len;
    const char *text = rec_get_bytes(req, "spec", &len);
    struct rec *r = NULL;
    char own[SIGN_ID_LEN + 1] = "";
    int rc;

    if (text == NULL || len > SPEC_MAX_BYTES) {
        return err_set(e, ERR_INVALID, "the job's specification is missing or too long");
    }
    if (rec_parse(&r, text, len, SPEC_TYPE, e) != 0) {
        return -1;
    }
    rc = spec_parse(&s->spec, r, e);
    rec_free(r);
    if (rc != 0) {
        return -1;
    }
    if (s->renter->has_key) {
        sign_public_id(&s->renter->key, own);
    }
    if (strcmp(s->spec.renter, s->renter->id) != 0 && strcmp(s->spec.renter, own) != 0) {
        return err_set(e, ERR_DENIED,
                       "the job is that of renter %s, this connection is %s",
                       s->spec.renter, s->renter->id);
    }
    /* Who was let in runs commands in jobs only, behind walls. */
    if (s->spec.notify_host != NULL && s->renter->confined) {
        return err_set(e, ERR_DENIED,
                       "--notify-host: the owner lets renters run commands only in jobs");
    }
    return 0;
}

static bool
is_named(const struct strings *names, const char *assignment, size_t name_len)
{
    for (size_t i = 0; i < names->n; i++) {
        if (strlen(names->v[i]) == name_len &&
            memcmp(names->v[i], assignment, name_len) == 0) {
            return true;
        }
    }
    return false;
}

/* Exactly the secrets the specification names, each once. */
static int
take_secrets(struct sup *s, const struct rec *req, struct err *e)
{
    size_t n = rec_count(req, "secret");

    if (n != s->spec.secrets.n) {
        return err_set(e, ERR_INVALID, "the job names %zu secrets and brings %zu",
                       s->spec.secrets.n, n);
    }
    for (size_t i = 0; i < n; i++) {
        size_t len;
        const char *v = rec_get_nth(req, "secret", i, &len);
        const char *eq = strchr(v, '=');

        if (len >= SPEC_STRING_MAX || strlen(v) != len || eq == NULL ||
            !is_named(&s->spec.secrets, v, (size_t)(eq - v))) {
            return err_set(e, ERR_INVALID,
                           "a secret of the job is malformed or not named");
        }
        strings_add(&s->secrets, v);
    }
    return 0;
}

/* The grant has one row, and it is what the job asks for. */
static int
check_row(const struct sup *s, struct err *e)
{
    const struct grant_row *row = &s->grant.rows[0];

    if (s->grant.n_rows != 1 || strcmp(row->class_name, s->spec.device_class) != 0 ||
        row->n_units != s->spec.count) {
        return err_set(e, ERR_DENIED,
                       "the grant is not for the devices the job asks for");
    }
    if (s->spec.count > SUP_DEVICES_MAX && strcmp(row->class_name, "cpu") != 0) {
        return err_set(e, ERR_RANGE, "a job can have %d devices at most",
                       SUP_DEVICES_MAX);
    }
    return 0;
}

static int
take_grant(struct sup *s, const struct rec *req, struct err *e)
{
    size_t len;
    const char *text = rec_get_bytes(req, "grant", &len);

    if (text == NULL || len > GRANT_MAX_BYTES) {
        return err_set(e, ERR_INVALID, "the job's grant is missing or too long");
    }
    if (grant_parse(&s->grant, text, len, e) != 0) {
        return -1;
    }
    if (strcmp(s->grant.job, s->spec.job) != 0) {
        return err_set(e, ERR_DENIED, "the grant is for another job");
    }
    if (!s->renter->has_key) {
        return err_set(e, ERR_DENIED, "the renter has shown no key to sign grants with");
    }
    if (offers_load(&s->offer, s->agent, &s->grant.offer, e) != 0 ||
        grant_check(&s->grant, s->offer, &s->renter->key, clock_wall_ns(), e) != 0) {
        return -1;
    }
    return check_row(s, e);
}

/* ---- what the owner allows a renter in all ---- */

/*
 * Two jobs accepted at once must not both fit into what is left for one; nor may a lease
 * be declined while its job is being accepted.
 */
static int
check_allowance(struct sup *s, int *admit_fd, struct err *e)
{
    if (renter_check_admitted(s->renter, e) != 0) {
        return -1;
    }
    if (renter_lock_admission(s->renter, s->renter->max_cost_fen != RENTER_NO_CAP,
                              admit_fd, e) != 0 ||
        declines_check(s->renter, s->grant.lease, e) != 0) {
        return -1;
    }
    return allowance_check(s->agent, s->renter, s->grant.cap_fen, e);
}

/* ---- devices ---- */

/* A reserved device is for jobs that name its reservation, and those are for no other. */
struct claim {
    const struct reservation_list *all;
    const struct reservation *own; /* NULL: the job names none */
    int64_t now_s;
};

static bool
may_take(void *ctx, const struct device *d)
{
    const struct claim *c = ctx;

    return c->own != NULL ? reservation_has_device(c->own, d->uuid)
                          : reservations_holder(c->all, d->uuid, c->now_s) == NULL;
}

/* Of the type the grant was priced for; and the job's own word has to mean it, too. */
static int
take_free(struct sup *s, struct claim *c, struct err *e)
{
    const struct grant_row *row = &s->grant.rows[0];
    bool cpu = strcmp(row->class_name, "cpu") == 0;
    const struct devices_filter f = {.may = may_take, .ctx = c};

    return devices_take(s->agent, &s->devices, row->class_name, cpu ? NULL : row->type,
                        cpu ? "any" : s->spec.device_type, row->n_units, cpu ? NULL : &f,
                        s->picked, s->lock_fds, &s->n_picked, e);
}

static int
take_devices(struct sup *s, struct err *e)
{
    struct reservation_list l = {NULL, 0};
    struct reservation *own = NULL;
    struct claim c = {.all = &l, .now_s = clock_wall_ns() / NS_PER_S};
    int lock = -1;
    int rc = -1;

    if (devices_list(s->agent, false, &s->devices, NULL, e) != 0) {
        return -1;
    }
    if (reservations_lock(s->agent, false, &lock, e) != 0) {
        return -1;
    }
    if (s->grant.reservation[0] != '\0') {
        rc = reservations_load(&own, s->agent, s->grant.reservation, e) == 0
                 ? reservations_check(own, &s->grant, 0, e)
                 : -1;
        c.own = own;
    } else if (strcmp(s->grant.rows[0].class_name, "cpu") != 0) {
        rc = reservations_list(&l, s->agent, NULL, e);
    } else {
        rc = 0; /* cores are shared: nobody reserves them */
    }
    if (rc == 0) {
        rc = take_free(s, &c, e);
    }
    (void)fd_close(&lock);
    reservation_free(own);
    reservations_free(&l);
    return rc;
}

/* From here on it is that one, whatever becomes of the interpreter. */
static void
name_layer(struct sup *s)
{
    struct strings login = {NULL, 0};
    struct strings own = {NULL, 0};
    struct err why;

    for (size_t i = 0; i < s->spec.env.n; i++) {
        if (setupenv_counts(s->spec.env.v[i], s->spec.setup)) {
            strings_add(&own, s->spec.env.v[i]);
        }
    }
    loginenv_get(s->agent, &login, &why);
    {
        const struct layerkey_wants w = {.key = s->spec.setup_key,
                                         .python = s->spec.python,
                                         .conda = s->spec.conda,
                                         .venv = sup_setup_venv(&s->spec, &login),
                                         .login = &login,
                                         .own = &own,
                                         .confined = s->renter->confined};

        layerkey_make(&w, s->layer_key);
    }
    strings_free(&login);
    strings_free(&own);
}

/*
 * A job with a set-up to run gets its devices after it: here it is only seen that they
 * are there and free, before the renter pays for anything.
 */
static int
leave_for_setup(struct sup *s, struct err *e)
{
    bool ready = true;

    if (s->spec.setup != NULL) {
        name_layer(s);
    }
    if (s->spec.setup != NULL && setups_has(s->renter, s->layer_key, &ready, e) != 0) {
        return -1;
    }
    s->setup_due = !ready;
    for (size_t i = 0; s->setup_due && i < s->n_picked; i++) {
        (void)fd_close(&s->lock_fds[i]);
    }
    s->n_picked = s->setup_due ? 0 : s->n_picked;
    return 0;
}

/* ---- the record ---- */

/*
 * What has to be on the disk before the record gets its name. All of it is written first
 * and only then synced: so a journalling file system commits once, and not at each file.
 */
enum { PART_SPEC, PART_GRANT, PART_STATE, PART_ACTIVE, PARTS };

static int
write_part(struct sup *s, const char *name, const void *data, size_t len, int *fd,
           struct err *e)
{
    *fd = openat(s->dir.fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                 0600);
    if (*fd == -1 || fd_write_all(*fd, data, len) != 0) {
        return err_set_sys(e, errno, "cannot write the job's '%s'", name);
    }
    /* Under way, and given its place; a hint, so how it ends is told by the sync. */
    (void)sync_file_range(*fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    return 0;
}

/* The record's own directory is synced when it gets its name. */
static int
sync_parts(int fds[PARTS], struct err *e)
{
    int failed = 0;

    for (int i = 0; i < PARTS && failed == 0; i++) {
        if ((i == PART_ACTIVE ? fsync(fds[i]) : fdatasync(fds[i])) != 0 ||
            fd_close(&fds[i]) != 0) {
            failed = errno;
        }
    }
    return failed == 0 ? 0 : err_set_sys(e, failed, "cannot sync the job's record");
}

static char *
command_text(const struct job_spec *spec)
{
    struct buf b = BUF_INIT;

    if (spec->title != NULL) {
        buf_add_str(&b, spec->title);
    }
    for (size_t i = 0;
         spec->title == NULL && i < spec->args.n && b.len < COMMAND_TEXT_MAX; i++) {
        buf_printf(&b, "%s%s", i == 0 ? "" : " ", spec->args.v[i]);
    }
    if (b.len > COMMAND_TEXT_MAX) {
        b.len = COMMAND_TEXT_MAX;
        b.data[b.len] = '\0';
    }
    return buf_steal(&b);
}

static void
name_devices(struct sup *s)
{
    struct job_state *st = &s->state;

    if (s->n_picked == 0) {
        return;
    }
    st->devices = xcalloc(s->n_picked, sizeof *st->devices);
    for (size_t i = 0; i < s->n_picked; i++) {
        const struct device *d = &s->devices.v[s->picked[i]];

        st->devices[i].device_class = xstrdup(d->device_class);
        st->devices[i].type = xstrdup(d->type);
        st->devices[i].uuid = xstrdup(d->uuid);
    }
    st->n_devices = s->n_picked;
}

static void
fill_state(struct sup *s)
{
    struct job_state *st = &s->state;
    int64_t now_ns = clock_wall_ns();
    char *command = command_text(&s->spec);

    memcpy(st->job, s->spec.job, sizeof st->job);
    memcpy(st->renter, s->renter->id, sizeof st->renter);
    state_set_text(&st->name, s->spec.name);
    state_set_text(&st->command, command);
    free(command);
    st->phase = JOB_PREPARING;
    st->since_wall_ns = now_ns;
    st->made_wall_ns = now_ns;
    clock_boot_id(st->boot);
    st->pid = getpid();
    st->pid_start = (int64_t)proc_start(getpid());
    st->count = s->spec.count;
    st->cap_fen = s->grant.cap_fen;
    st->price_uyuan = s->offer->free ? JOB_NOT_SET : s->grant.rows[0].uyuan_per_h;
    name_devices(s);
}

static int
meter_devices(struct sup *s, struct err *e)
{
    struct journal_device devices[SUP_DEVICES_MAX];

    memset(devices, 0, sizeof devices);
    for (size_t i = 0; i < s->n_picked; i++) {
        const struct device *d = &s->devices.v[s->picked[i]];

        (void)strncpy(devices[i].class_name, d->device_class, CARD_WORD_MAX);
        (void)strncpy(devices[i].type, strcmp(d->device_class, "cpu") == 0 ? "" : d->type,
                      CARD_WORD_MAX);
        (void)strncpy(devices[i].uuid, d->uuid, JOURNAL_WORD_MAX);
    }
    return meter_session_devices(s->meter, devices, s->n_picked, e);
}

static int
start_meter(struct sup *s, struct err *e)
{
    struct meter_session_options o = {.dir_fd = s->dir.fd,
                                      .name = JOURNAL_NAME,
                                      .host_key = s->agent->key,
                                      .offer = s->offer,
                                      .grant = &s->grant};

    if (meter_session_start(&s->meter, &o, e) != 0) {
        return -1;
    }
    return s->n_picked > 0 ? meter_devices(s, e) : 0;
}

int
sup_lease_devices(struct sup *s, struct err *e)
{
    device_list_free(&s->devices);
    if (take_devices(s, e) != 0) {
        return -1;
    }
    name_devices(s);
    return s->lock_fds[0] != -1 && guard_hold(s->guard, s->lock_fds, s->n_picked, e) != 0
               ? -1
               : meter_devices(s, e);
}

static int
write_parts(struct sup *s, const struct rec *req, int fds[PARTS], struct err *e)
{
    struct buf b = BUF_INIT;
    struct rec *r = state_encode(&s->state);
    size_t spec_len;
    size_t grant_len;
    const char *spec = rec_get_bytes(req, "spec", &spec_len);
    const char *grant = rec_get_bytes(req, "grant", &grant_len);
    int rc;

    rec_encode(r, &b);
    rec_free(r);
    rc = write_part(s, "spec", spec, spec_len, &fds[PART_SPEC], e) == 0 &&
                 write_part(s, "grant", grant, grant_len, &fds[PART_GRANT], e) == 0 &&
                 write_part(s, "state", b.data, b.len, &fds[PART_STATE], e) == 0 &&
                 jobdir_mark_active(s->renter, s->spec.job, &fds[PART_ACTIVE], e) == 0
             ? 0
             : -1;
    buf_free(&b);
    return rc;
}

static int
make_log(struct sup *s, struct err *e)
{
    if (mkdirat(s->dir.fd, "log", 0700) != 0) {
        return err_set_sys(e, errno, "cannot make the job's log directory");
    }
    return sup_log_open(s, e);
}

static int
make_record(struct sup *s, const struct rec *req, struct err *e)
{
    int fds[PARTS] = {-1, -1, -1, -1};
    int rc = -1;

    if (jobdir_make(&s->dir, s->renter, s->spec.job, e) != 0) {
        return -1;
    }
    fill_state(s);
    if (write_parts(s, req, fds, e) == 0 && make_log(s, e) == 0 &&
        sup_peer_listen(s, e) == 0 && start_meter(s, e) == 0 && sync_parts(fds, e) == 0 &&
        jobdir_place(&s->dir, e) == 0) {
        rc = 0;
    }
    for (int i = 0; i < PARTS; i++) {
        (void)fd_close(&fds[i]);
    }
    return rc;
}

int
sup_accept(struct sup *s, const struct rec *req, struct err *e)
{
    int admit_fd = -1;
    int rc = -1;

    if (park_hold(s->agent, &s->hold_fd, e) == 0 && take_spec(s, req, e) == 0 &&
        take_secrets(s, req, e) == 0 && take_grant(s, req, e) == 0 &&
        datasets_check(s->renter, &s->spec, e) == 0 &&
        check_allowance(s, &admit_fd, e) == 0 && take_devices(s, e) == 0 &&
        leave_for_setup(s, e) == 0 && make_record(s, req, e) == 0) {
        if (s->spec.tty || s->spec.stdin_mode == SPEC_STDIN_OPEN) {
            sup_stdin_new(s);
        }
        rc = 0;
    }
    (void)fd_close(&admit_fd);
    return rc;
}

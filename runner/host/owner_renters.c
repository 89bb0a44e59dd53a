#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/authkeys.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/columns.h"
#include "base/file.h"
#include "base/lang.h"
#include "base/text.h"
#include "meter/money.h"
#include "runner/host/agent.h"
#include "runner/host/commands.h"
#include "runner/host/jobdir.h"
#include "runner/host/owner_json.h"

#define PATH_BYTES 4096
#define SERVES     "serve --renter"

/* ---- allow ---- */

/* How long from now on, or a moment; a day to its end. */
static int
parse_until(const char *text, int64_t *wall_ns, struct err *e)
{
    if (clock_parse_moment(text, true, wall_ns, e) != 0) {
        return err_wrap(e, "--until");
    }
    if (*wall_ns <= clock_wall_ns()) {
        return err_set(e, ERR_INVALID, "--until %s is over already", text);
    }
    return 0;
}

static int
check_name(const char *name, struct err *e)
{
    size_t n = name == NULL ? 0 : strlen(name);

    if (n == 0 || n > RENTER_NAME_MAX ||
        strspn(name,
               "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._@-") !=
            n ||
        name[0] == '-') {
        return err_set(e, ERR_INVALID,
                       "--name takes 1 to %d letters, digits, '.', '_', '@' or '-'",
                       RENTER_NAME_MAX);
    }
    return 0;
}

/* Two renters of one name could not be told apart by `revoke`. */
static int
check_name_is_free(const struct agent *a, const char *name, const char *id, struct err *e)
{
    struct renter_ids l;
    int rc = 0;

    if (renter_list(a, &l, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < l.n && rc == 0; i++) {
        struct renter *r = NULL;
        struct err none;

        if (renter_open(&r, a, l.v[i], false, &none) != 0) {
            continue;
        }
        if (strcmp(r->name, name) == 0 && strcmp(r->id, id) != 0) {
            rc = err_set(e, ERR_EXISTS, "another renter is called '%s' already", name);
        }
        renter_close(r);
    }
    renter_ids_free(&l);
    return rc;
}

/* What sshd is to run: this very program, with the home it has now. */
static int
forced_command(struct buf *out, struct err *e)
{
    const char *home = getenv("GPURUN_AGENT_HOME");
    char exe[PATH_BYTES];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);

    if (n <= 0) {
        return err_set_sys(e, errno, "cannot find my own program");
    }
    exe[n] = '\0';
    if (home != NULL) {
        char *real = realpath(home, NULL);

        buf_add_str(out, "env GPURUN_AGENT_HOME=");
        text_shell_quote(out, real == NULL ? home : real);
        buf_add_str(out, " ");
        free(real);
    }
    text_shell_quote(out, exe);
    return 0;
}

static int
admit(const struct agent *a, const struct authkey *k, const struct command_options *o,
      int64_t until_ns, int64_t cap_fen, struct err *e)
{
    struct renter *r = NULL;
    int rc;

    if (renter_open(&r, a, k->id, true, e) != 0) {
        return -1;
    }
    (void)snprintf(r->name, sizeof r->name, "%s", o->name);
    r->confined = true;
    if (r->revoked) { /* let in anew: with whatever key it shows next */
        r->has_key = false;
    }
    r->revoked = false;
    r->until_wall_ns = until_ns;
    r->max_cost_fen = cap_fen;
    free(r->ssh_key);
    r->ssh_key = xasprintf("%s %s", k->type, k->blob);
    rc = renter_save(r, e);
    renter_close(r);
    return rc;
}

/* What was made or changed; n_running: its jobs, -1: not told. */
static int
say_renter(const char *id, const char *name, int64_t n_running, struct err *e)
{
    struct buf b = BUF_INIT;
    struct json_writer j = json_to(&b);

    json_obj(&j);
    json_kstr(&j, "id", id);
    json_kstr(&j, "name", name);
    if (n_running >= 0) {
        json_kint(&j, "running", n_running);
    }
    json_obj_end(&j);
    return program_print_json(&b, e);
}

int
owner_allow(const struct command_options *o, int argc, char **argv, struct err *e)
{
    struct agent *a = NULL;
    struct authkey k = {NULL, NULL, ""};
    struct buf command = BUF_INIT;
    int64_t until_ns = 0;
    int64_t cap_fen = RENTER_NO_CAP;
    int rc = -1;

    (void)argc;
    if (check_name(o->name, e) != 0 ||
        (o->until != NULL && parse_until(o->until, &until_ns, e) != 0) ||
        (o->max_cost != NULL &&
         money_parse_fen(o->max_cost, strlen(o->max_cost), &cap_fen, e) != 0) ||
        authkey_load(&k, argv[0], e) != 0 || agent_open(&a, e) != 0 ||
        check_name_is_free(a, o->name, k.id, e) != 0 ||
        forced_command(&command, e) != 0) {
        goto out;
    }
    /* The record first: a key that is let in without one would be turned away. */
    if (admit(a, &k, o, until_ns, cap_fen, e) != 0 ||
        authkeys_allow(&k, buf_str(&command), SERVES, until_ns, o->name, e) != 0) {
        goto out;
    }
    rc = o->json ? say_renter(k.id, o->name, -1, e) : 0;
    if (!o->json) {
        (void)printf(_("%s may use this host as renter %s\n"), o->name, k.id);
    }

out:
    buf_free(&command);
    authkey_free(&k);
    agent_close(a);
    return rc;
}

/* ---- revoke ---- */

int
owner_find_renter(const struct agent *a, const char *what, struct renter **out,
                  struct err *e)
{
    struct renter_ids l;
    bool found = false;

    if (renter_list(a, &l, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < l.n && !found; i++) {
        struct renter *r = NULL;
        struct err none;

        if (renter_open(&r, a, l.v[i], false, &none) != 0) {
            continue;
        }
        if (strcmp(r->id, what) == 0 || (what[0] != '\0' && strcmp(r->name, what) == 0)) {
            *out = r;
            found = true;
        } else {
            renter_close(r);
        }
    }
    renter_ids_free(&l);
    return found ? 0
                 : err_set(e, ERR_NOT_FOUND,
                           "there is no renter '%s' (see `gpurun-agent renters`)", what);
}

int
owner_revoke(const struct command_options *o, int argc, char **argv, struct err *e)
{
    struct agent *a = NULL;
    struct renter *r = NULL;
    struct job_ids active = {NULL, 0};
    int n = 0;
    int rc = -1;

    (void)argc;
    if (agent_open(&a, e) != 0 || owner_find_renter(a, argv[0], &r, e) != 0) {
        goto out;
    }
    if (!r->confined) {
        err_set(e, ERR_DENIED,
                "renter %s logs in as yourself: there is nothing to revoke", r->id);
        goto out;
    }
    r->revoked = true;
    if (renter_save(r, e) != 0 || authkeys_revoke(SERVES, r->id, &n, e) != 0 ||
        jobdir_list_active(r, &active, e) != 0) {
        goto out;
    }
    if (o->json) {
        rc = say_renter(r->id, r->name, (int64_t)active.n, e);
        goto out;
    }
    (void)printf(
        n == 1 ? _("%s is not let in any more (%d line of authorized_keys removed)\n")
               : _("%s is not let in any more (%d lines of authorized_keys "
                   "removed)\n"),
        r->name, n);
    if (active.n > 0) {
        (void)printf(
            _("%zu of its jobs still run, to the end of their grants at the latest; "
              "see `gpurun-agent jobs`\n"),
            active.n);
    }
    rc = 0;

out:
    job_ids_free(&active);
    renter_close(r);
    agent_close(a);
    return rc;
}

/* ---- renters ---- */

static const char *
standing(const struct renter *r)
{
    return r->revoked ? N_("revoked") : r->confined ? N_("admitted") : N_("login user");
}

static void
add_json(struct json_writer *j, const struct renter *r)
{
    struct job_ids active;
    struct err none;

    json_obj(j);
    json_kstr(j, "id", r->id);
    json_kstr(j, "name", r->name);
    json_kstr(j, "is", standing(r));
    json_ktime(j, "until", r->until_wall_ns);
    json_kint_or_nil(j, "max_cost_fen", r->max_cost_fen, RENTER_NO_CAP);
    if (jobdir_list_active(r, &active, &none) == 0) {
        json_kint(j, "running", (int64_t)active.n);
        job_ids_free(&active);
    }
    json_obj_end(j);
}

static void
add_row(struct columns *c, const struct renter *r)
{
    char text[CLOCK_TEXT_MAX] = "";
    char money[MONEY_TEXT_MAX] = "";
    char count[24] = "";
    struct job_ids active;
    struct err none;

    if (r->until_wall_ns != 0) {
        clock_format_local(r->until_wall_ns, text);
    }
    if (r->max_cost_fen != RENTER_NO_CAP) {
        money_format_fen(r->max_cost_fen, money);
    }
    if (jobdir_list_active(r, &active, &none) == 0) {
        (void)snprintf(count, sizeof count, "%zu", active.n);
        job_ids_free(&active);
    }
    columns_add(c, r->id);
    columns_add(c, r->name);
    columns_add(c, err_words(standing(r)));
    columns_add(c, text);
    columns_add(c, money);
    columns_add(c, count);
}

int
owner_renters(const struct command_options *o, int argc, char **argv, struct err *e)
{
    static const char *const titles[] = {N_("RENTER"), N_("NAME"),     N_("IS"),
                                         N_("UNTIL"),  N_("MAX YUAN"), N_("RUNNING")};
    struct buf b = BUF_INIT;
    struct json_writer j = json_to(&b);
    struct agent *a = NULL;
    struct columns *c = NULL;
    struct renter_ids l;
    int rc = 0;

    (void)argc;
    (void)argv;
    if (agent_open(&a, e) != 0) {
        return -1;
    }
    if (renter_list(a, &l, e) != 0) {
        agent_close(a);
        return -1;
    }
    if (o->json) {
        json_obj(&j);
        json_key(&j, "renters");
        json_arr(&j);
    } else {
        c = columns_new(6, titles);
    }
    for (size_t i = 0; i < l.n; i++) {
        struct renter *r = NULL;
        struct err none;

        if (renter_open(&r, a, l.v[i], false, &none) != 0) {
            continue;
        }
        if (o->json) {
            add_json(&j, r);
        } else {
            add_row(c, r);
        }
        renter_close(r);
    }
    if (o->json) {
        json_arr_end(&j);
        json_obj_end(&j);
        rc = program_print_json(&b, e);
    } else {
        columns_print_free(c);
    }
    renter_ids_free(&l);
    agent_close(a);
    return rc;
}

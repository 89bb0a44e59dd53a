#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/host/agent.h"
#include "runner/host/commands.h"
#include "runner/host/devices.h"
#include "runner/host/facts.h"
#include "runner/host/loginenv.h"
#include "runner/host/owner_json.h"
#include "runner/host/python.h"
#include "runner/host/sandbox.h"

#define LOW_DISK     ((int64_t)1 << 30)
#define YEAR_2024_NS ((int64_t)1704067200 * 1000000000)

struct doctor {
    const struct agent *agent;
    struct json_writer *j; /* NULL: for people */
    int n_bad;
};

static void
say(struct doctor *d, bool ok, const char *what, const char *text)
{
    d->n_bad += !ok;
    if (d->j == NULL) {
        const char *is = ok ? _("ok") : _("LOOK");
        const char *of = err_words(what);

        (void)printf("%s%*s %s%*s %s\n", is, 5 - text_width(is), "", of,
                     12 - text_width(of), "", text);
        return;
    }
    json_obj(d->j);
    json_kbool(d->j, "ok", ok);
    json_kstr(d->j, "what", what);
    json_kstr(d->j, "text", text);
    json_obj_end(d->j);
}

static void
good(struct doctor *d, const char *what, const char *text)
{
    say(d, true, what, text);
}

static void
bad(struct doctor *d, const char *what, const char *text)
{
    say(d, false, what, text);
}

/* In the user's words, though it was made in English. */
static void
bad_why(struct doctor *d, const char *what, const struct err *why)
{
    struct err told;

    err_told(&told, why->code, why->msg, why->form);
    bad(d, what, told.msg);
}

static void
check_walls(struct doctor *d)
{
    struct facts_walls w;
    char *paused;
    char *text;

    paused = lang_pause(); /* here and below: what is kept of it is English */
    facts_walls(d->agent, true, &w);
    lang_resume(paused);
    text = xasprintf(
        _("%s%s%s; jobs run in %s, memory limits by %s, Landlock version %d"),
        err_words(host_protection_name(w.protection)), w.why[0] == '\0' ? "" : ": ",
        err_words(w.why), w.confine, w.memory_by, sandbox_landlock_abi());
    if (w.protection == HOST_PROTECTION_NONE) {
        bad(d, N_("protection"), text);
    } else {
        good(d, N_("protection"), text);
    }
    free(text);
}

static void
check_devices(struct doctor *d)
{
    struct device_list l = {NULL, 0};
    char why[DEVICES_WHY_MAX];
    bool shared;
    char *dir = devices_lock_dir(d->agent, &shared);
    char *paused = lang_pause();
    struct err e;
    char *text;
    int rc = devices_list(d->agent, true, &l, why, &e);

    lang_resume(paused);
    if (rc != 0) {
        bad_why(d, N_("devices"), &e);
        free(dir);
        return;
    }
    text = xasprintf(_("%zu, the cpu included%s%s"), l.n, why[0] == '\0' ? "" : "; ",
                     err_words(why));
    if (why[0] == '\0') {
        good(d, N_("devices"), text);
    } else {
        bad(d, N_("devices"), text);
    }
    free(text);
    text = xasprintf(_("in %s, %s"), dir,
                     shared ? _("seen by all users of this machine")
                            : _("seen by this user only: others may take the same "
                                "devices"));
    if (shared) {
        good(d, N_("locks"), text);
    } else {
        bad(d, N_("locks"), text);
    }
    free(text);
    free(dir);
    device_list_free(&l);
}

static void
check_python(struct doctor *d, const struct strings *env)
{
    struct python p;
    char *paused = lang_pause();
    struct err e;
    char *text;
    int rc = python_look(&p, env, &e);

    lang_resume(paused);
    if (rc != 0) {
        bad_why(d, N_("python"), &e);
        return;
    }
    text = xasprintf(_("%s at %s"), p.version, p.at);
    good(d, N_("python"), text);
    free(text);
    if (p.torch_why.code != ERR_NONE) {
        bad_why(d, "torch", &p.torch_why);
    } else if (p.torch[0] == '\0') {
        good(d, "torch", _("none in that python"));
    } else {
        text = xasprintf(_("torch %s, CUDA %s"), p.torch,
                         p.cuda[0] != '\0' ? p.cuda : _("not usable"));
        good(d, "torch", text);
        free(text);
    }
}

static void
check_environment(struct doctor *d)
{
    struct strings env = {NULL, 0};
    const char *path;
    char *paused = lang_pause();
    struct err why;

    loginenv_get_again(d->agent, &env, &why);
    lang_resume(paused);
    path = env_get(&env, "PATH");
    if (why.msg[0] != '\0') {
        bad_why(d, N_("environment"), &why);
    } else {
        char *text =
            xasprintf(_("%zu variables, PATH=%s"), env.n, path == NULL ? "" : path);

        good(d, N_("environment"), text);
        free(text);
    }
    check_python(d, &env);
    strings_free(&env);
}

static void
check_machine(struct doctor *d)
{
    struct host_info h;
    char size[TEXT_SIZE_MAX];
    char at[CLOCK_TEXT_MAX];
    char *paused = lang_pause();
    struct err e;
    int rc = facts_fill(&h, d->agent, NULL, false, &e);

    lang_resume(paused);
    if (rc != 0) {
        bad_why(d, N_("offer"), &e);
        return;
    }
    good(d, N_("offer"), _("made and signed"));
    text_format_size((uint64_t)h.disk_free_bytes, size);
    if (h.disk_free_bytes < LOW_DISK) {
        bad(d, N_("disk"), size);
    } else {
        good(d, N_("disk"), size);
    }
    clock_format_local(h.wall_ns, at);
    if (h.wall_ns < YEAR_2024_NS) {
        bad(d, N_("clock"), at);
    } else {
        good(d, N_("clock"), at);
    }
    hostinfo_free(&h);
}

/* sshd ignores keys whose file or folder others can write to. */
static void
check_ssh(struct doctor *d)
{
    const char *home = getenv("HOME");
    static const char *const names[] = {"", ".ssh", ".ssh/authorized_keys"};

    for (size_t i = 0; home != NULL && i < sizeof names / sizeof names[0]; i++) {
        char *path = path_join(home, names[i]);
        struct stat sb;

        if (stat(path, &sb) == 0 && (sb.st_mode & 022) != 0) {
            char *text =
                xasprintf(_("others can write to '%s': sshd will ignore keys"), path);

            bad(d, N_("ssh"), text);
            free(text);
        }
        free(path);
    }
}

static void
check_all(struct doctor *d)
{
    check_machine(d);
    check_walls(d);
    check_devices(d);
    check_environment(d);
    check_ssh(d);
}

int
owner_doctor(const struct command_options *o, int argc, char **argv, struct err *e)
{
    struct buf b = BUF_INIT;
    struct json_writer j = json_to(&b);
    struct agent *a = NULL;
    struct doctor d = {.j = o->json ? &j : NULL};
    int rc = 0;

    (void)argc;
    (void)argv;
    if (agent_open(&a, e) != 0) {
        return -1;
    }
    d.agent = a;
    if (o->json) {
        json_obj(&j);
        json_kstr(&j, "version", GPURUN_VERSION);
        json_kstr(&j, "home", a->home);
        json_key(&j, "checks");
        json_arr(&j);
        check_all(&d);
        json_arr_end(&j);
        json_obj_end(&j);
        rc = program_print_json(&b, e);
    } else {
        (void)printf(_("gpurun-agent %s, home %s\n"), GPURUN_VERSION, a->home);
        check_all(&d);
    }
    agent_close(a);
    return rc != 0 ? rc : d.n_bad == 0 ? 0 : 1;
}

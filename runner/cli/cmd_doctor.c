#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/cli/checkup.h"
#include "runner/cli/commands.h"
#include "runner/cli/context.h"
#include "runner/cli/hostview.h"
#include "runner/cli/out.h"
#include "runner/client/config.h"
#include "runner/client/hosts.h"
#include "runner/client/install.h"
#include "runner/client/place.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"

#define NS_PER_S 1000000000LL
#define SKEW_S   5
/* A login shell, an interpreter and a cold torch, each up to its limit on the host. */
#define PYTHON_ANSWER_NS (120 * NS_PER_S)
#define DISK_LOW_BYTES   ((int64_t)1 << 30)

/* ---- a host ---- */

static void
check_offer(struct checkup *k, const struct host *h, const struct host_info *info,
            const struct offer *offer)
{
    char *prices = hostview_prices(h, offer);
    char *devices = hostview_devices(info);
    size_t n_broken = 0;

    for (size_t i = 0; i < info->devices.n; i++) {
        const struct device *d = &info->devices.v[i];

        if (!d->usable || d->state == DEVICE_BROKEN) {
            checkup_add(k, FINDING_WRONG, _("device"), "%s (%s): %s", d->type, d->uuid,
                        d->note);
            n_broken++;
        } else if (d->note[0] != '\0') {
            checkup_add(k, FINDING_NOTE, _("device"), "%s (%s): %s", d->type, d->uuid,
                        d->note);
        }
    }
    if (n_broken == 0) {
        checkup_add(k, FINDING_OK, _("devices"), "%s", devices);
    }
    if (offer == NULL) {
        checkup_add(k, FINDING_WRONG, _("offer"), "%s",
                    _("the host makes none: nothing can run there"));
    } else {
        checkup_add(k, FINDING_OK, _("offer"), "%s", prices);
    }
    free(devices);
    free(prices);
}

static void
check_machine(struct checkup *k, const struct host_info *info)
{
    int64_t skew_s = (info->wall_ns - clock_wall_ns()) / NS_PER_S;
    char disk[TEXT_SIZE_MAX];

    text_format_size((uint64_t)(info->disk_free_bytes > 0 ? info->disk_free_bytes : 0),
                     disk);
    checkup_add(k, info->disk_free_bytes < DISK_LOW_BYTES ? FINDING_WRONG : FINDING_OK,
                _("disk"), _("%s free"), disk);
    checkup_add(k, skew_s > SKEW_S || skew_s < -SKEW_S ? FINDING_NOTE : FINDING_OK,
                _("clock"), _("%" PRId64 " s from ours (bills do not depend on it)"),
                skew_s);
    checkup_add(k, info->protection == HOST_PROTECTION_FULL ? FINDING_OK : FINDING_NOTE,
                _("protection"), _("the agent from a job: %s%s%s"),
                err_words(host_protection_name(info->protection)),
                info->protection_why != NULL ? ", " : "",
                info->protection_why != NULL ? err_words(info->protection_why) : "");
    if (info->confine != NULL) {
        checkup_add(k, FINDING_OK, _("confinement"), "%s", info->confine);
    }
    checkup_add(k, strcmp(info->version, GPURUN_VERSION) == 0 ? FINDING_OK : FINDING_NOTE,
                _("agent"), _("%s (this is %s)"), info->version, GPURUN_VERSION);
}

static void
check_login(struct checkup *k, const struct transport_info *t, int64_t took_ms)
{
    char *login = hostview_login(t);

    checkup_add(k, FINDING_OK, _("link"), _("up after %" PRId64 " ms"), took_ms);
    if (login != NULL) {
        checkup_add(k, FINDING_OK, _("login"), "%s", login);
    }
    free(login);
    if (t != NULL && t->why_binary[0] != '\0') {
        checkup_add(k, FINDING_NOTE, _("transport"),
                    _("the ssh program, because of %s in ssh_config"), t->why_binary);
    }
}

static const char *
field(const struct rec *r, const char *key)
{
    const char *text = rec_get(r, key);

    return text != NULL ? text : "";
}

/* Whatever came of torch, the interpreter was told of before. */
static void
check_torch(struct checkup *k, const struct rec *resp)
{
    const char *torch = field(resp, "torch");
    const char *cuda = field(resp, "cuda");
    struct err why;

    err_told(&why, ERR_NONE, field(resp, "torch_why"), rec_get(resp, "torch_form"));
    if (torch[0] != '\0') {
        checkup_add(k, FINDING_OK, "torch", "%s", torch);
    }
    if (why.msg[0] != '\0') {
        checkup_add(k, FINDING_NOTE, "torch", "%s", why.msg);
    } else if (torch[0] == '\0') {
        checkup_add(k, FINDING_NOTE, "torch", "%s", _("none in that python"));
    } else {
        checkup_add(k, cuda[0] != '\0' ? FINDING_OK : FINDING_NOTE, "CUDA", "%s",
                    cuda[0] != '\0' ? cuda : _("torch cannot use it here"));
    }
}

/* What a .py script finds in the login environment. Hosts of before know no such
 * question. */
static void
check_python(struct checkup *k, struct session *s)
{
    struct rec *req = msg_request_new(VERB_HOST_PYTHON);
    struct rec *resp = NULL;
    struct err e;

    if (session_call(s, req, PYTHON_ANSWER_NS, &resp, &e) != 0) {
        checkup_add(k, FINDING_NOTE, _("python"), "%s", e.msg);
    } else {
        struct err env_why;

        checkup_add(k, FINDING_OK, _("python"), _("%s at %s"), field(resp, "version"),
                    field(resp, "at"));
        check_torch(k, resp);
        err_told(&env_why, ERR_NONE, field(resp, "env_why"), rec_get(resp, "env_form"));
        if (env_why.msg[0] != '\0') {
            checkup_add(k, FINDING_NOTE, _("environment"), "%s", env_why.msg);
        }
    }
    rec_free(resp);
    rec_free(req);
}

static void
check_host(struct checkup *k, struct client *cl, const struct host *h)
{
    struct session_options o = {.host_key_ask = true};
    struct session *s = NULL;
    int64_t start_ns = clock_boot_ns();
    struct err e;

    if (session_open(&s, cl, h, &o, &e) != 0 || session_wait_up(s, &e) != 0) {
        checkup_add(k, FINDING_WRONG, _("link"), "%s", e.msg);
    } else {
        check_login(k, session_transport(s), (clock_boot_ns() - start_ns) / 1000000);
        check_machine(k, session_info(s));
        check_offer(k, h, session_info(s), session_offer(s));
        check_python(k, s);
        checkup_add(k, h->pinned || h->local ? FINDING_OK : FINDING_NOTE, _("agent key"),
                    "%s", h->pinned ? _("the pinned one") : _("not pinned yet"));
    }
    session_close(s);
}

static int
run_host_doctor(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    struct client cl = {.loop = NULL};
    struct checkup *k = checkup_new();
    struct host h;
    int rc = -1;

    (void)options;
    host_init(&h);
    if (hosts_load(c->home, w->v[0], &h, e) != 0) {
        goto out;
    }
    c->stage = STAGE_TRYING;
    if (context_open(&cl, c, e) == 0) {
        check_host(k, &cl, &h);
        rc = checkup_print(k, c, e);
    }
    context_close(&cl);

out:
    host_free(&h);
    checkup_free(k);
    return rc;
}

const struct command sub_host_doctor = {
    .name = "doctor",
    .usage = N_("NAME"),
    .help = N_("look at a host closely, and say what is wrong"),
    .min_words = 1,
    .max_words = 1,
    .word = WORD_HOST,
    .run = run_host_doctor,
};

/* ---- this machine ---- */

static void
check_home(struct checkup *k, struct home *home)
{
    const struct sign_key *key;
    struct statvfs fs;
    struct err e;
    char id[SIGN_ID_LEN + 1];

    if (home_key(home, &key, &e) != 0 || home_renter(home, id, &e) != 0) {
        checkup_add(k, FINDING_WRONG, _("home"), "%s", e.msg);
        return;
    }
    checkup_add(k, FINDING_OK, _("home"), _("%s, renter %s"), home_dir(home), id);
    if (statvfs(home_dir(home), &fs) == 0) {
        uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
        char text[TEXT_SIZE_MAX];

        text_format_size(free_bytes, text);
        checkup_add(
            k, free_bytes < (uint64_t)DISK_LOW_BYTES / 16 ? FINDING_WRONG : FINDING_OK,
            _("disk"), _("%s free"), text);
    }
}

static void
check_programs(struct checkup *k)
{
    static const char *const names[] = {"gpurun-agent", "gpurun-gpuprobe"};
    struct err e;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char *path = NULL;

        if (install_find_program(names[i], NULL, &path, &e) == 0) {
            checkup_add(k, FINDING_OK, names[i], "%s", path);
        } else {
            checkup_add(k, FINDING_WRONG, names[i], "%s", e.msg);
        }
        free(path);
    }
}

static void
check_ssh(struct checkup *k)
{
    const char *ssh = getenv("GPURUN_SSH");
    const char *user_home = getenv("HOME");
    char *dir;

    if (user_home == NULL || user_home[0] == '\0') {
        checkup_add(k, FINDING_WRONG, "HOME", "%s",
                    _("not set: ssh_config, known_hosts and keys cannot be found"));
        return;
    }
    dir = path_join(user_home, ".ssh");
    checkup_add(k, file_exists(dir) ? FINDING_OK : FINDING_NOTE, _("SSH files"), "%s%s",
                dir, file_exists(dir) ? "" : _(" is not there"));
    free(dir);
    if (ssh != NULL && ssh[0] != '\0') {
        checkup_add(k, FINDING_NOTE, "GPURUN_SSH", _("%s is used instead of libssh"),
                    ssh);
    }
    checkup_add(k, getenv("SSH_AUTH_SOCK") != NULL ? FINDING_OK : FINDING_NOTE,
                _("ssh-agent"), "%s",
                getenv("SSH_AUTH_SOCK") != NULL ? _("running") : _("none"));
}

static int
check_hosts(struct checkup *k, struct client *cl, const struct home *home, struct err *e)
{
    struct host_list hosts = {NULL, 0};
    struct place *p = NULL;
    int rc = -1;

    if (hosts_list_used(home, &hosts, e) != 0) {
        checkup_add(k, FINDING_WRONG, _("hosts"), "%s", e->msg);
        return 0;
    }
    if (place_open(&p, cl, &hosts, e) == 0 && place_ask_all(p, e) == 0) {
        for (size_t i = 0; i < place_n(p); i++) {
            const struct candidate *c = place_at(p, i);
            bool up = session_state(c->session) == SESSION_UP;
            char *devices = up ? hostview_devices(session_info(c->session)) : NULL;

            checkup_add(k, up ? FINDING_OK : FINDING_WRONG, c->host, "%s",
                        up ? devices : session_why(c->session)->err.msg);
            free(devices);
        }
        rc = 0;
    }
    place_free(p);
    host_list_free(&hosts);
    return rc;
}

static int
run_doctor(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    struct client cl = {.loop = NULL};
    struct checkup *k = checkup_new();
    struct config *cfg = NULL;
    int rc = -1;

    (void)options;
    (void)w;
    c->stage = STAGE_TRYING;
    check_home(k, c->home);
    if (config_open(&cfg, c->home, e) != 0) {
        checkup_add(k, FINDING_WRONG, _("settings"), "%s", e->msg);
    }
    check_programs(k);
    check_ssh(k);
    if (context_open(&cl, c, e) == 0 && check_hosts(k, &cl, c->home, e) == 0) {
        rc = checkup_print(k, c, e);
    }
    context_close(&cl);
    config_free(cfg);
    checkup_free(k);
    return rc;
}

const struct command cmd_doctor = {
    .name = "doctor",
    .usage = "",
    .help = N_("look at this installation and at every host, and say what is wrong"),
    .run = run_doctor,
};

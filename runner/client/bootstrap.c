#include "runner/client/bootstrap.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/lang.h"
#include "base/rec.h"
#include "base/text.h"
#include "runner/client/install.h"
#include "runner/client/transport_internal.h"
#include "runner/wire/preamble.h"

#define AGENT_NAME      "gpurun-agent"
#define PROBE_NAME      "gpurun-gpuprobe"
#define CACHE_TYPE      "gpurun.agent_hash.v1"
#define READ_BYTES      16384
#define SEND_BYTES      65536
#define STALL_MS        60000 /* an upload that moves no byte for so long has failed */
#define START_MS        30000
#define UPLOAD_ID_CHARS (ID_RANDOM_LEN + 1)

/* ---- what we carry ---- */

static const char *const known_archs[] = {
    "x86_64", "aarch64", "riscv64", "loongarch64", "ppc64le", "s390x", "armv7l",
};

/* What tells one state of a file from another without reading it. */
static void
file_stamp(const struct stat *st, char out[BOOTSTRAP_STAMP_MAX])
{
    (void)snprintf(out, BOOTSTRAP_STAMP_MAX, "%ju:%ju:%jd:%jd.%09ld:%jd.%09ld",
                   (uintmax_t)st->st_dev, (uintmax_t)st->st_ino, (intmax_t)st->st_size,
                   (intmax_t)st->st_mtim.tv_sec, st->st_mtim.tv_nsec,
                   (intmax_t)st->st_ctim.tv_sec, st->st_ctim.tv_nsec);
}

static bool
cached_hash(const char *cache, const char *stamp, struct sha256 *out)
{
    struct rec *r = NULL;
    struct err e;
    const char *said;
    bool found = false;

    if (rec_load(&r, cache, CACHE_TYPE, &e) != 0) {
        return false;
    }
    said = rec_get(r, "stamp");
    if (said != NULL && strcmp(said, stamp) == 0) {
        found = rec_need_hex(r, "sha256", out->b, sizeof out->b, &e) == 0;
    }
    rec_free(r);
    return found;
}

/* Only a cache: where it cannot be written, the next start hashes again. */
static void
keep_hash(const struct home *home, const struct bootstrap_agent *a)
{
    char *name = xasprintf("agent.%s", a->arch);
    char *path = NULL;
    struct rec *r;
    struct err e;

    if (home_make(home, "cache", name, &path, &e) == 0) {
        r = rec_new(CACHE_TYPE);
        rec_add(r, "stamp", a->stamp);
        rec_add_hex(r, "sha256", a->hash.b, sizeof a->hash.b);
        if (rec_save(r, path, &e) != 0) {
            (void)unlink(path);
        }
        rec_free(r);
    }
    free(path);
    free(name);
}

static int
hash_file(const char *path, struct sha256 *out, struct err *e)
{
    struct buf b = BUF_INIT;
    int rc = file_read(path, BOOTSTRAP_AGENT_MAX, &b, e);

    if (rc == 0) {
        sha256_of(b.data, b.len, out);
    }
    buf_free(&b);
    return rc;
}

static int
agent_hash(const struct home *home, struct bootstrap_agent *a, struct err *e)
{
    char *name = xasprintf("agent.%s", a->arch);
    char *cache = home_path(home, "cache", name);
    struct stat st;
    int rc = 0;

    if (stat(a->path, &st) == -1) {
        rc = err_set_sys(e, errno, "%s", a->path);
        goto out;
    }
    file_stamp(&st, a->stamp);
    a->remembered = cached_hash(cache, a->stamp, &a->hash);
    if (!a->remembered) {
        rc = hash_file(a->path, &a->hash, e);
    }

out:
    free(cache);
    free(name);
    return rc;
}

int
bootstrap_find_agents(const struct home *home, struct bootstrap_agents *out,
                      struct err *e)
{
    struct bootstrap_agents a = {.n = 0};
    struct err why;

    for (size_t i = 0; i < sizeof known_archs / sizeof known_archs[0]; i++) {
        struct bootstrap_agent *b = &a.v[a.n];

        if (install_find_program(AGENT_NAME, known_archs[i], &b->path, &why) != 0) {
            continue;
        }
        (void)snprintf(b->arch, sizeof b->arch, "%s", known_archs[i]);
        a.n++;
        if (install_find_program(PROBE_NAME, known_archs[i], &b->probe_path, &why) != 0) {
            b->probe_path = NULL;
        }
        if (agent_hash(home, b, e) != 0) {
            bootstrap_free_agents(&a);
            return -1;
        }
    }
    if (a.n == 0) {
        return install_find_program(AGENT_NAME, NULL, &a.v[0].path, e);
    }
    *out = a;
    return 0;
}

void
bootstrap_remember(struct bootstrap_agents *a, const struct home *home)
{
    for (size_t i = 0; i < a->n; i++) {
        if (!a->v[i].remembered) {
            keep_hash(home, &a->v[i]);
            a->v[i].remembered = true;
        }
    }
}

void
bootstrap_free_agents(struct bootstrap_agents *a)
{
    for (size_t i = 0; i < a->n; i++) {
        free(a->v[i].path);
        free(a->v[i].probe_path);
    }
    a->n = 0;
}

/* ---- the command ---- */

/*
 * Between single quotes every login shell leaves text alone, save for the quote itself,
 * the backslash (fish), '!' and the newline (tcsh); inside, sh sees double quotes, where
 * $, ` and " count too.
 */
static int
add_agent_home(struct buf *b, const char *dir, struct err *e)
{
    char shown[120];

    for (const char *p = dir; *p != '\0'; p++) {
        if ((unsigned char)*p < ' ' || *p == 0x7f || strchr("'\\!\"$`", *p) != NULL) {
            return err_set(e, ERR_INVALID,
                           _("the agent home '%s' holds a character that a shell reads"),
                           text_escape_to(shown, sizeof shown, dir));
        }
    }
    buf_add_str(b, "GPURUN_AGENT_HOME=\"");
    if (dir[0] == '~' && (dir[1] == '/' || dir[1] == '\0')) {
        buf_add_str(b, "$HOME");
        dir++;
    }
    buf_printf(b, "%s\"; export GPURUN_AGENT_HOME; ", dir);
    return 0;
}

/* H is the hash of the agent for this machine. With one architecture nothing is asked:
 * only a machine of that architecture can have that hash. Linux 6.1 tells its own without
 * a process: the shell itself can read that. */
static void
add_choice(struct buf *b, const struct bootstrap_agents *agents)
{
    char hex[SHA256_HEX_LEN + 1];

    if (agents->n == 1) {
        sha256_format(&agents->v[0].hash, hex);
        buf_printf(b, "H=%s; ", hex);
        return;
    }
    buf_add_str(b, "{ read -r R </proc/sys/kernel/arch; } 2>/dev/null || R=$(uname -m); "
                   "case \"$R\" in ");
    for (size_t i = 0; i < agents->n; i++) {
        sha256_format(&agents->v[i].hash, hex);
        buf_printf(b, "%s) H=%s;; ", agents->v[i].arch, hex);
    }
    buf_add_str(b, "*) H=none;; esac; ");
}

int
bootstrap_command(const struct bootstrap_agents *agents, const char *agent_home,
                  struct buf *out, struct err *e)
{
    struct buf b = BUF_INIT;
    int rc = -1;

    buf_add_str(&b, "exec sh -c '");
    if (agent_home != NULL && add_agent_home(&b, agent_home, e) != 0) {
        goto out;
    }
    add_choice(&b, agents);
    buf_add_str(&b, "A=\"${GPURUN_AGENT_HOME:-${XDG_DATA_HOME:-$HOME/.local/share}"
                    "/gpurun-agent}\"; "
                    "F=\"$A/bin/$H/" AGENT_NAME "\"; "
                    "[ -x \"$F\" ] && exec \"$F\" serve; "
                    /* In two pieces: a shell that echoes must not say the magic. */
                    "M=\"~gpurun-agent-mis\"; M=\"${M}sing-5b7e1f0c93ad4862\"; "
                    "echo \"$M\"; echo \"os=$(uname -s)\"; echo \"arch=$(uname -m)\"; "
                    "echo end; IFS= read -r L && eval \"$L\"'");
    if (b.len > BOOTSTRAP_COMMAND_MAX) {
        (void)err_set(e, ERR_INVALID, _("the agent home is too long"));
        goto out;
    }
    buf_add(out, b.data, b.len);
    buf_reserve(out, 1);
    rc = 0;

out:
    buf_free(&b);
    return rc;
}

/* ---- the second line ---- */

static void
add_file(struct buf *b, const char *name, const struct buf *data)
{
    struct sha256 h;
    char hex[SHA256_HEX_LEN + 1];

    sha256_of(data->data, data->len, &h);
    sha256_format(&h, hex);
    buf_printf(b, "get %s %zu %s; ", name, data->len, hex);
}

/*
 * What the waiting shell is told. `bad` answers with PREAMBLE_MISSING and a reason, as
 * the end of the stream alone would not say why. `head -c` reads no further than its
 * count because nothing more is sent before the answer.
 */
static void
install_script(struct buf *b, const char *hash, const struct buf *agent,
               const struct buf *probe)
{
    char id[UPLOAD_ID_CHARS];

    random_id("", id);
    buf_printf(
        b,
        "umask 077; T=\"$A/bin/.new-%s\"; "
        "bad() { rm -rf \"$T\"; echo \"$M\"; echo \"failed=$1\"; echo \"detail=$(echo "
        "\"$2\" | tr \"\\n\" \" \")\"; "
        "echo end; exit 1; }; "
        "trap 'rm -rf \"$T\"; exit 1' HUP INT TERM PIPE; "
        "E=$(mkdir -p \"$T\" 2>&1) || bad mkdir \"$E\"; "
        "sum() { if command -v sha256sum >/dev/null 2>&1; then sha256sum <\"$1\"; "
        "elif command -v shasum >/dev/null 2>&1; then shasum -a 256 <\"$1\"; "
        "elif command -v openssl >/dev/null 2>&1; then openssl dgst -sha256 -r <\"$1\"; "
        "else echo none; fi; }; "
        "get() { E=$(head -c \"$2\" 2>&1 >\"$T/$1\") || bad write \"$E\"; "
        "N=$(wc -c <\"$T/$1\"); [ \"$N\" -eq \"$2\" ] || bad short \"$N\"; "
        "S=$(sum \"$T/$1\"); S=${S%%%% *}; "
        "[ \"$S\" = none ] || [ \"$S\" = \"$3\" ] || bad hash \"$S\"; "
        "chmod 700 \"$T/$1\" || bad chmod \"$1\"; }; ",
        id);
    add_file(b, AGENT_NAME, agent);
    if (probe->len > 0) {
        add_file(b, PROBE_NAME, probe);
    }
    buf_printf(b,
               "E=$(\"$T/" AGENT_NAME "\" install-self --sha256 %s 2>&1) || "
               "bad install \"$E\"; trap - HUP INT TERM PIPE; "
               "exec \"$A/bin/%s/" AGENT_NAME "\" serve\n",
               hash, hash);
}

static int
send_all(const struct bootstrap *b, const struct buf *data, uint64_t *done,
         uint64_t total, struct failure *f)
{
    for (size_t at = 0; at < data->len;) {
        size_t n = data->len - at < SEND_BYTES ? data->len - at : SEND_BYTES;

        if (transport_write(b->transport, data->data + at, n, STALL_MS, f) != 0) {
            return -1;
        }
        at += n;
        *done += n;
        if (b->progress != NULL) {
            b->progress(b->ctx, *done, total);
        }
    }
    return 0;
}

/* ---- answers ---- */

/* What the command said instead of the magic, as one failure. */
static int
explain_end(const struct bootstrap *b, const struct preamble *p, struct failure *f)
{
    struct transport_status s;
    struct buf names = BUF_INIT;
    char hex[SHA256_HEX_LEN + 1];
    char *text;

    transport_wait(b->transport, &s);
    (void)transport_explain_end(b->transport, &s, p, f);
    if (f->cause == CAUSE_AGENT_FAILED && b->agents != NULL) {
        /* Its name says that it is whole; a disk may have thought otherwise since. */
        for (size_t i = 0; i < b->agents->n; i++) {
            sha256_format(&b->agents->v[i].hash, hex);
            buf_printf(&names, "%s%s", i > 0 ? ", " : "", hex);
        }
        text = xasprintf(
            _("%s; if its file was damaged, remove %s/bin/%s there: it is put "
              "there anew"),
            f->err.msg,
            b->agent_home != NULL ? b->agent_home : "~/.local/share/gpurun-agent",
            buf_str(&names));
        (void)failure_set(f, CAUSE_AGENT_FAILED, "%s", text);
        buf_free(&names);
        free(text);
    }
    return -1;
}

static int
await_magic(const struct bootstrap *b, struct preamble *p, int64_t timeout_ms,
            enum preamble_kind *kind, struct buf *rest, struct failure *f)
{
    int64_t end_ns = clock_boot_ns() + timeout_ms * 1000000;
    uint8_t data[READ_BYTES];

    *kind = PREAMBLE_NONE;
    while (*kind == PREAMBLE_NONE) {
        int64_t left_ms = (end_ns - clock_boot_ns()) / 1000000;
        size_t n = 0;
        size_t used = 0;

        /* Noise without end must not keep us here: the time is for all of it. */
        if (transport_read(b->transport, data, sizeof data, left_ms > 0 ? left_ms : 0, &n,
                           f) != 0) {
            return f->cause == CAUSE_TIMEOUT
                       ? transport_explain_silence(b->transport, p, f)
                       : -1;
        }
        if (n == 0) {
            return explain_end(b, p, f);
        }
        if (preamble_feed(p, data, n, &used, kind, &f->err) != 0) {
            f->cause = CAUSE_GARBAGE;
            return -1;
        }
        if (*kind != PREAMBLE_NONE) {
            buf_add(rest, data + used, n - used);
        }
    }
    return 0;
}

static const struct bootstrap_agent *
agent_for(const struct bootstrap_agents *agents, const char *arch)
{
    for (size_t i = 0; i < agents->n; i++) {
        if (strcmp(agents->v[i].arch, arch) == 0) {
            return &agents->v[i];
        }
    }
    return NULL;
}

/* No agent there: is it a machine we can help? */
static int
choose(const struct bootstrap *b, const struct rec *facts,
       const struct bootstrap_agent **out, struct failure *f)
{
    const char *os = rec_get(facts, "os");
    const char *arch = rec_get(facts, "arch");
    struct buf have = BUF_INIT;
    char shown_os[48];
    char shown_arch[48];

    *out = arch == NULL ? NULL : agent_for(b->agents, arch);
    if (*out != NULL && os != NULL && strcmp(os, "Linux") == 0) {
        return 0;
    }
    for (size_t i = 0; i < b->agents->n; i++) {
        buf_printf(&have, "%s%s", i == 0 ? "" : ", ", b->agents->v[i].arch);
    }
    (void)failure_set(
        f, CAUSE_NO_AGENT,
        _("the host is a %s machine with %s; this installation has agents for "
          "Linux on %s only: for another Linux `make` gpurun on such a machine, and copy "
          "its lib/gpurun/agent/%s here"),
        text_escape_to(shown_arch, sizeof shown_arch, arch ? arch : "?"),
        text_escape_to(shown_os, sizeof shown_os, os ? os : "?"), buf_str(&have),
        shown_arch);
    buf_free(&have);
    return -1;
}

static const char *
failed_text(const char *what)
{
    static const struct {
        const char *what;
        const char *text;
    } texts[] = {
        {"mkdir", N_("its directory cannot be made")},
        {"write", N_("it cannot be written (disk full?)")},
        {"short", N_("it did not arrive whole (disk full?)")},
        {"hash", N_("it arrived damaged")},
        {"chmod", N_("it cannot be made executable")},
        {"install", N_("it does not run there")},
    };

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (strcmp(texts[i].what, what) == 0) {
            return _(texts[i].text);
        }
    }
    return _("the host says no more");
}

static int
upload_refused(const struct rec *facts, struct failure *f)
{
    const char *what = rec_get(facts, "failed");
    const char *detail = rec_get(facts, "detail");
    char shown[200];

    f->cause = CAUSE_NO_AGENT;
    return err_set(&f->err, ERR_SYSTEM,
                   _("cannot put the agent on the host: %s%s%s; `gpurun host add` with "
                     "--agent-home DIR puts it elsewhere"),
                   failed_text(what == NULL ? "" : what),
                   detail != NULL && detail[0] != '\0' ? ": " : "",
                   text_escape_to(shown, sizeof shown, detail == NULL ? "" : detail));
}

static int
read_programs(const struct bootstrap_agent *a, struct buf *agent, struct buf *probe,
              struct failure *f)
{
    struct sha256 h;

    f->cause = CAUSE_CONFIG;
    if (file_read(a->path, BOOTSTRAP_AGENT_MAX, agent, &f->err) != 0 ||
        (a->probe_path != NULL &&
         file_read(a->probe_path, BOOTSTRAP_AGENT_MAX, probe, &f->err) != 0)) {
        return -1;
    }
    sha256_of(agent->data, agent->len, &h);
    if (!sha256_equal(&h, &a->hash)) {
        return err_set(&f->err, ERR_BUSY, _("%s changed just now; try again"), a->path);
    }
    return 0;
}

/*
 * The ssh program may end with 255 and no word where the link is cut, as it does for a
 * command that a signal ended. What takes the upload is a few lines of shell that answer
 * whatever happens: without an answer it was the link.
 */
static void
say_cut(const struct bootstrap *b, struct failure *f)
{
    struct transport_status s;
    char where[WHERE_MAX];

    if (f->cause != CAUSE_AGENT_FAILED) {
        return;
    }
    transport_wait(b->transport, &s);
    if (s.end == TRANSPORT_END_SIGNAL && s.code == 0) {
        (void)failure_set(f, CAUSE_CUT,
                          _("%s: the link was cut while the agent was on its way"),
                          transport_where(b->transport, where));
    }
}

static int
upload(const struct bootstrap *b, const struct bootstrap_agent *a, struct buf *rest,
       struct failure *f)
{
    struct preamble *p = preamble_new(true, PREAMBLE_NOISE_MAX);
    struct buf agent = BUF_INIT;
    struct buf probe = BUF_INIT;
    struct buf script = BUF_INIT;
    char hex[SHA256_HEX_LEN + 1];
    enum preamble_kind kind;
    uint64_t done = 0;
    int rc = -1;

    if (read_programs(a, &agent, &probe, f) != 0) {
        goto out;
    }
    sha256_format(&a->hash, hex);
    install_script(&script, hex, &agent, &probe);
    if (transport_write(b->transport, script.data, script.len, STALL_MS, f) != 0 ||
        send_all(b, &agent, &done, agent.len + probe.len, f) != 0 ||
        send_all(b, &probe, &done, agent.len + probe.len, f) != 0) {
        /* Why it would not take more may be waiting to be read. */
        struct failure said;

        if (f->cause == CAUSE_CUT || f->cause == CAUSE_AGENT_FAILED) {
            if (await_magic(b, p, START_MS, &kind, rest, &said) == 0 &&
                kind == PREAMBLE_IS_MISSING) {
                (void)upload_refused(preamble_facts(p), f);
            }
        }
        goto out;
    }
    if (await_magic(b, p, STALL_MS, &kind, rest, f) != 0) {
        say_cut(b, f);
        goto out;
    }
    rc = kind == PREAMBLE_IS_READY ? 0 : upload_refused(preamble_facts(p), f);

out:
    buf_free(&agent);
    buf_free(&probe);
    buf_free(&script);
    preamble_free(p);
    return rc;
}

int
bootstrap_run(const struct bootstrap *b, struct buf *rest, struct failure *f)
{
    struct preamble *p = preamble_new(true, PREAMBLE_NOISE_MAX);
    const struct bootstrap_agent *a;
    struct buf command = BUF_INIT;
    enum preamble_kind kind;
    int rc = -1;

    f->cause = CAUSE_CONFIG;
    buf_add_str(&command, b->command != NULL ? b->command : "");
    /* The pipe starts its own agent and is given no command. */
    if ((b->agents != NULL &&
         bootstrap_command(b->agents, b->agent_home, &command, &f->err) != 0) ||
        transport_exec(b->transport, buf_str(&command), f) != 0 ||
        await_magic(b, p, b->start_timeout_ms > 0 ? b->start_timeout_ms : START_MS, &kind,
                    rest, f) != 0) {
        goto out;
    }
    if (kind == PREAMBLE_IS_MISSING && b->agents == NULL) {
        (void)failure_set(f, CAUSE_GARBAGE, _("what answers is no program of ours"));
        goto out;
    }
    if (kind == PREAMBLE_IS_MISSING) {
        buf_reset(rest);
        if (choose(b, preamble_facts(p), &a, f) != 0 || upload(b, a, rest, f) != 0) {
            goto out;
        }
    }
    rc = 0;

out:
    buf_free(&command);
    preamble_free(p);
    return rc;
}

#include "runner/host/python.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/rec.h"
#include "base/text.h"
#include "runner/host/runout.h"

#define OUTPUT_BYTES ((size_t)64 * 1024)
#define MARK_PYTHON  "\n\1P\n"
#define MARK_TORCH   "\n\1T\n"
#define MARK_CUDA    "\n\1C\n"
#define MARK_WHY     "\n\1W\n"
#define MARK_END     "\n\1.\n"

/* Answers are lines after a mark: what is imported may print, too. */
static const char ask_python[] =
    "import sys,platform\n"
    "print('\\n\\1P',platform.python_version(),sys.executable,'\\n\\1.',sep='\\n',"
    "flush=True)\n";

/* Each at once: the next thing may be what ends the process. */
static const char ask_torch[] =
    "import sys\n"
    "def say(*w): print('',*w,sep='\\n',flush=True)\n"
    "try:\n"
    " import importlib.util as u\n"
    " if u.find_spec('torch') is None: say('\\1.'); sys.exit()\n"
    " import torch as t\n"
    " say('\\1T',t.__version__)\n"
    " say('\\1C',t.version.cuda or '' if t.cuda.is_available() else '')\n"
    "except Exception as e:\n"
    " say('\\1W',type(e).__name__+': '+' '.join(str(e).split()))\n"
    "say('\\1.')\n";

/* The line behind mark, without control characters; false: there is no such mark. */
static bool
take_line(char to[PYTHON_TEXT_MAX], const char *out, const char *mark, size_t n)
{
    const char *at = strstr(out, mark);
    char *line;

    if (at == NULL) {
        return false;
    }
    at += strlen(mark);
    for (; n > 0 && *at != '\0'; n--) {
        at += strcspn(at, "\n");
        at += *at == '\n' ? 1 : 0;
    }
    line = xasprintf("%.*s", (int)strcspn(at, "\n"), at);
    (void)text_escape_to(to, PYTHON_TEXT_MAX, line);
    free(line);
    return true;
}

/* What the environment's python3 prints of a program of ours. */
static int
run(const struct strings *env, const char *program, int limit_s, struct buf *out,
    int *status, struct err *e)
{
    char *argv[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c",
                    (char *)(uintptr_t) "exec python3 -c \"$0\"",
                    (char *)(uintptr_t)program, NULL};
    char **envp = xcalloc(env->n + 2, sizeof *envp);
    struct runout_options o = {.path = "/bin/sh",
                               .argv = argv,
                               .envp = envp,
                               .timeout_ns = limit_s * (int64_t)1000000000,
                               .max_bytes = OUTPUT_BYTES,
                               .until = MARK_END};
    int rc;

    if (env->n > 0) {
        memcpy(envp, env->v, env->n * sizeof *envp);
    }
    /* No context on a card that others pay for. */
    envp[env->n] = (char *)(uintptr_t) "PYTORCH_NVML_BASED_CUDA_CHECK=1";
    rc = runout(&o, out, status, e);
    free(envp);
    return rc;
}

static int
look_python(struct python *p, const struct strings *env, struct err *e)
{
    struct buf b = BUF_INIT;
    int status = 0;
    int rc = run(env, ask_python, PYTHON_LIMIT_S, &b, &status, e);

    if (rc != 0 && e->code == ERR_LIMIT) {
        (void)err_set(e, ERR_LIMIT,
                      "python3 of the login environment gave no answer in %d s",
                      PYTHON_LIMIT_S);
    } else if (rc == 0 && (!take_line(p->version, buf_str(&b), MARK_PYTHON, 0) ||
                           !take_line(p->at, buf_str(&b), MARK_PYTHON, 1))) {
        rc = WIFEXITED(status) && WEXITSTATUS(status) == 127
                 ? err_set(e, ERR_NOT_FOUND,
                           "there is no python3 in the login environment")
                 : err_set(e, ERR_NOT_FOUND,
                           "python3 of the login environment does not start");
    }
    buf_free(&b);
    return rc;
}

/* torch did not get to its end: how. */
static void
torch_ended(struct err *why, int status)
{
    if (WIFSIGNALED(status)) {
        err_set(why, ERR_SYSTEM, "importing torch there crashed: signal %d (%s)",
                WTERMSIG(status), strsignal(WTERMSIG(status)));
    } else {
        err_set(why, ERR_SYSTEM, "importing torch ended python with exit code %d",
                WEXITSTATUS(status));
    }
}

static void
look_torch(struct python *p, const struct strings *env)
{
    struct buf b = BUF_INIT;
    char why[PYTHON_TEXT_MAX];
    struct err e;
    int status = 0;
    int rc = run(env, ask_torch, PYTHON_TORCH_S, &b, &status, &e);
    const char *out = buf_str(&b);

    (void)take_line(p->torch, out, MARK_TORCH, 0);
    (void)take_line(p->cuda, out, MARK_CUDA, 0);
    if (take_line(why, out, MARK_WHY, 0)) {
        err_set(&p->torch_why, ERR_SYSTEM, "torch is there but fails: %s", why);
    } else if (rc != 0 && e.code == ERR_LIMIT) {
        err_set(&p->torch_why, ERR_LIMIT, "importing torch there took more than %d s",
                PYTHON_TORCH_S);
    } else if (rc != 0) {
        p->torch_why = e;
    } else if (strstr(out, MARK_END) == NULL) {
        torch_ended(&p->torch_why, status);
    }
    buf_free(&b);
}

int
python_look(struct python *p, const struct strings *env, struct err *e)
{
    memset(p, 0, sizeof *p);
    if (look_python(p, env, e) != 0) {
        return -1;
    }
    look_torch(p, env);
    return 0;
}

/* ---- for who has connected ---- */

#define LOCK_NAME  "python.lock"
#define CACHE_NAME "python"
#define CACHE_TYPE "gpurun.python.v1"
#define CACHE_MAX  ((size_t)16 * 1024)
#define POLL_US    50000

static const struct {
    const char *key;
    size_t offset;
} fields[] = {
    {"version", offsetof(struct python, version)},
    {"at", offsetof(struct python, at)},
    {"torch", offsetof(struct python, torch)},
    {"cuda", offsetof(struct python, cuda)},
};
#define N_FIELDS (sizeof fields / sizeof fields[0])

/* What came of it: 0, or -1 with *why. */
struct found {
    int rc;
    struct python python;
    struct err why;
};

static void
save(const struct agent *a, const struct found *f)
{
    struct rec *r = rec_new(CACHE_TYPE);
    struct buf b = BUF_INIT;
    char boot[BOOT_ID_LEN + 1];
    struct err none;

    clock_boot_id(boot);
    rec_add(r, "boot", boot);
    rec_add_int(r, "boot_ns", clock_boot_ns());
    for (size_t i = 0; i < N_FIELDS; i++) {
        rec_add(r, fields[i].key, (const char *)&f->python + fields[i].offset);
    }
    rec_add_int(r, "torch_code", f->python.torch_why.code);
    rec_add(r, "torch_why", f->python.torch_why.msg);
    rec_add(r, "torch_form", f->python.torch_why.form);
    if (f->rc != 0) {
        rec_add_int(r, "code", f->why.code);
        rec_add(r, "why", f->why.msg);
    }
    rec_encode(r, &b);
    rec_free(r);
    (void)!file_replace_at(a->home_fd, CACHE_NAME, b.data, b.len, &none);
    buf_free(&b);
}

static bool
is_of_now(const struct rec *r)
{
    const char *was = rec_get(r, "boot");
    char boot[BOOT_ID_LEN + 1];
    int64_t at_ns = 0;
    struct err none;

    clock_boot_id(boot);
    return was != NULL && strcmp(was, boot) == 0 &&
           rec_need_int(r, "boot_ns", 0, INT64_MAX, &at_ns, &none) == 0 &&
           clock_boot_ns() - at_ns < PYTHON_AGE_NS;
}

/* false: nothing that is fresh enough. */
static bool
load(const struct agent *a, struct found *f)
{
    struct buf b = BUF_INIT;
    struct rec *r = NULL;
    struct err none;
    int64_t code = 0;
    int64_t torch_code = 0;
    bool ok;

    memset(f, 0, sizeof *f);
    ok = file_read_at(a->home_fd, CACHE_NAME, CACHE_MAX, &b, &none) == 0 &&
         rec_parse(&r, b.data, b.len, CACHE_TYPE, &none) == 0 && is_of_now(r) &&
         rec_opt_int(r, "code", 0, ERR_CODE_COUNT - 1, 0, &code, &none) == 0 &&
         rec_opt_int(r, "torch_code", 0, ERR_CODE_COUNT - 1, 0, &torch_code, &none) == 0;
    for (size_t i = 0; ok && i < N_FIELDS; i++) {
        const char *text = rec_get(r, fields[i].key);

        (void)snprintf((char *)&f->python + fields[i].offset, PYTHON_TEXT_MAX, "%s",
                       text != NULL ? text : "");
    }
    if (ok && torch_code != 0 && rec_has(r, "torch_why")) {
        err_told(&f->python.torch_why, (enum err_code)torch_code, rec_get(r, "torch_why"),
                 rec_get(r, "torch_form"));
    }
    if (ok && code != 0) {
        const char *why = rec_get(r, "why");

        f->rc = err_set(&f->why, (enum err_code)code, "%s", why != NULL ? why : "");
    }
    rec_free(r);
    buf_free(&b);
    return ok;
}

static int
wait_for_turn(const struct agent *a, int *fd, struct err *e)
{
    char *path = agent_path(a, LOCK_NAME);
    int64_t until_ns = clock_boot_ns() + PYTHON_WAIT_NS;
    int rc;

    while ((rc = file_lock(path, true, false, fd, e)) != 0 && e->code == ERR_BUSY &&
           clock_boot_ns() < until_ns) {
        (void)usleep(POLL_US);
    }
    if (rc != 0 && e->code == ERR_BUSY) {
        (void)err_set(e, ERR_BUSY,
                      "others ask this host's python3 all the time; try again later");
    }
    free(path);
    return rc;
}

int
python_ask(struct python *p, const struct agent *a, const struct strings *env, bool fresh,
           struct err *e)
{
    struct found f;
    int fd = -1;

    if (wait_for_turn(a, &fd, e) != 0) {
        return -1;
    }
    if (fresh || !load(a, &f)) {
        memset(&f, 0, sizeof f);
        f.rc = python_look(&f.python, env, &f.why);
        save(a, &f);
    }
    (void)fd_close(&fd);
    if (f.rc != 0) {
        *e = f.why;
        return -1;
    }
    *p = f.python;
    return 0;
}

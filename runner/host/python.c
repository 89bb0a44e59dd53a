#include "runner/host/python.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/rec.h"
#include "base/text.h"
#include "runner/host/runout.h"

#define LIMIT_S      20
#define OUTPUT_BYTES ((size_t)64 * 1024)

/* One answer a line, after a mark: what is imported may print, too. */
static const char program[] = "import sys,platform\n"
                              "torch=cuda=''\n"
                              "try:\n"
                              " import torch as t\n"
                              " torch=t.__version__\n"
                              " cuda=t.version.cuda if t.cuda.is_available() else ''\n"
                              "except Exception: pass\n"
                              "print('\\n\\1',platform.python_version(),sys.executable,"
                              "torch,cuda or '',sep='\\n')\n";

/* The line at *at, without control characters; *at goes on behind it. */
static void
take_line(char to[PYTHON_TEXT_MAX], const char **at)
{
    size_t len = strcspn(*at, "\n");
    char *line = xasprintf("%.*s", (int)len, *at);

    (void)text_escape_to(to, PYTHON_TEXT_MAX, line);
    *at += len + ((*at)[len] == '\n');
    free(line);
}

static int
parse(struct python *p, const char *out, struct err *e)
{
    const char *at = strstr(out, "\n\1\n");

    if (at == NULL) {
        return err_set(e, ERR_NOT_FOUND, "there is no python3 in the login environment");
    }
    at += 3;
    take_line(p->version, &at);
    take_line(p->at, &at);
    take_line(p->torch, &at);
    take_line(p->cuda, &at);
    return 0;
}

int
python_look(struct python *p, const struct strings *env, struct err *e)
{
    char *argv[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c",
                    (char *)(uintptr_t) "exec python3 -c \"$0\"",
                    (char *)(uintptr_t)program, NULL};
    char **envp = xcalloc(env->n + 2, sizeof *envp);
    struct runout_options o = {.path = "/bin/sh",
                               .argv = argv,
                               .envp = envp,
                               .timeout_ns = LIMIT_S * (int64_t)1000000000,
                               .max_bytes = OUTPUT_BYTES};
    struct buf b = BUF_INIT;
    int status = 0;
    int rc;

    memset(p, 0, sizeof *p);
    if (env->n > 0) {
        memcpy(envp, env->v, env->n * sizeof *envp);
    }
    /* No context on a card that others pay for. */
    envp[env->n] = (char *)(uintptr_t) "PYTORCH_NVML_BASED_CUDA_CHECK=1";
    rc = runout(&o, &b, &status, e);
    if (rc == 0) {
        rc = parse(p, status == 0 ? buf_str(&b) : "", e);
    } else if (e->code == ERR_LIMIT) {
        (void)err_set(e, ERR_LIMIT,
                      "python3 of the login environment gave no answer in %d s", LIMIT_S);
    }
    buf_free(&b);
    free(envp);
    return rc;
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
    bool ok;

    memset(f, 0, sizeof *f);
    ok = file_read_at(a->home_fd, CACHE_NAME, CACHE_MAX, &b, &none) == 0 &&
         rec_parse(&r, b.data, b.len, CACHE_TYPE, &none) == 0 && is_of_now(r) &&
         rec_opt_int(r, "code", 0, ERR_CODE_COUNT - 1, 0, &code, &none) == 0;
    for (size_t i = 0; ok && i < N_FIELDS; i++) {
        const char *text = rec_get(r, fields[i].key);

        (void)snprintf((char *)&f->python + fields[i].offset, PYTHON_TEXT_MAX, "%s",
                       text != NULL ? text : "");
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

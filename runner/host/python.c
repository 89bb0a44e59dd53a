#include "runner/host/python.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
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
    char **envp = xcalloc(env->n + 1, sizeof *envp);
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

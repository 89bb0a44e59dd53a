#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/lang.h"
#include "runner/client/install.h"
#include "runner/client/transport_internal.h"

/* The host `local`: our own agent as a child, its home in <home>/local. */

extern char **environ;

struct pipe_way {
    char *agent;
    struct transport_child child;
};

static int
pipe_open(struct transport *t, struct failure *f)
{
    struct pipe_way *w = xcalloc(1, sizeof *w);

    w->child = (struct transport_child)TRANSPORT_CHILD_INIT;
    t->impl = w;
    t->info.kind = TRANSPORT_PIPE;
    f->cause = CAUSE_CONFIG;
    return install_find_program("gpurun-agent", NULL, &w->agent, &f->err);
}

static bool
is_ours_alone(const char *entry)
{
    const size_t mark_len = sizeof LANG_MARK - 1;
    size_t len = strlen(entry);

    return strncmp(entry, "GPURUN_AGENT_HOME=", 18) == 0 ||
           (strncmp(entry, "LANGUAGE=", 9) == 0 && len >= mark_len &&
            strcmp(entry + len - mark_len, LANG_MARK) == 0);
}

/* Our environment with the agent's home said. The strings stay where they were. */
static char **
agent_environ(char *home_said)
{
    size_t n = 0;
    size_t at = 0;
    char **v;

    while (environ[n] != NULL) {
        n++;
    }
    v = xcalloc(n + 2, sizeof *v);
    for (size_t i = 0; i < n; i++) {
        if (!is_ours_alone(environ[i])) {
            v[at++] = environ[i];
        }
    }
    v[at] = home_said;
    return v;
}

static int
pipe_exec(struct transport *t, const char *command, struct failure *f)
{
    struct pipe_way *w = t->impl;
    char *argv[] = {w->agent, (char *)(uintptr_t) "serve", NULL};
    char *local = home_path(t->o.home, "local", NULL);
    char *said = xasprintf("GPURUN_AGENT_HOME=%s", local);
    char **envp = agent_environ(said);
    int rc = -1;

    (void)command;
    transport_child_end(&w->child);
    f->cause = CAUSE_CONFIG;
    if (file_mkdirs(local, 0700, &f->err) == 0) {
        /* A session of its own: ^C at our terminal is for the client to act on. */
        rc = transport_child_start(&w->child, w->agent, argv, envp, true, f);
    }
    free(envp);
    free(said);
    free(local);
    return rc;
}

static int
pipe_read(struct transport *t, void *data, size_t cap, int64_t end_ns, size_t *n,
          struct failure *f)
{
    struct pipe_way *w = t->impl;

    return transport_child_read(t, &w->child, data, cap, end_ns, n, f);
}

static int
pipe_write(struct transport *t, const void *data, size_t n, int64_t stall_ms,
           struct failure *f)
{
    struct pipe_way *w = t->impl;

    return transport_child_write(t, &w->child, data, n, stall_ms, f);
}

static int
pipe_stream(struct transport *t, int *fd, struct failure *f)
{
    struct pipe_way *w = t->impl;

    (void)f;
    *fd = w->child.fd;
    w->child.fd = -1;
    return 0;
}

static void
pipe_wait(struct transport *t, struct transport_status *s)
{
    struct pipe_way *w = t->impl;

    transport_child_wait(t, &w->child);
    transport_child_status(&w->child, s);
}

static void
pipe_free(struct transport *t)
{
    struct pipe_way *w = t->impl;

    if (w != NULL) {
        transport_child_end(&w->child);
        free(w->agent);
        free(w);
        t->impl = NULL;
    }
}

const struct transport_ops transport_pipe_ops = {
    .open = pipe_open,
    .exec = pipe_exec,
    .read = pipe_read,
    .write = pipe_write,
    .stream = pipe_stream,
    .wait = pipe_wait,
    .free = pipe_free,
};

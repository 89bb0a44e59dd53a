#ifndef RUNNER_CLIENT_TRANSPORT_INTERNAL_H
#define RUNNER_CLIENT_TRANSPORT_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "runner/client/ask.h"
#include "runner/client/known_hosts.h"
#include "runner/client/ssh_config.h"
#include "runner/client/transport.h"
#include "runner/wire/preamble.h"

/* What the three ways share. Only transport_*.c, bootstrap.c and link.c include this. */

#define TRANSPORT_IO_BYTES ((size_t)256 << 10) /* moved at most per step */
#define CONNECT_TIMEOUT_MS 15000
#define LOGIN_TIMEOUT_MS   60000 /* for the host to answer one request of ours */
#define TRANSPORT_END_MS   10000 /* for a command to end once its output has */

struct transport_ops {
    int (*open)(struct transport *t, struct failure *f);
    int (*exec)(struct transport *t, const char *command, struct failure *f);
    int (*read)(struct transport *t, void *data, size_t cap, int64_t end_ns, size_t *n,
                struct failure *f);
    int (*write)(struct transport *t, const void *data, size_t n, int64_t stall_ms,
                 struct failure *f);
    int (*stream)(struct transport *t, int *fd, struct failure *f);
    void (*wait)(struct transport *t, struct transport_status *s);
    void (*free)(struct transport *t);
};
extern const struct transport_ops transport_libssh_ops; /* transport_libssh.c */
extern const struct transport_ops transport_ssh_ops;    /* transport_ssh.c */
extern const struct transport_ops transport_pipe_ops;   /* transport_pipe.c */

struct transport {
    const struct transport_ops *ops; /* NULL until open has chosen */
    void *impl;                      /* of the way chosen */

    struct host host; /* only name, local, address, user, port, identity, jump */
    struct transport_options o; /* strings copied */
    struct ssh_config config;   /* loaded unless local */
    struct transport_info info;
    char *home_dir; /* $HOME */

    int cancel_fd; /* eventfd, readable once cancelled */

    pthread_mutex_t m; /* guards the tail of stderr */
    char tail[TRANSPORT_STDERR_MAX];
    size_t tail_len;
};

/* Fill *f. Returns -1. */
int failure_set(struct failure *f, enum cause cause, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
int failure_set_sys(struct failure *f, enum cause cause, int sys_errno, const char *fmt,
                    ...) PRINTF_LIKE(4, 5);

/* "user@address:port", escaped; into a fixed array. */
#define WHERE_MAX 200
const char *transport_where(const struct transport *t, char out[WHERE_MAX]);
/* What to do where only terminals get through, as the address or what was said shows; or
 * "". */
const char *transport_no_exec_hint(const struct transport *t, const char *said);

bool transport_is_cancelled(const struct transport *t);
/* Sleep; false: cancelled meanwhile. */
bool transport_sleep(const struct transport *t, int64_t ms);
int64_t transport_connect_ms(const struct transport *t);
int64_t transport_deadline(int64_t timeout_ms);
/* Milliseconds left for poll: at least 0. */
int transport_poll_left(int64_t end_ns);
/* Before try number n (from 1 on) after a connection was dropped; false: cancelled. */
bool transport_back_off(const struct transport *t, int n);

/* What stderr said: kept at its end, for messages. */
void transport_tail_add(struct transport *t, const char *data, size_t n);
void transport_tail_clear(struct transport *t);

/* The command ended, or was silent, before any magic line: say why. Return -1. */
int transport_explain_end(struct transport *t, const struct transport_status *s,
                          const struct preamble *p, struct failure *f);
int transport_explain_early_end(struct transport *t, const struct transport_status *s,
                                struct failure *f);
int transport_explain_silence(struct transport *t, const struct preamble *p,
                              struct failure *f);

/* ---- transport_tcp.c ---- */

/* Resolve and connect; *fd is non-blocking, TCP_NODELAY, close-on-exec. */
int transport_tcp_connect(struct transport *t, int *fd, struct failure *f) MUST_USE;
/* Wait for the SSH banner without taking it. CAUSE_DROPPED: worth another try. */
int transport_tcp_banner(struct transport *t, int fd, struct failure *f) MUST_USE;

/* ---- transport_hostkey.c ---- */

/*
 * Is key the one of the host known as name (known_hosts_name or an alias)? plain: the
 * name without its port, or NULL. Asks and pins where that is allowed.
 */
int transport_hostkey_check(struct transport *t, const char *name, const char *plain,
                            const struct ssh_pubkey *key, struct failure *f) MUST_USE;
/* All files that count, ours first; strings stay t's and *own's (free it). */
#define TRANSPORT_HOSTKEY_FILES (2 * SSH_CONFIG_LIST_MAX + 1)
size_t transport_hostkey_files(const struct transport *t, char **own,
                               const char *out[TRANSPORT_HOSTKEY_FILES]);

/* ---- transport_child.c: a local process with a stream socket as stdin and stdout ----
 */

struct transport_child {
    pid_t pid;
    int fd;     /* our end; -1 once handed out */
    int err_fd; /* its stderr */
    bool reaped;
    int status; /* of waitpid */
};
#define TRANSPORT_CHILD_INIT                                                             \
    {                                                                                    \
        -1, -1, -1, false, 0                                                             \
    }
/* new_session: away from our terminal and its signals. */
int transport_child_start(struct transport_child *c, const char *file, char *const *argv,
                          char *const *envp, bool new_session,
                          struct failure *f) MUST_USE;
int transport_child_read(struct transport *t, struct transport_child *c, void *data,
                         size_t cap, int64_t end_ns, size_t *n,
                         struct failure *f) MUST_USE;
int transport_child_write(struct transport *t, struct transport_child *c,
                          const void *data, size_t n, int64_t stall_ms,
                          struct failure *f) MUST_USE;
/*
 * Wait for a byte, the end, or (*extra) extra_fd. 1: one of them; 0: the time is over;
 * -1: cancelled.
 */
int transport_child_poll(struct transport *t, struct transport_child *c, int extra_fd,
                         bool *extra, int64_t end_ns, struct failure *f) MUST_USE;
/* Until it has ended (reaped, status), or transport_cancel and it was made to. */
void transport_child_wait(struct transport *t, struct transport_child *c);
/* How it ended, as an exit code or signal. */
void transport_child_status(const struct transport_child *c, struct transport_status *s);
/* Close all; kill and reap what still runs. */
void transport_child_end(struct transport_child *c);

/* ---- transport_key.c ---- */

/* After a typed password: offer to put a key of the user's there. Never fails the link.
 */
void transport_offer_key(struct transport *t);
/* Our own key file, made by that offer: malloc'ed path, also when there is none. */
char *transport_own_key(const struct transport *t);

#endif

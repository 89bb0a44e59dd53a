#ifndef RUNNER_CLIENT_TRANSPORT_LIBSSH_H
#define RUNNER_CLIENT_TRANSPORT_LIBSSH_H

#include <libssh/callbacks.h>
#include <libssh/libssh.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "runner/client/transport_internal.h"

/* What the files of the libssh way share: they are the only ones that know libssh. */

struct lib {
    ssh_session s;
    int sock;                      /* the session's; not ours to close */
    struct ssh_counter_struct raw; /* in_bytes: libssh read its socket (see lib_wait) */
    bool quick;                    /* acknowledge at once: until the command runs */
    ssh_channel ch;
    struct ssh_channel_callbacks_struct cb;
    bool exited; /* the host said how the command ended */
    int exit_code;
    int exit_signal; /* -1: not by a signal; 0: one without a number here */
    int pump_fd;     /* our end of the stream handed out, or -1 */
};

/*
 * Wait for the session's socket, at most until end_ns. -1: cancelled, or timed out while
 * `doing`.
 *
 * Nearly every call of libssh may read the socket and put what it finds where another
 * call would look: data, EOF, exit status. So wait only when raw.in_bytes has not changed
 * since all of that was last looked at, or it will be for something that is here.
 */
int lib_wait(struct transport *t, struct lib *l, int64_t end_ns, const char *doing,
             struct failure *f) MUST_USE;

/* The session failed while `doing`: say how. Returns -1. */
int lib_session_failed(struct transport *t, struct lib *l, const char *doing,
                       struct failure *f);

/* ---- transport_auth.c ---- */

/* Whether the logins asked for are beyond libssh; then config.needs_binary says why. */
bool lib_login_needs_binary(struct transport *t);
int lib_login(struct transport *t, struct lib *l, struct failure *f) MUST_USE;

/* ---- transport_pump.c ---- */

/* Let the session look at its socket, without waiting. -1: it is gone. */
int lib_process(struct lib *l) MUST_USE;
/* Bytes of stderr go to the tail. */
void lib_drain_stderr(struct transport *t, struct lib *l);
/* Carry bytes until the command has ended, the session is gone, or cancelled. */
void lib_pump(struct transport *t, struct lib *l, struct transport_status *s);

#endif

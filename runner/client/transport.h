#ifndef RUNNER_CLIENT_TRANSPORT_H
#define RUNNER_CLIENT_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "runner/client/ask.h"
#include "runner/client/home.h"
#include "runner/client/hosts.h"

/*
 * How bytes get to a host: one interface, three ways.
 *
 *   libssh   the default
 *   ssh      the system's ssh binary: where GPURUN_SSH names one, and where the
 *            user's ssh_config asks for what libssh 0.10 cannot do (the table below)
 *   pipe     the host `local`: our own agent as a child
 *
 * Life: transport_open reaches the host and logs in; transport_exec starts one
 * command there; transport_read and _write talk to it, or transport_stream hands it to a
 * loop's conn; transport_wait carries the bytes and says how it ended; transport_free.
 * One command at a time (a server with MaxSessions 1 allows no more), one after the
 * other as often as wanted.
 *
 * All of it blocks and belongs to one thread: link.h gives each link a thread of its own.
 * transport_cancel alone may be called from any thread, and makes whatever blocks
 * fail at once with CAUSE_CANCELLED.
 *
 * What of ssh_config is honoured, and by whom ("both": with and without the binary):
 *
 *   Host, Match all|host|originalhost|user|localuser, Include, tokens     both
 *   HostName User Port IdentityFile (with <key>-cert.pub) IdentitiesOnly  both
 *   HostKeyAlias UserKnownHostsFile GlobalKnownHostsFile IdentityAgent    both
 *   ConnectTimeout AddressFamily BindAddress Ciphers KexAlgorithms MACs   both
 *   HostKeyAlgorithms PubkeyAcceptedAlgorithms PreferredAuthentications   both
 *   ProxyJump ProxyCommand ProxyUseFdpass PKCS11Provider CertificateFile  binary
 *   RevokedHostKeys, keys on security tokens, algorithms libssh has not   binary
 *   SecurityKeyProvider BindInterface HostbasedAuthentication yes         binary
 *   GSSAPIAuthentication yes (where PreferredAuthentications wants it)    binary
 *   Match exec|canonical|final|localnetwork|tagged, CanonicalizeHostname  binary
 *   IdentitiesOnly with a key that only the agent can use                 binary
 *   @cert-authority as the only line for the host in known_hosts          binary
 *   StrictHostKeyChecking, ControlMaster, ControlPath, ForwardAgent,      nobody:
 *   ForwardX11, *Forward, RemoteCommand, RequestTTY, PermitLocalCommand,  ours, always
 *   UpdateHostKeys, VerifyHostKeyDNS, SendEnv                             strict and bare
 *
 * Both read $HOME/.ssh/config, then /etc/ssh/ssh_config; `~` and %d are $HOME.
 */

/* Why a host could not be reached, or was lost. */
enum cause {
    CAUSE_NONE = 0,
    CAUSE_NAME,        /* no such host name */
    CAUSE_REFUSED,     /* nothing listens on the port */
    CAUSE_UNREACHABLE, /* no route, network down */
    CAUSE_TIMEOUT,     /* no answer; the message says in which phase */
    CAUSE_DROPPED,     /* closed before the SSH banner, retries used up (MaxStartups) */
    CAUSE_NOT_SSH,     /* something else answers on the port */
    CAUSE_CRYPTO,      /* no algorithm in common, or a broken key exchange */
    CAUSE_HOST_KEY_UNKNOWN, /* never seen, and nobody there to ask */
    CAUSE_HOST_KEY_CHANGED, /* another key is on record, or --host-key names another */
    CAUSE_HOST_KEY_REVOKED, /* marked @revoked */
    CAUSE_AUTH,             /* no login; the message says what was tried */
    CAUSE_NO_EXEC,          /* logged in, but the host runs no commands */
    CAUSE_NO_AGENT,         /* no agent there, and none can be put there */
    CAUSE_AGENT_FAILED,     /* the agent did not start, or ended */
    CAUSE_GARBAGE,          /* what answers does not speak our protocol */
    CAUSE_VERSION,          /* it does, in a version we do not */
    CAUSE_CUT,              /* was up, and is gone */
    CAUSE_CONFIG,    /* this side: ssh_config, a missing ssh binary, no agent file */
    CAUSE_CANCELLED, /* transport_cancel, link_close, or ^C at a prompt */
    CAUSE_COUNT
};

/* "name", "refused", "host_key_changed", …: stable, for JSON. Never NULL. */
const char *cause_name(enum cause c);
/* Trying again later, unchanged and unattended, may work. */
bool cause_may_pass(enum cause c);

/* err.msg is for people: what failed, on which host, what to do. Peer text is escaped. */
struct failure {
    enum cause cause;
    struct err err;
};

struct transport_options {
    const struct home *home; /* known_hosts, own keys, local/ */
    const char *ssh_program; /* GPURUN_SSH, or NULL */
    const char *host_key; /* --host-key SHA256:…, or NULL: accept this key, and pin it */
    bool host_key_ask;    /* an unknown key may be asked about, where ask can */
    struct ask *ask;      /* prompts, shared by all links; NULL: never ask */
    int64_t connect_timeout_ms; /* per phase: TCP, banner, key exchange; 0: 15 s */
};

struct transport;

enum transport_kind {
    TRANSPORT_NONE = 0,
    TRANSPORT_LIBSSH,
    TRANSPORT_SSH_BINARY,
    TRANSPORT_PIPE,
};

/* Nothing is connected yet; cannot fail. *h and what o names must outlive it. */
struct transport *transport_new(const struct host *h, const struct transport_options *o);
/* Disconnect, without waiting for the host. NULL allowed. */
void transport_free(struct transport *t);

/*
 * Reach the host and log in. May ask. On failure t can only be freed.
 * Connections dropped before the banner are retried with jitter, TRANSPORT_TRIES times.
 * The binary logs in anew for every command, so for it this only reads ssh_config.
 */
#define TRANSPORT_TRIES 8
int transport_open(struct transport *t, struct failure *f) MUST_USE;

/*
 * Start command: one line for the login shell there (bootstrap.h). The pipe ignores it
 * and starts `gpurun-agent serve`.
 */
int transport_exec(struct transport *t, const char *command, struct failure *f) MUST_USE;

/*
 * Talk to the command in this thread. read: at least one byte, or *n 0 when its stdout
 * has ended; what stderr says is kept meanwhile. write: all of it.
 * CAUSE_TIMEOUT after timeout_ms without a byte moved.
 */
int transport_read(struct transport *t, void *data, size_t cap, int64_t timeout_ms,
                   size_t *n, struct failure *f) MUST_USE;
int transport_write(struct transport *t, const void *data, size_t n, int64_t timeout_ms,
                    struct failure *f) MUST_USE;

/*
 * Or hand its stdin and stdout over to a loop's conn: one connected stream socket
 * (in_fd and out_fd of conn_new), close-on-exec, the caller's. Its kernel buffers are the
 * bounded queues between the threads: who does not read stops the sender on the host.
 * No transport_read or _write after this; bytes may need transport_wait to move.
 */
int transport_stream(struct transport *t, int *fd, struct failure *f) MUST_USE;

/*
 * Carry bytes until the command has ended, then say how; afterwards transport_exec may be
 * called again. With transport_cancel it ends early: the command sees EOF, and a
 * local process of ours that does not go by itself is killed.
 */
enum transport_end {
    TRANSPORT_END_NONE = 0,
    TRANSPORT_END_EXIT,   /* code */
    TRANSPORT_END_SIGNAL, /* code is the signal, or 0 if its name is not known here */
    TRANSPORT_END_CUT,    /* the link went away first; how it ended is unknown */
};
struct transport_status {
    enum transport_end end;
    int code;
    struct failure cut; /* with TRANSPORT_END_CUT: why */
};
void transport_wait(struct transport *t, struct transport_status *s);

/* The last TRANSPORT_STDERR_MAX bytes the command (and ssh) wrote to stderr so far. */
#define TRANSPORT_STDERR_MAX 4096
void transport_stderr(struct transport *t, struct buf *out);

/* From any thread, any number of times: everything blocking in t ends at once. */
void transport_cancel(struct transport *t);

/* What was used, for `host show` and `-v`. Strings stay t's; valid after open. */
struct transport_info {
    enum transport_kind kind;
    char peer[64];     /* "127.0.0.1:22"; empty for the pipe and behind a proxy */
    char host_key[64]; /* "SHA256:…" of the SSH host key; empty where not known to us */
    char login[160];   /* "key /home/u/.ssh/id_ed25519", "agent", "password", … */
    char why_binary[96]; /* the ssh_config keyword that wanted the binary, or "" */
    bool asked_password; /* typed by a person just now */
};
const struct transport_info *transport_info(const struct transport *t);

#endif

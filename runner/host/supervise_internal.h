#ifndef RUNNER_HOST_SUPERVISE_INTERNAL_H
#define RUNNER_HOST_SUPERVISE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/rec.h"
#include "meter/grant.h"
#include "meter/offer.h"
#include "meter/session.h"
#include "runner/host/agent.h"
#include "runner/host/cgroup.h"
#include "runner/host/devices.h"
#include "runner/host/guard.h"
#include "runner/host/jobdir.h"
#include "runner/host/supervise.h"
#include "runner/job/logseg.h"
#include "runner/job/notify.h"
#include "runner/job/spec.h"
#include "runner/job/state.h"
#include "runner/loop/conn.h"
#include "runner/loop/loop.h"
#include "runner/loop/unix.h"
#include "runner/wire/msg.h"

/* Commands of the guard, by number. Those of exec come after. */
#define SUP_COMMAND_MAIN  1
#define SUP_COMMAND_SETUP 2
#define SUP_COMMAND_EXEC  16

#define SUP_DEVICES_MAX  64 /* of one job; also JOURNAL_DEVICES_MAX */
#define SUP_SIGNALS_KEPT 64
#define SUP_PEERS_MAX    256

struct sup_exec;
struct sup_port;
struct sup_stdin;
struct sup_peer;
struct sup_held;
struct sup_busy;
struct sup_snaps;
struct sup_data;

/* One stream of the job's output on its way to the log. */
struct sup_pump {
    struct sup *sup;
    enum logseg_stream stream;
    int fd; /* -1: ended, or there is none */
    struct watch *watch;
};

/*
 * A supervisor. One thread, but for `prepare` and `snapshot`, which run as struct work
 * and own what their comments say while they do.
 */
struct sup {
    struct loop *loop;
    struct agent *agent;
    struct renter *renter;
    struct jobdir dir;
    struct job_spec spec;
    struct strings secrets; /* K=V; in memory only */
    struct job_state state;

    struct offer *offer;
    struct grant grant;
    struct meter_session *meter;
    struct timer *meter_timer;

    struct device_list devices;
    size_t picked[SUP_DEVICES_MAX];
    int lock_fds[SUP_DEVICES_MAX];
    size_t n_picked; /* 0: none held */
    struct cgroup *cgroup;

    struct guard *guard;
    struct watch *guard_watch;

    /* preparing */
    struct strings env;   /* of the job; complete once prepared */
    struct strings login; /* of the host's user: what a renter's words did not change */
    struct strings user_env; /* a copy of login that no thread has: --notify-host's */
    struct strings shown;    /* prefixes of programs, that a confined job may read */
    char *workdir;
    char *tmpdir;     /* outside the snapshot; as the host names it */
    char *tmp_seen;   /* and as the job does: its own /tmp is that, where it has one */
    char *work_note;  /* what there is to say of the directory, */
    char *login_note; /* and of the login environment */
    /* --setup: due: it was not there when the job was accepted, so no device is held yet
     */
    char layer_key[SHA256_HEX_LEN + 1]; /* of its layer here (layerkey.h) */
    bool setup_due;
    bool setup_whole; /* the layer is, since we have the lock */
    bool setup_exited;
    int setup_status;
    bool has_setup_lock;
    int setup_lock;
    struct timer *setup_timer;
    char *user_base; /* what PYTHONUSERBASE was before; NULL: nothing is to be found there
                      */
    struct sup_data *data; /* --data: what is shown read-only */
    size_t n_data;

    /* running */
    struct logw *log;
    struct sup_pump pumps[2];
    int log_fd; /* of log/ */
    int pty_fd; /* master; -1: no tty */
    struct timer *sync_timer;
    struct sup_stdin *in;
    struct sup_exec *execs;
    struct sup_port *ports;
    uint32_t next_command;
    int main_status;    /* once main_exited */
    int64_t oom_before; /* machine-wide kills before it started; -1 not told */

    /* the end */
    struct err stop_why; /* ERR_NONE: the reason says it all */
    struct timer *window_timer;
    struct timer *leftover_timer;
    struct timer *drain_timer;
    int64_t ending_since_ns;
    int64_t receipt_wait_ns; /* until the disk is asked again for it; 0: not refused */
    char *end_detail;        /* state.detail, while that tells of the refusal; */
    char *end_form;          /* with its form */

    /* watching for limits of its own */
    struct timer *watch_timer;
    struct timer *reserved_timer;    /* the time paid in front meanwhile is over */
    char reserved[GRANT_ID_MAX + 1]; /* of which reservation; "" none */
    int64_t reserved_to_s;           /* as last read; wall seconds */
    struct timer *settle_timer;
    struct sup_held *held; /* counts what a snapshot would keep; NULL: keeping is free */
    struct sup_busy *busy; /* NULL before ready */
    struct sup_snaps *snaps; /* NULL: only at the end */
    struct notify_seen notified;
    struct child *errand; /* asks a book for acknowledgements; NULL: none */
    int64_t acks_look_ns; /* when to look next whether it is time; 0: not yet looked */
    uint64_t idle_ticks;  /* cpu ticks at the last busy moment */
    int64_t idle_since_ns;
    bool idle_looking; /* a thread asks the devices whether they are idle, too */

    uint8_t signal_keys[SUP_SIGNALS_KEPT]
                       [MSG_KEY_LEN]; /* of the last ones sent, a ring */
    size_t n_signals;

    int hold_fd; /* holds parking off; -1: it cannot */
    struct unix_listener *listener;
    struct sup_peer *peers;
    size_t n_peers;
    int exit_status;
    char *journal_why; /* what was told of the usage journal; NULL: it is written */

    enum job_reason stop_reason; /* ordered, or found out; NONE: none yet */
    bool preparing;              /* the work thread has env, workdir, tmpdir */
    bool walls_stand;
    bool started;     /* the command was started at least */
    bool main_exited; /* it is gone, main_status is how */
    bool empty;       /* no process of the job is left */
    bool killed;      /* SIGKILL was sent by us, before it was gone */
    bool no_snapshot;
    bool ending;   /* sup_end has begun */
    bool syncing;  /* the log is being synced, on a thread */
    bool log_told; /* a flush of log events is on its way */
};

/* ---- supervise.c: the life of a job ---- */

/* Record a phase in the state file and tell all peers. durable as jobdir_set_state. */
void sup_enter(struct sup *s, enum job_phase phase, bool durable);
/* The same phase, newer figures. */
void sup_refresh(struct sup *s);
/* Book a change with the meter; a disk that refuses is logged and tried again later. */
void sup_meter(struct sup *s, enum usage_state state, const char *reason);
/*
 * The usage journal was refused by the disk (the meter tries again by itself), or, why
 * NULL, it is written. Goes into the supervisor's log when it changes, not every time.
 */
void sup_journal(struct sup *s, const struct err *why);
/* Order the end. A later, harder order (now) speeds it up; the first reason stays. why:
 * what there is to say about it, or NULL. */
void sup_stop(struct sup *s, enum job_reason reason, bool now, const struct err *why);
/* It ends here and now, before its command or with its guard; for why, if for nothing
 * else before. */
void sup_fail(struct sup *s, enum job_reason reason, const struct err *why);
/* One line into the supervisor's own log (jobs/<id>/supervisor.log), bounded. */
void sup_say(struct sup *s, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* ---- sup_start.c ---- */

/* Check the request and make the job's record. On success the job is accepted. */
int sup_accept(struct sup *s, const struct rec *req, struct err *e) MUST_USE;

/*
 * Set-up is over: the devices that the grant is for, from now on the job's. ERR_BUSY:
 * none is free now.
 */
int sup_lease_devices(struct sup *s, struct err *e) MUST_USE;

/* ---- sup_prepare.c ---- */

void sup_prepare(struct sup *s); /* ends in sup_run_ready or sup_end */

/* ---- sup_data.c: --data ---- */

/* Make the files of the job's data sets, and links to them in its directory. */
int sup_data_place(struct sup *s, struct err *e) MUST_USE;
void sup_data_walls(const struct sup *s, struct rec *walls);
void sup_data_unlink(struct sup *s); /* before the directory is kept */
void sup_data_free(struct sup *s);

/* ---- sup_setup_env.c: what a set-up, and a job after one, finds ---- */

/*
 * The virtual environment that the host's user logs in to, where it is closed to what a
 * set-up installs beside it, and no other one is asked for; in login. NULL: none.
 */
const char *sup_setup_venv(const struct job_spec *spec, const struct strings *login);
void sup_setup_env(struct sup *s);
void sup_setup_walls(const struct sup *s, struct rec *walls);
/* For the command: a copy of the files, tools, its directory, its environment. */
int sup_setup_copy(struct sup *s, struct err *e) MUST_USE;
int sup_setup_tools(struct sup *s, struct err *e) MUST_USE; /* once s->env is there */
int sup_setup_tidy(struct sup *s, struct err *e) MUST_USE;  /* away with both */
char *sup_setup_cwd(const struct sup *s);                   /* malloc'ed; as it sees it */
void sup_setup_command_env(const struct sup *s, struct strings *env);
/*
 * Of what the set-up made: ERR_INVALID where it leads into the directory it ran in, which
 * goes with this job (an editable install that a script of the set-up's made).
 */
int sup_setup_check(const struct sup *s, struct err *e) MUST_USE;
/* In the empty layer: what the host's user has installed for itself is found, too, or in
 * the virtual environment it logs in to. */
int sup_setup_show_host(const struct sup *s, struct err *e) MUST_USE;

/* ---- sup_setup.c: --setup ---- */

void sup_setup_take(struct sup *s);  /* ends in sup_run_walls or sup_end */
void sup_setup_start(struct sup *s); /* the walls stand and setup_due */
/* true: the event was about the set-up. */
bool sup_setup_guard_event(struct sup *s, const struct guard_event *ev);
/* Once nothing of the job lives: of a set-up that did not get to its end, nothing stays.
 */
void sup_setup_discard(struct sup *s);
void sup_setup_free(struct sup *s);

/* ---- sup_env.c ---- */

/* Fill s->login anew. Asks the login shell: not on the loop's thread. */
void sup_env_login(struct sup *s);
/* Fill s->env but for devices, from s->login; and the command's words. */
int sup_env_build(struct sup *s, struct err *e) MUST_USE;
/* The words to exec for the job's command; the caller's (strings_free). */
int sup_command(struct sup *s, struct strings *out, struct err *e) MUST_USE;

/* ---- sup_python.c ---- */

/* A path on the host as the user wrote it: absolute, "~/…", in the job, or at home. */
char *sup_host_path(const struct sup *s, const char *text);
/*
 * Where programs are looked for on the word of a renter: of one that `allow` let in only
 * as the host's own user would find them.
 */
const struct strings *sup_finding_env(const struct sup *s);
/* bin: a directory of programs; what they need beside it is shown to a confined job. */
void sup_show_prefix_of(struct sup *s, const char *bin);
/* The interpreter of a job in Python; malloc'ed, NULL: there is none. */
char *sup_python(const struct sup *s);
/* Say that there is none, and which there are; -1. */
int sup_no_python(const struct sup *s, struct err *e);
/* A small file of ours for the job, which is not there yet. */
int sup_put_file(int dir_fd, const char *name, const char *text, mode_t mode,
                 struct err *e) MUST_USE;
/* --python: have `python3` and `python` in the directory dir_fd that run it. */
int sup_python_put(const struct sup *s, int dir_fd, struct err *e) MUST_USE;
/* The same in TMPDIR, first in the job's PATH: for commands, and for what a script runs.
 */
int sup_python_first(struct sup *s, struct err *e) MUST_USE;

/* ---- sup_run.c ---- */

void sup_run_walls(struct sup *s);
/*
 * What is started from now on is held to the memory asked for, and to that many cores
 * (0: all there are). What was started before has ended.
 */
int sup_run_limits(struct sup *s, int64_t cores, struct err *e) MUST_USE;
void sup_run_ready(struct sup *s);
void sup_run_guard_event(struct sup *s, const struct guard_event *ev);
/* When the meter wants to be called next, and the limits with it. */
void sup_run_schedule(struct sup *s);

/* ---- sup_watch.c: idle and memory where no control group holds it ---- */

void sup_watch_start(struct sup *s);

/* ---- sup_reserved.c: devices paid in front while the job runs on them ---- */

/*
 * From now on its time is that reservation's, until it is over; then it costs again.
 * ERR_DENIED: it is not of all the job's devices, or not in force; ERR_NOT_FOUND: the
 * job does not run; ERR_EXISTS: it was begun on a reservation.
 */
int sup_reserved_begin(struct sup *s, const char *id, struct err *e) MUST_USE;
/* Was the end we saw the kernel's answer to a want of memory? *why is set if so. */
bool sup_watch_was_oom(struct sup *s, struct err *why);
void sup_watch_too_much(const struct sup *s, struct err *why); /* words for it */
int64_t sup_watch_machine_ooms(void);

/* ---- sup_settle.c: the command has started ---- */

/* Soon from now, give back the memory that only starting it needed. */
void sup_settle_start(struct sup *s);

/* ---- sup_held.c: bytes to keep, for the landing reserve ---- */

/* Begin to count, now and then until sup_held_stop, for the meter. */
void sup_held_start(struct sup *s);
/* A count under way soon ends, and counts no more; false: it has not ended yet. */
bool sup_held_stop(struct sup *s);
void sup_held_free(struct sup *s); /* once it has */

/* ---- sup_snaps.c: --snap-every ---- */

void sup_snaps_start(struct sup *s);
/* None after this; false: one is still being taken. */
bool sup_snaps_stop(struct sup *s);
void sup_snaps_end(struct sup *s);  /* the last one is kept: those before go */
void sup_snaps_free(struct sup *s); /* once sup_snaps_stop says so */

/* ---- sup_notify.c: --notify-host ---- */

void sup_notify(struct sup *s); /* the state has changed */

/* ---- sup_busy.c: the device's busy time, for the bill ---- */

void sup_busy_start(struct sup *s); /* ready: from now on */
/* Tell the meter; before a record and before each change of state. */
void sup_busy_note(struct sup *s);
void sup_busy_stop(struct sup *s); /* ask no driver any more */
void sup_busy_free(struct sup *s);

/* ---- sup_acks.c: a book's acknowledgements while the job runs ---- */

void sup_acks(struct sup *s); /* with every record of the meter */
void sup_acks_free(struct sup *s);

/* ---- sup_log.c ---- */

int sup_log_open(struct sup *s, struct err *e) MUST_USE;
/* Take over the reading end of a stream. */
int sup_log_pump(struct sup *s, enum logseg_stream stream, int fd,
                 struct err *e) MUST_USE;
bool sup_log_drained(const struct sup *s);
void sup_log_stop(struct sup *s); /* read no more */
void sup_log_close(struct sup *s);

/* ---- sup_advice.c ---- */

/* All output is there, and how it ended: what it wrote last may say why it failed. */
void sup_advice(struct sup *s);

/* ---- sup_end.c ---- */

/* The command is gone, or never came: keep the data, write the receipt, say so, leave. */
void sup_end(struct sup *s);

/* ---- sup_peer.c ---- */

int sup_peer_listen(struct sup *s, struct err *e) MUST_USE;
int sup_peer_add(struct sup *s, int fd, struct err *e) MUST_USE; /* takes over fd */
void sup_peer_tell_state(struct sup *s);
void sup_peer_tell_log(struct sup *s);
/* Say goodbye to all, let them have what is queued, then stop the loop. */
void sup_peer_finish(struct sup *s);
void sup_peer_free_all(struct sup *s);

/* ---- sup_stdin.c, sup_exec.c, sup_port.c: channels that a client opened ---- */

/* Accept a client's bytes from now on; they wait until the command has its end. */
void sup_stdin_new(struct sup *s);
int sup_stdin_attach(struct sup *s, int fd, struct err *e) MUST_USE; /* takes over fd */
void sup_stdin_open(struct sup *s, struct mux *m, const struct mux_offer *offer);
void sup_stdin_free(struct sup *s);

void sup_exec_open(struct sup *s, struct mux *m, const struct mux_offer *offer);
/* false: the event is not about a command of exec. */
bool sup_exec_guard_event(struct sup *s, const struct guard_event *ev);
void sup_exec_free_all(struct sup *s);

void sup_port_open(struct sup *s, struct mux *m, const struct mux_offer *offer);
void sup_port_free_all(struct sup *s);

#endif

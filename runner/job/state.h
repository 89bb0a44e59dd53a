#ifndef RUNNER_JOB_STATE_H
#define RUNNER_JOB_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/rec.h"
#include "base/sign.h"
#include "runner/job/ids.h"
#include "runner/job/spec.h"

/*
 * How a job is doing: record gpurun.state.v1, jobs/<id>/state on the host, replaced
 * whole with every change; whoever reads the file sees one consistent moment. It is also
 * what job.list, job.show and the state events carry.
 */
#define STATE_TYPE      "gpurun.state.v1"
#define STATE_MAX_BYTES ((size_t)256 * 1024)

enum job_phase {
    JOB_PHASE_NONE = 0,
    JOB_SHIPPING,     /* its files are on their way */
    JOB_PREPARING,    /* directory, environment, preflight */
    JOB_SETUP,        /* the renter's set-up command, without a device */
    JOB_READY,        /* about to start; billing begins */
    JOB_RUNNING,      /* the command runs */
    JOB_STOPPING,     /* a stop was ordered */
    JOB_SNAPSHOTTING, /* the command is gone, its data is being kept */
    JOB_ENDED,        /* final */
    JOB_LOST,         /* final: its supervisor died, how it ended is unknown */
};

/* Why it ended. */
enum job_reason {
    JOB_REASON_NONE = 0,
    JOB_EXITED,    /* by itself, with exit_code */
    JOB_SIGNALLED, /* by itself or by others, with signal */
    JOB_STOPPED,   /* the renter said stop; exit_code or signal beside it */
    JOB_COST,      /* limits: the cost cap, */
    JOB_TIME,      /* its own time limit, */
    JOB_LEASE,     /* the end of the lease or grant, */
    JOB_BALANCE,   /* what the book covers, */
    JOB_IDLE,      /* idle for longer than asked, */
    JOB_MEMORY,    /* out of memory */
    JOB_FAILED,    /* did not start; detail says why */
    JOB_FAULT,     /* the host's fault: disk, device, supervisor's own error */
    JOB_OWNER,     /* the owner took the machine back */
    JOB_DISK,      /* a limit: more bytes than the owner lets the renter or a job keep */
};

/* Is the data safe? */
enum job_kept {
    JOB_KEPT_NONE = 0, /* no snapshot (yet); kept_why says why not, once final */
    JOB_KEPT_WHOLE,
    JOB_KEPT_PARTIAL, /* some entries are marked damaged */
};

#define JOB_NOT_SET ((int64_t)-1)

struct state_device {
    char *device_class;
    char *type;
    char *uuid;
};

struct job_state {
    char job[JOB_ID_LEN + 1];
    char renter[SIGN_ID_LEN + 1];
    char *name;
    enum job_phase phase;
    enum job_reason reason; /* once stopping began, and when final */
    int64_t exit_code;      /* 0-255, or JOB_NOT_SET */
    int64_t signal;         /* 1-64, or JOB_NOT_SET */
    char *detail;           /* one line for people, or NULL; a peer's words: escape it */
    char *detail_form;      /* detail taken apart (base/form.h), or NULL */
    int64_t since_wall_ns;  /* of this phase */
    int64_t made_wall_ns;
    int64_t started_wall_ns; /* 0: not yet */
    int64_t ended_wall_ns;   /* 0: not yet */
    char boot[BOOT_ID_LEN + 1];
    int64_t pid, pid_start; /* of the supervisor */
    struct state_device *devices;
    size_t n_devices;
    int64_t count;   /* devices or cores held */
    char *command;   /* the command line, for listings */
    char *workdir;   /* path on the host, or NULL before there is one */
    int64_t out_end; /* log bytes, JOB_NOT_SET until final */
    int64_t err_end;
    char snapshot[JOB_ID_LEN + 1]; /* or "" */
    enum job_kept kept;
    char *kept_why;          /* what is missing, or why there is no snapshot; or NULL */
    char *kept_form;         /* kept_why taken apart, or NULL */
    int64_t kept_bytes;      /* of the snapshot */
    int64_t kept_as_shipped; /* 1: it holds what was shipped, and nothing else */
    int64_t price_uyuan;     /* per unit-hour; JOB_NOT_SET: this host has no prices */
    int64_t cost_fen;        /* so far, as the bill would say now */
    int64_t cap_fen;         /* JOB_NOT_SET: none */
    int64_t can_run_s;       /* from since it was written; JOB_NOT_SET: no end in sight */
    int64_t alert_pct;       /* highest of 50, 80, 100 % of the cap reached; 0: none */
    int64_t charge_fen;      /* final, as in the receipt; JOB_NOT_SET before */
    int64_t expires_wall_ns; /* of the snapshot; 0: none */
    int64_t seq;             /* grows by one with every replacement */
};

void state_init(struct job_state *s);
void state_free(struct job_state *s);
void state_copy(struct job_state *to,
                const struct job_state *from); /* to was initialised */
void state_set_text(char **field,
                    const char *text); /* replaces an owned string; NULL clears */

/* As state_set_text, of an error's words and their form; NULL clears both. */
void state_tell(char **text, char **form, const struct err *why);

struct rec *state_encode(const struct job_state *s);
/* Unknown fields are fine (a newer agent). ERR_CORRUPT, ERR_INVALID. Written on success.
 */
int state_parse(struct job_state *out, const struct rec *r, struct err *e) MUST_USE;

/* `detail` of a job that exited because Python found no module; its name follows. */
#define JOB_NO_MODULE "no Python module "

/* `detail` of a job that is over and waits for a disk that takes its receipt; why
 * follows.
 */
#define JOB_NOT_BILLED "its bill cannot be written yet, which is tried again: "

/* kept_why where it is as it should be; anything else is data that waits on the host. */
#define JOB_WHY_NOT_WANTED  "no snapshot was wanted"
#define JOB_WHY_NOT_STARTED "the command never started"
/* Ended, and its data is nowhere but in the directory it left: `snap take` may save it.
 */
bool job_data_waits(const struct job_state *s);

/*
 * As a field `state` of an answer or event, and the i-th of these read again.
 * ERR_CORRUPT, ERR_INVALID: there is none, or none that can be read; *out is written on
 * success.
 */
void state_put(struct rec *r, const struct job_state *s);
int state_get(const struct rec *r, size_t i, struct job_state *out,
              struct err *e) MUST_USE;

bool job_phase_is_final(enum job_phase p);
const char *job_phase_name(enum job_phase p);   /* "running"; "" for none */
const char *job_reason_name(enum job_reason r); /* "exited"; "" for none */
enum job_phase job_phase_from_name(const char *name);
enum job_reason job_reason_from_name(const char *name);
const char *job_kept_name(enum job_kept k); /* "none", "whole", "partial" */

/* A limit ended it (exit code 104). */
bool job_reason_is_limit(enum job_reason r);

/*
 * What gpurun exits with: the job's own status (128 + n for signal n), 102 failed to
 * start, host fault, owner; 103 not final; 104 a limit; 105 lost.
 */
#define JOB_EXIT_USAGE  100
#define JOB_EXIT_FAILED 101 /* nothing changed */
#define JOB_EXIT_BROKEN 102 /* something changed on the host */
#define JOB_EXIT_LINK   103
#define JOB_EXIT_LIMIT  104
#define JOB_EXIT_LOST   105
int job_exit_code(const struct job_state *s);

/* One phrase for tables, in the user's language: "running", "ended: exited 3", "ended:
 * killed by SIGKILL", "lost". */
#define JOB_PHRASE_MAX 96
void job_phrase(const struct job_state *s, char out[JOB_PHRASE_MAX]);

/* "SIGTERM"; "signal 40" for those without a name. */
const char *job_signal_name(int signo, char out[16]);
/* "TERM", "SIGTERM" or "15". ERR_INVALID. */
int job_signal_parse(const char *text, int *signo, struct err *e) MUST_USE;

/* "devices": [{class, type, uuid}, …], as every listing shows them. */
void state_json_devices(struct json_writer *j, const struct job_state *st);

#endif

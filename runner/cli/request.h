#ifndef RUNNER_CLI_REQUEST_H
#define RUNNER_CLI_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/opt.h"
#include "runner/cli/cli.h"
#include "runner/cli/script.h"
#include "runner/client/config.h"
#include "runner/client/place.h"
#include "runner/job/spec.h"

/*
 * What a run is asked to be: the options of run, plan and resume as they were typed, and
 * the request they mean. Everything that can be wrong with them is found here,
 * before anything is done.
 */
struct run_options {
    const char *gpu, *cpu, *device, *arch, *host;
    const char *python, *conda, *venv;
    const char *from, *setup;
    struct opt_list data;
    const char *dir;
    struct opt_list with;
    bool with_git;
    struct opt_list out, port;
    struct opt_list env, env_file, secret;
    const char *max_cost, *max_time, *idle, *window;
    const char *wait, *max_price, *mem;
    const char *snap_every, *notify, *notify_host;
    bool detach;
    const char *name;
    bool tty;
    const char *batch, *array; /* run and plan: many jobs (runner/cli/batch.h) */
    bool with_code;            /* resume only */
    bool compare;              /* plan only */
    /* What of these a project file said (runner/cli/project.h); NULL: there is none. */
    const struct run_options *project;
};
extern const struct opt run_option_rows[];
extern const struct opt plan_option_rows[];
extern const struct opt resume_option_rows[];
extern const struct opt fresh_option_rows[]; /* run's, but not resume's */

struct port_want {
    uint16_t remote;
    uint16_t local; /* 0: the same if it is free, else any */
};

/* --data: as it was asked for, and what became of it once the host was chosen. */
struct data_want {
    char *name;
    char *path; /* relative to the job's directory */
    char *id;   /* of the set; NULL: not looked for yet */
    char *tree; /* hex */
    char *from; /* the host that has it, where the job's has not; else NULL */
    int64_t n_files, bytes, stored_bytes;
};

struct run_request {
    struct script script;
    bool ships; /* script.root is to be shipped */
    struct strings with;
    bool with_git;
    struct job_spec spec; /* all but tree, renter and what the host decides */
    struct place_want want;
    char *host;             /* --host, or NULL */
    char *from;             /* --from as typed, or NULL */
    char *from_host;        /* where the snapshot spec.from is, or NULL */
    int64_t from_bytes;     /* and in how many it is kept there; 0: unknown */
    struct strings secrets; /* "K=V" */
    struct strings outs;
    struct data_want *data;
    size_t n_data;
    struct port_want *ports;
    size_t n_ports;
    int64_t max_cost_fen; /* -1: price × time */
    bool cost_ceiling;    /* max_cost_fen is a project file's: it may only lower that */
    bool cost_unasked; /* what is paid is of a project file's choosing, uncapped here */
    int64_t wait_ns;   /* 0: not at all */
    bool has_window;   /* --window was given */
    char *notify;      /* --notify: a command to run here, or NULL */
    char *project;     /* the file of default options that was used, or NULL */
    char *setup_found; /* --setup auto: the file, relative to the root; or NULL */
    char *setup_asked; /* --setup as typed, or NULL */
    /* The key of what the set-up sees, once a host was asked for it, and (resume) the one
     * of the layer that the job had, which is asked for first: spec.setup_key is the one
     * that counts on that host. */
    char *setup_made, *setup_had;
    bool detach;
    bool named;    /* --name was given */
    bool for_data; /* its data becomes a data set: nothing is told of it, or copied */
};

/*
 * words: SCRIPT or a command (GRAMMAR_SCRIPT). NULL: nothing is run anew here (resume
 * fills the command in by itself).
 */
int request_make(struct run_request *out, const struct cli *c, const struct config *cfg,
                 const struct run_options *o, const struct words *w,
                 struct err *e) MUST_USE;
void request_free(struct run_request *r);

/* Another data set for r; path NULL: under its name where the job starts. */
int request_add_data(struct run_request *r, const char *cwd, const char *name,
                     const char *path, struct err *e) MUST_USE;

/* Parts of request_make: --data, and --with of the directory that is shipped. */
int request_fill_data(struct run_request *r, const struct run_options *o,
                      struct err *e) MUST_USE;
int request_fill_with(struct run_request *r, const struct run_options *o,
                      struct err *e) MUST_USE;

/*
 * A set-up and its key (request_setup.c), once all else of the request is known; command
 * as for --setup. A request that starts from a snapshot has it only when that is found:
 * under is then what what is shipped is laid over, or all there is; else NULL.
 */
struct setupview;
int request_fill_setup(struct run_request *r, const char *command,
                       struct setupview *under, struct err *e) MUST_USE;

/* Forget where it was found. */
void request_clear_data(struct data_want *d);
/*
 * Of the data sets that hosts list: has that host all that r wants? Do all that have one
 * of r's mean the same by its name? (ERR_INVALID: which one is not for us to say.)
 */
struct snap_infos;
bool request_has_data(const struct run_request *r, const struct snap_infos *l,
                      const char *host);
int request_check_data(const struct run_request *r, const struct snap_infos *l,
                       struct err *e) MUST_USE;
/*
 * For a run on that host: its own sets, or those of other hosts that are to be sent there
 * first (data_want.from). ERR_NOT_FOUND: nobody has one; ERR_INVALID as above.
 */
int request_choose_data(struct run_request *r, const struct snap_infos *l,
                        const char *host, struct err *e) MUST_USE;
/* All were found: name them in the specification. */
void request_name_data(struct run_request *r);

/* "8888" or "8888:9999"; 1 to 65535. */
int request_parse_port(const char *text, struct port_want *out, struct err *e) MUST_USE;
/* The command on one line, quoted as a shell would need it. malloc'ed. */
char *request_command_line(const struct strings *args);

#endif

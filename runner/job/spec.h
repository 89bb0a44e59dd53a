#ifndef RUNNER_JOB_SPEC_H
#define RUNNER_JOB_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/rec.h"
#include "base/sign.h"
#include "runner/job/ids.h"

/*
 * What a job is: record gpurun.spec.v1, made by the client, kept by the host as
 * jobs/<id>/spec byte for byte. It holds names of secrets, never their values.
 *
 * Both sides check it by the same function: spec_parse accepts nothing that could
 * not run, and a field it does not know is ERR_VERSION, because a job that ran
 * without (say) its image would not be the job that was asked for.
 */
#define SPEC_TYPE          "gpurun.spec.v1"
#define SPEC_MAX_BYTES     ((size_t)1 << 20)
#define SPEC_ARGS_MAX      16384
#define SPEC_ENV_MAX       4096
#define SPEC_STRING_MAX    ((size_t)128 * 1024) /* the kernel's own limit on one string */
#define SPEC_PATH_MAX      4095
#define SPEC_TITLE_MAX     400
#define SPEC_COUNT_MAX     4096
#define SPEC_TIME_MAX_S    ((int64_t)366 * 86400)
#define SPEC_WINDOW_MAX_S  ((int64_t)86400)
#define SPEC_WINDOW_DFLT_S 60
#define SPEC_TIME_DFLT_S   86400
#define SPEC_CAP_MAX_FEN   ((int64_t)1 << 53)
#define SPEC_WORD_MAX      255 /* type, class, interpreter, host names */

enum spec_kind {
    SPEC_KIND_NONE = 0,
    SPEC_KIND_EXEC,   /* arg[0] is run as a command: $PATH, or a path when it has a '/' */
    SPEC_KIND_PYTHON, /* arg[0] is a script without a shebang, run by python3 */
    SPEC_KIND_SH,     /* arg[0] is a script without a shebang, run by bash or sh */
};

enum spec_stdin {
    SPEC_STDIN_NONE = 0,
    SPEC_STDIN_NULL, /* /dev/null */
    SPEC_STDIN_OPEN, /* the stdin channel; open until a real EOF */
};

struct strings {
    char **v; /* each NUL-terminated, owned */
    size_t n;
};

void strings_add(struct strings *s, const char *value);
bool strings_has(const struct strings *s, const char *value);
void strings_add_all(struct strings *s, const struct strings *from);
void strings_add_once(struct strings *s, const char *value); /* not what is in it */
void strings_free(struct strings *s);

struct job_spec {
    char job[JOB_ID_LEN + 1];
    char renter[SIGN_ID_LEN + 1];
    char *name;          /* never NULL; the client fills in one when the user gave none */
    struct strings args; /* at least one */
    char *title;         /* what listings show in their place, or NULL */
    enum spec_kind kind;
    char *cwd;              /* relative to the shipped root; "" is the root itself */
    struct strings env;     /* "K=V" */
    struct strings secrets; /* names only */
    bool has_tree;
    struct sha256 tree;        /* what was shipped (storage/tree.h) */
    char from[JOB_ID_LEN + 1]; /* snapshot to start from, or "" */
    struct strings data;       /* data sets, each as spec_data_format makes it */
    char *device_class;        /* "cpu", "gpu", … */
    char *device_type;         /* as the user wrote it, or "any" */
    int64_t count;             /* devices; cores for cpu */
    int64_t max_time_s;        /* from ready on */
    int64_t cap_fen;           /* -1: the grant's, or none where no price is */
    int64_t window_s;          /* between SIGTERM and SIGKILL */
    int64_t idle_s;            /* 0: not watched */
    int64_t mem_bytes;         /* 0: no limit */
    bool tty;
    int64_t cols, rows; /* with tty: at the start */
    char *term;         /* with tty: TERM, or NULL */
    enum spec_stdin stdin_mode;
    char *python, *conda, *venv; /* at most one is not NULL */
    char *setup;                 /* command, or NULL */
    char *setup_key;             /* with setup: of it and the files it names; 64 hex */
    int64_t snap_every_s;        /* 0: only at the end */
    char *notify_host;           /* command for the host to run; or NULL */
    char *client_host;           /* labels for manifests; may be NULL */
    char *client_dir;
};

/*
 * A data set in a job: the tree called name, shown read-only at path, which is relative
 * to the job's directory and inside of it. Its text is "TREE NAME PATH".
 */
#define SPEC_DATA_MAX 64
#define DATA_NAME_MAX 64

struct spec_data {
    struct sha256 tree;
    char name[DATA_NAME_MAX + 1];
    const char *path; /* in the text that was parsed */
};

/* 1 to 64 of A-Z a-z 0-9 . _ -, the first no sign. ERR_INVALID. */
int data_name_check(const char *name, struct err *e) MUST_USE;
int spec_data_parse(struct spec_data *out, const char *text, struct err *e) MUST_USE;
/* malloc'ed */
char *spec_data_format(const struct sha256 *tree, const char *name, const char *path);

void spec_init(struct job_spec *s); /* defaults; everything owned is NULL */
void spec_free(struct job_spec *s); /* and spec_init again */

/* A new record; the caller frees it. */
struct rec *spec_encode(const struct job_spec *s);

/*
 * ERR_CORRUPT, ERR_INVALID, ERR_RANGE name the field; ERR_VERSION: a field this program
 * does not know. *out is written on success only (spec_free it).
 */
int spec_parse(struct job_spec *out, const struct rec *r, struct err *e) MUST_USE;

#endif

#ifndef RUNNER_CLI_CLI_H
#define RUNNER_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/opt.h"
#include "runner/client/home.h"

/*
 * The command table of `gpurun` and what a command is given. One table drives
 * dispatch, --help, completion and the check of the man page (table.c); one file per
 * command (cmd_<name>.c).
 */

/* Our own failures, as CLI.md lists them; below 100 and from 128 on it is the job's. */
enum cli_exit {
    CLI_OK = 0,
    CLI_USAGE = 100,   /* usage or bad input, nothing done */
    CLI_FAILED = 101,  /* failed, nothing changed */
    CLI_CHANGED = 102, /* failed after something changed on the host */
    CLI_CONTACT = 103, /* contact lost, a job may be running */
    CLI_LIMIT = 104,   /* stopped by a limit */
    CLI_LOST = 105,    /* the job is lost */
};

/*
 * How far a command has come: what an error means to the caller depends on
 * nothing else. Commands raise it as they go.
 */
enum cli_stage {
    STAGE_INPUT = 0, /* looking at what was typed: an error is CLI_USAGE */
    STAGE_TRYING,  /* at work, nothing changed yet: CLI_FAILED, but bad input is CLI_USAGE
                    */
    STAGE_CHANGED, /* something changed there: CLI_CHANGED, a lost link CLI_CONTACT */
};
int cli_exit_code(enum cli_stage stage, enum err_code code);

struct globals {
    bool quiet;
    bool verbose;
    bool yes;
    bool json;
    bool help;
    const char *home;
};

struct command;
struct loop;
struct notifycmds;

struct cli {
    struct globals g;
    const struct command *command;
    struct home *home;
    enum cli_stage stage;
    struct notifycmds *notifycmds; /* started so far (notifycmd.h); NULL: not counted */
};

/* What a word of the command line names, for completion. */
enum word_kind {
    WORD_NONE = 0,
    WORD_JOB,
    WORD_SNAPSHOT,
    WORD_JOB_OR_SNAPSHOT,
    WORD_JOB_PATH, /* "JOB:path", "SNAPSHOT:path", or a path here: all words of cp */
    WORD_HOST,
    WORD_FILE,
    WORD_JOB_OR_FILE,
    WORD_COMMAND,
    WORD_KEY, /* of config */
};

enum grammar {
    GRAMMAR_WORDS = 0, /* options and words in any order; "--" ends options */
    GRAMMAR_SCRIPT,  /* [OPTIONS] SCRIPT [placing options] [ARG...] | [OPTIONS] -- COMMAND
                      */
    GRAMMAR_COMMAND, /* options and words, then "--" and a COMMAND */
};

/* What is left of the command line when options are taken out. */
struct words {
    char **v; /* the words; of GRAMMAR_SCRIPT at most the script */
    int n;
    char **rest; /* the script's arguments, what follows "--", or line_word's line */
    int n_rest;
    bool dashes; /* "--" was there, so rest is a command */
};

/* Returns the exit code, or -1 with *e filled: main then prints it. */
typedef int command_fn(struct cli *c, const void *options, const struct words *w,
                       struct err *e);

struct command {
    const char *name;
    const char *usage;         /* after the name: "[OPTIONS] JOB" */
    const char *help;          /* one line */
    const char *about;         /* more lines for --help, or NULL */
    const struct opt *options; /* or NULL */
    size_t options_size;
    /* Of run's, all with values, that are refused here with why; in no help. Or NULL. */
    const struct opt *refused;
    const char *refused_why;
    enum grammar grammar;
    int min_words; /* of GRAMMAR_WORDS and GRAMMAR_COMMAND, before "--" */
    int max_words; /* -1: any number */
    /* This as the second word begins another program's command line: it is words->rest,
     * up to a long option, which is ours again. NULL: no word does. GRAMMAR_WORDS only.
     */
    const char *line_word;
    enum word_kind word;
    enum word_kind next; /* of those after the first, up to max_words */
    /* What the first word may be besides, for completion; NULL-ended, or NULL. */
    const char *const *verbs;
    /* GRAMMAR_SCRIPT: do the options say by themselves what is to run? NULL: never. */
    bool (*needs_no_script)(const void *options);
    bool hidden; /* not for people: completion's own entry */
    command_fn *run;
    const struct command *const *subs; /* `snap ls`: then run is NULL */
};

extern const struct command *const command_table[]; /* NULL-ended */
extern const struct opt global_options[];
/* Options that are still ours right after SCRIPT. */
extern const char *const placing_options[];

const struct command *command_find(const struct command *const *table, const char *name);

/*
 * A parsed command line. options is the command's struct (calloc'ed, NULL without
 * options). With g.help set nothing else is checked.
 */
struct parsed {
    struct globals g;
    const struct command *parent;  /* of a subcommand, else NULL */
    const struct command *command; /* NULL: no command and no script: show the overview */
    void *options;
    struct words w;
};

/*
 * Parse argv[1..argc). argv is reordered; *out points into it. ERR_INVALID with a
 * message that says what to type; out->g is good even then, as far as it was read.
 */
int cli_parse(struct parsed *out, int argc, char **argv, struct err *e) MUST_USE;
void parsed_free(struct parsed *p);

/*
 * One line of words as GRAMMAR_SCRIPT has them, into *target by table rows. argv is
 * reordered; *w (all empty before; free w->v) and *target point into it.
 */
int cli_parse_script(struct words *w, const struct opt *rows, void *target, int argc,
                     char **argv, struct err *e) MUST_USE;

/* Nearest name in the table for a mistyped one, or NULL. */
const char *command_nearest(const struct command *const *table, const char *name);
/* That a command with commands of its own has none of that name: ERR_INVALID. */
int command_no_sub(const struct command *parent, const char *name, struct err *e);

#endif

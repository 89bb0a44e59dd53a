#ifndef BASE_COMMAND_H
#define BASE_COMMAND_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/opt.h"

/*
 * A program of commands, such as gpurun-agent and gpurun-book: one table drives dispatch,
 * help, the shells' completion and the check that the manual names everything. Options
 * are parsed into struct command_options, which is the same for all: few commands have
 * any. It speaks the user's language (base/lang.h), but for what programs read: JSON,
 * CSV, completion, "serve" and the commands without help.
 */
struct command_options {
    bool help;
    bool json; /* results as one line on stdout, errors as one on stderr */
    bool csv;
    bool all;
    bool dry_run;
    const char *renter;
    const char *account;
    const char *host;
    const char *ssh_key;
    const char *name;
    const char *ref;
    const char *until;
    const char *from;
    const char *to;
    const char *max_cost;
    const char *job;
    const char *sha256;
    const char *month;
    const char *refund_fee;
    const char *min_spend;
};

/* Rows of options that most commands have. */
#define COMMAND_AT(field) offsetof(struct command_options, field)
#define COMMAND_HELP                                                                     \
    {                                                                                    \
        "help", 'h', OPT_FLAG, COMMAND_AT(help), NULL, N_("say what this takes")         \
    }
#define COMMAND_JSON                                                                     \
    {                                                                                    \
        "json", 0, OPT_FLAG, COMMAND_AT(json), NULL, N_("results and errors as JSON")    \
    }
#define COMMAND_END                                                                      \
    {                                                                                    \
        NULL, 0, OPT_NONE, 0, NULL, NULL                                                 \
    }

#define COMMAND_WORDS_MAX 1000

struct command {
    const char *name;
    const char *args; /* "KEYFILE", or "" */
    const char *help; /* one line; NULL: not for people */
    int min_args, max_args;
    const struct opt *options; /* NULL: none but --help */
    /*
     * Returns the exit status; -1 with *e filled means 1 and the message. NULL: the
     * program does it ("help", "version", "__complete").
     */
    int (*run)(const struct command_options *o, int argc, char **argv, struct err *e);
};

struct program {
    const char *name;
    const char *about;              /* what it is, before the list of commands */
    int usage_columns;              /* of that list */
    const struct command *commands; /* ended by a row with name NULL */
    /* How much of an error is for people: not what programs know it by. NULL: all. */
    size_t (*told_len)(const char *msg);
    /* Offer what may stand at the n-th word behind c (0: the first); words are those
     * typed. */
    void (*words)(const struct command *c, int n, char **words, const char *typed);
};

/* Rows that every such program has; their run is the program's own. */
#define COMMAND_COMPLETE                                                                 \
    {                                                                                    \
        "__complete", "-- WORD...", NULL, 1, COMMAND_WORDS_MAX, NULL, NULL               \
    }
#define COMMAND_VERSION                                                                  \
    {                                                                                    \
        "version", "", N_("say which version this is"), 0, 0, command_json_options, NULL \
    }
#define COMMAND_OVERVIEW                                                                 \
    {                                                                                    \
        "help", "[COMMAND]", N_("say what there is, and what a command takes"), 0, 1,    \
            NULL, NULL                                                                   \
    }
extern const struct opt command_json_options[]; /* --help and --json */

/* Its options, ended by a row with name NULL. */
const struct opt *command_options_of(const struct command *c);

/* The whole of main: argv without the program's name. Returns the exit status. */
int program_run(const struct program *p, int argc, char **argv);

/* Completion: a word and its meaning, if it begins as what was typed; names of files. */
void program_offer(const char *word, const char *help, const char *typed);
void program_offer_commands(const struct program *p, const char *typed);
void program_offer_files(void);

/* Print what was written as one line of JSON, and free it. */
int program_print_json(struct buf *b, struct err *e) MUST_USE;

#endif

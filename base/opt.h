#ifndef BASE_OPT_H
#define BASE_OPT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/err.h"

/*
 * Options from a table, so that parsing, --help, man page check and completion
 * all come from the same rows. Long options take "--name VALUE" or
 * "--name=VALUE"; short ones "-n VALUE" or "-nVALUE"; "--" ends options.
 */
enum opt_kind {
    OPT_NONE = 0,
    OPT_FLAG, /* *(bool *)at = true */
    OPT_STR,  /* *(const char **)at = value, the last one counts */
    OPT_LIST, /* opt_list at: appended in order */
};

struct opt_list {
    const char **v; /* pointers into argv */
    size_t n;
};

struct opt {
    const char *name; /* long name without dashes */
    char short_name;  /* 0: none */
    enum opt_kind kind;
    size_t offset;     /* of the target within the struct given to opt_parse */
    const char *value; /* name of the value in help, e.g. "DUR"; NULL for a flag */
    const char *help;  /* one line, to be translated */
};

/*
 * Parse argv[0..argc) (options only, without the program's or command's own
 * name) into *target by table (ended by a row with name NULL). With stop_at_first
 * the first word that is no option ends parsing. Words that are no options
 * are moved, in order, to argv[0..*n_rest). *ended_by_dashes: "--" was seen.
 * ERR_INVALID: unknown option, missing or superfluous value; the message names the
 * nearest known option.
 */
int opt_parse(const struct opt *table, void *target, int argc, char **argv,
              bool stop_at_first, int *n_rest, bool *ended_by_dashes,
              struct err *e) MUST_USE;

void opt_list_add(struct opt_list *l, const char *value);
void opt_list_free(struct opt_list *l);
/* What opt_parse has made of the table's rows in *target. */
void opt_free(const struct opt *table, void *target);

#endif

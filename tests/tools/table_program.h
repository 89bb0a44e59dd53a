#ifndef TESTS_TOOLS_TABLE_PROGRAM_H
#define TESTS_TOOLS_TABLE_PROGRAM_H

/*
 * Print a program's command table as table_gpurun does gpurun's, for tests/lint/man.
 * Commands that are not for people are left out; --help, which all of them have, is a
 * row of "*".
 */
#include <stdio.h>
#include <string.h>

#include "base/command.h"

static inline void
print_option(const char *command, const struct opt *o)
{
    (void)printf("option\t%s\t%c\t%s\t%s\n", command,
                 o->short_name != 0 ? o->short_name : '-', o->name,
                 o->value != NULL ? o->value : "-");
}

static inline int
print_program(const struct program *p)
{
    const struct opt *help = NULL;

    for (const struct command *c = p->commands; c->name != NULL; c++) {
        if (c->help == NULL) {
            continue;
        }
        (void)printf("usage\t%s\t%s\n", c->name, c->args);
        for (const struct opt *o = command_options_of(c); o->name != NULL; o++) {
            if (strcmp(o->name, "help") == 0) {
                help = o;
            } else {
                print_option(c->name, o);
            }
        }
    }
    if (help != NULL) {
        print_option("*", help);
    }
    return 0;
}

#endif

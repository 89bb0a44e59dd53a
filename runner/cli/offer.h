#ifndef RUNNER_CLI_OFFER_H
#define RUNNER_CLI_OFFER_H

#include "base/buf.h"
#include "base/opt.h"
#include "runner/cli/cli.h"
#include "runner/client/home.h"

/*
 * What a word under the cursor may become: lines "word\thelp" that begin with what is
 * typed already. A line that begins with ':' is for the shell: ":files", ":dirs", and
 * ":nospace" where the word goes on behind what is offered. All of it comes from the
 * command table and from what is on record here: no host is asked, nothing is
 * written, and what cannot be read is not offered.
 */
struct offer {
    const struct home *home;
    const char *word; /* as far as it is typed */
    struct buf *out;
};

/* A word of the offer's own. help may be NULL. */
void offer_word(const struct offer *a, const char *word, const char *help);
void offer_commands(const struct offer *a, const struct command *const *table);
/* Long options of a table, NULL: none. only: NULL, or the names that count. */
void offer_options(const struct offer *a, const struct opt *table,
                   const char *const *only);
/* What kind is about: jobs, snapshots, hosts, files, ... */
void offer_kind(const struct offer *a, enum word_kind kind);
/* A value for option o. */
void offer_value(const struct offer *a, const struct opt *o);

#endif

#ifndef RUNNER_CLI_SETUPWORDS_H
#define RUNNER_CLI_SETUPWORDS_H

#include <stdbool.h>
#include <stddef.h>

/*
 * The words of a shell command, of a list of requirements (pip) or of an environment
 * (conda): near enough alike to be taken apart by the same rules. It is not a shell: what
 * a word means once variables are filled in nobody knows here. For finding the files that
 * are named, so a word too many does no harm.
 */
struct setup_word {
    char *text; /* without quotes; may be "" */
    bool first; /* begins a command, or a line */
};

struct setup_words {
    struct setup_word *v;
    size_t n;
};

/*
 * Blanks part words, and so do ; & | ( ) < > ` and ends of lines, which begin a new
 * command. '…', "…" and \ hold together; # begins a remark where a word could begin.
 * text may hold any bytes.
 */
void setupwords_split(struct setup_words *out, const void *text, size_t len);

/*
 * Every run of letters that file names are made of (beyond ASCII all are), in remarks
 * and quotes, too.
 */
void setupwords_runs(struct setup_words *out, const void *text, size_t len);

void setupwords_free(struct setup_words *w);

#endif

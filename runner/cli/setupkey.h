#ifndef RUNNER_CLI_SETUPKEY_H
#define RUNNER_CLI_SETUPKEY_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/hash.h"
#include "runner/cli/setupview.h"
#include "runner/job/spec.h"

/*
 * The client's half of a set-up's key: a hash of the command, of where it runs, of the
 * interpreter asked for and of what the command names below the directory that is
 * shipped. (A host adds what it has itself: runner/host/layerkey.h.)
 *
 * A word of the command that is a file counts with its content, also behind `--x=`, `-r`,
 * `-c` and `file:`, and relative to what was `cd` to before. In files that list things
 * (*.txt, *.in, *.yml, *.yaml, or named by -r or -c) each word is looked
 * at likewise, relative to the file's directory, too. A word that is a directory and is
 * written as a path (with a slash, or a dot first) counts with all in it that is shipped;
 * of its files above 64 MiB size and time stand for the content.
 *
 * Where what is shipped is laid over a snapshot, a file that is not among it is looked
 * for there. Where nothing is shipped, a directory counts with the names, sizes and times
 * of all that the snapshot has in it: which of it the job wrote nobody knows.
 *
 * ERR_INVALID: an editable install of a directory, which leads every later job to the
 * directory of this one. ERR_RANGE: more than SETUPKEY_FILES_MAX files.
 */
#define SETUPKEY_FILES_MAX 100000

struct setupkey_options {
    const char *root; /* absolute: what is shipped; NULL: nothing is */
    const struct strings *with;
    bool with_git;
    struct setupview *under; /* the snapshot it is laid over, or NULL */
};

/*
 * word as a path from the root, "" for that itself, by its text alone; malloc'ed. NULL:
 * it leads out of it. place: relative to the root, where the word leads from.
 */
char *setupkey_within(const char *place, const char *word);

/*
 * Where what the set-up will see as path can be read here, malloc'ed (of a snapshot's
 * directory not what is in it); *out NULL: there is none.
 */
int setupkey_find(const struct setupkey_options *o, const char *path, char **out,
                  struct err *e) MUST_USE;

/* s: its setup, cwd, python and conda. */
int setupkey_make(const struct setupkey_options *o, const struct job_spec *s,
                  char key[SHA256_HEX_LEN + 1], struct err *e) MUST_USE;

#endif

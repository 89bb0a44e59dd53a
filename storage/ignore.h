#ifndef STORAGE_IGNORE_H
#define STORAGE_IGNORE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"

/*
 * What is not shipped: git's ignore rules (gitignore(5), matched exactly as git
 * 2.39 does with core.ignorecase=false) and the built-in ones of the command line.
 *
 * An ignore_dir holds the rules of one directory and points to its parent's. Two
 * chains are asked in turn, in each the deepest directory first and the last line
 * first: .gpurunignore files, then .gitignore files. A directory that is ignored is not
 * entered, so nothing in it can be re-included (that is the scanner's doing, as is that
 * what git tracks is in though a rule of git's excludes it: git_index.h).
 * Read-only after its making: any number of threads may match.
 */

struct ignore_dir;

/* Longer lines, files and lists are cut off there. */
#define IGNORE_FILE_MAX_BYTES ((size_t)4 * 1024 * 1024)

enum ignore_why {
    IGNORE_NOT = 0,
    IGNORE_GIT,    /* a .gitignore (or .git/info/exclude) */
    IGNORE_GPURUN, /* a .gpurunignore */
    IGNORE_VCS,    /* .git */
    IGNORE_VENV,   /* a folder with pyvenv.cfg or conda-meta */
    IGNORE_CACHE,  /* __pycache__, .ipynb_checkpoints */
    IGNORE_SECRET, /* .env .ssh .aws .netrc id_* *.pem *.key .gnupg */
    IGNORE_WHY_COUNT
};

/* "git", "secret", …: for JSON; never NULL. */
const char *ignore_why_name(enum ignore_why why);

/*
 * The rules for the directory path (relative to the root of matching, "" for it),
 * below those of parent (NULL at the top; must outlive the new one). gitignore and
 * gpurunignore are the files' bytes, NULL where there is none.
 */
struct ignore_dir *ignore_dir_new(const struct ignore_dir *parent, const char *path,
                                  const void *gitignore, size_t gitignore_len,
                                  const void *gpurunignore, size_t gpurunignore_len);
void ignore_dir_free(struct ignore_dir *d); /* NULL is allowed; not the parent */

/*
 * Do the ignore files exclude path (relative to the root of matching), an entry of the
 * directory d or of one below it that has no rules of its own? d may be NULL: no rules.
 */
enum ignore_why ignore_match(const struct ignore_dir *d, const char *path,
                             size_t path_len, bool is_dir);

/* Do the built-in rules exclude an entry of this name? (IGNORE_VENV is told by content.)
 */
enum ignore_why ignore_builtin(const char *name, size_t len, bool is_dir, bool with_git);

/* git's wildmatch: pathname true lets only "**" cross a slash. */
bool ignore_wildmatch(const char *pattern, size_t pattern_len, const char *text,
                      size_t text_len, bool pathname);

#endif

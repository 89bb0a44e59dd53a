#ifndef STORAGE_SCAN_H
#define STORAGE_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/err.h"
#include "storage/ignore.h"
#include "storage/tree.h"

/*
 * A sweep over a directory: every entry with its stat, in path order, several
 * threads reading directories ahead. Memory is bounded by the largest directory and
 * a fixed look-ahead, not by the tree. Symbolic links are never followed; no path
 * leads out of the root.
 *
 * What the kernel says may be stale by the time it is used: that is build.h's matter.
 */

struct scan;

#define SCAN_WITH_MAX 1024

struct scan_options {
    bool everything;       /* a snapshot: no ignore rules at all */
    const char *only_name; /* of the root's entries only the one of this name; NULL: all;
                              outlives the scan */
    bool with_git;         /* .git is not built-in ignored */
    bool allow_home;       /* a tree with .ssh or .gnupg is not refused */
    bool one_file_system;  /* directories on other file systems: the entry, not what is in
                              it */
    bool measure_skipped;  /* count the bytes of what is ignored (walks it) */
    const void *git_excludes; /* bytes of the user's core.excludesFile; with a repository
                                 only; outlives the scan; NULL: none */
    size_t git_excludes_len;
    const char *const
        *with; /* paths relative to the root that are in, whatever the rules */
    size_t n_with;
    unsigned n_threads; /* 0: one per core, at most 8 */
};

struct scan_entry {
    const char
        *path; /* relative, "" is the root; NUL-terminated; until the next scan_next */
    size_t path_len;
    enum tree_type type;
    enum tree_damage
        damage;    /* TREE_UNREADABLE, …: stat or opening the directory failed */
    int sys_errno; /* with damage */
    dev_t dev;
    ino_t ino;
    uint32_t mode; /* 07777 */
    uint32_t nlink;
    uint32_t uid;
    uint32_t gid;
    dev_t rdev;
    uint64_t size;
    uint64_t blocks; /* of 512 bytes */
    int64_t mtime_ns;
    int64_t ctime_ns;
};

/* What was left out, for plan. Names are paths of files and whole directories. */
#define SCAN_TOP 10
struct scan_skipped {
    uint64_t n[IGNORE_WHY_COUNT];     /* entries; an ignored directory counts once */
    uint64_t bytes[IGNORE_WHY_COUNT]; /* 0 unless measure_skipped */
    struct scan_top {
        char *path; /* ends in a slash for a directory; stays the scan's */
        enum ignore_why why;
        uint64_t bytes;
    } top[SCAN_TOP]; /* the largest, with measure_skipped */
    size_t n_top;
    char *secrets[SCAN_TOP]; /* the first few by name, to be named */
    size_t n_secrets;
};

/*
 * Begin at root_fd (a directory; stays the caller's and must outlive the scan).
 * ERR_INVALID: a with path that is not below the root.
 */
int scan_open(struct scan **out, int root_fd, const struct scan_options *o,
              struct err *e) MUST_USE;
/*
 * The next entry; NULL at the end. ERR_DENIED: the tree holds .ssh or .gnupg (named)
 * and neither allow_home nor a with path lets it in.
 */
int scan_next(struct scan *s, const struct scan_entry **entry, struct err *e) MUST_USE;
/* Complete once scan_next gave NULL; stays s's. */
const struct scan_skipped *scan_skipped(const struct scan *s);
void scan_close(struct scan *s); /* NULL is allowed; at any moment */

/* Take the account out of s; the caller's, to be given to scan_skipped_free. */
void scan_take_skipped(struct scan *s, struct scan_skipped *out);
void scan_skipped_free(struct scan_skipped *k);

/*
 * May the directory be shipped without being named by --dir? ERR_DENIED for "/", a home
 * folder (home, where known) or one that holds it. A tree with .ssh inside is found
 * out by the scan.
 */
int scan_check_root(const char *dir, const char *home, struct err *e) MUST_USE;

#endif

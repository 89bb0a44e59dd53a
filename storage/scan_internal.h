#ifndef STORAGE_SCAN_INTERNAL_H
#define STORAGE_SCAN_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "storage/git_index.h"
#include "storage/scan.h"

/*
 * Inside the sweep. Directories are nodes. One thread (the caller of scan_next) walks
 * them in path order and frees them; others read directories that it will need, nearest
 * first. A node is written by the thread that reads it until it is SCAN_DONE, then
 * belongs to the walker. The list of nodes to be read is kept in path order: a node's
 * subdirectories take its place in it.
 */

enum scan_node_state { SCAN_NODE_NONE = 0, SCAN_WAITING, SCAN_READING, SCAN_DONE };

struct scan_node;

struct scan_item {
    struct scan_entry st;    /* path unset */
    const char *name;        /* in the node's names */
    struct scan_node *child; /* of a directory that is entered */
};

struct scan_node {
    struct scan_node *parent;
    char *match_path; /* relative to the root of matching (the git root) */
    const char *path; /* its tail, relative to the root of the scan */
    size_t path_len;
    bool forced;       /* a --with path is here or above: no rule counts */
    bool in_ignored;   /* entered only because a --with path lies below */
    bool only_tracked; /* git ignores it: only what its index holds is in */
    dev_t dev;
    const struct ignore_dir *rules; /* that hold for what is in it */
    struct ignore_dir *own_rules;   /* freed with the node */

    enum scan_node_state state;
    int sys_errno;            /* it could not be read */
    enum ignore_why left_out; /* found out inside: a virtual environment */
    uint64_t left_out_bytes;
    char *names;
    struct scan_item *items; /* sorted */
    size_t n;
    size_t next; /* the walker's place */

    struct scan_node *before; /* in the list of what is to be read */
    struct scan_node *after;
};

struct scan_reader;

struct scan {
    int root_fd;
    struct scan_options o;
    struct ignore_dir **above; /* rules from above the root, outermost first */
    size_t n_above;
    size_t prefix_len;         /* of match_path before path */
    int git_dir_fd;            /* -1: none */
    struct git_index *tracked; /* read by the first who asks, under lock */
    bool tracked_read;

    /* the walker's */
    struct scan_reader *reader;
    struct scan_node *at;
    bool started;
    struct buf path;
    struct scan_entry entry;

    /* under lock */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct scan_node *first; /* waiting or being read, in path order */
    size_t ahead;            /* entries read and not reached yet */
    bool stop;
    bool failed;
    struct err why;
    struct scan_skipped skipped;

    pthread_t *threads;
    unsigned n_threads; /* running */
    bool threads_tried;
};

/* ---- scan_dir.c ---- */

/* What one thread needs to read directories. */
struct scan_reader *scan_reader_new(void);
void scan_reader_free(struct scan_reader *r);

/*
 * Fill n (but its state). Without the lock; takes it to add to what was skipped.
 * Errors of the directory go to n->sys_errno; -1 ends the whole scan.
 */
int scan_read_dir(struct scan *s, struct scan_reader *r, struct scan_node *n,
                  struct err *e) MUST_USE;

struct scan_node *scan_node_new(const struct scan *s, struct scan_node *parent,
                                const char *name);
void scan_node_free(struct scan_node *top); /* and all below */
void scan_fill_stat(struct scan_entry *to, const struct stat *st);

/* ---- scan_rules.c ---- */

/* Rules from the git root above the scanned directory; sets above, n_above, prefix_len.
 */
void scan_find_rules_above(struct scan *s, struct scan_node *root);
/* Does git track the path, or (of a directory) one below it? Any thread's. */
bool scan_tracked(struct scan *s, const char *path, size_t len, bool is_dir);
void scan_rules_free(struct scan *s);

/* ---- scan_skipped.c ---- */

/* bytes 0: not measured. path is copied. */
void scan_note_skipped(struct scan_skipped *k, const char *path, bool is_dir,
                       enum ignore_why why, uint64_t bytes);
/* Add from's counts and names to to; from is emptied. */
void scan_merge_skipped(struct scan_skipped *to, struct scan_skipped *from);
/* The bytes of name in dir_fd and of what is below it, as far as can be seen quickly. */
uint64_t scan_measure(int dir_fd, const char *name);

#endif

#ifndef STORAGE_EXTRACT_INTERNAL_H
#define STORAGE_EXTRACT_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "storage/arena.h"
#include "storage/extract.h"
#include "storage/named.h"
#include "storage/scache.h"

/*
 * The engine under extract_tree and workdir_make. The calling thread adds groups in
 * order and makes directories; workers fetch chunks and make everything else, group by
 * group, a big file in stretches. Hard links and the metadata of directories come last.
 */

/* What is to be done about an entry. */
enum extract_action {
    EXTRACT_MAKE = 0,
    EXTRACT_SKIP, /* not selected, or kept as it is */
    EXTRACT_META, /* it is there: only its metadata is to be set */
    /* A file is there, with this one name: it is to hold this in the end. With a mark its
     * metadata is right already, and if its content is so too it is left alone. */
    EXTRACT_REFRESH,
    /* The same of a big file, of which some chunks are where they are to be (x->patches).
     */
    EXTRACT_PATCH,
};

struct extract_span {
    const char *at;
    size_t len;
};

/* A group on its way to a worker, or a stretch of a big file. */
struct extract_work {
    struct extract_work *next;
    struct tree_arena *arena; /* owns group */
    size_t held_bytes;        /* by the arena */
    struct tree_group group;
    struct extract_span first_dir; /* of its first and last entry, in the arena */
    struct extract_span last_dir;
    uint8_t *actions;          /* of each entry */
    struct scache_mark *marks; /* of each entry, or NULL */
    struct extract_big *big;   /* not NULL: a stretch of this file */
    uint64_t big_at;           /* where it begins in the stored content */
    struct tree_chunk *chunks; /* of the stretch */
    size_t n_chunks;
};

/* A big file being written by several workers. The last one completes it. */
struct extract_big {
    struct tree_arena *arena; /* of the group that entry is in */
    const struct tree_entry *entry;
    struct scache_mark *mark;
    char *path;
    int parent_fd;
    int fd;
    char *staged; /* the name it has until it is complete; NULL: its own */
    const char *name;
    const uint8_t *same; /* a bit per chunk: it lies there already; NULL: a new file */
    size_t n_chunks;     /* of groups that were added; the calling thread's */
    size_t n_left;       /* stretches not done, + 1 while more may come; under lock */
};

struct extract_marks {
    struct extract_marks *next;
    size_t n;
    struct scache_mark v[];
};

/* Copies in x->kept. */
struct extract_dir {
    const struct tree_entry *entry;
    const char *path; /* in the target */
    struct scache_mark *mark;
};

struct extract_link {
    const char *path; /* in the target, both */
    const char *to;
    const struct tree_entry *entry;
    struct scache_mark *mark;
};

/* The directory objects are made in, kept open from one to the next. */
struct extract_parent {
    int root_fd;
    struct buf path;
    int fd;
};

struct extract {
    int root_fd;
    const struct extract_options *o;
    const struct tree_source *source;
    struct extract_report *r; /* counts under lock */
    int umask_now;            /* -1: not known */
    size_t strip;             /* bytes of each path of the tree that fall away */

    /* the calling thread's */
    struct arena kept;
    struct extract_dir *dirs;
    size_t n_dirs;
    size_t cap_dirs;
    struct extract_link *links;
    size_t n_links;
    size_t cap_links;
    struct named lost;           /* paths in the target of what could not be made */
    struct extract_marks *marks; /* in order; only with a cache */
    struct extract_marks **marks_end;
    int64_t newest_large_ns; /* change time of large files; under lock */
    struct extract_big *big; /* file that goes on in the next group */
    uint64_t big_at;
    const uint8_t *const *patches; /* the caller's: a bit per chunk of each file that is
                                      to be patched, in order: what need not be written */
    struct extract_parent parent;
    struct buf content;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct extract_work *queue;
    struct extract_work **queue_end;
    struct extract_work *busy; /* being done */
    size_t n_queued;
    size_t n_queued_big; /* of them stretches of big files */
    size_t queued_bytes; /* held by the groups among them */
    bool stop;
    bool failed;
    struct err why;
    pthread_t *threads;
    unsigned n_threads;
    unsigned max_threads;
};

/* ---- extract_engine.c ---- */

void extract_begin(struct extract *x, int root_fd, const struct tree_source *source,
                   const struct extract_options *o, struct extract_report *r);
/*
 * Work on the next group of the tree, which lives in arena; takes over arena. actions and
 * marks (of what is not touched) have one element per entry; either may be NULL.
 */
int extract_add(struct extract *x, struct tree_arena *arena, const struct tree_group *g,
                const uint8_t *actions, const struct scache_mark *marks,
                struct err *e) MUST_USE;
/* A hard link to be made in the end; paths are of the target. */
void extract_add_link(struct extract *x, const char *path, const char *to,
                      const struct tree_entry *entry, struct scache_mark *mark);
/* Wait for the workers, make links, set what directories are to look like. */
int extract_finish(struct extract *x, struct err *e) MUST_USE;
/* After that: complete the scan cache of tree_id, into which its groups went. */
int extract_commit_cache(struct extract *x, struct scache_writer *cache,
                         const struct sha256 *tree_id, struct err *e) MUST_USE;
void extract_end(struct extract *x); /* in any case */
/* A path of the tree, in the target. */
const char *extract_path(const struct extract *x, const char *path);

/* ---- extract_work.c: the pieces, and the threads that do them ---- */

bool extract_failed(struct extract *x, struct err *e);
/* Queue k, now owned by the queue; does other pieces here while too many wait. */
void extract_queue(struct extract *x, struct extract_work *k);
/* A stretch less of f; the last one completes the file, unless something went wrong. */
int extract_big_done(struct extract *x, struct extract_big *f, struct err *e) MUST_USE;
void extract_big_free(struct extract_big *f);
void extract_wait(struct extract *x); /* until nothing is queued or being done */
void extract_stop(struct extract *x); /* ends the threads; drops what is queued */

/* ---- extract_make.c ---- */

void extract_parent_free(struct extract_parent *p);
/* Open the directory of path; *name is its last component. */
int extract_parent_of(struct extract_parent *p, const char *path, const char **name,
                      struct err *e) MUST_USE;

int extract_make_dir(struct extract *x, const char *path, struct err *e) MUST_USE;
/* A file of these bytes; content NULL, len 0: the caller will write. */
int extract_make_file(struct extract *x, struct extract_parent *p,
                      const struct tree_entry *entry, const char *path,
                      const uint8_t *content, struct scache_mark *mark,
                      struct err *e) MUST_USE;
/* The same in place (EXTRACT_REFRESH). */
int extract_refresh_file(struct extract *x, struct extract_parent *p,
                         const struct tree_entry *entry, const char *path,
                         const uint8_t *content, struct scache_mark *mark,
                         struct err *e) MUST_USE;
/* Symbolic links, FIFOs, sockets, devices. */
int extract_make_other(struct extract *x, struct extract_parent *p,
                       const struct tree_entry *entry, const char *path,
                       struct scache_mark *mark, struct err *e) MUST_USE;
int extract_make_link(struct extract *x, const struct extract_link *l,
                      struct err *e) MUST_USE;
/* A new file, or that which is there if f->same is set. */
int extract_open_big(struct extract *x, struct extract_big *f, struct err *e) MUST_USE;
int extract_close_big(struct extract *x, struct extract_big *f, struct err *e) MUST_USE;
/* Write a stretch of the stored content, which begins at `at`. */
int extract_write_big(struct extract_big *f, uint64_t at, const uint8_t *data, size_t len,
                      struct err *e) MUST_USE;

/* ---- extract_meta.c ---- */

/* Everything but the contents, for an open file or directory. */
int extract_meta_fd(struct extract *x, int fd, const struct tree_entry *entry,
                    const char *path, struct err *e) MUST_USE;
/* The same for what can only be opened by O_PATH. */
int extract_meta_path_fd(struct extract *x, int fd, const struct tree_entry *entry,
                         const char *path, struct err *e) MUST_USE;
/* The mode it is to have in the end. */
mode_t extract_mode(const struct extract *x, const struct tree_entry *entry);
void extract_lost(struct extract *x, const char *path, const char *what, int sys_errno);
int extract_read_umask(void);

#endif

#include "storage/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "storage/beneath.h"
#include "storage/scan_internal.h"

/* Entries read ahead of the walker: enough to keep threads busy, and a few MB at most. */
#define AHEAD_MAX   ((size_t)16384)
#define THREADS_MAX 8
/* Below so many known directories, starting threads costs more than they bring. */
#define THREADS_FROM 4

/* ---- the list of nodes to be read; all under lock ---- */

static void
list_remove(struct scan *s, struct scan_node *n)
{
    if (n->before != NULL) {
        n->before->after = n->after;
    } else {
        s->first = n->after;
    }
    if (n->after != NULL) {
        n->after->before = n->before;
    }
}

/* n was read: its subdirectories take its place. */
static void
list_replace(struct scan *s, struct scan_node *n)
{
    struct scan_node *before = n->before;
    struct scan_node *after = n->after;

    list_remove(s, n);
    for (size_t i = 0; i < n->n; i++) {
        struct scan_node *child = n->items[i].child;

        if (child == NULL) {
            continue;
        }
        child->before = before;
        child->after = after;
        *(before != NULL ? &before->after : &s->first) = child;
        if (after != NULL) {
            after->before = child;
        }
        before = child;
    }
}

static struct scan_node *
first_waiting(const struct scan *s)
{
    struct scan_node *n = s->first;

    while (n != NULL && n->state != SCAN_WAITING) {
        n = n->after;
    }
    return n;
}

/* Read n, which is ours by state SCAN_READING. Locked before and after. */
static void
read_node(struct scan *s, struct scan_reader *r, struct scan_node *n)
{
    struct err why = {0};
    int rc;

    (void)pthread_mutex_unlock(&s->lock);
    rc = scan_read_dir(s, r, n, &why);
    (void)pthread_mutex_lock(&s->lock);
    if (rc != 0 && !s->failed) {
        s->failed = true;
        s->why = why;
    }
    n->state = SCAN_DONE;
    s->ahead += n->n;
    list_replace(s, n);
    (void)pthread_cond_broadcast(&s->changed);
}

static void *
reader_main(void *arg)
{
    struct scan *s = arg;
    struct scan_reader *r = scan_reader_new();

    (void)pthread_mutex_lock(&s->lock);
    while (!s->stop) {
        struct scan_node *n = s->ahead < AHEAD_MAX ? first_waiting(s) : NULL;

        if (n == NULL) {
            (void)pthread_cond_wait(&s->changed, &s->lock);
            continue;
        }
        n->state = SCAN_READING;
        read_node(s, r, n);
    }
    (void)pthread_mutex_unlock(&s->lock);
    scan_reader_free(r);
    return NULL;
}

static unsigned
default_threads(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;

    return n < 1 ? 1 : n > THREADS_MAX ? THREADS_MAX : (unsigned)n;
}

static size_t
count_waiting(const struct scan *s, size_t enough)
{
    size_t n = 0;

    for (const struct scan_node *at = s->first; at != NULL && n < enough;
         at = at->after) {
        n++;
    }
    return n;
}

/* A scan with fewer threads than asked for, or none, works as well. */
static void
start_threads(struct scan *s)
{
    unsigned want = s->o.n_threads != 0 ? s->o.n_threads : default_threads();

    if (s->threads_tried || want < 2 || count_waiting(s, THREADS_FROM) < THREADS_FROM) {
        return;
    }
    s->threads_tried = true;
    s->threads = xcalloc(want, sizeof *s->threads);
    while (s->n_threads < want &&
           pthread_create(&s->threads[s->n_threads], NULL, reader_main, s) == 0) {
        s->n_threads++;
    }
}

/* Wait until n is read, reading it here if nobody does. -1: the scan failed. */
static int
wait_done(struct scan *s, struct scan_node *n, struct err *e)
{
    int rc = 0;

    (void)pthread_mutex_lock(&s->lock);
    while (n->state != SCAN_DONE && !s->failed) {
        if (n->state == SCAN_WAITING) {
            n->state = SCAN_READING;
            read_node(s, s->reader, n);
            start_threads(s);
        } else {
            (void)pthread_cond_wait(&s->changed, &s->lock);
        }
    }
    if (s->failed) {
        *e = s->why;
        rc = -1;
    } else {
        s->ahead -= n->n;
        (void)pthread_cond_broadcast(&s->changed);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return rc;
}

/* ---- the walk ---- */

static void
set_path(struct scan *s, const struct scan_node *n, const char *name)
{
    buf_reset(&s->path);
    buf_add(&s->path, n->path, n->path_len);
    if (n->path_len > 0 && name[0] != '\0') {
        buf_add_u8(&s->path, '/');
    }
    buf_add_str(&s->path, name);
    s->entry.path = buf_str(&s->path);
    s->entry.path_len = s->path.len;
}

static int
begin(struct scan *s, struct err *e)
{
    struct stat st;

    s->started = true;
    if (fstat(s->root_fd, &st) != 0) {
        return err_set_sys(e, errno, "cannot look at the directory");
    }
    memset(&s->entry, 0, sizeof s->entry);
    scan_fill_stat(&s->entry, &st);
    s->at->dev = st.st_dev;
    set_path(s, s->at, "");
    if (wait_done(s, s->at, e) != 0) {
        return -1;
    }
    s->entry.sys_errno = s->at->sys_errno;
    s->entry.damage = tree_damage_of(s->at->sys_errno);
    return 0;
}

static void
step_up(struct scan *s)
{
    struct scan_node *done = s->at;

    s->at = done->parent;
    if (s->at != NULL) {
        s->at->items[s->at->next - 1].child = NULL;
    }
    scan_node_free(done);
}

/* false: the directory turned out to be gone, or not to be shipped. */
static bool
enter(struct scan *s, struct scan_item *item)
{
    struct scan_node *child = item->child;
    bool gone = tree_damage_of(child->sys_errno) == TREE_VANISHED;

    if (child->left_out != IGNORE_NOT || gone) {
        if (!gone) {
            (void)pthread_mutex_lock(&s->lock);
            scan_note_skipped(&s->skipped, child->path, true, child->left_out,
                              child->left_out_bytes);
            (void)pthread_mutex_unlock(&s->lock);
        }
        item->child = NULL;
        scan_node_free(child);
        return false;
    }
    s->at = child;
    s->entry.sys_errno = child->sys_errno;
    s->entry.damage = tree_damage_of(child->sys_errno);
    return true;
}

int
scan_next(struct scan *s, const struct scan_entry **entry, struct err *e)
{
    *entry = NULL;
    if (!s->started) {
        if (begin(s, e) != 0) {
            return -1;
        }
        *entry = &s->entry;
        return 0;
    }
    while (s->at != NULL) {
        struct scan_node *n = s->at;
        struct scan_item *item;

        if (n->next == n->n) {
            step_up(s);
            continue;
        }
        item = &n->items[n->next++];
        if (item->child != NULL && wait_done(s, item->child, e) != 0) {
            return -1;
        }
        s->entry = item->st;
        set_path(s, n, item->name);
        if (item->child == NULL || enter(s, item)) {
            *entry = &s->entry;
            return 0;
        }
    }
    return 0;
}

/* ---- life ---- */

static int
check_with(int root_fd, const struct scan_options *o, struct err *e)
{
    if (o->n_with > SCAN_WITH_MAX) {
        return err_set(e, ERR_INVALID, "more than %d paths to include", SCAN_WITH_MAX);
    }
    for (size_t i = 0; i < o->n_with; i++) {
        const char *w = o->with[i];
        struct stat st;

        if (w[0] == '\0' || !tree_path_ok(w, strlen(w))) {
            return err_set(e, ERR_INVALID, "'%s' is not below the directory", w);
        }
        if (fstatat(root_fd, w, &st, AT_SYMLINK_NOFOLLOW) != 0) {
            return err_set_sys(e, errno, "cannot include '%s'", w);
        }
    }
    return 0;
}

int
scan_open(struct scan **out, int root_fd, const struct scan_options *o, struct err *e)
{
    struct scan *s;
    struct stat st;

    if (fstat(root_fd, &st) != 0 || !S_ISDIR(st.st_mode)) {
        return err_set(e, ERR_INVALID, "not a directory");
    }
    if (check_with(root_fd, o, e) != 0) {
        return -1;
    }
    s = xcalloc(1, sizeof *s);
    s->root_fd = root_fd;
    s->git_dir_fd = -1;
    s->o = *o;
    s->reader = scan_reader_new();
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)pthread_cond_init(&s->changed, NULL);
    s->at = scan_node_new(s, NULL, "");
    s->first = s->at;
    if (!o->everything) {
        scan_find_rules_above(s, s->at);
    }
    *out = s;
    return 0;
}

const struct scan_skipped *
scan_skipped(const struct scan *s)
{
    return &s->skipped;
}

void
scan_take_skipped(struct scan *s, struct scan_skipped *out)
{
    *out = s->skipped;
    memset(&s->skipped, 0, sizeof s->skipped);
}

void
scan_close(struct scan *s)
{
    if (s == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&s->lock);
    s->stop = true;
    (void)pthread_cond_broadcast(&s->changed);
    (void)pthread_mutex_unlock(&s->lock);
    for (unsigned i = 0; i < s->n_threads; i++) {
        (void)pthread_join(s->threads[i], NULL);
    }
    while (s->at != NULL) { /* up to the root, which holds the rest */
        struct scan_node *parent = s->at->parent;

        if (parent == NULL) {
            scan_node_free(s->at);
            break;
        }
        s->at = parent;
    }
    scan_rules_free(s);
    free(s->threads);
    scan_reader_free(s->reader);
    scan_skipped_free(&s->skipped);
    buf_free(&s->path);
    (void)pthread_mutex_destroy(&s->lock);
    (void)pthread_cond_destroy(&s->changed);
    free(s);
}

/* ---- what may be shipped without being named ---- */

int
scan_check_root(const char *dir, const char *home, struct err *e)
{
    char *real = realpath(dir, NULL);
    char *real_home = home != NULL ? realpath(home, NULL) : NULL;
    int rc = 0;

    if (real == NULL) {
        rc = err_set_sys(e, errno, "cannot look at '%s'", dir);
    } else if (strcmp(real, "/") == 0) {
        rc = err_set(e, ERR_DENIED,
                     "this would ship the whole machine ('/'); say --dir "
                     "with the folder that the job needs");
    } else if (real_home != NULL &&
               tree_path_beneath(real_home, strlen(real_home), real, strlen(real))) {
        rc = err_set(e, ERR_DENIED,
                     "this would ship your home folder ('%s'); put the script in a "
                     "folder of its own, or name this one with --dir",
                     real);
    }
    free(real);
    free(real_home);
    return rc;
}

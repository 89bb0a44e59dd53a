#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "storage/beneath.h"
#include "storage/scan_internal.h"

#define ABOVE_MAX 64 /* levels looked at above the scanned directory */

/* Open the directory n levels above; its path in out. -1: no such. */
static int
open_above(const char *dir, size_t n, char *out, size_t size)
{
    size_t len = strlen(dir);

    for (size_t i = 0; i < n; i++) {
        while (len > 0 && dir[len - 1] != '/') {
            len--;
        }
        if (len <= 1) {
            return -1; /* what stands in "/" is nobody's project */
        }
        len--;
    }
    if (len == 0 || len >= size) {
        return -1;
    }
    memcpy(out, dir, len);
    out[len] = '\0';
    return open(out, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* How many levels up the git root is; -1: nowhere. */
static int
levels_to_git(const char *dir, char *git_root, size_t size)
{
    for (int i = 0; i < ABOVE_MAX; i++) {
        int fd = open_above(dir, (size_t)i, git_root, size);
        struct stat st;
        bool here;

        if (fd == -1) {
            return -1;
        }
        here = fstatat(fd, ".git", &st, AT_SYMLINK_NOFOLLOW) == 0;
        (void)fd_close(&fd);
        if (here) {
            return i;
        }
    }
    return -1;
}

static void
add_above(struct scan *s, struct ignore_dir *d)
{
    s->above = xrealloc(s->above, (s->n_above + 1) * sizeof *s->above);
    s->above[s->n_above++] = d;
}

static const struct ignore_dir *
innermost(const struct scan *s)
{
    return s->n_above > 0 ? s->above[s->n_above - 1] : NULL;
}

static void
drop_above(struct scan *s)
{
    while (s->n_above > 0) {
        ignore_dir_free(s->above[--s->n_above]);
    }
}

/* info/exclude stands below every .gitignore, and the user's own file below that. */
static void
load_exclude(struct scan *s, int git_dir_fd)
{
    int fd = git_common_dir_open(git_dir_fd);
    struct buf b = BUF_INIT;

    if (s->o.git_excludes_len > 0) {
        add_above(s, ignore_dir_new(NULL, "", s->o.git_excludes, s->o.git_excludes_len,
                                    NULL, 0));
    }
    if (fd != -1) {
        beneath_read(fd, "info/exclude", IGNORE_FILE_MAX_BYTES, &b);
        (void)fd_close(&fd);
    }
    if (b.len != 0) {
        add_above(s, ignore_dir_new(innermost(s), "", b.data, b.len, NULL, 0));
    }
    buf_free(&b);
}

bool
scan_tracked(struct scan *s, const char *path, size_t len, bool is_dir)
{
    const struct git_index *x;

    if (s->git_dir_fd == -1) {
        return false;
    }
    (void)pthread_mutex_lock(&s->lock);
    if (!s->tracked_read) {
        s->tracked_read = true;
        s->tracked = git_index_read(s->git_dir_fd);
    }
    x = s->tracked;
    (void)pthread_mutex_unlock(&s->lock);
    return git_index_has(x, path, len) || (is_dir && git_index_below(x, path, len));
}

void
scan_rules_free(struct scan *s)
{
    drop_above(s);
    free(s->above);
    git_index_free(s->tracked);
    (void)fd_close(&s->git_dir_fd);
}

static void
load_level(struct scan *s, int fd, const char *path)
{
    struct buf git = BUF_INIT;
    struct buf own = BUF_INIT;

    beneath_read(fd, ".gitignore", IGNORE_FILE_MAX_BYTES, &git);
    beneath_read(fd, ".gpurunignore", IGNORE_FILE_MAX_BYTES, &own);
    if (git.len != 0 || own.len != 0) {
        add_above(
            s, ignore_dir_new(innermost(s), path, git.data, git.len, own.data, own.len));
    }
    buf_free(&git);
    buf_free(&own);
}

/*
 * Load the levels from the git root down to just above dir. false: one of them ignores
 * the next: what is scanned was named on purpose, so no rule of theirs counts.
 */
static bool
load_levels(struct scan *s, const char *dir, const char *git_root, int levels)
{
    const char *rel = dir + strlen(git_root) + 1;
    char above[PATH_MAX];

    for (int i = levels; i > 0; i--) {
        int fd = open_above(dir, (size_t)i, above, sizeof above);
        const char *here;
        size_t next_len;

        if (fd == -1) {
            return false;
        }
        here = strlen(above) > strlen(git_root) ? above + strlen(git_root) + 1 : "";
        load_level(s, fd, here);
        (void)fd_close(&fd);
        next_len = here[0] != '\0' ? strlen(here) + 1 : 0;
        next_len += strcspn(rel + next_len, "/");
        if (ignore_match(innermost(s), rel, next_len, true) != IGNORE_NOT) {
            return false;
        }
    }
    return true;
}

void
scan_find_rules_above(struct scan *s, struct scan_node *root)
{
    char link[64];
    char dir[PATH_MAX];
    char git_root[PATH_MAX];
    ssize_t n;
    int levels;
    int fd;

    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", s->root_fd);
    n = readlink(link, dir, sizeof dir - 1);
    if (n <= 0 || dir[0] != '/') {
        return;
    }
    dir[n] = '\0';
    levels = levels_to_git(dir, git_root, sizeof git_root);
    if (levels < 0) {
        return;
    }
    fd = open(git_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd != -1) {
        s->git_dir_fd = git_dir_open(fd);
        (void)fd_close(&fd);
    }
    if (s->git_dir_fd != -1) {
        load_exclude(s, s->git_dir_fd);
    }
    if (levels > 0 && !load_levels(s, dir, git_root, levels)) {
        drop_above(s);
        (void)fd_close(&s->git_dir_fd);
        return;
    }
    if (levels > 0) {
        free(root->match_path);
        root->match_path = xstrdup(dir + strlen(git_root) + 1);
        s->prefix_len = strlen(root->match_path) + 1;
        root->path = root->match_path + strlen(root->match_path);
    }
    root->rules = innermost(s);
}

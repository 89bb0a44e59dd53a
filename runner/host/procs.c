#include "runner/host/procs.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/text.h"

#define PROC_TEXT_MAX 4096
#define PROC_ENV_MAX  ((size_t)2 << 20)
#define PROC_NET_MAX  ((size_t)16 << 20)
#define PROC_LIST_MAX 100000
#define TCP_LISTEN    "0A"

/* Words of /proc/PID/stat after the name, from 0 (proc(5) counts from 1: less 3). */
enum stat_word {
    STAT_STATE = 0,
    STAT_PPID = 1,
    STAT_UTIME = 11,
    STAT_STIME = 12,
    STAT_CUTIME = 13,
    STAT_CSTIME = 14,
    STAT_START = 19,
    STAT_RSS = 21,
    STAT_WORDS
};

/* Words of a line of /proc/net/tcp. */
enum tcp_word { TCP_LOCAL = 1, TCP_STATE = 3, TCP_INODE = 9, TCP_WORDS };

static ssize_t
read_small(const char *path, char *to, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd == -1) {
        return -1;
    }
    n = fd_read_full(fd, to, size - 1);
    (void)close(fd);
    if (n >= 0) {
        to[n] = '\0';
    }
    return n;
}

/* Cut a line into its first n words; how many there are of them. */
static size_t
words(char *line, char **to, size_t n)
{
    char *save = NULL;
    size_t i = 0;

    for (char *w = strtok_r(line, " \n", &save); w != NULL && i < n;
         w = strtok_r(NULL, " \n", &save)) {
        to[i++] = w;
    }
    return i;
}

static bool
number(const char *s, int64_t max, int64_t *out)
{
    struct err none;

    return text_parse_int(s, 0, max, "a number", out, &none) == 0;
}

pid_t
proc_pid_named(const char *name)
{
    int64_t pid = 0;

    return isdigit((unsigned char)name[0]) && number(name, INT_MAX, &pid) ? (pid_t)pid
                                                                          : 0;
}

bool
proc_read_stat(pid_t pid, struct proc_stat *out)
{
    char path[48];
    char text[PROC_TEXT_MAX];
    char *w[STAT_WORDS];
    int64_t ppid;
    int64_t utime;
    int64_t stime;
    int64_t cutime;
    int64_t cstime;
    int64_t start;
    int64_t rss;
    char *p;

    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (read_small(path, text, sizeof text) <= 0) {
        return false;
    }
    /* The name may hold anything, also ") R 1": fields count from the last bracket. */
    p = strrchr(text, ')');
    if (p == NULL || words(p + 1, w, STAT_WORDS) < STAT_WORDS ||
        !number(w[STAT_PPID], INT_MAX, &ppid) ||
        !number(w[STAT_UTIME], INT64_MAX / 4, &utime) ||
        !number(w[STAT_STIME], INT64_MAX / 4, &stime) ||
        !number(w[STAT_CUTIME], INT64_MAX / 4, &cutime) ||
        !number(w[STAT_CSTIME], INT64_MAX / 4, &cstime) ||
        !number(w[STAT_START], INT64_MAX, &start) ||
        !number(w[STAT_RSS], INT64_MAX / 65536, &rss)) {
        return false;
    }
    out->pid = pid;
    out->ppid = (pid_t)ppid;
    out->state = w[STAT_STATE][0];
    out->start = (uint64_t)start;
    out->cpu_ticks = (uint64_t)(utime + stime);
    out->child_ticks = (uint64_t)(cutime + cstime);
    out->rss_bytes = (uint64_t)rss * (uint64_t)sysconf(_SC_PAGESIZE);
    return true;
}

uint64_t
proc_start(pid_t pid)
{
    struct proc_stat st;

    return proc_read_stat(pid, &st) && st.state != 'Z' && st.state != 'X' ? st.start : 0;
}

void
proc_list_free(struct proc_list *l)
{
    free(l->v);
    *l = (struct proc_list){NULL, 0};
}

static void
add(struct proc_list *l, size_t *cap, const struct proc_stat *st)
{
    if (l->n == *cap) {
        *cap = *cap == 0 ? 64 : 2 * *cap;
        l->v = xrealloc(l->v, *cap * sizeof *l->v);
    }
    l->v[l->n++] = *st;
}

static int
list_all(struct proc_list *out, struct err *e)
{
    DIR *d = opendir("/proc");
    struct dirent *de;
    size_t cap = 0;

    if (d == NULL) {
        return err_set_sys(e, errno, "cannot list processes");
    }
    while ((de = readdir(d)) != NULL && out->n < PROC_LIST_MAX) {
        struct proc_stat st;
        pid_t pid = proc_pid_named(de->d_name);

        if (pid > 0 && proc_read_stat(pid, &st)) {
            add(out, &cap, &st);
        }
    }
    (void)closedir(d);
    return 0;
}

static bool
holds(const struct proc_list *l, pid_t pid)
{
    for (size_t i = 0; i < l->n; i++) {
        if (l->v[i].pid == pid) {
            return true;
        }
    }
    return false;
}

/* By the whole table: kernels without /proc/…/children. */
static int
descendants_by_table(pid_t root, struct proc_list *out, struct err *e)
{
    struct proc_list all = {NULL, 0};
    size_t cap = 0;
    bool grew = true;

    if (list_all(&all, e) != 0) {
        return -1;
    }
    while (grew) {
        grew = false;
        for (size_t i = 0; i < all.n; i++) {
            struct proc_stat *st = &all.v[i];

            if (st->pid != 0 && (st->ppid == root || holds(out, st->ppid)) &&
                !holds(out, st->pid)) {
                add(out, &cap, st);
                grew = true;
            }
        }
    }
    proc_list_free(&all);
    return 0;
}

/* Append the children of pid's threads; false: this kernel does not tell. */
static bool
add_children(pid_t pid, struct proc_list *out, size_t *cap)
{
    char path[64];
    struct dirent *de;
    bool told = false;
    DIR *d;

    (void)snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    d = opendir(path);
    if (d == NULL) {
        return true; /* gone: it has none */
    }
    while ((de = readdir(d)) != NULL && out->n < PROC_LIST_MAX) {
        struct buf b = BUF_INIT;
        struct err none;
        pid_t tid = proc_pid_named(de->d_name);
        char *rest;

        if (tid == 0) {
            continue;
        }
        (void)snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid,
                       (int)tid);
        if (file_read(path, PROC_NET_MAX, &b, &none) != 0) {
            continue;
        }
        told = true;
        rest = b.len == 0 ? NULL : (char *)b.data;
        while (rest != NULL && *rest != '\0') {
            struct proc_stat st;
            char *end;
            long child = strtol(rest, &end, 10);

            if (end == rest) {
                break;
            }
            if (proc_read_stat((pid_t)child, &st)) {
                add(out, cap, &st);
            }
            rest = end;
        }
        buf_free(&b);
    }
    (void)closedir(d);
    return told;
}

int
proc_descendants(pid_t root, struct proc_list *out, struct err *e)
{
    struct proc_list l = {NULL, 0};
    size_t cap = 0;
    int rc = 0;

    if (!add_children(root, &l, &cap)) {
        proc_list_free(&l);
        rc = descendants_by_table(root, &l, e);
    } else {
        for (size_t i = 0; i < l.n && l.n < PROC_LIST_MAX; i++) {
            (void)add_children(l.v[i].pid, &l, &cap);
        }
    }
    if (rc == 0) {
        *out = l;
    } else {
        proc_list_free(&l);
    }
    return rc;
}

char *
proc_environ(pid_t pid, const char *name)
{
    char path[48];
    struct buf b = BUF_INIT;
    struct err none;
    size_t len = strlen(name);
    char *found = NULL;

    (void)snprintf(path, sizeof path, "/proc/%d/environ", (int)pid);
    if (file_read(path, PROC_ENV_MAX, &b, &none) == 0 && b.len > 0) {
        for (size_t at = 0; at < b.len;) {
            const char *s = (const char *)b.data + at;
            size_t n = strnlen(s, b.len - at);

            if (n > len && memcmp(s, name, len) == 0 && s[len] == '=') {
                found = xmalloc(n - len);
                memcpy(found, s + len + 1, n - len - 1);
                found[n - len - 1] = '\0';
                break;
            }
            at += n + 1;
        }
    }
    buf_free(&b);
    return found;
}

/* ---- listeners ---- */

#define INODES_MAX 64

struct listeners {
    uint64_t inode[INODES_MAX];
    bool v6[INODES_MAX];
    size_t n;
};

/* Loopback or wildcard, as /proc/net/tcp writes them. */
static bool
address_is_ours(const char *hex, bool v6)
{
    if (!v6) {
        return strcmp(hex, "00000000") == 0 || strcmp(hex, "0100007F") == 0;
    }
    return strcmp(hex, "00000000000000000000000000000000") == 0 ||
           strcmp(hex, "00000000000000000000000001000000") == 0;
}

static void
find_listeners(const char *path, bool v6, unsigned port, struct listeners *l)
{
    struct buf b = BUF_INIT;
    struct err none;
    char *save = NULL;

    if (file_read(path, PROC_NET_MAX, &b, &none) != 0 || b.len == 0) {
        buf_free(&b);
        return;
    }
    for (char *line = strtok_r((char *)b.data, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {
        char *w[TCP_WORDS];
        char *colon;
        int64_t inode;

        if (words(line, w, TCP_WORDS) < TCP_WORDS ||
            strcmp(w[TCP_STATE], TCP_LISTEN) != 0 ||
            !number(w[TCP_INODE], INT64_MAX, &inode)) {
            continue;
        }
        colon = strchr(w[TCP_LOCAL], ':');
        if (colon == NULL || strtoul(colon + 1, NULL, 16) != port) {
            continue;
        }
        *colon = '\0';
        if (address_is_ours(w[TCP_LOCAL], v6) && l->n < INODES_MAX) {
            l->inode[l->n] = (uint64_t)inode;
            l->v6[l->n++] = v6;
        }
    }
    buf_free(&b);
}

static bool
has_socket(pid_t pid, uint64_t inode)
{
    char path[48];
    char want[40];
    struct dirent *de;
    bool found = false;
    DIR *d;

    (void)snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    (void)snprintf(want, sizeof want, "socket:[%" PRIu64 "]", inode);
    d = opendir(path);
    if (d == NULL) {
        return false;
    }
    while (!found && (de = readdir(d)) != NULL) {
        char target[64];
        ssize_t n = readlinkat(dirfd(d), de->d_name, target, sizeof target - 1);

        if (n > 0) {
            target[n] = '\0';
            found = strcmp(target, want) == 0;
        }
    }
    (void)closedir(d);
    return found;
}

bool
proc_listens(const struct proc_list *l, unsigned port, bool *v6, uint64_t *inode)
{
    struct listeners found = {.n = 0};
    char path[48];

    if (l->n == 0) {
        return false;
    }
    /* The table of the job's network name space, by whichever process lives. */
    for (size_t i = 0; i < l->n && found.n == 0; i++) {
        if (l->v[i].state == 'Z') {
            continue;
        }
        (void)snprintf(path, sizeof path, "/proc/%d/net/tcp", (int)l->v[i].pid);
        find_listeners(path, false, port, &found);
        (void)snprintf(path, sizeof path, "/proc/%d/net/tcp6", (int)l->v[i].pid);
        find_listeners(path, true, port, &found);
        break;
    }
    for (size_t k = 0; k < found.n; k++) {
        for (size_t i = 0; i < l->n; i++) {
            if (has_socket(l->v[i].pid, found.inode[k])) {
                *v6 = found.v6[k];
                *inode = found.inode[k];
                return true;
            }
        }
    }
    return false;
}

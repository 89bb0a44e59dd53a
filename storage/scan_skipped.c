#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "storage/scan_internal.h"

/* What is measured of an ignored directory at most: plan shall not take minutes. */
#define MEASURE_MAX_ENTRIES ((uint64_t)500000)
#define MEASURE_MAX_DEPTH   100

/* Takes over path. */
static void
insert_top(struct scan_skipped *k, char *path, enum ignore_why why, uint64_t bytes)
{
    size_t i = k->n_top;

    while (i > 0 && k->top[i - 1].bytes < bytes) {
        i--;
    }
    if (bytes == 0 || i == SCAN_TOP) {
        free(path);
        return;
    }
    if (k->n_top == SCAN_TOP) {
        free(k->top[--k->n_top].path);
    }
    memmove(&k->top[i + 1], &k->top[i], (k->n_top - i) * sizeof k->top[0]);
    k->top[i].path = path;
    k->top[i].why = why;
    k->top[i].bytes = bytes;
    k->n_top++;
}

/* The first ones by name, whichever thread comes first. Takes over path. */
static void
add_secret(struct scan_skipped *k, char *path)
{
    size_t i = k->n_secrets;

    while (i > 0 && strcmp(path, k->secrets[i - 1]) < 0) {
        i--;
    }
    if (i == SCAN_TOP) {
        free(path);
        return;
    }
    if (k->n_secrets == SCAN_TOP) {
        free(k->secrets[--k->n_secrets]);
    }
    memmove(&k->secrets[i + 1], &k->secrets[i],
            (k->n_secrets - i) * sizeof k->secrets[0]);
    k->secrets[i] = path;
    k->n_secrets++;
}

void
scan_note_skipped(struct scan_skipped *k, const char *path, bool is_dir,
                  enum ignore_why why, uint64_t bytes)
{
    const char *slash = is_dir ? "/" : "";

    k->n[why]++;
    k->bytes[why] += bytes;
    if (why == IGNORE_SECRET) {
        add_secret(k, xasprintf("%s%s", path, slash));
    }
    if (bytes > 0) {
        insert_top(k, xasprintf("%s%s", path, slash), why, bytes);
    }
}

void
scan_merge_skipped(struct scan_skipped *to, struct scan_skipped *from)
{
    for (size_t i = 0; i < IGNORE_WHY_COUNT; i++) {
        to->n[i] += from->n[i];
        to->bytes[i] += from->bytes[i];
    }
    for (size_t i = 0; i < from->n_secrets; i++) {
        add_secret(to, from->secrets[i]);
    }
    for (size_t i = 0; i < from->n_top; i++) {
        insert_top(to, from->top[i].path, from->top[i].why, from->top[i].bytes);
    }
    memset(from, 0, sizeof *from);
}

void
scan_skipped_free(struct scan_skipped *k)
{
    for (size_t i = 0; i < k->n_secrets; i++) {
        free(k->secrets[i]);
    }
    for (size_t i = 0; i < k->n_top; i++) {
        free(k->top[i].path);
    }
    memset(k, 0, sizeof *k);
}

static bool
is_dot(const char *name)
{
    return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

static uint64_t
measure(int dir_fd, const char *name, int depth, uint64_t *n_left)
{
    uint64_t bytes = 0;
    struct stat st;
    struct dirent *at;
    DIR *d;
    int fd;

    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(st.st_mode)) {
        return S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
    }
    fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    d = fd != -1 && depth < MEASURE_MAX_DEPTH ? fdopendir(fd) : NULL;
    if (d == NULL) {
        (void)fd_close(&fd);
        return 0;
    }
    while (*n_left > 0 && (at = readdir(d)) != NULL) {
        if (!is_dot(at->d_name)) {
            (*n_left)--;
            bytes += measure(fd, at->d_name, depth + 1, n_left);
        }
    }
    (void)closedir(d);
    return bytes;
}

uint64_t
scan_measure(int dir_fd, const char *name)
{
    uint64_t n_left = MEASURE_MAX_ENTRIES;

    return measure(dir_fd, name, 0, &n_left);
}

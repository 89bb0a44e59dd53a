/*
 * Errands that nobody waits for: a process of its own does them, when a job has ended,
 * and now and then while one runs.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "runner/host/books.h"
#include "runner/host/errands_internal.h"
#include "runner/loop/child.h"

#define DUE_FILE ".due"
#define DUE_LOCK ".due.lock"
#define DUE_MAX  ((size_t)256)
#define NS_PER_S ((int64_t)1000000000)
#define EVERY_S  ((int64_t)300)
#define SELDOM_S ((int64_t)3600)

bool
errands_call_any(const struct host_books *l)
{
    bool any = false;

    for (size_t i = 0; i < l->n; i++) {
        any = any || l->v[i].where[0] != '\0';
    }
    return any;
}

/* ---- the process ---- */

static const int no_fds[] = {-1, -1, -1};

static struct child_options
options(char *const *argv)
{
    return (struct child_options){.file = "/proc/self/exe",
                                  .argv = argv,
                                  .fds = no_fds,
                                  .n_fds = 3,
                                  .new_session = true};
}

void
errands_start(const struct agent *a)
{
    static char *const argv[] = {(char *)(uintptr_t) "gpurun-agent",
                                 (char *)(uintptr_t) "errands", NULL};
    const struct child_options o = options(argv);
    struct host_books books;
    struct err none;
    pid_t pid;

    if (books_list(&books, a, &none) == 0) {
        if (errands_call_any(&books)) {
            (void)!child_spawn(&pid, &o, &none); /* else the next tick does it */
        }
        books_free(&books);
    }
}

/* ---- while jobs run ---- */

/* When it is time again, of all jobs of a book together, and how long one waits then. */
struct due {
    int64_t boot_ns;
    int64_t every_s;
};

/* What cannot be read, or is of another boot, says: now. */
static struct due
read_due(const struct agent *a, const struct sign_public *book)
{
    char name[ERRANDS_NAME_MAX];
    struct due d = {0, EVERY_S};
    char boot[BOOT_ID_LEN + 1];
    char said[BOOT_ID_LEN + 1];
    struct buf b = BUF_INIT;
    int64_t boot_ns = 0;
    int64_t every_s = 0;
    struct err none;

    clock_boot_id(boot);
    errands_name(book, DUE_FILE, name);
    if (file_read_at(a->home_fd, name, DUE_MAX, &b, &none) == 0 &&
        /* NOLINTNEXTLINE(cert-err34-c): of a number that is none nothing bad comes */
        sscanf(buf_str(&b), "%36s %" SCNd64 " %" SCNd64, said, &boot_ns, &every_s) == 3 &&
        strcmp(boot, said) == 0 && every_s >= EVERY_S && every_s <= SELDOM_S &&
        boot_ns <= clock_boot_ns() + SELDOM_S * NS_PER_S) {
        d = (struct due){boot_ns, every_s};
    }
    buf_free(&b);
    return d;
}

static void
write_due(const struct agent *a, const struct sign_public *book, int64_t every_s)
{
    char name[ERRANDS_NAME_MAX];
    char boot[BOOT_ID_LEN + 1];
    char text[DUE_MAX];
    struct err none;

    clock_boot_id(boot);
    (void)snprintf(text, sizeof text, "%s %" PRId64 " %" PRId64 "\n", boot,
                   clock_boot_ns() + every_s * NS_PER_S, every_s);
    errands_name(book, DUE_FILE, name);
    (void)!file_replace_at(a->home_fd, name, text, strlen(text), &none);
}

/* Of two supervisors that look at once one is told so, and the other need not wait. */
static int
lock_due(const struct agent *a, const struct sign_public *book, bool wait, int *lock)
{
    char *path = errands_file(a, book, DUE_LOCK);
    struct err none;
    int rc = file_lock(path, true, wait, lock, &none);

    free(path);
    return rc;
}

static bool
take_due(const struct agent *a, const struct sign_public *book)
{
    int lock = -1;
    struct due d;
    bool due;

    if (lock_due(a, book, false, &lock) != 0) {
        return false;
    }
    d = read_due(a, book);
    due = clock_boot_ns() >= d.boot_ns;
    if (due) {
        write_due(a, book, d.every_s); /* the others of this host need not, too */
    }
    (void)fd_close(&lock);
    return due;
}

bool
errands_due(const struct agent *a, const struct sign_public *book)
{
    struct host_books books;
    struct err none;
    bool called = false;

    if (books_list(&books, a, &none) != 0) {
        return false;
    }
    for (size_t i = 0; i < books.n; i++) {
        called = called || (books.v[i].where[0] != '\0' &&
                            memcmp(books.v[i].key.b, book->b, sizeof book->b) == 0);
    }
    books_free(&books);
    return called && take_due(a, book);
}

int
errands_start_watched(struct loop *l, const struct sign_public *book, struct child **out,
                      void (*fn)(void *ctx, const struct child_end *end), void *ctx,
                      struct err *e)
{
    char key[BOOK_HEX_LEN + 1];
    char *const argv[] = {(char *)(uintptr_t) "gpurun-agent",
                          (char *)(uintptr_t) "errands", key, NULL};
    const struct child_options o = options(argv);

    sign_public_format(book, key);
    return child_start(out, l, &o, fn, ctx, e);
}

void
errands_done(const struct agent *a, const struct sign_public *book, bool well)
{
    int lock = -1;
    /* If not, once too often or too late. */
    bool locked = lock_due(a, book, true, &lock) == 0;
    int64_t every_s = well ? EVERY_S : 2 * read_due(a, book).every_s;

    write_due(a, book, every_s < SELDOM_S ? every_s : SELDOM_S);
    if (locked) {
        (void)fd_close(&lock);
    }
}

int
errands_main(const char *key)
{
    struct sign_public only;
    struct errands sums;
    struct agent *a = NULL;
    struct err e;
    int rc = -1;

    if ((key == NULL || hex_parse(key, strlen(key), only.b, sizeof only.b)) &&
        agent_open(&a, &e) == 0) {
        rc = errands_go(a, key != NULL ? &only : NULL, false, true, &sums, &e);
    }
    agent_close(a);
    return rc == 0 ? 0 : 1; /* nobody listens: the next tick says what is wrong */
}

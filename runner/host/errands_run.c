/*
 * To all books: each by itself, on a thread of its own, with its own turn and its own
 * time. One that hangs holds up nobody else's.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "runner/host/books.h"
#include "runner/host/errands_internal.h"

#define NS_PER_S    ((int64_t)1000000000)
#define TURN_NS     (300 * NS_PER_S)
#define LOOK_NS     (NS_PER_S / 10)
#define STACK_BYTES ((size_t)1 << 20)

/* ---- the turn ---- */

char *
errands_file(const struct agent *a, const struct sign_public *book, const char *suffix)
{
    char name[ERRANDS_NAME_MAX];

    errands_name(book, suffix, name);
    return agent_path(a, name);
}

void
errands_name(const struct sign_public *book, const char *suffix,
             char out[ERRANDS_NAME_MAX])
{
    char id[SIGN_ID_LEN + 1];

    sign_public_id(book, id);
    (void)snprintf(out, ERRANDS_NAME_MAX, ERRANDS_TOLD_DIR ".%s%s", id, suffix);
}

static int
lock_within(const char *path, int64_t limit_ns, int *lock, struct err *e)
{
    const struct timespec look = {.tv_nsec = LOOK_NS};
    int64_t until_ns = clock_boot_ns() + limit_ns;
    int rc;

    while ((rc = file_lock(path, true, false, lock, e)) != 0 && e->code == ERR_BUSY &&
           clock_boot_ns() < until_ns) {
        (void)nanosleep(&look, NULL);
    }
    return rc;
}

int
errands_turn(const struct agent *a, const struct sign_public *book, bool patient,
             int64_t limit_ns, bool *mine, int *lock, struct err *e)
{
    char *turn = errands_file(a, book, ".lock");
    char *next = errands_file(a, book, ".next");
    int waits = -1;
    int rc = patient ? 0 : file_lock(next, true, false, &waits, e);

    *mine = false;
    if (rc == 0) {
        rc = lock_within(turn, limit_ns, lock, e);
        *mine = rc == 0;
    } else if (e->code == ERR_BUSY) {
        rc = 0;
    }
    (void)fd_close(&waits);
    free(turn);
    free(next);
    return rc;
}

/* ---- one book ---- */

/* How it went. */
struct visit {
    const struct host_book *book;
    struct errands sums;
    int rc;
    struct err why;
};

struct round {
    const struct agent *agent;
    bool patient;
    bool says_when; /* the next is due */
    struct visit *v;
    size_t n;
    size_t next; /* nobody is at it yet */
    pthread_mutex_t lock;
};

static void
visit(const struct round *r, struct visit *v)
{
    struct errand x = {.agent = r->agent,
                       .book = v->book,
                       .told_fd = -1,
                       .hold_fd = -1,
                       .sums = &v->sums,
                       .first = {.code = ERR_NONE}};
    bool mine = false;
    int lock = -1;

    v->rc =
        errands_turn(r->agent, &v->book->key, r->patient, TURN_NS, &mine, &lock, &v->why);
    if (mine) {
        v->rc = errand_book(&x, &v->why);
    }
    /* Where another is at it that says nothing of the book. */
    if (r->says_when && (v->rc != 0 || mine)) {
        errands_done(r->agent, &v->book->key, v->rc == 0);
    }
    (void)fd_close(&lock);
}

/* ---- all of them ---- */

static void *
visit_some(void *ctx)
{
    struct round *r = ctx;

    for (;;) {
        struct visit *v = NULL;

        (void)pthread_mutex_lock(&r->lock);
        if (r->next < r->n) {
            v = &r->v[r->next++];
        }
        (void)pthread_mutex_unlock(&r->lock);
        if (v == NULL) {
            return NULL;
        }
        visit(r, v);
    }
}

/* Our own thread takes its part: where no other can be had it does all of it. */
static void
visit_all(struct round *r)
{
    pthread_t threads[ERRANDS_AT_ONCE - 1];
    pthread_attr_t attr;
    sigset_t all;
    sigset_t was;
    size_t n = 0;

    /* Signals stay with the thread that had them. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &was);
    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setstacksize(&attr, STACK_BYTES);
    while (n < ERRANDS_AT_ONCE - 1 && n + 1 < r->n &&
           pthread_create(&threads[n], &attr, visit_some, r) == 0) {
        n++;
    }
    (void)pthread_attr_destroy(&attr);
    (void)pthread_sigmask(SIG_SETMASK, &was, NULL);
    (void)visit_some(r);
    for (size_t i = 0; i < n; i++) {
        (void)pthread_join(threads[i], NULL);
    }
}

/* The first failure is told. */
static int
sum_up(const struct round *r, struct errands *out, struct err *e)
{
    int rc = 0;

    for (size_t i = 0; i < r->n; i++) {
        const struct visit *v = &r->v[i];

        out->n_told += v->sums.n_told;
        out->n_refused += v->sums.n_refused;
        out->n_waiting += v->sums.n_waiting;
        if (v->rc != 0 && rc == 0) {
            *e = v->why;
            rc = -1;
        }
    }
    return rc;
}

int
errands_go(const struct agent *a, const struct sign_public *only, bool patient,
           bool says_when, struct errands *out, struct err *e)
{
    struct round r = {.agent = a, .patient = patient, .says_when = says_when};
    struct host_books books;
    int rc;

    *out = (struct errands){.n_told = 0};
    if (books_list(&books, a, e) != 0) {
        return -1;
    }
    r.v = xcalloc(books.n + 1, sizeof *r.v);
    for (size_t i = 0; i < books.n; i++) {
        const struct host_book *b = &books.v[i];

        if (b->where[0] != '\0' &&
            (only == NULL || memcmp(b->key.b, only->b, sizeof only->b) == 0)) {
            r.v[r.n++].book = b;
        }
    }
    (void)pthread_mutex_init(&r.lock, NULL);
    visit_all(&r);
    (void)pthread_mutex_destroy(&r.lock);
    rc = sum_up(&r, out, e);
    free(r.v);
    books_free(&books);
    return rc;
}

int
errands_run(const struct agent *a, struct errands *out, struct err *e)
{
    return errands_go(a, NULL, true, false, out, e);
}

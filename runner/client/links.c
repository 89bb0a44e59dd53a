#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "runner/client/link_internal.h"

#define GATES_MAX 1024 /* servers with handshakes under way, in one program */

struct gate {
    char *key;
    int fd; /* eventfd semaphore: one for each handshake that may begin */
};

struct links {
    struct loop *loop;
    pthread_mutex_t m; /* guards the rest */
    pthread_cond_t ended;
    int refs; /* the program's, and one per thread */
    struct gate *gates;
    size_t n_gates;
    pthread_t *ended_threads; /* to be joined */
    size_t n_ended_threads;
    bool left; /* links_free was there: nobody joins any more */
};

struct links *
links_new(struct loop *loop)
{
    struct links *s = xcalloc(1, sizeof *s);
    pthread_condattr_t attr;

    s->loop = loop;
    s->refs = 1;
    (void)pthread_mutex_init(&s->m, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&s->ended, &attr);
    (void)pthread_condattr_destroy(&attr);
    return s;
}

/* Unlocks. */
static void
links_unref(struct links *s)
{
    bool last = --s->refs == 0;

    (void)pthread_cond_broadcast(&s->ended);
    (void)pthread_mutex_unlock(&s->m);
    if (!last) {
        return;
    }
    for (size_t i = 0; i < s->n_gates; i++) {
        free(s->gates[i].key);
        (void)fd_close(&s->gates[i].fd);
    }
    free(s->gates);
    free(s->ended_threads);
    (void)pthread_cond_destroy(&s->ended);
    (void)pthread_mutex_destroy(&s->m);
    free(s);
}

struct loop *
links_loop(const struct links *s)
{
    return s->loop;
}

void
links_thread_begins(struct links *s)
{
    (void)pthread_mutex_lock(&s->m);
    s->refs++;
    (void)pthread_mutex_unlock(&s->m);
}

void
links_thread_failed(struct links *s)
{
    (void)pthread_mutex_lock(&s->m);
    links_unref(s);
}

void
links_thread_ends(struct links *s)
{
    (void)pthread_mutex_lock(&s->m);
    if (s->left) {
        (void)pthread_detach(pthread_self());
    } else {
        s->ended_threads = xrealloc(s->ended_threads,
                                    (s->n_ended_threads + 1) * sizeof *s->ended_threads);
        s->ended_threads[s->n_ended_threads++] = pthread_self();
    }
    links_unref(s);
}

/*
 * Join those that have ended. Counting is not enough: what libraries do at a thread's
 * very end, behind our last line, must not meet what they do at the program's.
 */
static void
join(struct links *s, bool leave)
{
    pthread_t *threads;
    size_t n;

    (void)pthread_mutex_lock(&s->m);
    threads = s->ended_threads;
    n = s->n_ended_threads;
    s->ended_threads = NULL;
    s->n_ended_threads = 0;
    s->left = leave;
    (void)pthread_mutex_unlock(&s->m);
    for (size_t i = 0; i < n; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    free(threads);
}

void
links_join(struct links *s)
{
    join(s, false);
}

void
links_free(struct links *s, int64_t max_ms)
{
    struct timespec until;

    if (s == NULL) {
        return;
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += max_ms / 1000;
    until.tv_nsec += (max_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    (void)pthread_mutex_lock(&s->m);
    while (s->refs > 1 && pthread_cond_timedwait(&s->ended, &s->m, &until) == 0) {
    }
    (void)pthread_mutex_unlock(&s->m);
    join(s, true);
    (void)pthread_mutex_lock(&s->m);
    links_unref(s);
}

int
links_gate(struct links *s, const char *key)
{
    int fd = -1;

    (void)pthread_mutex_lock(&s->m);
    for (size_t i = 0; i < s->n_gates && fd == -1; i++) {
        fd = strcmp(s->gates[i].key, key) == 0 ? s->gates[i].fd : -1;
    }
    if (fd == -1 && s->n_gates < GATES_MAX) {
        fd = eventfd(LINKS_HANDSHAKES, EFD_SEMAPHORE | EFD_CLOEXEC | EFD_NONBLOCK);
        if (fd != -1) {
            s->gates = xrealloc(s->gates, (s->n_gates + 1) * sizeof *s->gates);
            s->gates[s->n_gates++] = (struct gate){.key = xstrdup(key), .fd = fd};
        }
    }
    (void)pthread_mutex_unlock(&s->m);
    return fd;
}

bool
gate_enter(int fd, int cancel_fd)
{
    uint64_t one;

    while (fd != -1 && read(fd, &one, sizeof one) != (ssize_t)sizeof one) {
        struct pollfd p[2] = {{.fd = fd, .events = POLLIN},
                              {.fd = cancel_fd, .events = POLLIN}};

        (void)poll(p, 2, -1);
        if (p[1].revents != 0) {
            return false;
        }
    }
    return true;
}

void
gate_leave(int fd)
{
    const uint64_t one = 1;

    if (fd != -1) {
        (void)fd_write_all(fd, &one, sizeof one);
    }
}

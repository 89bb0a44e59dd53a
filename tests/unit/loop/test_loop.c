#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "runner/loop/fdio.h"
#include "runner/loop/loop.h"

#define MS ((int64_t)1000000)

static struct loop *
new_loop(void)
{
    struct loop *l = NULL;
    struct err e;

    assert_int_equal(loop_new(&l, &e), 0);
    return l;
}

static void
loop__without_anything_returns_at_once(void **state)
{
    struct loop *l = new_loop();

    (void)state;
    loop_run(l);
    loop_free(l);
}

/* ---- timers ---- */

struct note {
    struct loop *l;
    int order[32];
    int n;
};

struct mark {
    struct note *note;
    int id;
    struct timer *t;
    int64_t fired_ns;
};

static void
on_mark(void *ctx)
{
    struct mark *m = ctx;

    m->note->order[m->note->n++] = m->id;
    m->fired_ns = clock_boot_ns();
}

static void
timer__fires_in_order_of_time_and_never_early(void **state)
{
    static const int delays_ms[] = {20, 5, 10, 0, 15, 5};
    static const int expected[] = {3, 1, 5, 2, 4, 0};
    struct note note = {.l = new_loop()};
    struct mark marks[6];
    int64_t start = clock_boot_ns();

    (void)state;
    for (int i = 0; i < 6; i++) {
        marks[i] = (struct mark){.note = &note, .id = i};
        marks[i].t = timer_new(note.l, on_mark, &marks[i]);
        timer_after(marks[i].t, delays_ms[i] * MS);
    }
    loop_run(note.l);
    assert_int_equal(note.n, 6);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(note.order[i], expected[i]);
        assert_true(marks[i].fired_ns - start >= delays_ms[i] * MS);
        assert_false(timer_is_set(marks[i].t));
        timer_free(marks[i].t);
    }
    loop_free(note.l);
}

static void
timer__can_be_moved_cancelled_and_idle(void **state)
{
    struct note note = {.l = new_loop()};
    struct mark a = {.note = &note, .id = 1};
    struct mark b = {.note = &note, .id = 2};
    struct mark idle = {.note = &note, .id = 3};

    (void)state;
    a.t = timer_new(note.l, on_mark, &a);
    b.t = timer_new(note.l, on_mark, &b);
    idle.t = timer_new(note.l, on_mark, &idle);
    timer_set_idle(idle.t, true);
    timer_after(idle.t, 3600000 * MS); /* does not hold the loop */
    timer_after(a.t, 3600000 * MS);
    timer_after(a.t, 2 * MS);
    timer_at(b.t, 0); /* long ago: soon */
    timer_cancel(b.t);
    loop_run(note.l);
    assert_int_equal(note.n, 1);
    assert_int_equal(note.order[0], 1);
    assert_true(timer_is_set(idle.t));
    timer_at(b.t, 0);
    loop_run(note.l);
    assert_int_equal(note.order[1], 2);
    timer_free(a.t);
    timer_free(b.t);
    timer_free(idle.t);
    loop_free(note.l);
}

struct self_freeing {
    struct timer *t;
    bool fired;
};

static void
on_free_self(void *ctx)
{
    struct self_freeing *s = ctx;

    s->fired = true;
    timer_free(s->t);
}

static void
timer__may_be_freed_by_its_own_callback(void **state)
{
    struct loop *l = new_loop();
    struct self_freeing s = {0};

    (void)state;
    s.t = timer_new(l, on_free_self, &s);
    timer_after(s.t, 0);
    loop_run(l);
    assert_true(s.fired);
    loop_free(l);
}

/* ---- tasks ---- */

struct task_note {
    struct loop *l;
    struct loop_task task;
    struct loop_task other;
    int runs;
    int again;
    int other_runs;
};

static void
on_task(void *ctx)
{
    struct task_note *t = ctx;

    t->runs++;
    if (t->again > 0) {
        t->again--;
        loop_task_queue(t->l, &t->task);
    }
}

static void
on_other(void *ctx)
{
    struct task_note *t = ctx;

    t->other_runs++;
}

static void
task__runs_once_however_often_it_was_queued(void **state)
{
    struct task_note t = {.l = new_loop()};

    (void)state;
    t.task = (struct loop_task){.fn = on_task, .ctx = &t};
    t.other = (struct loop_task){.fn = on_other, .ctx = &t};
    loop_task_queue(t.l, &t.task);
    loop_task_queue(t.l, &t.task);
    assert_int_equal(t.runs, 0);
    loop_run(t.l);
    assert_int_equal(t.runs, 1);

    /* One that queues itself does not keep others from running. */
    t.again = 3;
    loop_task_queue(t.l, &t.task);
    loop_task_queue(t.l, &t.other);
    loop_run(t.l);
    assert_int_equal(t.runs, 5);
    assert_int_equal(t.other_runs, 1);

    loop_task_queue(t.l, &t.task);
    loop_task_cancel(t.l, &t.task);
    loop_task_cancel(t.l, &t.task);
    loop_run(t.l);
    assert_int_equal(t.runs, 5);

    loop_defer(t.l, on_task, &t);
    loop_defer(t.l, on_other, &t);
    loop_defer(t.l, on_other, &t);
    loop_undefer(t.l, on_task, &t);
    loop_run(t.l);
    assert_int_equal(t.runs, 5);
    assert_int_equal(t.other_runs, 3);
    loop_defer(t.l, on_task, &t); /* freed with the loop */
    loop_free(t.l);
}

/* ---- waiting for something ---- */

static bool
is_set(void *ctx)
{
    return *(bool *)ctx;
}

static void
set_it(void *ctx)
{
    *(bool *)ctx = true;
}

static void
stop_it(void *ctx)
{
    loop_stop(ctx);
}

static void
run_until__says_whether_it_happened(void **state)
{
    struct loop *l = new_loop();
    bool flag = true;
    struct timer *t = timer_new(l, set_it, &flag);
    struct timer *stop = timer_new(l, stop_it, l);

    (void)state;
    assert_true(loop_run_until(l, is_set, &flag, 0)); /* it holds already */
    flag = false;
    assert_false(loop_run_until(l, is_set, &flag, -1)); /* nothing could make it true */
    timer_after(t, 2 * MS);
    assert_true(loop_run_until(l, is_set, &flag, -1));
    flag = false;
    timer_after(t, 3600000 * MS);
    assert_false(loop_run_until(l, is_set, &flag, 2 * MS));
    timer_after(stop, 1 * MS);
    assert_false(loop_run_until(l, is_set, &flag, -1));
    timer_free(t);
    timer_free(stop);
    loop_free(l);
}

/* ---- descriptors ---- */

struct reader {
    struct watch *w;
    int fd;
    char got[64];
    size_t n;
    bool ended;
    int calls;
};

static void
on_reader(void *ctx, int events)
{
    struct reader *r = ctx;
    ssize_t n;

    assert_int_equal(events, WATCH_READ);
    r->calls++;
    n = read(r->fd, r->got + r->n, sizeof r->got - r->n);
    if (n == -1 && errno == EAGAIN) {
        return;
    }
    assert_true(n >= 0);
    r->n += (size_t)n;
    if (n == 0) {
        r->ended = true;
        watch_free(r->w);
        r->w = NULL;
    }
}

static void
watch__reads_pipes_files_and_dev_null(void **state)
{
    char path[] = "/tmp/test_loop.XXXXXX";
    int file = mkstemp(path);

    (void)state;
    assert_int_equal(write(file, "hello", 5), 5);
    for (int kind = 0; kind < 3; kind++) {
        struct loop *l = new_loop();
        struct reader r = {.fd = -1};
        int fds[2] = {-1, -1};
        struct err e;

        if (kind == 0) {
            assert_int_equal(fdio_pipe(fds, false, &e), 0);
            assert_int_equal(write(fds[1], "hello", 5), 5);
            close(fds[1]);
            r.fd = fds[0];
        } else {
            r.fd = open(kind == 1 ? path : "/dev/null", O_RDONLY | O_CLOEXEC);
        }
        assert_int_equal(watch_new(&r.w, l, r.fd, on_reader, &r, &e), 0);
        watch_arm(r.w, WATCH_READ);
        loop_run(l);
        assert_true(r.ended);
        assert_int_equal(r.n, kind == 2 ? 0 : 5);
        close(r.fd);
        loop_free(l);
    }
    close(file);
    unlink(path);
}

struct writer {
    struct watch *w;
    int fd;
    int calls;
    int errnum;
};

static void
on_writer(void *ctx, int events)
{
    struct writer *x = ctx;

    assert_int_equal(events, WATCH_WRITE);
    x->calls++;
    if (write(x->fd, "x", 1) == -1) {
        x->errnum = errno;
        watch_free(x->w);
    }
}

static void
watch__tells_a_writer_that_nobody_reads(void **state)
{
    struct loop *l = new_loop();
    struct writer x = {0};
    int fds[2];
    struct err e;

    (void)state;
    assert_int_equal(fdio_pipe(fds, true, &e), 0);
    x.fd = fds[1];
    assert_int_equal(watch_new(&x.w, l, x.fd, on_writer, &x, &e), 0);
    close(fds[0]);
    watch_arm(x.w, WATCH_WRITE);
    loop_run(l);
    assert_int_equal(x.errnum, EPIPE); /* and no SIGPIPE */
    close(fds[1]);
    loop_free(l);
}

static void
watch__disarmed_does_not_hold_the_loop(void **state)
{
    struct loop *l = new_loop();
    struct reader r = {0};
    int fds[2];
    struct err e;

    (void)state;
    assert_int_equal(fdio_pipe(fds, true, &e), 0);
    r.fd = fds[0];
    assert_int_equal(watch_new(&r.w, l, r.fd, on_reader, &r, &e), 0);
    watch_arm(r.w, WATCH_READ);
    assert_int_equal(watch_armed(r.w), WATCH_READ);
    watch_arm(r.w, WATCH_NONE);
    loop_run(l);
    watch_free(r.w);
    /* The descriptor may be watched anew at once. */
    assert_int_equal(watch_new(&r.w, l, r.fd, on_reader, &r, &e), 0);
    watch_free(r.w);
    close(fds[0]);
    close(fds[1]);
    loop_free(l);
}

/* ---- signals and threads ---- */

static void
on_signal(void *ctx, int signo)
{
    int *got = ctx;

    *got = signo;
}

static bool
not_zero(void *ctx)
{
    return *(int *)ctx != 0;
}

static void
signal_watch__tells_and_lets_go(void **state)
{
    struct loop *l = new_loop();
    struct signal_watch *w;
    struct sigaction now;
    int got = 0;
    struct timer *hold;
    bool never = false;
    struct err e;

    (void)state;
    hold = timer_new(l, set_it, &never);
    timer_after(hold, 3600000 * MS);
    assert_int_equal(signal_watch_new(&w, l, SIGUSR1, on_signal, &got, &e), 0);
    raise(SIGUSR1);
    assert_true(loop_run_until(l, not_zero, &got, 5000 * MS));
    assert_int_equal(got, SIGUSR1);
    signal_watch_free(w);
    timer_free(hold);
    loop_free(l);
    assert_int_equal(sigaction(SIGUSR1, NULL, &now), 0);
    assert_true(now.sa_handler == SIG_DFL);
}

static void
on_wake(void *ctx)
{
    *(int *)ctx += 1;
}

static void *
wake_from_thread(void *arg)
{
    for (int i = 0; i < 1000; i++) {
        waker_wake(arg);
    }
    return NULL;
}

static void
waker__wakes_from_another_thread(void **state)
{
    struct loop *l = new_loop();
    struct waker *w;
    pthread_t thread;
    int woken = 0;
    struct err e;

    (void)state;
    assert_int_equal(waker_new(&w, l, on_wake, &woken, &e), 0);
    assert_int_equal(pthread_create(&thread, NULL, wake_from_thread, w), 0);
    assert_true(loop_run_until(l, not_zero, &woken, 5000 * MS));
    assert_int_equal(pthread_join(thread, NULL), 0);
    waker_set_idle(w, true);
    loop_run(l); /* does not wait for ever */
    waker_free(w);
    loop_free(l);
}

/* ---- fdio ---- */

static void
fdio_private__leaves_the_shared_description_alone(void **state)
{
    struct fdio f;
    int fds[2];
    struct err e;

    (void)state;
    assert_int_equal(fdio_pipe(fds, false, &e), 0);
    assert_int_equal(fdio_private(&f, fds[0], O_RDONLY, &e), 0);
    assert_int_equal(fcntl(fds[0], F_GETFL) & O_NONBLOCK, 0);
    assert_int_equal(fcntl(f.fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    assert_int_equal(write(fds[1], "x", 1), 1);
    {
        char c;

        assert_int_equal(read(f.fd, &c, 1), 1);
        assert_int_equal(read(f.fd, &c, 1), -1);
        assert_int_equal(errno, EAGAIN);
    }
    fdio_restore(&f);
    assert_int_equal(f.fd, -1);
    close(fds[0]);
    close(fds[1]);
}

static void
fdio_private__puts_back_what_it_had_to_change(void **state)
{
    struct fdio f;
    char path[] = "/tmp/test_loop.XXXXXX";
    int file = mkstemp(path);
    int fds[2];
    struct err e;

    (void)state;
    assert_int_equal(pipe(fds), 0);
    close(fds[0]);
    close(fds[1]);
    /* A regular file keeps its position. */
    assert_int_equal(write(file, "ab", 2), 2);
    assert_int_equal(lseek(file, 1, SEEK_SET), 1);
    assert_int_equal(fdio_private(&f, file, O_RDONLY, &e), 0);
    {
        char c = 0;

        assert_int_equal(read(f.fd, &c, 1), 1);
        assert_int_equal(c, 'b');
    }
    fdio_restore(&f);
    close(file);
    unlink(path);
    assert_int_equal(fdio_private(&f, 9999, O_RDONLY, &e), -1);
    assert_int_equal(e.code, ERR_SYSTEM);
    assert_int_equal(e.sys_errno, EBADF);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loop__without_anything_returns_at_once),
        cmocka_unit_test(timer__fires_in_order_of_time_and_never_early),
        cmocka_unit_test(timer__can_be_moved_cancelled_and_idle),
        cmocka_unit_test(timer__may_be_freed_by_its_own_callback),
        cmocka_unit_test(task__runs_once_however_often_it_was_queued),
        cmocka_unit_test(run_until__says_whether_it_happened),
        cmocka_unit_test(watch__reads_pipes_files_and_dev_null),
        cmocka_unit_test(watch__tells_a_writer_that_nobody_reads),
        cmocka_unit_test(watch__disarmed_does_not_hold_the_loop),
        cmocka_unit_test(signal_watch__tells_and_lets_go),
        cmocka_unit_test(waker__wakes_from_another_thread),
        cmocka_unit_test(fdio_private__leaves_the_shared_description_alone),
        cmocka_unit_test(fdio_private__puts_back_what_it_had_to_change),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

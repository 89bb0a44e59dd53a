#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "runner/loop/queue.h"

static void
count(void *ctx)
{
    (*(int *)ctx)++;
}

static void
queue__keeps_bytes_in_order_and_bounds(void **state)
{
    struct queue *q = queue_new(5000); /* becomes 8192 */
    uint8_t data[10000];
    struct iovec iov[2];
    size_t at = 0;

    (void)state;
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)(i * 7);
    }
    assert_int_equal(queue_write(q, data, sizeof data), 8192);
    assert_int_equal(queue_write(q, data, 1), 0);
    assert_int_equal(queue_room(q, iov), 0);
    assert_int_equal(queue_data(q, iov), 1);
    assert_int_equal(iov[0].iov_len, 8192);
    queue_used(q, 5000);
    assert_int_equal(queue_write(q, data + 8192, sizeof data - 8192), sizeof data - 8192);
    assert_int_equal(queue_data(q, iov), 2); /* over the edge of the ring */
    at = 5000;
    for (int i = 0; i < 2; i++) {
        assert_memory_equal(iov[i].iov_base, data + at, iov[i].iov_len);
        at += iov[i].iov_len;
    }
    assert_int_equal(at, sizeof data);
    queue_used(q, 5000);
    assert_int_equal(queue_data(q, iov), 0);
    queue_close(q, NULL);
    queue_abandon(q);
}

static void
queue__wakes_only_who_waits(void **state)
{
    struct queue *q = queue_new(4096);
    struct iovec iov[2];
    uint8_t page[4096] = {0};
    int room_calls = 0;
    int data_calls = 0;

    (void)state;
    queue_on_room(q, count, &room_calls);
    queue_on_data(q, count, &data_calls);
    assert_int_equal(queue_write(q, page, 10), 10);
    assert_int_equal(data_calls, 0); /* nobody had looked yet */
    assert_int_equal(queue_data(q, iov), 1);
    queue_used(q, 10);
    assert_int_equal(queue_data(q, iov), 0); /* now somebody waits */
    assert_int_equal(queue_write(q, page, 1), 1);
    assert_int_equal(queue_write(q, page, 1), 1);
    assert_int_equal(data_calls, 1);
    assert_int_equal(queue_write(q, page, sizeof page), 4094);
    assert_int_equal(room_calls, 0);
    queue_used(q, 1);
    queue_used(q, 1);
    assert_int_equal(room_calls, 1);
    queue_close(q, NULL);
    assert_int_equal(data_calls, 2); /* the end is news, too */
    queue_abandon(q);
    assert_int_equal(room_calls, 1); /* the writer is gone: not called any more */
}

static void
queue__ends_after_its_last_byte_and_says_why(void **state)
{
    (void)state;
    for (int with_why = 0; with_why < 2; with_why++) {
        struct queue *q = queue_new(1);
        struct err why;
        struct err got = {0};
        bool failed = true;

        err_set(&why, ERR_LINK, "cut");
        assert_int_equal(queue_write(q, "x", 1), 1);
        assert_false(queue_ended(q, &failed, &got));
        queue_close(q, with_why == 1 ? &why : NULL);
        assert_false(queue_ended(q, &failed, &got));
        queue_used(q, 1);
        assert_true(queue_ended(q, &failed, &got));
        assert_int_equal(failed, with_why == 1);
        assert_string_equal(got.msg, with_why == 1 ? "cut" : "");
        queue_abandon(q);
    }
}

static void
queue__tells_the_writer_that_nobody_reads(void **state)
{
    struct queue *q = queue_new(1);
    int calls = 0;

    (void)state;
    queue_on_room(q, count, &calls);
    assert_false(queue_reader_gone(q));
    queue_abandon(q);
    assert_int_equal(calls, 1);
    assert_true(queue_reader_gone(q));
    assert_int_equal(queue_write(q, "x", 1), 0);
    queue_close(q, NULL);
}

/* ---- two threads ---- */

#define TOTAL 30000000

struct reader {
    struct queue *q;
    int efd;
    uint64_t got;
    bool wrong;
    bool failed;
};

static void
wait_on(int efd)
{
    struct pollfd p = {.fd = efd, .events = POLLIN};

    (void)poll(&p, 1, -1);
    queue_eventfd_clear(efd);
}

static void *
read_all(void *arg)
{
    struct reader *r = arg;
    struct err why;

    for (;;) {
        struct iovec iov[2];
        int n = queue_data(r->q, iov);

        if (n == 0) {
            if (queue_ended(r->q, &r->failed, &why)) {
                break;
            }
            wait_on(r->efd);
            continue;
        }
        for (size_t i = 0; i < iov[0].iov_len; i++) {
            if (((uint8_t *)iov[0].iov_base)[i] != (uint8_t)((r->got + i) * 13 >> 3)) {
                r->wrong = true;
            }
        }
        r->got += iov[0].iov_len;
        queue_used(r->q, iov[0].iov_len);
    }
    queue_abandon(r->q);
    return NULL;
}

static void
queue__carries_bytes_between_threads(void **state)
{
    struct queue *q = queue_new(16384);
    struct reader r = {.q = q};
    pthread_t thread;
    int efd;
    uint64_t sent = 0;
    struct err e;

    (void)state;
    assert_int_equal(queue_eventfd_new(&r.efd, &e), 0);
    assert_int_equal(queue_eventfd_new(&efd, &e), 0);
    queue_on_data(q, queue_eventfd_wake, &r.efd);
    queue_on_room(q, queue_eventfd_wake, &efd);
    assert_int_equal(pthread_create(&thread, NULL, read_all, &r), 0);
    while (sent < TOTAL) {
        struct iovec iov[2];
        size_t n;

        if (queue_room(q, iov) == 0) {
            wait_on(efd);
            continue;
        }
        n = iov[0].iov_len;
        n = n > TOTAL - sent ? (size_t)(TOTAL - sent) : n;
        n = n > 1 + sent % 5000 ? 1 + (size_t)(sent % 5000) : n;
        for (size_t i = 0; i < n; i++) {
            ((uint8_t *)iov[0].iov_base)[i] = (uint8_t)((sent + i) * 13 >> 3);
        }
        queue_filled(q, n);
        sent += n;
    }
    queue_close(q, NULL);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(r.got, TOTAL);
    assert_false(r.wrong);
    assert_false(r.failed);
    close(r.efd);
    close(efd);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queue__keeps_bytes_in_order_and_bounds),
        cmocka_unit_test(queue__wakes_only_who_waits),
        cmocka_unit_test(queue__ends_after_its_last_byte_and_says_why),
        cmocka_unit_test(queue__tells_the_writer_that_nobody_reads),
        cmocka_unit_test(queue__carries_bytes_between_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

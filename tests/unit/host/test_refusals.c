/* What a book refuses for good: kept, told once, forgotten when the owner says so. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include "base/file.h"
#include "runner/host/errands_internal.h"
#include "runner/host/owner_book.h"
#include "runner/job/refusals.h"
#include "tests/unit/unit.h"

static struct agent *
open_agent(const char *dir)
{
    struct agent *a = NULL;
    struct err e = {0};

    assert_int_equal(setenv("GPURUN_AGENT_HOME", dir, 1), 0);
    assert_ok(agent_open(&a, &e));
    return a;
}

static struct refusal
refusal(const char *id, const char *what, const char *state,
        const struct sign_public *book)
{
    struct refusal r = {.wall_ns = 7};

    (void)snprintf(r.id, sizeof r.id, "%s", id);
    (void)snprintf(r.what, sizeof r.what, "%s", what);
    (void)snprintf(r.state, sizeof r.state, "%s", state);
    sign_public_id(book, r.book);
    (void)err_set(&r.why, ERR_NOT_FOUND, "no lease\n\"%s\"", id);
    return r;
}

static void
refusals__are_kept_told_once_and_forgotten(void **state)
{
    const struct sign_public one = {{1}};
    const struct sign_public two = {{2}};
    struct agent *a = open_agent(*state);
    struct refusal r = refusal("l000000000001", REFUSAL_RECEIPT, "", &one);
    struct refusal other = refusal("l000000000001", REFUSAL_RECEIPT, "", &two);
    struct refusal chain = refusal("v000000000001", REFUSAL_RESERVATION, "abc", &one);
    struct refusals l;
    struct err e = {0};
    size_t n = 0;
    int fd = -1;

    assert_ok(agent_dir(a, "told", &fd, &e));
    assert_false(refusals_has(fd, &r));
    assert_ok(refusals_note(fd, &r, &e));
    assert_ok(refusals_note(fd, &chain, &e));
    assert_true(refusals_has(fd, &r));
    assert_false(refusals_has(fd, &other));
    (void)snprintf(r.what, sizeof r.what, "%s", REFUSAL_KEEPING);
    assert_false(refusals_has(fd, &r)); /* another thing of the same lease */
    assert_true(refusals_has(fd, &chain));
    (void)snprintf(chain.state, sizeof chain.state, "%s", "abd");
    assert_false(refusals_has(fd, &chain)); /* it has gone on */
    assert_ok(refusals_note(fd, &other, &e));

    assert_ok(refusals_list(fd, &one, &l, &e));
    assert_int_equal(l.n, 2);
    assert_string_equal(l.v[0].id, "l000000000001");
    assert_int_equal(l.v[0].why.code, ERR_NOT_FOUND);
    assert_string_equal(l.v[0].why.msg, r.why.msg);
    assert_int_equal(l.v[0].wall_ns, 7);
    assert_false(l.v[0].told);
    assert_string_equal(l.v[1].state, "abc");
    refusals_free(&l);

    assert_ok(owner_book_say(a, &n, &e));
    assert_int_equal(n, 3);
    assert_ok(owner_book_say(a, &n, &e));
    assert_int_equal(n, 0);
    assert_ok(file_replace_at(fd, "l000000000002.x.no", "junk", 4, &e));
    assert_ok(file_replace_at(fd, "l000000000003.0011223344556677", "all", 3, &e));
    assert_ok(refusals_list(fd, NULL, &l, &e));
    assert_int_equal(l.n, 3);
    refusals_free(&l);

    assert_ok(refusals_forget(fd, &one, &e));
    assert_ok(refusals_list(fd, NULL, &l, &e));
    assert_int_equal(l.n, 1);
    assert_string_equal(l.v[0].book, other.book);
    refusals_free(&l);
    assert_int_equal(faccessat(fd, "l000000000003.0011223344556677", F_OK, 0), 0);
    (void)fd_close(&fd);
    agent_close(a);
}

/* Only what would be answered the same way tomorrow. */
static void
refusal__is_final_by_its_code(void **state)
{
    static const enum err_code final[] = {ERR_INVALID, ERR_RANGE,   ERR_NOT_FOUND,
                                          ERR_EXISTS,  ERR_CORRUPT, ERR_DENIED};
    size_t n = 0;

    (void)state;
    for (int c = ERR_NONE; c < ERR_CODE_COUNT; c++) {
        n += refusal_is_final((enum err_code)c) ? 1 : 0;
    }
    assert_int_equal(n, sizeof final / sizeof *final);
    for (size_t i = 0; i < n; i++) {
        assert_true(refusal_is_final(final[i]));
    }
    /* A newer book may have codes of its own for what passes. */
    assert_false(refusal_is_final(err_code_from_name("later")));
}

/* What failed otherwise is tried again, and noted nowhere. */
static void
errand__notes_only_what_the_book_has_refused(void **state)
{
    struct agent *a = open_agent(*state);
    struct host_book book = {.name = "acme", .key = {{3}}};
    struct errands sums = {.n_told = 0};
    struct errand x = {.agent = a, .book = &book, .hold_fd = -1, .sums = &sums};
    struct refusal r = refusal("l000000000001", REFUSAL_RECEIPT, "", &book.key);
    struct err e = {0};

    assert_ok(agent_dir(a, "told", &x.told_fd, &e));
    assert_true(errand_begin(&x, &r));
    (void)err_set(&e, ERR_NOT_FOUND, "the journal is gone");
    assert_int_equal(errand_failed(&x, &r, &e), -1);
    assert_true(errand_begin(&x, &r));
    x.refused = true;
    assert_ok(errand_failed(&x, &r, &e));
    assert_int_equal(sums.n_refused, 1);
    assert_false(errand_begin(&x, &r));
    assert_false(x.refused);
    (void)fd_close(&x.told_fd);
    agent_close(a);
}

/* Whose grant a declined lease was it does not say: all books but one know nothing of it.
 */
static void
errand__keeps_what_another_book_would_know_to_itself(void **state)
{
    struct agent *a = open_agent(*state);
    struct host_book book = {.name = "acme", .key = {{3}}};
    struct errands sums = {.n_told = 0};
    struct errand x = {.agent = a, .book = &book, .hold_fd = -1, .sums = &sums};
    struct refusal r = refusal("l000000000001", REFUSAL_DECLINE, "", &book.key);
    struct refusal bad = refusal("l000000000002", REFUSAL_DECLINE, "", &book.key);
    struct err e = {0};
    size_t n = 0;

    assert_ok(agent_dir(a, "told", &x.told_fd, &e));
    assert_true(errand_begin(&x, &r));
    (void)err_set(&e, ERR_NOT_FOUND, "this book has signed no grant of it");
    x.refused = true;
    assert_ok(errand_failed(&x, &r, &e));
    assert_int_equal(sums.n_refused, 0);
    assert_true(refusal_is_another_books(&r));
    assert_ok(owner_book_say(a, &n, &e));
    assert_int_equal(n, 0);
    assert_false(errand_begin(&x, &r)); /* not sent again */

    assert_true(errand_begin(&x, &bad));
    (void)err_set(&e, ERR_INVALID, "not signed by the lease's host");
    x.refused = true;
    assert_ok(errand_failed(&x, &bad, &e)); /* this one is the owner's to know */
    assert_int_equal(sums.n_refused, 1);
    assert_ok(owner_book_say(a, &n, &e));
    assert_int_equal(n, 1);

    assert_ok(refusals_forget(x.told_fd, &book.key, &e));
    assert_true(errand_begin(&x, &r)); /* `book retry` */
    (void)fd_close(&x.told_fd);
    agent_close(a);
}

/* A checkpoint was refused, the receipt of the same lease is taken. */
static void
errand_taken__ends_what_was_refused_before(void **state)
{
    struct agent *a = open_agent(*state);
    struct host_book book = {.name = "acme", .key = {{3}}};
    const struct sign_public two = {{2}};
    struct errand x = {.agent = a, .book = &book, .hold_fd = -1};
    struct refusal r = refusal("l000000000001", REFUSAL_CHECKPOINT, "", &book.key);
    struct refusal other = refusal("l000000000001", REFUSAL_RECEIPT, "", &two);
    struct refusal later = refusal("l000000000002", REFUSAL_RECEIPT, "", &book.key);
    struct buf b = BUF_INIT;
    struct err e = {0};
    char *note = xasprintf("%s.%s", r.id, r.book);

    assert_ok(agent_dir(a, "told", &x.told_fd, &e));
    assert_ok(refusals_note(x.told_fd, &r, &e));
    assert_ok(refusals_note(x.told_fd, &other, &e));
    assert_ok(refusals_note(x.told_fd, &later, &e));
    assert_ok(errand_taken(&x, r.id, "receipt", &e));
    assert_ok(file_read_at(x.told_fd, note, 64, &b, &e));
    assert_string_equal(buf_str(&b), "receipt");
    assert_false(refusals_has(x.told_fd, &r));
    assert_true(refusals_has(x.told_fd, &other));
    assert_true(refusals_has(x.told_fd, &later));
    assert_ok(errand_taken(&x, r.id, "all", &e)); /* nothing was refused */
    free(note);
    buf_free(&b);
    (void)fd_close(&x.told_fd);
    agent_close(a);
}

static void *
tell_all(void *arg)
{
    struct err e = {0};
    size_t n = 0;

    return (void *)(uintptr_t)(owner_book_say(arg, &n, &e) == 0 ? n : 99);
}

/*
 * Standard error takes one line until it is read: the first refusal was said, so all were
 * listed. Then the second gives way to another one, and the third is forgotten.
 */
static void
refusals_tell__leaves_alone_what_changed_meanwhile(void **state)
{
    const struct sign_public one = {{1}};
    const struct sign_public two = {{2}};
    struct agent *a = open_agent(*state);
    struct refusal first = refusal("l000000000001", REFUSAL_RECEIPT, "", &one);
    struct refusal second = refusal("l000000000002", REFUSAL_RECEIPT, "", &one);
    struct refusal third = refusal("l000000000003", REFUSAL_RECEIPT, "", &two);
    struct refusal next = refusal("l000000000002", REFUSAL_KEEPING, "", &one);
    struct pollfd said = {.events = POLLIN};
    int old_stderr = dup(2);
    char line[1024];
    size_t n_lines = 0;
    struct err e = {0};
    void *n_told = NULL;
    pthread_t teller;
    int fds[2];
    int fd = -1;
    int changed;

    second.wall_ns = 8;
    third.wall_ns = 9;
    assert_ok(agent_dir(a, "told", &fd, &e));
    assert_ok(refusals_note(fd, &first, &e));
    assert_ok(refusals_note(fd, &second, &e));
    assert_ok(refusals_note(fd, &third, &e));
    assert_int_equal(pipe2(fds, O_DIRECT | O_CLOEXEC), 0);
    assert_true(fcntl(fds[1], F_SETPIPE_SZ, 4096) >= 0);
    assert_int_equal(dup2(fds[1], 2), 2);
    (void)fd_close(&fds[1]);
    said.fd = fds[0];
    if (pthread_create(&teller, NULL, tell_all, a) != 0) {
        abort();
    }
    while (poll(&said, 1, -1) != 1) {
    }
    changed = refusals_note(fd, &next, &e) | refusals_forget(fd, &two, &e);
    while (n_lines < 3 && read(fds[0], line, sizeof line) > 0) {
        n_lines++;
    }
    (void)pthread_join(teller, &n_told);
    (void)dup2(old_stderr, 2);
    (void)fd_close(&old_stderr);

    assert_int_equal(changed, 0);
    assert_int_equal((uintptr_t)n_told, 3);
    assert_true(refusals_has(fd, &next));
    assert_false(refusals_has(fd, &third));
    n_told = tell_all(a);
    assert_int_equal((uintptr_t)n_told, 1); /* what came meanwhile was not told yet */
    (void)fd_close(&fds[0]);
    (void)fd_close(&fd);
    agent_close(a);
}

/* ---- when a book is called while jobs run ---- */

static int64_t now_ns = (int64_t)1000 * 1000000000;

static int64_t
own_time(enum clock_kind kind)
{
    (void)kind;
    return now_ns;
}

static void
errands__are_due_every_five_minutes_and_ever_more_seldom_in_vain(void **state)
{
    const struct sign_public book = {{4}};
    const struct sign_public other = {{5}};
    struct host_book b = {.key = book, .name = "acme"};
    struct agent *a = open_agent(*state);
    struct err e = {0};
    int fd = -1;
    int64_t waits_s = 300;
    char due[ERRANDS_NAME_MAX];

    errands_name(&book, ".due", due);
    sign_public_format(&book, b.hex);
    assert_false(errands_due(a, &book)); /* nobody knows it */
    assert_ok(agent_dir(a, BOOKS_DIR, &fd, &e));
    assert_ok(file_replace_at(fd, b.hex, "acme", 4, &e));
    assert_false(errands_due(a, &book)); /* nor where it is */
    assert_ok(books_set_where(a, &b, "127.0.0.1:9", &e));
    clock_set_source(own_time);
    assert_false(errands_due(a, &other));
    assert_true(errands_due(a, &book));
    assert_false(errands_due(a, &book)); /* another job of this host */
    errands_done(a, &book, true);
    for (int i = 0; i < 6; i++) {
        now_ns += (waits_s - 1) * 1000000000;
        assert_false(errands_due(a, &book));
        now_ns += 1000000000;
        assert_true(errands_due(a, &book));
        errands_done(a, &book, false);
        waits_s = 2 * waits_s < 3600 ? 2 * waits_s : 3600;
    }
    now_ns += 3600 * (int64_t)1000000000;
    assert_true(errands_due(a, &book));
    errands_done(a, &book, true);
    now_ns += 300 * (int64_t)1000000000;
    assert_true(errands_due(a, &book));
    /* Of a boot long ago, or nonsense: now. */
    assert_ok(file_replace_at(a->home_fd, due, "x 1 300\n", 8, &e));
    assert_true(errands_due(a, &book));
    assert_ok(file_replace_at(a->home_fd, due, "x", 1, &e));
    assert_true(errands_due(a, &book));
    clock_set_source(NULL);
    (void)fd_close(&fd);
    agent_close(a);
}

static struct agent *
reaching(const char *dir, const struct sign_public *book)
{
    struct host_book b = {.key = *book, .name = "acme"};
    struct agent *a = open_agent(dir);
    struct err e = {0};
    int fd = -1;

    sign_public_format(book, b.hex);
    assert_ok(agent_dir(a, BOOKS_DIR, &fd, &e));
    assert_ok(file_replace_at(fd, b.hex, "acme", 4, &e));
    assert_ok(books_set_where(a, &b, "127.0.0.1:9", &e));
    (void)fd_close(&fd);
    return a;
}

static void
errands__are_due_for_one_of_two_who_look_at_once(void **state)
{
    const struct sign_public book = {{4}};
    struct agent *a = reaching(*state, &book);
    char *path = errands_file(a, &book, ".due.lock");
    struct err e = {0};
    int lock = -1;

    assert_ok(file_lock(path, true, false, &lock, &e)); /* the other, between its two */
    assert_false(errands_due(a, &book));
    (void)fd_close(&lock);
    assert_true(errands_due(a, &book));
    assert_false(errands_due(a, &book));
    free(path);
    agent_close(a);
}

/* The process of a job that ended, while another is at the books that fail. */
static void
errands_main__says_nothing_of_books_it_did_not_go_to(void **state)
{
    const struct sign_public book = {{4}};
    struct agent *a = reaching(*state, &book);
    char *next = errands_file(a, &book, ".next");
    struct buf before = BUF_INIT;
    struct buf after = BUF_INIT;
    struct err e = {0};
    char due[ERRANDS_NAME_MAX];
    int waits = -1;

    errands_name(&book, ".due", due);
    errands_done(a, &book, false);
    assert_ok(file_read_at(a->home_fd, due, 256, &before, &e));
    assert_non_null(strstr(buf_str(&before), " 600\n"));
    assert_ok(
        file_lock(next, true, false, &waits, &e)); /* one waits for its turn already */
    assert_int_equal(errands_main(NULL), 0);
    assert_ok(file_read_at(a->home_fd, due, 256, &after, &e));
    assert_string_equal(buf_str(&after), buf_str(&before));
    (void)fd_close(&waits);
    buf_free(&before);
    buf_free(&after);
    free(next);
    agent_close(a);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_in_dir(refusals__are_kept_told_once_and_forgotten),
        cmocka_unit_test(refusal__is_final_by_its_code),
        unit_test_in_dir(errand__notes_only_what_the_book_has_refused),
        unit_test_in_dir(errand__keeps_what_another_book_would_know_to_itself),
        unit_test_in_dir(errand_taken__ends_what_was_refused_before),
        unit_test_in_dir(refusals_tell__leaves_alone_what_changed_meanwhile),
        unit_test_in_dir(
            errands__are_due_every_five_minutes_and_ever_more_seldom_in_vain),
        unit_test_in_dir(errands__are_due_for_one_of_two_who_look_at_once),
        unit_test_in_dir(errands_main__says_nothing_of_books_it_did_not_go_to),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

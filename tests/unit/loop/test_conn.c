/* Calls, goodbyes, and what came instead of an agent. */
#include "conn_pair.h"

static void
conn__answers_calls(void **state)
{
    static const size_t sizes[] = {0, 1, 60000, 70000, 3000000};

    (void)state;
    for (enum kind kind = 0; kind < N_KINDS; kind++) {
        struct pair p = {0};
        struct rec *resp = NULL;
        char hint[MUX_HINT_MAX + 1];
        struct err e;

        connect_pair(&p, kind);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            struct rec *req = msg_request_new("echo");
            char *text = xcalloc(1, sizes[i] + 1);
            size_t len;
            const char *got;

            memset(text, 'x', sizes[i]);
            rec_add_bytes(req, "text", text, sizes[i]);
            assert_int_equal(call_wait(p.a.c, req, 60 * SECOND, &resp, hint, &e), 0);
            got = rec_get_bytes(resp, "text", &len);
            assert_int_equal(len, sizes[i]);
            assert_memory_equal(got, text, len);
            free(text);
            rec_free(req);
            rec_free(resp);
        }
        {
            struct rec *req = msg_request_new("nonsense");

            assert_int_equal(call_wait(p.a.c, req, 60 * SECOND, &resp, hint, &e), -1);
            assert_int_equal(e.code, ERR_VERSION);
            assert_string_equal(e.msg, "unknown verb");
            assert_string_equal(hint, "update the agent");
            rec_free(req);
        }
        assert_int_equal(p.a.hellos, 1);
        assert_true(conn_bytes_in(p.a.c) > 3000000);
        assert_true(conn_bytes_out(p.a.c) > 3000000);
        free_pair(&p);
    }
}

static void
call__ends_on_time_and_with_its_connection(void **state)
{
    struct pair p = {.b = {.silent = true}};
    struct rec *req = msg_request_new("echo");
    struct rec *resp = NULL;
    struct err e;

    (void)state;
    connect_pair(&p, OVER_SOCKET);
    assert_int_equal(call_wait(p.a.c, req, SECOND / 100, &resp, NULL, &e), -1);
    assert_int_equal(e.code, ERR_LINK);
    assert_string_equal(e.msg, "no answer within 10 ms");
    /* The peer drops the connection instead of answering, from its own callback. */
    p.b.free_on_request = true;
    assert_int_equal(call_wait(p.a.c, req, -1, &resp, NULL, &e), -1);
    assert_int_equal(e.code, ERR_LINK);
    assert_string_equal(e.msg, "the connection was cut");
    assert_int_equal(p.a.closed, 1);
    assert_int_equal(p.b.closed, 0); /* conn_free does not tell */
    assert_int_equal(call_wait(p.a.c, req, -1, &resp, NULL, &e), -1);
    assert_int_equal(e.code, ERR_LINK);
    rec_free(req);
    free_pair(&p);
}

static void
conn_finish__sends_what_is_queued_and_says_goodbye(void **state)
{
    (void)state;
    for (enum kind kind = 0; kind < N_KINDS; kind++) {
        for (int with_why = 0; with_why < 2; with_why++) {
            struct pair p = {0};
            struct rec *event = rec_new("gpurun.event.test.v1");
            char *text = xcalloc(1, 300001);
            struct err why;

            connect_pair(&p, kind);
            memset(text, 'y', 300000);
            rec_add(event, "text", text);
            mux_event(conn_mux(p.b.c), event);
            err_set(&why, ERR_DENIED, "revoked");
            conn_finish(p.b.c, with_why == 1 ? &why : NULL, "ask the owner", 5 * SECOND);
            assert_true(loop_run_until(p.l, both_closed, &p, 60 * SECOND));
            assert_int_equal(p.a.events, 1);
            assert_int_equal(p.a.had_why, with_why == 1);
            assert_int_equal(p.b.had_why, with_why == 1);
            if (with_why == 1) {
                assert_int_equal(p.a.why.code, ERR_DENIED);
                assert_string_equal(p.a.goaway, "revoked|ask the owner");
            } else {
                assert_string_equal(p.a.goaway, "|");
            }
            free(text);
            rec_free(event);
            free_pair(&p);
        }
    }
}

/* ---- strangers at the other end ---- */

struct stranger {
    const char *says;
    size_t len;
    enum err_code code;
    const char *msg; /* contained in the message */
    int missing;
};

static void
conn__explains_what_came_instead_of_an_agent(void **state)
{
    static const char facts[] = "hi\n" PREAMBLE_MISSING "uname_s=Linux\nhome=/h\nend\n";
    static const struct stranger cases[] = {
        {"", 0, ERR_LINK, "before a word was said", 0},
        {"This account is currently not available.\n", 41, ERR_LINK,
         "the host said: 'This account is currently not available.'", 0},
        {"\033[2Jboo", 7, ERR_LINK, "'\\x1b[2Jboo'", 0},
        {facts, sizeof facts - 1, ERR_NOT_FOUND, "no agent is installed", 1},
        {PREAMBLE_READY "garbage that is no frame", 60, ERR_CORRUPT, "frame", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pair p = {0};
        struct conn_options o = options(&p.a, HELLO_ROLE_CLIENT);
        int fds[2];
        struct err e;

        assert_int_equal(loop_new(&p.l, &e), 0);
        assert_int_equal(unix_pair(fds, &e), 0);
        assert_int_equal(conn_new(&p.a.c, p.l, fds[0], fds[0], &o, &e), 0);
        if (cases[i].len > 0) {
            assert_int_equal(write(fds[1], cases[i].says, cases[i].len), cases[i].len);
        }
        close(fds[1]);
        assert_int_equal(conn_wait_ready(p.a.c, 5 * SECOND, &e), -1);
        assert_int_equal(e.code, cases[i].code);
        if (strstr(e.msg, cases[i].msg) == NULL) {
            fail_msg("case %zu: '%s'", i, e.msg);
        }
        assert_int_equal(p.a.missing, cases[i].missing);
        assert_int_equal(p.a.closed, 1);
        free_pair(&p);
    }
}

static void
conn__gives_up_on_a_peer_that_falls_silent(void **state)
{
    struct pair p = {0};
    struct conn_options o = options(&p.a, HELLO_ROLE_CLIENT);
    int fds[2];
    struct err e;

    (void)state;
    o.mux.hello_ns = SECOND / 50;
    assert_int_equal(loop_new(&p.l, &e), 0);
    assert_int_equal(unix_pair(fds, &e), 0);
    assert_int_equal(conn_new(&p.a.c, p.l, fds[0], fds[0], &o, &e), 0);
    assert_int_equal(conn_wait_ready(p.a.c, 5 * SECOND, &e), -1);
    assert_int_equal(e.code, ERR_LINK);
    assert_string_equal(e.msg, "the connection ended before a word was said");
    close(fds[1]);
    free_pair(&p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conn__answers_calls),
        cmocka_unit_test(call__ends_on_time_and_with_its_connection),
        cmocka_unit_test(conn_finish__sends_what_is_queued_and_says_goodbye),
        cmocka_unit_test(conn__explains_what_came_instead_of_an_agent),
        cmocka_unit_test(conn__gives_up_on_a_peer_that_falls_silent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

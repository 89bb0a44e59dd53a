#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runner/wire/preamble.h"

/* Feed all of s in pieces; how many bytes belonged to the preamble. */
static size_t
feed(struct preamble *p, const char *s, size_t len, size_t piece,
     enum preamble_kind *kind)
{
    size_t at = 0;

    *kind = PREAMBLE_NONE;
    while (at < len && *kind == PREAMBLE_NONE) {
        size_t n = piece < len - at ? piece : len - at;
        size_t used;
        struct err e;

        assert_int_equal(preamble_feed(p, (const uint8_t *)s + at, n, &used, kind, &e),
                         0);
        assert_true(used <= n);
        at += used;
    }
    return at;
}

static void
preamble__is_found_wherever_it_stands_and_however_it_comes(void **state)
{
    static const char *const noises[] = {
        "",
        "hello\n",
        "no newline at the end",
        "~",
        "~~~",
        "~gpurun-agent-",
        "~gpurun-agent-ready-5b7e1f0c93ad4862", /* all but its newline */
        "~gpurun-agent-missing-5b7e1f0c93ad486~",
        "~gpurun-client-5b7e1f0c93ad4862\n", /* the echo of our own */
        "~gpurun~gpurun-agent-ready~",
    };

    (void)state;
    for (size_t i = 0; i < sizeof noises / sizeof noises[0]; i++) {
        for (size_t piece = 1; piece < 90; piece += piece < 5 ? 1 : 17) {
            struct preamble *p = preamble_new(true, PREAMBLE_NOISE_MAX);
            char all[256];
            enum preamble_kind kind;
            size_t before;
            size_t len;
            const uint8_t *noise;

            (void)snprintf(all, sizeof all, "%s%sFRAMES", noises[i], PREAMBLE_READY);
            before = feed(p, all, strlen(all), piece, &kind);
            assert_int_equal(kind, PREAMBLE_IS_READY);
            assert_string_equal(all + before, "FRAMES");
            noise = preamble_noise(p, &len);
            assert_int_equal(len, strlen(noises[i]));
            if (len > 0) {
                assert_memory_equal(noise, noises[i], len);
            }
            preamble_free(p);
        }
    }
}

static void
preamble__bears_noise_up_to_the_limit(void **state)
{
    (void)state;
    for (int over = 0; over < 2; over++) {
        struct preamble *p = preamble_new(true, PREAMBLE_NOISE_MAX);
        size_t total = PREAMBLE_NOISE_MAX + (size_t)over;
        uint8_t *noise = malloc(total);
        enum preamble_kind kind;
        size_t used;
        size_t len;
        struct err e = {0};
        int rc;

        assert_non_null(noise);
        memset(noise, 'n', total);
        rc = preamble_feed(p, noise, total, &used, &kind, &e);
        assert_int_equal(rc, over == 0 ? 0 : -1);
        (void)preamble_noise(p, &len);
        assert_int_equal(len, PREAMBLE_NOISE_KEPT);
        if (over == 0) {
            (void)feed(p, PREAMBLE_READY, strlen(PREAMBLE_READY), 5, &kind);
            assert_int_equal(kind, PREAMBLE_IS_READY);
        } else {
            assert_int_equal(e.code, ERR_CORRUPT);
            assert_non_null(strstr(e.msg, "4194305 bytes of other output"));
        }
        free(noise);
        preamble_free(p);
    }
}

static void
preamble__of_a_quiet_line_must_come_first(void **state)
{
    static const struct {
        bool from_agent;
        const char *bytes;
        enum preamble_kind kind; /* NONE: refused */
    } cases[] = {
        {false, PREAMBLE_CLIENT, PREAMBLE_IS_CLIENT},
        {false, PREAMBLE_READY, PREAMBLE_NONE},
        {false, PREAMBLE_MISSING, PREAMBLE_NONE},
        {false, " " PREAMBLE_CLIENT, PREAMBLE_NONE},
        {false, "help\n", PREAMBLE_NONE},
        {true, PREAMBLE_READY, PREAMBLE_IS_READY},
        {true, PREAMBLE_CLIENT, PREAMBLE_NONE},
        {true, PREAMBLE_MISSING, PREAMBLE_NONE},
        {true, "\n" PREAMBLE_READY, PREAMBLE_NONE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct preamble *p = preamble_new(cases[i].from_agent, 0);
        enum preamble_kind kind;
        size_t used;
        struct err e = {0};
        int rc = preamble_feed(p, (const uint8_t *)cases[i].bytes, strlen(cases[i].bytes),
                               &used, &kind, &e);

        if (cases[i].kind == PREAMBLE_NONE) {
            assert_int_equal(rc, -1);
            assert_int_equal(e.code, ERR_CORRUPT);
            assert_non_null(strstr(e.msg, "does not speak gpurun's protocol"));
        } else {
            assert_int_equal(rc, 0);
            assert_int_equal(kind, cases[i].kind);
        }
        preamble_free(p);
    }
}

static void
preamble__of_a_missing_agent_carries_facts(void **state)
{
    static const char all[] =
        "motd\n" PREAMBLE_MISSING
        "uname_s=Linux\nuname_m=x86_64\nhome=/home/a b=c\x01\nempty=\n"
        "end\nrest";

    (void)state;
    for (size_t piece = 1; piece < 200; piece += 13) {
        struct preamble *p = preamble_new(true, PREAMBLE_NOISE_MAX);
        enum preamble_kind kind;
        size_t used;

        assert_null(preamble_facts(p));
        used = feed(p, all, sizeof all - 1, piece, &kind);
        assert_int_equal(kind, PREAMBLE_IS_MISSING);
        assert_string_equal(all + used, "rest");
        assert_string_equal(rec_type(preamble_facts(p)), "gpurun.bootstrap.v1");
        assert_string_equal(rec_get(preamble_facts(p), "uname_s"), "Linux");
        assert_string_equal(rec_get(preamble_facts(p), "home"), "/home/a b=c\x01");
        assert_string_equal(rec_get(preamble_facts(p), "empty"), "");
        preamble_free(p);
    }
}

static void
preamble__takes_as_many_facts_and_as_long_a_key_as_it_may(void **state)
{
    struct preamble *p = preamble_new(true, PREAMBLE_NOISE_MAX);
    char many[2048] = PREAMBLE_MISSING "a1234567890123456789012345678901=v\n";
    enum preamble_kind kind;

    (void)state;
    for (int i = 1; i < PREAMBLE_FACTS_MAX; i++) {
        strcat(many, "k=v\n");
    }
    strcat(many, "end\n");
    assert_int_equal(feed(p, many, strlen(many), 7, &kind), strlen(many));
    assert_int_equal(kind, PREAMBLE_IS_MISSING);
    assert_int_equal(rec_n_fields(preamble_facts(p)), PREAMBLE_FACTS_MAX);
    preamble_free(p);
}

static void
preamble__refuses_senseless_facts(void **state)
{
    char many[2048] = PREAMBLE_MISSING;
    char *longest = malloc(PREAMBLE_FACTS_BYTES + 100);
    const char *cases[] = {
        PREAMBLE_MISSING "no equals sign\n",
        PREAMBLE_MISSING "=v\n",
        PREAMBLE_MISSING "Upper=v\n",
        PREAMBLE_MISSING "\n",
        PREAMBLE_MISSING "a123456789012345678901234567890123=v\n",
        many,
        longest,
    };

    (void)state;
    assert_non_null(longest);
    for (int i = 0; i < PREAMBLE_FACTS_MAX + 1; i++) {
        strcat(many, "k=v\n");
    }
    strcpy(longest, PREAMBLE_MISSING "k=");
    memset(longest + strlen(longest), 'v', PREAMBLE_FACTS_BYTES);
    longest[strlen(PREAMBLE_MISSING) + PREAMBLE_FACTS_BYTES + 1] = '\0';
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct preamble *p = preamble_new(true, PREAMBLE_NOISE_MAX);
        enum preamble_kind kind;
        size_t used;
        struct err e = {0};

        assert_int_equal(preamble_feed(p, (const uint8_t *)cases[i], strlen(cases[i]),
                                       &used, &kind, &e),
                         -1);
        assert_int_equal(e.code, ERR_CORRUPT);
        preamble_free(p);
    }
    free(longest);
}

static void
preamble_explain_end__quotes_the_last_words_escaped(void **state)
{
    char flood[1000];
    const struct {
        const char *noise;
        const char *msg;
    } cases[] = {
        {"", "the connection ended before a word was said"},
        {"nope\r\n\n", "the agent did not start; the host said: 'nope'"},
        {"\033[31m\x07", "the agent did not start; the host said: '\\x1b[31m\\x07'"},
        {flood, NULL},
    };

    (void)state;
    memset(flood, 'x', sizeof flood);
    strcpy(flood + sizeof flood - 12, "exec failed");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct preamble *p = preamble_new(true, PREAMBLE_NOISE_MAX);
        enum preamble_kind kind;
        struct err e = {0};

        (void)feed(p, cases[i].noise, strlen(cases[i].noise), 100, &kind);
        assert_int_equal(preamble_explain_end(p, &e), -1);
        assert_int_equal(e.code, ERR_LINK);
        if (cases[i].msg != NULL) {
            assert_string_equal(e.msg, cases[i].msg);
        } else {
            assert_non_null(strstr(e.msg, "exec failed'"));
        }
        preamble_free(p);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(preamble__is_found_wherever_it_stands_and_however_it_comes),
        cmocka_unit_test(preamble__bears_noise_up_to_the_limit),
        cmocka_unit_test(preamble__of_a_quiet_line_must_come_first),
        cmocka_unit_test(preamble__of_a_missing_agent_carries_facts),
        cmocka_unit_test(preamble__takes_as_many_facts_and_as_long_a_key_as_it_may),
        cmocka_unit_test(preamble__refuses_senseless_facts),
        cmocka_unit_test(preamble_explain_end__quotes_the_last_words_escaped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

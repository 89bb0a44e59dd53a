#include "tests/unit/unit.h"

#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner/host/loginenv.h"
#include "runner/host/python.h"

/* A host whose python3 is a script of ours; what it leaves behind lies beneath dir. */
struct place {
    char *dir;
    struct agent *agent;
    struct strings env;
};

static void
write_python(const struct place *p, const char *body)
{
    char *path = xasprintf("%s/python3", p->dir);
    char *text = xasprintf("#!/bin/sh\ncd '%s'\necho x >>asked\n%s\n", p->dir, body);
    FILE *f = fopen(path, "we");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, 0700), 0);
    free(text);
    free(path);
}

static void
open_place(struct place *p, char *dir, const char *body)
{
    char *path = xasprintf("%s:/usr/bin:/bin", dir);
    char *home = xasprintf("%s/home", dir);
    struct err e;

    memset(p, 0, sizeof *p);
    p->dir = dir;
    assert_int_equal(setenv("GPURUN_AGENT_HOME", home, 1), 0);
    assert_ok(agent_open(&p->agent, &e));
    env_set(&p->env, "PATH", path);
    write_python(p, body);
    free(home);
    free(path);
}

static void
close_place(struct place *p)
{
    strings_free(&p->env);
    agent_close(p->agent);
}

static size_t
n_asked(const struct place *p)
{
    char *path = xasprintf("%s/asked", p->dir);
    struct buf b = BUF_INIT;
    struct err e;
    size_t n;

    if (file_read(path, 4096, &b, &e) != 0) {
        b.len = 0;
    }
    n = b.len / 2;
    buf_free(&b);
    free(path);
    return n;
}

/* The second time it is asked for torch: told is what it has been given, or `then`. */
#define ANSWER_AND(then)                                                                 \
    "case $2 in *find_spec*) echo torch >>torch;" then " printf "                        \
    "'noise\n\n\001T\n2.1\n\n\001C\n%s\n\n\001.\n' "                                     \
    "\"$PYTORCH_NVML_BASED_CUDA_CHECK\";;\n"                                             \
    "*) printf 'noise\n\n\001P\n3.11.2\n/opt/python3\n\n\001.\n';; esac"
#define ANSWER ANSWER_AND("")

static void
ask__tells_again_what_was_found_unless_asked_afresh(void **state)
{
    struct place p;
    struct python got;
    struct err e;

    open_place(&p, *state, ANSWER);
    for (int i = 0; i < 3; i++) {
        memset(&got, 0, sizeof got);
        assert_ok(python_ask(&got, p.agent, &p.env, false, &e));
        assert_string_equal(got.version, "3.11.2");
        assert_string_equal(got.at, "/opt/python3");
        assert_string_equal(got.torch, "2.1");
        assert_string_equal(got.cuda, "1"); /* it was told to leave the devices alone */
    }
    assert_int_equal(n_asked(&p), 2); /* of the interpreter, and of torch */
    assert_ok(python_ask(&got, p.agent, &p.env, true, &e));
    assert_int_equal(n_asked(&p), 4);
    close_place(&p);
}

/* What hangs or is none costs as much as what answers. */
static void
ask__tells_failures_again(void **state)
{
    struct place p;
    struct python got;
    struct err e;

    open_place(&p, *state, "exit 127");
    for (int i = 0; i < 3; i++) {
        assert_refused(python_ask(&got, p.agent, &p.env, false, &e), ERR_NOT_FOUND);
        assert_non_null(strstr(e.msg, "no python3"));
    }
    assert_int_equal(n_asked(&p), 1);
    write_python(&p, "yes"); /* more than is taken */
    assert_refused(python_ask(&got, p.agent, &p.env, true, &e), ERR_RANGE);
    assert_refused(python_ask(&got, p.agent, &p.env, false, &e), ERR_RANGE);
    assert_int_equal(n_asked(&p), 2);
    close_place(&p);
}

/* Whatever torch does to python, what was known before is told; and again as it was. */
static void
ask__tells_the_interpreter_though_torch_fails(void **state)
{
    static const struct {
        const char *body, *why, *torch;
    } cases[] = {
        {ANSWER_AND("kill -SEGV $$;"), "crashed: signal 11", ""},
        {ANSWER_AND("exit 7;"), "exit code 7", ""},
        {ANSWER_AND("printf '\n\001W\nOSError: no\033[0m libcuda\n\n\001.\n';exit;"),
         "fails: OSError: no", ""},
        {ANSWER_AND("printf '\n\001T\n2.9\n'; kill -ABRT $$;"), "signal 6", "2.9"},
        {ANSWER_AND("exec yes;"), "printed more than", ""},
    };
    struct place p;
    struct python got;
    struct err e;

    open_place(&p, *state, "exit 1");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_python(&p, cases[i].body);
        for (int again = 0; again < 2; again++) {
            memset(&got, 0, sizeof got);
            assert_ok(python_ask(&got, p.agent, &p.env, again == 0, &e));
            assert_string_equal(got.version, "3.11.2");
            assert_string_equal(got.torch, cases[i].torch);
            assert_int_not_equal(got.torch_why.code, ERR_NONE);
            assert_non_null(strstr(got.torch_why.msg, cases[i].why));
            assert_null(strchr(got.torch_why.msg, '\033'));
        }
    }
    close_place(&p);
}

struct asker {
    struct place *place;
    pthread_t thread;
    int rc;
};

static void *
ask(void *arg)
{
    struct asker *k = arg;
    struct python got;
    struct err e;

    k->rc = python_ask(&got, k->place->agent, &k->place->env, true, &e);
    return NULL;
}

/* mkdir is what two at once would fail at. */
static void
ask__runs_one_at_a_time(void **state)
{
    struct asker askers[4];
    struct place p;

    open_place(&p, *state,
               "mkdir alone || echo x >>together\nsleep 0.1\nrmdir alone\n" ANSWER);
    for (size_t i = 0; i < 4; i++) {
        askers[i] = (struct asker){.place = &p};
        assert_int_equal(pthread_create(&askers[i].thread, NULL, ask, &askers[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(askers[i].thread, NULL), 0);
        assert_int_equal(askers[i].rc, 0);
    }
    assert_int_equal(n_asked(&p), 8);
    {
        char *path = xasprintf("%s/together", p.dir);

        assert_false(file_exists(path));
        free(path);
    }
    close_place(&p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_in_dir(ask__tells_again_what_was_found_unless_asked_afresh),
        unit_test_in_dir(ask__tells_failures_again),
        unit_test_in_dir(ask__tells_the_interpreter_though_torch_fails),
        unit_test_in_dir(ask__runs_one_at_a_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

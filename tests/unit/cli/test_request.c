#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner/cli/request.h"
#include "tests/unit/unit.h"

/*
 * Options as typed, on a script that is there: what they ask for, or what is wrong with
 * them. *state is a directory, and while a test runs it is the current one.
 */
struct world {
    struct home *home;
    struct config *cfg;
    int old_dir;
};

static struct world
begin(const char *dir)
{
    struct world w = {.old_dir = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    char *home = path_join(dir, "home");
    struct err e;

    assert_true(w.old_dir != -1);
    assert_ok(home_open(&w.home, home, &e));
    assert_ok(config_open(&w.cfg, w.home, &e));
    assert_int_equal(chdir(dir), 0);
    assert_ok(file_mkdirs("p/.git", 0700, &e));
    assert_ok(file_mkdirs("p/data", 0700, &e));
    assert_ok(file_replace("p/train.py", "print(1)\n", 9, &e));
    assert_ok(file_replace("p/env", "# c\n\nA=1\r\n  B=x=y\n", 18, &e));
    assert_int_equal(chdir("p"), 0);
    free(home);
    return w;
}

static void
end(struct world *w)
{
    assert_int_equal(fchdir(w->old_dir), 0);
    (void)close(w->old_dir);
    config_free(w->cfg);
    home_free(w->home);
}

static int
make(const struct world *w, const struct run_options *o, struct run_request *out,
     struct err *e)
{
    const struct cli c = {.home = w->home};
    char script[] = "train.py";
    char lr[] = "--lr";
    char *words[] = {script};
    char *rest[] = {lr};
    const struct words typed = {.v = words, .n = 1, .rest = rest, .n_rest = 1};

    return request_make(out, &c, w->cfg, o, &typed, e);
}

static void
request__has_the_defaults_that_protect(void **state)
{
    const struct run_options none = {0};
    struct world w = begin(*state);
    struct run_request r;
    struct err e;

    assert_ok(make(&w, &none, &r, &e));
    assert_string_equal(r.spec.device_class, "cpu");
    assert_int_equal(r.spec.count, 1);
    assert_int_equal(r.spec.max_time_s, 86400);
    assert_int_equal(r.spec.window_s, 60);
    assert_int_equal(r.spec.idle_s, 0);
    assert_int_equal(r.max_cost_fen, -1);
    assert_int_equal(r.want.max_price_uyuan, -1);
    assert_int_equal(r.spec.stdin_mode, SPEC_STDIN_OPEN);
    assert_int_equal(r.spec.kind, SPEC_KIND_PYTHON);
    assert_int_equal(r.spec.args.n, 2);
    assert_string_equal(r.spec.args.v[1], "--lr");
    assert_int_equal(strncmp(r.spec.name, "train-", 6), 0);
    assert_true(r.ships && !r.detach && !r.has_window);
    request_free(&r);
    end(&w);
}

static void
request__is_what_was_typed(void **state)
{
    const char *envs[] = {"C=2", "EMPTY="};
    const char *files[] = {"env"};
    const char *secrets[] = {"TEST_REQUEST_SECRET"};
    const char *outs[] = {"data", "data/../model.pt"};
    const char *ports[] = {"8888", "6006:16006"};
    const char *with[] = {"data"};
    const struct run_options o = {
        .gpu = "4090:2",
        .arch = "x86_64",
        .host = "h",
        .venv = "/v",
        .with = {with, 1},
        .out = {outs, 2},
        .port = {ports, 2},
        .env = {envs, 2},
        .env_file = {files, 1},
        .secret = {secrets, 1},
        .max_cost = "5.5",
        .max_time = "90m",
        .idle = "10m",
        .window = "1500ms",
        .wait = "1h",
        .max_price = "1.880001",
        .mem = "2G",
        .name = "mine",
    };
    struct world w = begin(*state);
    struct run_request r;
    struct err e;

    (void)setenv("TEST_REQUEST_SECRET", "s3cret", 1);
    assert_ok(make(&w, &o, &r, &e));
    assert_string_equal(r.spec.device_class, "gpu");
    assert_string_equal(r.want.device.type, "4090");
    assert_int_equal(r.spec.count, 2);
    assert_string_equal(r.want.arch, "x86_64");
    assert_string_equal(r.host, "h");
    assert_string_equal(r.spec.venv, "/v");
    assert_int_equal(r.spec.max_time_s, 5400);
    assert_int_equal(r.spec.idle_s, 600);
    assert_int_equal(r.spec.window_s, 2); /* whole seconds, and never less than asked */
    assert_true(r.has_window);
    assert_int_equal(r.max_cost_fen, 550);
    assert_int_equal(r.want.max_price_uyuan, 1880001);
    assert_int_equal(r.wait_ns, (int64_t)3600 * 1000000000);
    assert_int_equal(r.spec.mem_bytes, (int64_t)2 << 30);
    assert_string_equal(r.spec.name, "mine");
    assert_int_equal(r.spec.env.n, 4); /* those of the file first: --env wins */
    assert_string_equal(r.spec.env.v[0], "A=1");
    assert_string_equal(r.spec.env.v[1], "B=x=y");
    assert_string_equal(r.spec.env.v[3], "EMPTY=");
    assert_string_equal(r.spec.secrets.v[0], "TEST_REQUEST_SECRET");
    assert_string_equal(r.secrets.v[0], "TEST_REQUEST_SECRET=s3cret");
    assert_int_equal(r.n_ports, 2);
    assert_int_equal(r.ports[0].remote, 8888);
    assert_int_equal(r.ports[0].local, 0);
    assert_int_equal(r.ports[1].local, 16006);
    assert_string_equal(r.with.v[0], "data");
    assert_string_equal(r.outs.v[1], "model.pt");
    request_free(&r);
    end(&w);
}

/* One wrong option: the code, and a word of the message. */
struct wrong {
    struct run_options o;
    enum err_code code;
    const char *says;
};

static void
request__says_which_option_is_wrong(void **state)
{
    const char *no_equals[] = {"PATH"};
    const char *ours[] = {"GPURUN_JOB=x"};
    const char *unset[] = {"TEST_REQUEST_NOT_SET"};
    const char *outside[] = {"../../elsewhere"};
    const char *here[] = {"."};
    const char *gone[] = {"not-there"};
    const char *port0[] = {"0"};
    const char *port_long[] = {"8888:70000"};
    const char *port_ok[] = {"8888"};
    const struct wrong cases[] = {
        {{.gpu = "4090", .cpu = "2"}, ERR_INVALID, "--gpu"},
        {{.cpu = "0"}, ERR_RANGE, "--cpu"},
        {{.cpu = "two"}, ERR_INVALID, "--cpu"},
        {{.gpu = "4090:0"}, ERR_INVALID, "--gpu"},
        {{.device = "npu"}, ERR_INVALID, "--device"},
        {{.arch = ""}, ERR_INVALID, "--arch"},
        {{.max_price = "x"}, ERR_INVALID, "--max-price"},
        {{.wait = "x"}, ERR_INVALID, "--wait"},
        {{.max_cost = "1.001"}, ERR_INVALID, "--max-cost"},
        {{.max_time = "0"}, ERR_RANGE, "--max-time"},
        {{.max_time = "100000d"}, ERR_RANGE, "--max-time"},
        {{.window = "25h"}, ERR_RANGE, "--window"},
        {{.idle = "0"}, ERR_RANGE, "--idle"},
        {{.mem = "1000"}, ERR_RANGE, "--mem"},
        {{.python = "p", .conda = "c"}, ERR_INVALID, "--conda"},
        {{.env = {no_equals, 1}}, ERR_INVALID, "--env"},
        {{.env = {ours, 1}}, ERR_INVALID, "--env"},
        {{.env_file = {gone, 1}}, ERR_NOT_FOUND, "--env-file"},
        {{.secret = {unset, 1}}, ERR_INVALID, "--secret"},
        {{.out = {outside, 1}}, ERR_INVALID, "elsewhere"},
        {{.with = {gone, 1}}, ERR_NOT_FOUND, "--with"},
        {{.with = {here, 1}}, ERR_INVALID, "--with"},
        {{.port = {port0, 1}}, ERR_INVALID, "--port"},
        {{.port = {port_long, 1}}, ERR_INVALID, "--port"},
        {{.port = {port_ok, 1}, .detach = true}, ERR_INVALID, "--port"},
        {{.tty = true, .detach = true}, ERR_INVALID, "-t"},
        {{.name = "a/b"}, ERR_INVALID, "--name"},
        {{.dir = "not-there"}, ERR_NOT_FOUND, "not-there"},
    };
    struct world w = begin(*state);

    (void)unsetenv("TEST_REQUEST_NOT_SET");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct run_request r;
        struct err e = {0};

        if (make(&w, &cases[i].o, &r, &e) == 0) {
            fail_msg("case %zu (%s) was taken", i, cases[i].says);
        }
        if (e.code != cases[i].code || strstr(e.msg, cases[i].says) == NULL) {
            fail_msg("case %zu (%s): %s: %s", i, cases[i].says, err_code_name(e.code),
                     e.msg);
        }
    }
    end(&w);
}

static void
command_line__reads_as_a_shell_would(void **state)
{
    struct strings args = {NULL, 0};
    char *line;

    (void)state;
    line = request_command_line(&args);
    assert_string_equal(line, "");
    free(line);
    strings_add(&args, "python3");
    strings_add(&args, "a b");
    strings_add(&args, "");
    strings_add(&args, "it's");
    line = request_command_line(&args);
    assert_string_equal(line, "python3 'a b' '' 'it'\\''s'");
    free(line);
    strings_free(&args);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_in_dir(request__has_the_defaults_that_protect),
        unit_test_in_dir(request__is_what_was_typed),
        unit_test_in_dir(request__says_which_option_is_wrong),
        cmocka_unit_test(command_line__reads_as_a_shell_would),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

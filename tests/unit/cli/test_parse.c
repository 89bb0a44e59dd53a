#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "runner/cli/cli.h"
#include "runner/cli/request.h"

#define ARGS_MAX 24

/*
 * One command line, its words parted by blanks, and what it means, written
 *     COMMAND words… | rest…  {global flags}  gpu=… host=… cost=…
 * or "! part of the error's message".
 */
struct line {
    const char *typed;
    const char *meaning;
};

static void
add_globals(struct buf *b, const struct globals *g)
{
    buf_printf(b, " {%s%s%s%s%s%s%s}", g->quiet ? "q" : "", g->verbose ? "v" : "",
               g->yes ? "y" : "", g->json ? "j" : "", g->help ? "h" : "",
               g->home != NULL ? "@" : "", g->home != NULL ? g->home : "");
}

static void
add_run_options(struct buf *b, const struct run_options *o)
{
    if (o->gpu != NULL) {
        buf_printf(b, " gpu=%s", o->gpu);
    }
    if (o->cpu != NULL) {
        buf_printf(b, " cpu=%s", o->cpu);
    }
    if (o->host != NULL) {
        buf_printf(b, " host=%s", o->host);
    }
    if (o->max_cost != NULL) {
        buf_printf(b, " cost=%s", o->max_cost);
    }
    for (size_t i = 0; i < o->env.n; i++) {
        buf_printf(b, " env=%s", o->env.v[i]);
    }
    if (o->detach) {
        buf_add_str(b, " detach");
    }
}

static char *
meaning_of(int argc, char **argv)
{
    struct parsed p;
    struct err e = {0};
    struct buf b = BUF_INIT;

    if (cli_parse(&p, argc, argv, &e) != 0) {
        buf_printf(&b, "! %s", e.msg);
        parsed_free(&p);
        return buf_steal(&b);
    }
    buf_printf(&b, "%s%s%s", p.parent != NULL ? p.parent->name : "",
               p.parent != NULL ? " " : "", p.command != NULL ? p.command->name : "-");
    for (int i = 0; i < p.w.n; i++) {
        buf_printf(&b, " %s", p.w.v[i]);
    }
    if (p.w.dashes || p.w.n_rest > 0) {
        buf_add_str(&b, p.w.dashes ? " --" : " |");
    }
    for (int i = 0; i < p.w.n_rest; i++) {
        buf_printf(&b, " %s", p.w.rest[i]);
    }
    add_globals(&b, &p.g);
    if (p.command != NULL && p.options != NULL &&
        (p.command->options == run_option_rows ||
         p.command->options == plan_option_rows)) {
        add_run_options(&b, p.options);
    }
    parsed_free(&p);
    return buf_steal(&b);
}

static char *
meaning_of_line(const char *typed)
{
    char *copy = xasprintf("gpurun %s", typed);
    char *argv[ARGS_MAX + 1];
    int argc = 0;
    char *save = NULL;
    char *meaning;

    for (char *w = strtok_r(copy, " ", &save); w != NULL && argc < ARGS_MAX;
         w = strtok_r(NULL, " ", &save)) {
        argv[argc++] = w;
    }
    argv[argc] = NULL;
    meaning = meaning_of(argc, argv);
    free(copy);
    return meaning;
}

static void
check_lines(const struct line *lines, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char *got = meaning_of_line(lines[i].typed);
        const char *want = lines[i].meaning;
        bool refused = want[0] == '!';

        if (refused ? (got[0] != '!' || strstr(got, want + 2) == NULL)
                    : strcmp(got, want) != 0) {
            fail_msg("gpurun %s\n  means  %s\n  wanted %s", lines[i].typed, got, want);
        }
        free(got);
    }
}

#define CHECK(lines) check_lines(lines, sizeof(lines) / sizeof(lines)[0])

static void
globals__stand_before_or_after_the_command(void **state)
{
    static const struct line lines[] = {
        {"", "- {}"},
        {"-q", "- {q}"},
        {"ps", "ps {}"},
        {"-q ps", "ps {q}"},
        {"ps -q", "ps {q}"},
        {"-q -v ps -y --json", "ps {qvyj}"},
        {"--home /x ps", "ps {@/x}"},
        {"--home=/x ps", "ps {@/x}"},
        {"ps --home /x", "ps {@/x}"},
        {"--home /x ps --home /y", "ps {@/y}"},
        {"--json logs -f j1", "logs j1 {j}"},
        {"host --json ls", "host ls {j}"},
        {"host ls --json", "host ls {j}"},
        {"--json host ls", "host ls {j}"},
        {"--home", "! --home wants a value"},
        {"-h", "- {h}"},
        {"run --help", "run {h}"},
        {"--help run", "run {h}"},
        {"host --help", "host {h}"},
        {"--version", "version {}"},
    };

    (void)state;
    CHECK(lines);
}

static void
no_command__means_run(void **state)
{
    static const struct line lines[] = {
        {"train.py", "run train.py {}"},
        {"./ps", "run ./ps {}"},
        {"-q train.py a b", "run train.py | a b {q}"},
        {"--gpu 4090 train.py", "run train.py {} gpu=4090"},
        {"-d train.py", "run train.py {} detach"},
        {"-- true", "run -- true {}"},
        {"-- ps", "run -- ps {}"},
        {"--gpu 4090 -- nvidia-smi -L", "run -- nvidia-smi -L {} gpu=4090"},
        {"run ps", "run ps {}"},
        {"-q -- -x", "run -- -x {q}"},
        {"--gpu 4090 ps", "! 'ps' is a command and goes first"},
        {"--nosuch train.py", "! nosuch"},
    };

    (void)state;
    CHECK(lines);
}

static void
placing_options__may_follow_the_script(void **state)
{
    static const struct line lines[] = {
        {"train.py --gpu 4090", "run train.py {} gpu=4090"},
        {"train.py --gpu=4090 --lr 0.1", "run train.py | --lr 0.1 {} gpu=4090"},
        {"train.py --gpu 4090 --host h --max-cost 3 x --gpu 1",
         "run train.py | x --gpu 1 {} gpu=4090 host=h cost=3"},
        {"train.py --lr 0.1 --gpu 4090", "run train.py | --lr 0.1 --gpu 4090 {}"},
        {"train.py -- --gpu 4090", "run train.py | --gpu 4090 {}"},
        {"train.py --gpu 4090 -- --gpu 3", "run train.py | --gpu 3 {} gpu=4090"},
        {"train.py a -- b", "run train.py | a -- b {}"},
        {"train.py -- a -- b", "run train.py | a -- b {}"},
        {"--gpu a train.py --gpu b", "run train.py {} gpu=b"},
        /* Not placing: the script's own, even where they look like ours. */
        {"train.py -q", "run train.py | -q {}"},
        {"train.py --env A=B", "run train.py | --env A=B {}"},
        {"train.py --gpus 4", "run train.py | --gpus 4 {}"},
        {"train.py --help", "run train.py | --help {}"},
        {"run --env A=B --env C=D train.py --cpu 2 y",
         "run train.py | y {} cpu=2 env=A=B env=C=D"},
        {"plan train.py --cpu 4 z", "plan train.py | z {} cpu=4"},
        {"train.py --gpu", "! gpu"},
        {"train.py --cpu 2 --gpu", "! gpu"},
        {"run", "! nothing to run"},
        {"run --", "! nothing to run"},
        {"--", "! nothing to run"},
        {"run -d", "! nothing to run"},
    };

    (void)state;
    CHECK(lines);
}

static void
other_commands__take_words_in_any_order(void **state)
{
    static const struct line lines[] = {
        {"stop --now j1", "stop j1 {}"},
        {"stop j1 --now", "stop j1 {}"},
        {"logs -n 5 j1 --stdout", "logs j1 {}"},
        {"host add n root@h:22 --price 4090=1", "host add n root@h:22 {}"},
        {"host add n", "host add n {}"},
        /* A console's line as it is; a long option is ours again. */
        {"host add n ssh -p 2 root@h", "host add n ssh | -p 2 root@h {}"},
        {"host add -q n ssh -vp 2 h -L 1:x:2 --price 4090=1 -y",
         "host add n ssh | -vp 2 h -L 1:x:2 {qy}"},
        {"host add n ssh -p 2 h --price 4090=1 more", "! one word too many"},
        {"host add n ssh", "host add n ssh {}"},
        {"host add n root@h -p 2", "! -p"},
        {"host", "! host what?"},
        {"host lss", "! `ls`"},
        {"host zzzzz", "! there is no `host zzzzz`"},
        {"stop", "! a word is missing"},
        {"stop a b", "! one word too many"},
        {"stop --nwo j1", "! nwo"},
        {"ps x", "! one word too many"},
        {"config a b c", "! one word too many"},
        {"config ask-above -- -5", "config ask-above -5 {}"},
        {"host add -- -x y", "host add -x y {}"},
        {"resume j1 --from=s1", "! --from goes with run: a job that is resumed"},
    };

    (void)state;
    CHECK(lines);
}

static void
exit_code__says_what_was_changed(void **state)
{
    (void)state;
    assert_int_equal(cli_exit_code(STAGE_INPUT, ERR_SYSTEM), 100);
    assert_int_equal(cli_exit_code(STAGE_INPUT, ERR_LINK), 100);
    assert_int_equal(cli_exit_code(STAGE_TRYING, ERR_INVALID), 100);
    assert_int_equal(cli_exit_code(STAGE_TRYING, ERR_NOT_FOUND), 100);
    assert_int_equal(cli_exit_code(STAGE_TRYING, ERR_LINK), 101);
    assert_int_equal(cli_exit_code(STAGE_TRYING, ERR_DENIED), 101);
    assert_int_equal(cli_exit_code(STAGE_TRYING, ERR_CORRUPT), 101);
    assert_int_equal(cli_exit_code(STAGE_CHANGED, ERR_LINK), 103);
    assert_int_equal(cli_exit_code(STAGE_CHANGED, ERR_INVALID), 102);
    assert_int_equal(cli_exit_code(STAGE_CHANGED, ERR_SPACE), 102);
}

static void
table__has_no_two_of_a_name_and_help_for_each(void **state)
{
    (void)state;
    for (const struct command *const *a = command_table; *a != NULL; a++) {
        assert_ptr_equal(command_find(command_table, (*a)->name), *a);
        assert_non_null((*a)->help);
        assert_true(((*a)->run == NULL) == ((*a)->subs != NULL));
        for (const struct opt *o = (*a)->options; o != NULL && o->name != NULL; o++) {
            assert_non_null(o->help);
            assert_true((o->kind == OPT_FLAG) == (o->value == NULL));
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(globals__stand_before_or_after_the_command),
        cmocka_unit_test(no_command__means_run),
        cmocka_unit_test(placing_options__may_follow_the_script),
        cmocka_unit_test(other_commands__take_words_in_any_order),
        cmocka_unit_test(exit_code__says_what_was_changed),
        cmocka_unit_test(table__has_no_two_of_a_name_and_help_for_each),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/lang.h"
#include "runner/cli/cli.h"
#include "runner/cli/help.h"
#include "runner/cli/notifycmd.h"
#include "runner/cli/out.h"
#include "runner/client/install.h"

/* Without UTF-8 it is English: what we escape is UTF-8. */
static void
start_words(void)
{
    char *dir = install_find_share("locale");

    lang_start(dir);
    free(dir);
}

/* As cli_parse; what it says for --json is English, which is known only afterwards. */
static int
parse(struct parsed *p, int argc, char **argv, struct err *e)
{
    char **again = xmemdup(argv, ((size_t)argc + 1) * sizeof *argv);
    int rc = cli_parse(p, argc, argv, e);

    if (p->g.json) {
        lang_english();
        if (rc != 0) {
            parsed_free(p);
            memcpy(argv, again, ((size_t)argc + 1) * sizeof *argv);
            rc = cli_parse(p, argc, argv, e);
        }
    }
    free(again);
    return rc;
}

/* A closed 0, 1 or 2 would be given to the next file opened. */
static void
fill_standard_descriptors(void)
{
    int fd;

    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO) {
        (void)close(fd);
    }
}

static int
show_help(const struct parsed *p, struct err *e)
{
    struct buf out = BUF_INIT;
    int rc;

    if (p->command == NULL) {
        help_overview(&out);
    } else {
        help_command(&out, p->parent, p->command);
    }
    rc = out_write(&out, e);
    buf_free(&out);
    return rc;
}

static int
finish(const struct cli *c, int rc, const struct err *e)
{
    int code;

    if (rc >= 0) {
        return rc;
    }
    if (out_stdout_closed(e)) {
        return CLI_STDOUT_CLOSED;
    }
    code = cli_exit_code(c->stage, e->code);
    say_error(c, e, code);
    return code;
}

/* A thread may be caught in a name look-up or a host that hangs (links_free). */
static bool
has_other_threads(void)
{
    DIR *dir = opendir("/proc/self/task");
    const struct dirent *entry;
    int n = 0;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        n += entry->d_name[0] != '.' ? 1 : 0;
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
    return n > 1;
}

int
main(int argc, char **argv)
{
    struct parsed p;
    struct notifycmds notifycmds = {NULL, 0};
    struct cli c = {.stage = STAGE_INPUT, .notifycmds = &notifycmds};
    struct err e = {0};
    int rc;

    fill_standard_descriptors();
    (void)signal(SIGPIPE, SIG_IGN);
    start_words();
    rc = parse(&p, argc, argv, &e);
    c.g = p.g;
    c.command = p.command;
    if (rc == 0 && (p.g.help || p.command == NULL)) {
        c.stage = STAGE_TRYING;
        rc = show_help(&p, &e);
    } else if (rc == 0 && (rc = home_open(&c.home, p.g.home, &e)) == 0) {
        rc = p.command->run(&c, p.options, &p.w, &e);
    }
    rc = finish(&c, rc, &e);
    notifycmd_await(&notifycmds);
    home_free(c.home);
    parsed_free(&p);
    if (has_other_threads()) {
        (void)fflush(NULL);
        _exit(rc);
    }
    return rc;
}

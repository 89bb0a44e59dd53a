/*
 * Runs a command at a terminal of its own and types at it:
 *
 *   pty_run [WAIT TYPE]... -- COMMAND...
 *
 * Waits until the terminal shows WAIT (since the last thing typed), types TYPE and return
 * ("^C": that key alone; "^D": that key). Everything shown goes to stdout. Exit status
 * is the command's (128+n for a signal), or 99 when 60 s did not suffice. "TTY" in the
 * environment of the command names the terminal.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"

#define LIMIT_NS ((int64_t)60000000000)
#define NO_TIME  99

static void
type(int tty, const char *text)
{
    char key = '\0';

    if (strcmp(text, "^C") == 0) {
        key = 3;
    } else if (strcmp(text, "^D") == 0) {
        key = 4;
    }
    if (key != '\0') {
        (void)fd_write_all(tty, &key, 1);
        return;
    }
    (void)fd_write_all(tty, text, strlen(text));
    (void)fd_write_all(tty, "\n", 1);
}

/* Read what is shown and type when the time has come. Returns 0 at the end, else NO_TIME.
 */
static int
converse(int tty, char **script)
{
    int64_t end_ns = clock_mono_ns() + LIMIT_NS;
    struct buf shown = BUF_INIT;
    int rc = NO_TIME;

    while (clock_mono_ns() < end_ns) {
        struct pollfd p = {.fd = tty, .events = POLLIN};
        char data[1024];
        ssize_t n;

        if (poll(&p, 1, 1000) <= 0) {
            continue;
        }
        n = read(tty, data, sizeof data);
        if (n <= 0) { /* EIO: nobody has the terminal open any more */
            rc = 0;
            break;
        }
        (void)fd_write_all(STDOUT_FILENO, data, (size_t)n);
        for (ssize_t i = 0; i < n; i++) {
            buf_add_u8(&shown, data[i] == '\0' ? ' ' : (uint8_t)data[i]);
        }
        if (script[0] != NULL && strcmp(script[0], "--") != 0 &&
            strstr(buf_str(&shown), script[0]) != NULL) {
            type(tty, script[1]);
            buf_reset(&shown);
            script += 2;
        }
    }
    buf_free(&shown);
    return rc;
}

int
main(int argc, char **argv)
{
    char **command = argv + 1;
    int tty;
    int status = 0;
    int rc;
    pid_t pid;

    while (*command != NULL && strcmp(*command, "--") != 0) {
        command++;
    }
    if (argc < 3 || *command == NULL || (command - argv) % 2 != 1) {
        (void)fprintf(stderr, "usage: pty_run [WAIT TYPE]... -- COMMAND...\n");
        return 2;
    }
    command++;
    pid = forkpty(&tty, NULL, NULL, NULL);
    if (pid == -1) {
        perror("forkpty");
        return 2;
    }
    if (pid == 0) {
        (void)setenv("TTY", ttyname(STDIN_FILENO), 1);
        (void)execvp(command[0], command);
        _exit(127);
    }
    rc = converse(tty, argv + 1);
    if (rc != 0) {
        (void)kill(pid, SIGKILL);
    }
    while (waitpid(pid, &status, 0) == -1 && errno == EINTR) {
    }
    (void)close(tty);
    if (rc != 0) {
        return rc;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

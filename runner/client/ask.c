#include "runner/client/ask.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/loop/child.h"

#define KEY_CTRL_C 0x03
#define KEY_CTRL_D 0x04
#define KEY_CTRL_U 0x15
#define KEY_BS     0x08
#define KEY_DEL    0x7f

struct ask {
    bool terminal;       /* there is one, and somebody at it */
    const char *askpass; /* program for secrets, or NULL */
    bool askpass_first;  /* rather than the terminal */
    int token;           /* eventfd: readable while nobody has the terminal */
    pthread_mutex_t m;   /* guards the rest */
    pthread_t owner;
    int depth;     /* of the owner's dialogue; 0: nobody's */
    int cancel_fd; /* the owner's */
};

/* ---- who is there ---- */

static bool
somebody_there(void)
{
    int fd;

    if (isatty(STDIN_FILENO) == 0 && isatty(STDERR_FILENO) == 0) {
        return false;
    }
    fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (fd == -1) {
        return false;
    }
    (void)close(fd);
    return true;
}

/* OpenSSH's rules for its askpass program. */
static void
find_askpass(struct ask *a)
{
    const char *program = getenv("SSH_ASKPASS");
    const char *require = getenv("SSH_ASKPASS_REQUIRE");
    bool display = getenv("DISPLAY") != NULL || getenv("WAYLAND_DISPLAY") != NULL;

    if (program == NULL || program[0] == '\0') {
        return;
    }
    if (require != NULL && strcasecmp(require, "never") == 0) {
        return;
    }
    if (require != NULL && strcasecmp(require, "force") == 0) {
        a->askpass = program;
        a->askpass_first = true;
    } else if (display) {
        a->askpass = program;
        a->askpass_first = require != NULL && strcasecmp(require, "prefer") == 0;
    }
}

struct ask *
ask_new(enum ask_mode mode)
{
    struct ask *a = xcalloc(1, sizeof *a);

    a->cancel_fd = -1;
    a->token = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    (void)pthread_mutex_init(&a->m, NULL);
    if (mode == ASK_MODE_AUTO && a->token != -1) {
        a->terminal = somebody_there();
        find_askpass(a);
    }
    return a;
}

void
ask_free(struct ask *a)
{
    if (a == NULL) {
        return;
    }
    (void)fd_close(&a->token);
    (void)pthread_mutex_destroy(&a->m);
    free(a);
}

bool
ask_has_terminal(const struct ask *a)
{
    return a != NULL && a->terminal;
}

bool
ask_can_get_secret(const struct ask *a)
{
    return a != NULL && (a->terminal || a->askpass != NULL);
}

/* ---- one dialogue at a time ---- */

static int
cancelled(struct err *e)
{
    return err_set(e, ERR_BUSY, _("cancelled"));
}

/* Wait for fd to be readable; false: cancelled, or it failed. */
static bool
wait_readable(int fd, int cancel_fd)
{
    for (;;) {
        struct pollfd p[2] = {{.fd = fd, .events = POLLIN},
                              {.fd = cancel_fd, .events = POLLIN}};
        int n = poll(p, 2, -1);

        if (n == -1 && errno != EINTR) {
            return false;
        }
        if (n > 0 && p[1].revents != 0) {
            return false;
        }
        if (n > 0 && p[0].revents != 0) {
            return true;
        }
    }
}

static bool
nested(struct ask *a)
{
    bool yes;

    (void)pthread_mutex_lock(&a->m);
    yes = a->depth > 0 && pthread_equal(a->owner, pthread_self()) != 0;
    if (yes) {
        a->depth++;
    }
    (void)pthread_mutex_unlock(&a->m);
    return yes;
}

int
ask_begin(struct ask *a, int cancel_fd, struct err *e)
{
    uint64_t one;

    if (nested(a)) {
        return 0;
    }
    do {
        if (!wait_readable(a->token, cancel_fd)) {
            return cancelled(e);
        }
        /* Another thread may have been faster: then there is nothing to read. */
    } while (read(a->token, &one, sizeof one) != (ssize_t)sizeof one);
    (void)pthread_mutex_lock(&a->m);
    a->owner = pthread_self();
    a->depth = 1;
    a->cancel_fd = cancel_fd;
    (void)pthread_mutex_unlock(&a->m);
    return 0;
}

void
ask_end(struct ask *a)
{
    const uint64_t one = 1;
    bool last;

    (void)pthread_mutex_lock(&a->m);
    last = --a->depth == 0;
    (void)pthread_mutex_unlock(&a->m);
    if (last) {
        (void)fd_write_all(a->token, &one, sizeof one);
    }
}

/* ---- the terminal ---- */

static int
open_tty(struct err *e)
{
    int fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);

    if (fd == -1) {
        (void)err_set(e, ERR_DENIED, _("there is no terminal to ask at"));
    }
    return fd;
}

void
ask_say(struct ask *a, const char *text)
{
    struct err e;
    int fd = ask_has_terminal(a) ? open_tty(&e) : -1;

    if (fd != -1) {
        (void)fd_write_all(fd, text, strlen(text));
        (void)close(fd);
    }
}

void
ask_wipe(char answer[ASK_ANSWER_MAX])
{
    explicit_bzero(answer, ASK_ANSWER_MAX);
}

/* Lines as the terminal edits them. */
static int
read_echoed(int tty, int cancel_fd, char answer[ASK_ANSWER_MAX], struct err *e)
{
    size_t n = 0;

    for (;;) {
        char c;
        ssize_t got;

        if (!wait_readable(tty, cancel_fd)) {
            return cancelled(e);
        }
        got = read(tty, &c, 1);
        if (got == -1 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return err_set(e, ERR_DENIED, _("no answer"));
        }
        if (c == '\n') {
            answer[n] = '\0';
            return 0;
        }
        if (n < ASK_ANSWER_MAX - 1) {
            answer[n++] = c;
        }
    }
}

enum key { KEY_TAKEN = 0, KEY_END, KEY_EOF, KEY_INTERRUPT };

static enum key
take_key(char c, char answer[ASK_ANSWER_MAX], size_t *n)
{
    switch (c) {
    case '\r':
    case '\n':
        answer[*n] = '\0';
        return KEY_END;
    case KEY_CTRL_C:
        return KEY_INTERRUPT;
    case KEY_CTRL_D:
        return *n == 0 ? KEY_EOF : KEY_TAKEN;
    case KEY_CTRL_U:
        *n = 0;
        return KEY_TAKEN;
    case KEY_BS:
    case KEY_DEL:
        *n -= *n > 0 ? 1 : 0;
        return KEY_TAKEN;
    default:
        if (*n < ASK_ANSWER_MAX - 1) {
            answer[(*n)++] = c;
        }
        return KEY_TAKEN;
    }
}

/*
 * Key by key: with the terminal's own ^C a signal could end us while it does not
 * echo, and leave the user's shell typing blind.
 */
static enum key
read_keys(int tty, int cancel_fd, char answer[ASK_ANSWER_MAX])
{
    size_t n = 0;

    for (;;) {
        char c;
        ssize_t got;
        enum key k;

        if (!wait_readable(tty, cancel_fd)) {
            return KEY_EOF;
        }
        got = read(tty, &c, 1);
        if (got == -1 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return KEY_EOF;
        }
        k = take_key(c, answer, &n);
        if (k != KEY_TAKEN) {
            return k;
        }
    }
}

static int
read_hidden(int tty, const char *prompt, int cancel_fd, char answer[ASK_ANSWER_MAX],
            struct err *e)
{
    struct termios old;
    struct termios raw;
    enum key k;

    if (tcgetattr(tty, &old) == -1) {
        return err_set(e, ERR_DENIED, _("there is no terminal to ask at"));
    }
    raw = old;
    raw.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | ISIG);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    if (tcsetattr(tty, TCSAFLUSH, &raw) == -1) {
        return err_set(e, ERR_DENIED, _("the terminal cannot hide a password"));
    }
    /* Only now: what is typed at the prompt must not be flushed with what came before. */
    (void)fd_write_all(tty, prompt, strlen(prompt));
    k = read_keys(tty, cancel_fd, answer);
    (void)tcsetattr(tty, TCSANOW, &old);
    (void)fd_write_all(tty, "\n", 1);
    if (k == KEY_END) {
        return 0;
    }
    ask_wipe(answer);
    if (k == KEY_INTERRUPT) {
        (void)kill(getpid(), SIGINT);
        return cancelled(e);
    }
    return err_set(e, ERR_DENIED, _("no answer"));
}

/* ---- SSH_ASKPASS ---- */

static int
read_program(int fd, int cancel_fd, char answer[ASK_ANSWER_MAX], struct err *e)
{
    size_t n = 0;
    char *nl;

    while (n < ASK_ANSWER_MAX - 1) {
        ssize_t got;

        if (!wait_readable(fd, cancel_fd)) {
            return cancelled(e);
        }
        got = read(fd, answer + n, ASK_ANSWER_MAX - 1 - n);
        if (got == -1 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            break;
        }
        n += (size_t)got;
    }
    answer[n] = '\0';
    nl = strpbrk(answer, "\r\n");
    if (nl != NULL) {
        *nl = '\0';
    }
    return 0;
}

static int
run_askpass(struct ask *a, const char *prompt, char answer[ASK_ANSWER_MAX], struct err *e)
{
    char *const argv[] = {(char *)(uintptr_t)a->askpass, (char *)(uintptr_t)prompt, NULL};
    int out[2] = {-1, -1};
    int status = -1;
    pid_t pid = -1;
    int rc = -1;

    if (pipe2(out, O_CLOEXEC) == -1) {
        return err_set_sys(e, errno, "pipe");
    }
    const int fds[] = {-1, out[1], STDERR_FILENO};
    const struct child_options o = {
        .file = a->askpass, .argv = argv, .fds = fds, .n_fds = 3};

    if (child_spawn(&pid, &o, e) != 0) {
        (void)err_wrap(e, "SSH_ASKPASS");
        goto out;
    }
    (void)fd_close(&out[1]);
    rc = read_program(out[0], a->cancel_fd, answer, e);
    if (rc != 0) {
        (void)kill(pid, SIGTERM); /* not yet waited for, so still ours */
    }
    while (waitpid(pid, &status, 0) == -1 && errno == EINTR) {
    }
    if (rc == 0 && (!WIFEXITED(status) || WEXITSTATUS(status) != 0)) {
        ask_wipe(answer);
        rc = err_set(e, ERR_DENIED, _("no answer"));
    }

out:
    (void)fd_close(&out[0]);
    (void)fd_close(&out[1]);
    return rc;
}

/* ---- questions ---- */

int
ask_line(struct ask *a, const char *prompt, bool echo, char answer[ASK_ANSWER_MAX],
         struct err *e)
{
    int tty;
    int rc;

    if (!echo && a->askpass != NULL && (a->askpass_first || !a->terminal)) {
        return run_askpass(a, prompt, answer, e);
    }
    if (!a->terminal) {
        return err_set(e, ERR_DENIED, _("there is no terminal to ask at"));
    }
    tty = open_tty(e);
    if (tty == -1) {
        return -1;
    }
    if (echo) {
        (void)fd_write_all(tty, prompt, strlen(prompt));
        rc = read_echoed(tty, a->cancel_fd, answer, e);
    } else {
        rc = read_hidden(tty, prompt, a->cancel_fd, answer, e);
    }
    (void)close(tty);
    return rc;
}

int
ask_yes_no(struct ask *a, const char *question, bool dflt, bool *yes, struct err *e)
{
    char answer[ASK_ANSWER_MAX];
    char *prompt = xasprintf("%s %s ", question, dflt ? "[Y/n]" : "[y/N]");
    int rc;

    for (;;) {
        rc = ask_line(a, prompt, true, answer, e);
        if (rc != 0) {
            break;
        }
        if (answer[0] == '\0') {
            *yes = dflt;
            break;
        }
        if (strcasecmp(answer, "y") == 0 || strcasecmp(answer, "yes") == 0) {
            *yes = true;
            break;
        }
        if (strcasecmp(answer, "n") == 0 || strcasecmp(answer, "no") == 0) {
            *yes = false;
            break;
        }
    }
    free(prompt);
    return rc;
}

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/client/transport_ssh.h"

#define QUESTION_MAX 8192

extern char **environ;

/* Kind and question, ended by NUL; the answer is "y<text>" or anything else for no. */
static const char script[] =
    "#!/bin/sh\n"
    "case \"$SSH_ASKPASS_PROMPT\" in none) K=n;; confirm) K=c;; *) K=s;; esac\n"
    "printf '%%s%%s\\000' \"$K\" \"$1\" >/proc/%d/fd/%d\n"
    "[ \"$K\" = n ] && exit 0\n"
    "IFS= read -r R </proc/%d/fd/%d || exit 1\n"
    "case \"$R\" in y*) printf '%%s\\n' \"${R#y}\";; *) exit 1;; esac\n";

int
askpass_open(struct askpass *a, struct failure *f)
{
    int me = (int)getpid();
    char *text;
    int rc;

    *a = (struct askpass){
        .script_fd = -1, .question = {-1, -1}, .answer = {-1, -1}, .asked = BUF_INIT};
    if (pipe2(a->question, O_CLOEXEC | O_NONBLOCK) == -1 ||
        pipe2(a->answer, O_CLOEXEC) == -1) {
        return failure_set_sys(f, CAUSE_CONFIG, errno, _("out of descriptors"));
    }
    text = xasprintf(script, me, a->question[1], me, a->answer[0]);
    rc = ssh_memory_file("askpass", text, strlen(text), 0700, &a->script_fd,
                         a->script_path, &f->err);
    (void)snprintf(a->entry, sizeof a->entry, "SSH_ASKPASS=%s", a->script_path);
    f->cause = CAUSE_CONFIG;
    free(text);
    return rc;
}

void
askpass_close(struct askpass *a)
{
    if (a->script_path[0] == '\0') {
        return; /* never opened */
    }
    (void)fd_close(&a->script_fd);
    (void)fd_close(&a->question[0]);
    (void)fd_close(&a->question[1]);
    (void)fd_close(&a->answer[0]);
    (void)fd_close(&a->answer[1]);
    buf_free(&a->asked);
}

static bool
ours_to_say(const char *entry)
{
    return strncmp(entry, "SSH_ASKPASS=", 12) == 0 ||
           strncmp(entry, "SSH_ASKPASS_REQUIRE=", 20) == 0;
}

char **
askpass_environ(const struct askpass *a)
{
    /* DISPLAY must be something for an OpenSSH before 8.4, which knows no _REQUIRE. */
    static char require[] = "SSH_ASKPASS_REQUIRE=force";
    static char display[] = "DISPLAY=none";
    size_t n = 0;
    size_t at = 0;
    char **v;

    while (environ[n] != NULL) {
        n++;
    }
    v = xcalloc(n + 4, sizeof *v);
    for (size_t i = 0; i < n; i++) {
        if (!ours_to_say(environ[i])) {
            v[at++] = environ[i];
        }
    }
    v[at++] = (char *)(uintptr_t)a->entry;
    v[at++] = require;
    if (getenv("DISPLAY") == NULL) {
        v[at] = display;
    }
    return v;
}

static int
reply(struct askpass *a, bool yes, const char *text, struct failure *f)
{
    char line[ASK_ANSWER_MAX + 2];
    int n = snprintf(line, sizeof line, "%s%s\n", yes ? "y" : "n", text);
    int rc = fd_write_all(a->answer[1], line, (size_t)n);

    explicit_bzero(line, sizeof line);
    return rc == 0 ? 0 : failure_set_sys(f, CAUSE_CONFIG, errno, "pipe");
}

/* ask said no: cancelled ends all, no answer is only told to ssh. */
static int
unanswered(struct askpass *a, const struct err *why, struct failure *f)
{
    if (why->code == ERR_BUSY) {
        return failure_set(f, CAUSE_CANCELLED, "%s", why->msg);
    }
    return reply(a, false, "", f);
}

static int
answer(struct askpass *a, struct transport *t, const char *question, struct failure *f)
{
    char text[ASK_ANSWER_MAX];
    char shown[600];
    struct err e;
    bool yes = false;
    int rc;

    if (!a->in_dialogue && ask_begin(t->o.ask, t->cancel_fd, &e) != 0) {
        return unanswered(a, &e, f);
    }
    a->in_dialogue = true;
    (void)text_escape_to(shown, sizeof shown - 2, question + 1);
    if (question[0] == 'n') {
        ask_say(t->o.ask, strcat(shown, "\n"));
        return 0;
    }
    if (question[0] == 'c') {
        if (!ask_has_terminal(t->o.ask)) {
            return reply(a, false, "", f);
        }
        if (ask_yes_no(t->o.ask, shown, false, &yes, &e) != 0) {
            return unanswered(a, &e, f);
        }
        return reply(a, yes, "yes", f);
    }
    if (ask_line(t->o.ask, shown, false, text, &e) != 0) {
        return unanswered(a, &e, f);
    }
    rc = reply(a, true, text, f);
    ask_wipe(text);
    return rc;
}

int
askpass_serve(struct askpass *a, struct transport *t, struct failure *f)
{
    char data[512];
    ssize_t n = read(a->question[0], data, sizeof data);
    int rc = 0;

    if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
        return 0;
    }
    if (n == -1) {
        return failure_set_sys(f, CAUSE_CONFIG, errno, "pipe");
    }
    for (ssize_t i = 0; i < n && rc == 0; i++) {
        if (data[i] != '\0') {
            if (a->asked.len < QUESTION_MAX) {
                buf_add_u8(&a->asked, (uint8_t)data[i]);
            }
            continue;
        }
        if (a->asked.len > 0) {
            rc = answer(a, t, buf_str(&a->asked), f);
        }
        buf_reset(&a->asked);
    }
    return rc;
}

void
askpass_settle(struct askpass *a, struct transport *t)
{
    if (a->in_dialogue) {
        ask_end(t->o.ask);
        a->in_dialogue = false;
    }
    buf_reset(&a->asked);
}

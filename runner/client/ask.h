#ifndef RUNNER_CLIENT_ASK_H
#define RUNNER_CLIENT_ASK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/err.h"

/*
 * Asking the person at the terminal. One struct ask per program, shared by all
 * links: prompts come one at a time, whole dialogues (key, passphrase, password of one
 * host) in one go. Thread-safe; calls block until answered.
 *
 * There is somebody to ask when /dev/tty can be opened and stdin or stderr is a
 * terminal; text goes to /dev/tty, never to stdout. Secrets can also come from
 * SSH_ASKPASS, under OpenSSH's rules (SSH_ASKPASS_REQUIRE, else no terminal and
 * DISPLAY or WAYLAND_DISPLAY set). Typing ^C restores the terminal, raises SIGINT
 * and fails the prompt.
 */
struct ask;

#define ASK_ANSWER_MAX 1024 /* bytes, NUL included */

enum ask_mode { ASK_MODE_NONE = 0, ASK_MODE_AUTO, ASK_MODE_NEVER };
struct ask *ask_new(enum ask_mode mode);
void ask_free(struct ask *a);

bool ask_has_terminal(const struct ask *a);   /* NULL: false */
bool ask_can_get_secret(const struct ask *a); /* a terminal, or SSH_ASKPASS */

/*
 * Take the terminal for a dialogue, waiting for others' to end; cancel_fd becoming
 * readable ends the wait (and any prompt) with ERR_BUSY. begin/end may nest in a
 * thread.
 */
int ask_begin(struct ask *a, int cancel_fd, struct err *e) MUST_USE;
void ask_end(struct ask *a);

/* Inside a dialogue. text is shown as it is: escape what a peer said. */
void ask_say(struct ask *a, const char *text);
/* ERR_DENIED: nobody to ask, or EOF; ERR_BUSY: cancelled. Terminal only. */
int ask_yes_no(struct ask *a, const char *question, bool dflt, bool *yes,
               struct err *e) MUST_USE;
/* echo false: a secret, also by SSH_ASKPASS; wipe the answer with ask_wipe. */
int ask_line(struct ask *a, const char *prompt, bool echo, char answer[ASK_ANSWER_MAX],
             struct err *e) MUST_USE;
void ask_wipe(char answer[ASK_ANSWER_MAX]);

#endif

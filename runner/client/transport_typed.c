#include <stdio.h>
#include <string.h>

#include "base/lang.h"
#include "base/text.h"
#include "runner/client/transport_auth.h"

/* Logins that a person types: keyboard-interactive and password. */

#define ROUNDS_MAX 8 /* of questions in one try */

static int
ask_password(struct login *g, const struct attempt *a)
{
    return ssh_userauth_password(g->l->s, NULL, a->text);
}

static int
ask_kbdint(struct login *g, const struct attempt *a)
{
    (void)a;
    return ssh_userauth_kbdint(g->l->s, NULL, NULL);
}

/* Answer one round of the host's questions. */
static int
answer_round(struct login *g, struct failure *f)
{
    ssh_session s = g->l->s;
    int n = ssh_userauth_kbdint_getnprompts(s);
    const char *said = ssh_userauth_kbdint_getinstruction(s);
    char answer[ASK_ANSWER_MAX];
    char where[WHERE_MAX];
    char shown[200];
    char prompt[PROMPT_MAX];

    (void)transport_where(g->t, where);
    if (n > 0 && said != NULL && said[0] != '\0') {
        (void)snprintf(prompt, sizeof prompt, "%s\n",
                       text_escape_to(shown, sizeof shown, said));
        if (login_begin(g, f) != 0) {
            return -1;
        }
        ask_say(g->t->o.ask, prompt);
    }
    for (int i = 0; i < n; i++) {
        char echo = 0;
        const char *q = ssh_userauth_kbdint_getprompt(s, (unsigned)i, &echo);
        int rc;

        (void)snprintf(prompt, sizeof prompt, "(%s) %s", where,
                       text_escape_to(shown, sizeof shown, q == NULL ? "" : q));
        rc = login_ask(g, prompt, echo != 0, answer, f);
        if (rc <= 0) {
            return rc;
        }
        rc = ssh_userauth_kbdint_setanswer(s, (unsigned)i, answer);
        ask_wipe(answer);
        if (rc < 0) {
            return failure_set(f, CAUSE_AUTH, "libssh: %s", ssh_get_error(s));
        }
    }
    return 1;
}

/* One try: questions until the host is content or not. 1: in; 0: denied; -1: failed;
 * 2: nobody answers. */
static int
kbdint_once(struct login *g, struct failure *f)
{
    const struct attempt a = {.ask = ask_kbdint};
    int answer = SSH_AUTH_DENIED;

    for (int round = 0; round < ROUNDS_MAX; round++) {
        int rc;

        if (login_attempt(g, &a, &answer, f) != 0) {
            return -1;
        }
        if (answer != SSH_AUTH_INFO) {
            return answer == SSH_AUTH_SUCCESS ? 1 : 0;
        }
        rc = answer_round(g, f);
        if (rc <= 0) {
            return rc == 0 ? 2 : -1;
        }
    }
    return 0;
}

static int
try_kbdint(struct login *g, struct failure *f)
{
    for (int n = 0; n < LOGIN_TRIES; n++) {
        int rc = kbdint_once(g, f);

        if (rc == 1) {
            login_done(g, "keyboard-interactive", "");
            g->t->info.asked_password = true;
            return 1;
        }
        if (rc == -1) {
            return -1;
        }
        if (rc == 2) {
            break;
        }
    }
    login_note(g, "keyboard-interactive", _("refused"));
    return 0;
}

static int
try_password(struct login *g, struct failure *f)
{
    char where[WHERE_MAX];
    char prompt[PROMPT_MAX];
    char answer[ASK_ANSWER_MAX];

    (void)snprintf(prompt, sizeof prompt, _("Password for %s: "),
                   transport_where(g->t, where));
    for (int n = 0; n < LOGIN_TRIES; n++) {
        const struct attempt a = {.ask = ask_password, .text = answer};
        int reply = SSH_AUTH_DENIED;
        int rc = login_ask(g, prompt, false, answer, f);

        if (rc < 0) {
            return -1;
        }
        if (rc == 0) {
            break;
        }
        rc = login_attempt(g, &a, &reply, f);
        ask_wipe(answer);
        if (rc != 0) {
            return -1;
        }
        if (reply == SSH_AUTH_SUCCESS) {
            login_done(g, "password", "");
            g->t->info.asked_password = true;
            return 1;
        }
        if (reply == SSH_AUTH_PARTIAL) {
            break;
        }
    }
    login_note(g, "password", _("refused"));
    return 0;
}

int
login_typed(struct login *g, unsigned methods, struct failure *f)
{
    int rc = 0;

    if ((methods & SSH_AUTH_METHOD_INTERACTIVE) != 0 &&
        login_allows(g, "keyboard-interactive", g->t->config.kbdint_auth)) {
        rc = try_kbdint(g, f);
    }
    if (rc == 0 && (methods & SSH_AUTH_METHOD_PASSWORD) != 0 &&
        login_allows(g, "password", g->t->config.password_auth)) {
        rc = try_password(g, f);
    }
    return rc;
}

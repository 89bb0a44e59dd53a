#ifndef RUNNER_CLIENT_TRANSPORT_AUTH_H
#define RUNNER_CLIENT_TRANSPORT_AUTH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/buf.h"
#include "runner/client/transport_libssh.h"

/* One login under way: what transport_auth.c (keys) and transport_typed.c share. */

#define LOGIN_TRIES   3 /* of a passphrase or password */
#define KEY_FILES_MAX (SSH_CONFIG_LIST_MAX + 8)
#define PROMPT_MAX    400

enum key_state {
    KEY_NONE = 0,
    KEY_USABLE,    /* loaded */
    KEY_ENCRYPTED, /* wants a passphrase */
    KEY_UNSAFE,    /* others can read it */
    KEY_BAD,       /* cannot be read or understood */
};

struct key_file {
    char *path;
    bool said; /* by IdentityFile or host add, so its absence is worth a word */
    enum key_state state;
    ssh_key key; /* KEY_USABLE */
};

struct login {
    struct transport *t;
    struct lib *l;
    struct key_file v[KEY_FILES_MAX];
    size_t n;
    struct buf tried; /* for the message, when nothing helps */
    bool denied_once; /* the host has told which methods it takes */
    bool in_dialogue; /* the terminal is ours until the login ends */
};

/* A request to the host, repeated until it has answered. */
struct attempt {
    int (*ask)(struct login *g, const struct attempt *a);
    ssh_key key;
    const char *text;
};
/* SSH_AUTH_SUCCESS, _DENIED, _PARTIAL or _INFO in *answer; -1: the connection failed. */
int login_attempt(struct login *g, const struct attempt *a, int *answer,
                  struct failure *f) MUST_USE;

/* For the message, when nothing helps. */
void login_note(struct login *g, const char *what, const char *result);
/* It worked. */
void login_done(struct login *g, const char *how, const char *what);

/* Take the terminal, until the login ends. -1: cancelled. */
int login_begin(struct login *g, struct failure *f) MUST_USE;
/* One question to the person. 1: answered; 0: nobody answers; -1: cancelled. */
int login_ask(struct login *g, const char *prompt, bool echo, char answer[ASK_ANSWER_MAX],
              struct failure *f);

/*
 * Keyboard-interactive and password, as far as the host takes them (SSH_AUTH_METHOD_*).
 * 1: in; 0: not; -1: the connection failed, or cancelled.
 */
int login_typed(struct login *g, unsigned methods, struct failure *f);
/* PreferredAuthentications and the like leave this method in. */
bool login_allows(const struct login *g, const char *method, bool by_option);

#endif

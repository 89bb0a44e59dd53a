#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/file.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/client/transport_libssh.h"

/*
 * The offer after a typed password: put a key there, so that the next time nothing needs
 * to be typed (a session that reconnects by itself cannot type).
 */

#define KEY_LINE_MAX ((size_t)16 << 10)
#define ANSWER_MS    30000

/* As bootstrap.h's command: no quote, backslash, '!' or newline inside. */
#define INSTALL_COMMAND                                                                  \
    "exec sh -c 'umask 077; mkdir -p \"$HOME/.ssh\" && cd \"$HOME/.ssh\" && "            \
    "IFS= read -r K && touch authorized_keys && "                                        \
    "{ [ -z \"$(tail -c 1 authorized_keys)\" ] || echo >>authorized_keys; } && "         \
    "{ grep -qxF \"$K\" authorized_keys || echo \"$K\" >>authorized_keys; } && "         \
    "{ command -v restorecon >/dev/null 2>&1 && restorecon -F authorized_keys; "         \
    "echo key-is-there; }'"

char *
transport_own_key(const struct transport *t)
{
    return home_path(t->o.home, "id_ed25519", NULL);
}

static bool
usable_pub(const char *private_path, char **pub)
{
    char *path = xasprintf("%s.pub", private_path);

    if (!file_exists(path) || !file_exists(private_path)) {
        free(path);
        return false;
    }
    *pub = path;
    return true;
}

/* The public key to offer: one of the user's, else our own where it was made before. */
static char *
find_pub(const struct transport *t)
{
    char *own = transport_own_key(t);
    char *pub = NULL;

    for (size_t i = 0; i < t->config.n_identity && pub == NULL; i++) {
        (void)usable_pub(t->config.identity[i], &pub);
    }
    for (size_t i = 0; ssh_config_default_keys[i] != NULL && pub == NULL; i++) {
        char *path = xasprintf("%s/.ssh/%s", t->home_dir, ssh_config_default_keys[i]);

        if (t->config.n_identity == 0) {
            (void)usable_pub(path, &pub);
        }
        free(path);
    }
    if (pub == NULL) {
        (void)usable_pub(own, &pub);
    }
    free(own);
    return pub;
}

static int
write_key(const char *private_path, const char *pub_path, const char *private_text,
          const char *pub_b64, struct err *e)
{
    char *line = xasprintf("ssh-ed25519 %s gpurun\n", pub_b64);
    int rc = file_replace(private_path, private_text, strlen(private_text), e);

    if (rc == 0) {
        rc = file_replace(pub_path, line, strlen(line), e);
    }
    free(line);
    return rc;
}

/* An ed25519 key without passphrase in our own home; the path of its public half. */
static char *
make_key(const struct transport *t)
{
    char *own = transport_own_key(t);
    char *pub = xasprintf("%s.pub", own);
    char *private_text = NULL;
    char *pub_b64 = NULL;
    ssh_key k = NULL;
    struct err e;
    bool ok =
        file_mkdirs(home_dir(t->o.home), 0700, &e) == 0 &&
        ssh_pki_generate(SSH_KEYTYPE_ED25519, 0, &k) == SSH_OK &&
        ssh_pki_export_privkey_base64(k, NULL, NULL, NULL, &private_text) == SSH_OK &&
        ssh_pki_export_pubkey_base64(k, &pub_b64) == SSH_OK &&
        write_key(own, pub, private_text, pub_b64, &e) == 0;

    if (private_text != NULL) {
        explicit_bzero(private_text, strlen(private_text));
    }
    SSH_STRING_FREE_CHAR(private_text);
    SSH_STRING_FREE_CHAR(pub_b64);
    SSH_KEY_FREE(k);
    free(own);
    if (!ok) {
        free(pub);
        pub = NULL;
    }
    return pub;
}

/* Send the one line and hear that it is there. */
static bool
install(struct transport *t, const struct buf *line)
{
    struct transport_status s;
    struct buf heard = BUF_INIT;
    struct failure f;
    char data[256];
    size_t n = 1;
    bool ok;

    if (transport_exec(t, INSTALL_COMMAND, &f) != 0 ||
        transport_write(t, line->data, line->len, ANSWER_MS, &f) != 0) {
        return false;
    }
    while (n > 0 && heard.len < KEY_LINE_MAX &&
           transport_read(t, data, sizeof data, ANSWER_MS, &n, &f) == 0) {
        buf_add(&heard, data, n);
    }
    transport_wait(t, &s);
    ok = strstr(buf_str(&heard), "key-is-there") != NULL;
    buf_free(&heard);
    return ok;
}

static bool
read_line(const char *pub, struct buf *line)
{
    struct err e;

    if (file_read(pub, KEY_LINE_MAX, line, &e) != 0) {
        return false;
    }
    while (line->len > 0 &&
           (line->data[line->len - 1] == '\n' || line->data[line->len - 1] == '\r')) {
        line->len--;
    }
    if (line->len == 0 || memchr(line->data, '\n', line->len) != NULL) {
        return false;
    }
    buf_add_u8(line, '\n');
    return true;
}

static void
offer(struct transport *t)
{
    char *pub = find_pub(t);
    char where[WHERE_MAX];
    char shown[160];
    struct buf line = BUF_INIT;
    struct err e;
    char *question;
    bool yes = false;

    (void)transport_where(t, where);
    question = pub != NULL
                   ? xasprintf(_("Put your key %s on %s, so that no password is needed "
                                 "again?"),
                               text_escape_to(shown, sizeof shown, pub), where)
                   : xasprintf(_("Make a key for gpurun and put it on %s, so that no "
                                 "password is needed again?"),
                               where);
    if (ask_yes_no(t->o.ask, question, true, &yes, &e) == 0 && yes) {
        if (pub == NULL) {
            pub = make_key(t);
        }
        ask_say(t->o.ask,
                pub != NULL && read_line(pub, &line) && install(t, &line)
                    ? _("Done.\n")
                    : _("That did not work; the password is needed next time.\n"));
    }
    free(question);
    free(pub);
    buf_free(&line);
}

void
transport_offer_key(struct transport *t)
{
    struct err e;

    if (!t->info.asked_password || !ask_has_terminal(t->o.ask) ||
        ask_begin(t->o.ask, t->cancel_fd, &e) != 0) {
        return;
    }
    offer(t);
    ask_end(t->o.ask);
}

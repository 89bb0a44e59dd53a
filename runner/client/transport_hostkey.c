#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/client/transport_internal.h"

/*
 * Whether the host is the one we think it is: one decision and one set of words for
 * libssh and for the ssh binary.
 */

#define NAME_SHOWN_MAX 120
#define FILE_SHOWN_MAX 120

size_t
transport_hostkey_files(const struct transport *t, char **own,
                        const char *out[TRANSPORT_HOSTKEY_FILES])
{
    size_t n = 0;

    *own = home_path(t->o.home, "known_hosts", NULL);
    out[n++] = *own;
    for (size_t i = 0; i < t->config.n_user_known_hosts; i++) {
        out[n++] = t->config.user_known_hosts[i];
    }
    for (size_t i = 0; i < t->config.n_global_known_hosts; i++) {
        out[n++] = t->config.global_known_hosts[i];
    }
    return n;
}

static int
pin(struct transport *t, const char *name, const struct ssh_pubkey *key, bool replace,
    struct failure *f)
{
    char *own = home_path(t->o.home, "known_hosts", NULL);
    int rc = file_mkdirs(home_dir(t->o.home), 0700, &f->err);

    f->cause = CAUSE_CONFIG;
    if (rc == 0) {
        rc = known_hosts_pin(own, name, key, replace, &f->err);
    }
    free(own);
    return rc;
}

static int
refuse_unknown(const char *name, const struct ssh_pubkey *key, struct failure *f)
{
    char fp[SSH_FINGERPRINT_MAX];
    char shown[NAME_SHOWN_MAX];

    ssh_pubkey_fingerprint(key, fp);
    return failure_set(f, CAUSE_HOST_KEY_UNKNOWN,
                       _("the SSH host key of %s is not known: %s %s. If that is the one "
                         "the host's console or owner shows, run once more with "
                         "--host-key %s"),
                       text_escape_to(shown, sizeof shown, name), key->type, fp, fp);
}

static int
refuse_wanted(const char *name, const struct ssh_pubkey *key, const char *wanted,
              struct failure *f)
{
    char fp[SSH_FINGERPRINT_MAX];
    char shown[NAME_SHOWN_MAX];

    ssh_pubkey_fingerprint(key, fp);
    return failure_set(
        f, CAUSE_HOST_KEY_CHANGED,
        _("%s shows the SSH host key %s %s, not %s as --host-key says: not "
          "connected"),
        text_escape_to(shown, sizeof shown, name), key->type, fp, wanted);
}

static int
refuse_revoked(const char *name, const struct ssh_pubkey *key, struct failure *f)
{
    char fp[SSH_FINGERPRINT_MAX];
    char shown[NAME_SHOWN_MAX];

    ssh_pubkey_fingerprint(key, fp);
    return failure_set(
        f, CAUSE_HOST_KEY_REVOKED,
        _("%s shows an SSH host key that is marked @revoked: %s %s. Do not "
          "trust that machine"),
        text_escape_to(shown, sizeof shown, name), key->type, fp);
}

static int
refuse_changed(const char *name, const struct ssh_pubkey *key,
               const struct known_hosts *k, struct failure *f)
{
    const struct known_hosts_key *old = known_hosts_at(k, 0);
    char fp[SSH_FINGERPRINT_MAX];
    char old_fp[SSH_FINGERPRINT_MAX];
    char shown[NAME_SHOWN_MAX];
    char file[FILE_SHOWN_MAX];

    ssh_pubkey_fingerprint(key, fp);
    ssh_pubkey_fingerprint(&old->key, old_fp);
    (void)text_escape_to(file, sizeof file, old->file);
    return failure_set(
        f, CAUSE_HOST_KEY_CHANGED,
        _("the SSH host key of %s CHANGED: on record is %s (%s:%d), it now "
          "shows %s. Somebody may be in between. If the machine was "
          "installed anew: ssh-keygen -R '%s' -f %s"),
        text_escape_to(shown, sizeof shown, name), old_fp, file, old->line, fp, shown,
        file);
}

/* The keys on record that differ all stand in our own file, which we may change. */
static bool
only_ours(const struct known_hosts *k, const char *own)
{
    for (size_t i = 0; i < known_hosts_count(k); i++) {
        if (strcmp(known_hosts_at(k, i)->file, own) != 0) {
            return false;
        }
    }
    return true;
}

/* While we waited for the terminal, another link to the same host may have been told. */
static bool
known_by_now(const char *own, const char *name, const struct ssh_pubkey *key)
{
    struct known_hosts *k = NULL;
    struct err e;
    bool yes;

    if (known_hosts_load(&own, 1, name, NULL, &k, &e) != 0) {
        return false;
    }
    yes = known_hosts_check(k, key) == KNOWN_HOST_OK;
    known_hosts_free(k);
    return yes;
}

static int
ask_about(struct transport *t, const char *name, const struct ssh_pubkey *key, bool *yes,
          struct failure *f)
{
    char fp[SSH_FINGERPRINT_MAX];
    char shown[NAME_SHOWN_MAX];
    char *question;
    int rc;

    ssh_pubkey_fingerprint(key, fp);
    (void)text_escape_to(shown, sizeof shown, name);
    question =
        xasprintf(_("%s shows the SSH host key\n  %s %s\nfor the first time. Is that "
                    "the right machine, and shall it be remembered?"),
                  shown, key->type, fp);
    rc = ask_yes_no(t->o.ask, question, false, yes, &f->err);
    free(question);
    if (rc != 0) {
        f->cause = f->err.code == ERR_BUSY ? CAUSE_CANCELLED : CAUSE_HOST_KEY_UNKNOWN;
        return -1;
    }
    return 0;
}

static int
ask_and_pin(struct transport *t, const char *name, const struct ssh_pubkey *key,
            const char *own, struct failure *f)
{
    char shown[NAME_SHOWN_MAX];
    bool yes = false;
    int rc = 0;

    if (ask_begin(t->o.ask, t->cancel_fd, &f->err) != 0) {
        f->cause = CAUSE_CANCELLED;
        return -1;
    }
    if (!known_by_now(own, name, key)) {
        rc = ask_about(t, name, key, &yes, f);
        if (rc == 0 && yes) {
            rc = pin(t, name, key, false, f);
        } else if (rc == 0) {
            rc = failure_set(f, CAUSE_HOST_KEY_UNKNOWN,
                             _("the SSH host key of %s was not accepted"),
                             text_escape_to(shown, sizeof shown, name));
        }
    }
    ask_end(t->o.ask);
    return rc;
}

static int
decide(struct transport *t, const char *name, const struct ssh_pubkey *key,
       const struct known_hosts *k, const char *own, struct failure *f)
{
    enum known_host found = known_hosts_check(k, key);

    if (found == KNOWN_HOST_REVOKED) {
        return refuse_revoked(name, key, f);
    }
    if (t->o.host_key != NULL && !ssh_pubkey_is(key, t->o.host_key)) {
        return refuse_wanted(name, key, t->o.host_key, f);
    }
    switch (found) {
    case KNOWN_HOST_OK:
        return 0;
    case KNOWN_HOST_CHANGED:
        /* Said by hand, and no other file contradicts: our own record was the old
         * machine. */
        if (t->o.host_key != NULL && only_ours(k, own)) {
            return pin(t, name, key, true, f);
        }
        return refuse_changed(name, key, k, f);
    default:
        if (t->o.host_key != NULL) {
            return pin(t, name, key, false, f);
        }
        if (t->o.host_key_ask && ask_has_terminal(t->o.ask)) {
            return ask_and_pin(t, name, key, own, f);
        }
        return refuse_unknown(name, key, f);
    }
}

int
transport_hostkey_check(struct transport *t, const char *name, const char *plain,
                        const struct ssh_pubkey *key, struct failure *f)
{
    const char *files[TRANSPORT_HOSTKEY_FILES];
    struct known_hosts *k = NULL;
    char *own;
    size_t n = transport_hostkey_files(t, &own, files);
    int rc;

    if (known_hosts_load(files, n, name, plain, &k, &f->err) != 0) {
        f->cause = CAUSE_CONFIG;
        rc = -1;
    } else {
        rc = decide(t, name, key, k, own, f);
    }
    known_hosts_free(k);
    free(own);
    return rc;
}

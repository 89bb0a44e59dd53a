#ifndef RUNNER_CLIENT_SSH_CONFIG_H
#define RUNNER_CLIENT_SSH_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

/*
 * ssh_config(5), as far as a client of ours needs it: what $HOME/.ssh/config and then
 * /etc/ssh/ssh_config say about one host. The first value of a keyword counts, as in ssh;
 * `~` and %d are $HOME (ssh and libssh would take the passwd entry's).
 *
 * Host, Match (all, host, originalhost, user, localuser) and Include are followed. What
 * we do not evaluate is not guessed at: needs_binary then names the keyword, and the
 * transport leaves the work to the ssh binary.
 */
#define SSH_CONFIG_FILE_MAX    ((size_t)4 << 20)
#define SSH_CONFIG_DEPTH_MAX   16 /* of Include */
#define SSH_CONFIG_FILES_MAX   256
#define SSH_CONFIG_LIST_MAX    32 /* IdentityFile and the like */
#define SSH_CONFIG_TIMEOUT_MAX 3600

struct ssh_config {
    char *host_name; /* what to connect to; never NULL, lower case, no '-' in front */
    char *user;      /* never NULL */
    int port;        /* 1..65535 */
    char *host_key_alias;
    char *identity[SSH_CONFIG_LIST_MAX]; /* expanded paths, in order */
    size_t n_identity;
    bool identities_only;
    char *identity_agent; /* a path; "none"; NULL: $SSH_AUTH_SOCK */
    char *user_known_hosts[SSH_CONFIG_LIST_MAX]; /* default: the usual two */
    size_t n_user_known_hosts;
    char *global_known_hosts[SSH_CONFIG_LIST_MAX];
    size_t n_global_known_hosts;
    int connect_timeout_s; /* 0: not set */
    int address_family;    /* AF_UNSPEC, AF_INET, AF_INET6 */
    char *bind_address;
    char *ciphers; /* as written: a list, or one that begins with + - ^ */
    char *kex;
    char *macs;
    char *host_key_algorithms;
    char *pubkey_algorithms;
    char *preferred_auth;
    bool password_auth;
    bool kbdint_auth;
    bool pubkey_auth;
    char needs_binary[96]; /* the keyword that libssh cannot honour, or "" */
};

/* What the command line fixed; it comes before any file. NULL and 0: not said. */
struct ssh_config_want {
    const char *host; /* as typed: an alias, a name, an address */
    const char *user;
    int port;
    const char *identity;
    const char *jump;
};

/*
 * Read the files and fill *out (ssh_config_free). home is $HOME. Missing files are empty.
 * ERR_INVALID names file and line of what cannot be understood, and refuses a host name
 * or user that begins with '-'.
 */
int ssh_config_load(const struct ssh_config_want *want, const char *home,
                    const char *user_file, const char *system_file,
                    struct ssh_config *out, struct err *e) MUST_USE;
void ssh_config_free(struct ssh_config *c);

/* Key files looked for where no IdentityFile is said: $HOME/.ssh/<these>. NULL-ended. */
extern const char *const ssh_config_default_keys[];

#endif

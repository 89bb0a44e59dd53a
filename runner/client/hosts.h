#ifndef RUNNER_CLIENT_HOSTS_H
#define RUNNER_CLIENT_HOSTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/sign.h"
#include "runner/client/home.h"

/*
 * The hosts a renter knows: one record per host under <home>/hosts, made by
 * `host add`. `local` always exists and has no record until something about it is
 * worth keeping (its pinned key).
 *
 * key is the agent's ed25519 key, pinned when the host was added: offers,
 * checkpoints and receipts of the host count only under it. The SSH host key is
 * another matter (known_hosts.h).
 */
#define HOST_NAME_LEN_MAX  63
#define HOST_FIELD_LEN_MAX 255
#define HOST_ENTRIES_MAX   4096
#define HOST_LOCAL         "local"

/* A price the renter typed: an own estimate, for a host that publishes none. */
struct host_price {
    char *type;
    int64_t uyuan; /* micro-yuan per unit-hour; of "disk" per GB-day */
};

struct host {
    char *name;
    bool local;       /* a pipe instead of SSH */
    char *address;    /* DNS name, address or ssh_config alias; NULL for local */
    char *user;       /* NULL: what ssh_config says, else the login name */
    int port;         /* 0: what ssh_config says, else 22 */
    char *identity;   /* private key file, or NULL */
    char *jump;       /* ProxyJump, or NULL */
    char *agent_home; /* on the host, or NULL for its default */
    char *command;    /* what is started there instead of the agent (a book); NULL */
    char *mirror;     /* the host that has copies of all snapshots, or "none"; NULL: what
                         mirror.h does by itself */
    char **env;       /* K=V for every job there */
    size_t n_env;
    struct host_price *prices;
    size_t n_prices;
    bool pinned;
    struct sign_public key;
    uint8_t *info; /* the last gpurun.host.v1 seen (encoded), or NULL */
    size_t info_len;
    int64_t info_wall_ns; /* when that was */
    int64_t added_wall_ns;
};

void host_init(struct host *h);                           /* all empty */
void host_free(struct host *h);                           /* and empty again */
void host_copy(struct host *to, const struct host *from); /* to need not be initialised */

/* A usable name: [A-Za-z0-9][A-Za-z0-9._-]*, at most HOST_NAME_LEN_MAX. ERR_INVALID. */
int host_name_check(const char *name, struct err *e) MUST_USE;

/*
 * Fill address, user, port, identity and jump from what `host add` was given:
 * [USER@]HOST[:PORT], [USER@][V6ADDR]:PORT, ssh://USER@HOST:PORT, or a whole "ssh -p
 * 35394 root@host" line as providers' consoles show it, copied with a prompt, a label or
 * odd blanks about it. *remark is then a malloc'ed
 * sentence about options of such a line that do not matter here (-L …), or NULL.
 * ERR_INVALID: anything else, and an address or user that begins with '-' or holds
 * spaces or control characters. *h is unchanged on failure.
 */
int host_parse_target(struct host *h, const char *copied, char **remark,
                      struct err *e) MUST_USE;

/* ERR_INVALID: that value of --env or --env-file is not K=V, or K is not for users. */
int host_check_env(const char *option, const char *kv, struct err *e) MUST_USE;
/* Add "TYPE=YUAN" of --price (a type given twice: the last counts), "K=V" of --env. */
int host_add_price(struct host *h, const char *text, struct err *e) MUST_USE;
int host_add_env(struct host *h, const char *text, struct err *e) MUST_USE;

/*
 * Read the host of that name into *out (host_free). ERR_NOT_FOUND says which hosts there
 * are; `local` is there without a record.
 */
int hosts_load(const struct home *home, const char *name, struct host *out,
               struct err *e) MUST_USE;
/* Write its record, atomically. fresh: ERR_EXISTS if there is one already. */
int hosts_save(const struct home *home, const struct host *h, bool fresh,
               struct err *e) MUST_USE;
int hosts_remove(const struct home *home, const char *name, struct err *e) MUST_USE;

/* The same with a file of the caller's choice, for what is no host but reached like one.
 */
int hosts_load_file(const char *path, struct host *out, struct err *e) MUST_USE;
int hosts_save_file(const char *path, const struct host *h, struct err *e) MUST_USE;

struct host_list {
    struct host *v;
    size_t n;
};
/*
 * Every configured host, by name; with_local: `local` too, last, if it is not
 * among them. A record that cannot be read is an error that names the file, never a
 * host less.
 */
int hosts_list(const struct home *home, bool with_local, struct host_list *out,
               struct err *e) MUST_USE;
/*
 * The hosts where jobs may be: as above, with `local` only where it has ever been used,
 * or no other host is known.
 */
int hosts_list_used(const struct home *home, struct host_list *out,
                    struct err *e) MUST_USE;
void host_list_free(struct host_list *l);
/*
 * The host that this key is pinned for, into *out (host_free). ERR_NOT_FOUND: none that
 * is known here.
 */
int hosts_by_key(const struct home *home, const struct sign_public *key, struct host *out,
                 struct err *e) MUST_USE;

/* What it last said of itself (info), into *out (hostinfo_free); false: nothing that can
 * be read. */
struct host_info;
bool host_recall(const struct host *h, struct host_info *out);

/* "user@address:port" or "this machine"; malloc'ed, not escaped. */
char *host_where(const struct host *h);

#endif

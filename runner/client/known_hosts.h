#ifndef RUNNER_CLIENT_KNOWN_HOSTS_H
#define RUNNER_CLIENT_KNOWN_HOSTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"

/*
 * SSH host keys on record: sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT". The user's
 * files are only read; the one in our home is also appended to.
 *
 * Understood: plain names, patterns with * ? and !, [host]:port, hashed names (|1|),
 * the markers @revoked and @cert-authority, comments. A line that cannot be
 * understood is skipped, as ssh does, unless it is marked @revoked for the host:
 * what cannot be read cannot revoke, so that is an error.
 */
#define KNOWN_HOSTS_FILE_MAX ((size_t)16 << 20)
#define KNOWN_HOSTS_LINE_MAX ((size_t)64 << 10)
#define KNOWN_HOSTS_KEY_MAX  ((size_t)16 << 10) /* one key, decoded */

/* The public key a server shows: its type and the wire encoding (RFC 4253, 6.6). */
struct ssh_pubkey {
    char type[64]; /* "ssh-ed25519" */
    uint8_t *blob;
    size_t len;
};
void ssh_pubkey_free(struct ssh_pubkey *k);
/* From "AAAA…" base64. The type is read from the blob itself. ERR_CORRUPT. */
int ssh_pubkey_parse(const char *base64, size_t len, struct ssh_pubkey *out,
                     struct err *e) MUST_USE;
/* "SHA256:" and 43 characters, as ssh-keygen -l prints it. */
#define SSH_FINGERPRINT_MAX 52
void ssh_pubkey_fingerprint(const struct ssh_pubkey *k, char out[SSH_FINGERPRINT_MAX]);
/* "SHA256:…" as typed (padding allowed) is this key's. */
bool ssh_pubkey_is(const struct ssh_pubkey *k, const char *fingerprint);
/* ERR_INVALID unless text is a SHA256: fingerprint. */
int ssh_fingerprint_check(const char *text, struct err *e) MUST_USE;

enum known_host {
    KNOWN_HOST_NONE = 0, /* nothing on record */
    KNOWN_HOST_OK,
    KNOWN_HOST_CHANGED, /* other keys are on record, this one is not */
    KNOWN_HOST_REVOKED,
};

struct known_hosts; /* the lines of all files that are about one host */

/* "host", or "[host]:port" unless port is 22, in lower case; malloc'ed. */
char *known_hosts_name(const char *host, int port);

/*
 * Gather what files[0..n) say about name (known_hosts_name, or a HostKeyAlias). plain is
 * the host without its port, or NULL: as in ssh, a key on record for it is good for
 * another port too, but does not make an unknown key of that port a changed one. A
 * missing file is empty; one that cannot be read is an error.
 */
int known_hosts_load(const char *const *files, size_t n, const char *name,
                     const char *plain, struct known_hosts **out, struct err *e) MUST_USE;
void known_hosts_free(struct known_hosts *k);

enum known_host known_hosts_check(const struct known_hosts *k,
                                  const struct ssh_pubkey *key);

/* The keys that make another one CHANGED, in the order of the files. */
struct known_hosts_key {
    struct ssh_pubkey key;
    const char *file; /* as given to known_hosts_load; must still live */
    int line;
};
size_t known_hosts_count(const struct known_hosts *k);
const struct known_hosts_key *known_hosts_at(const struct known_hosts *k, size_t at);
/* A key of that type is on record (also for plain): the server is asked for it first. */
bool known_hosts_has_type(const struct known_hosts *k, const char *type);
/* There are @cert-authority lines for the host. */
bool known_hosts_has_ca(const struct known_hosts *k);

/*
 * Put "name type base64" into our own file, synced; two processes at once both succeed.
 * Nothing is written if that very line is there. replace: lines that name exactly this
 * host and hold other keys go away in the same step (marked ones stay).
 */
int known_hosts_pin(const char *file, const char *name, const struct ssh_pubkey *key,
                    bool replace, struct err *e) MUST_USE;

#endif

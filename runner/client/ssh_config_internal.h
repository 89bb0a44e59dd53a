#ifndef RUNNER_CLIENT_SSH_CONFIG_INTERNAL_H
#define RUNNER_CLIENT_SSH_CONFIG_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "runner/client/ssh_config.h"

/* The words of ssh_config(5): shared by its reader and by the copy made for the binary.
 */
#define SSH_WORDS_MAX 64

struct ssh_words {
    char *v[SSH_WORDS_MAX]; /* malloc'ed */
    size_t n;
};

/* One line, split as ssh does. ERR_INVALID: an open quote, or too many words. */
int ssh_words_split(const char *line, size_t len, struct ssh_words *out,
                    struct err *e) MUST_USE;
void ssh_words_free(struct ssh_words *w);

/* Append value, in quotes where it needs them, so that ssh reads it back as one word. */
void ssh_word_quote(struct buf *out, const char *value);

/* value with a leading "~", "~/" and every %d replaced by home; malloc'ed. */
char *ssh_word_at_home(const char *value, const char *home);

/* The values of %-tokens, for ssh_word_expand. */
struct ssh_tokens {
    const char *home;       /* %d */
    const char *host;       /* %h */
    const char *original;   /* %n */
    const char *key_alias;  /* %k */
    const char *user;       /* %r */
    const char *local_user; /* %u */
    int port;               /* %p */
};
/*
 * "~", %-tokens and ${VARIABLES}; malloc'ed. NULL: a token not known here, or a variable
 * that is not set.
 */
char *ssh_word_expand(const char *value, const struct ssh_tokens *t);

/* ssh's patterns: only * and ?; letters count as equal in either case. */
bool ssh_pattern_match(const char *pattern, size_t len, const char *name);
/* A list of patterns: no negated one matches, and one of the others does. */
bool ssh_patterns_match(const char *const *patterns, size_t n, const char *name);

/*
 * Append a configuration file to out; a missing one is empty. users: ERR_DENIED when
 * others could write it.
 */
int ssh_config_read_file(const char *path, bool users, struct buf *out,
                         struct err *e) MUST_USE;

/*
 * What the ssh binary is given with -F: head, a copy of the user's and the system's file,
 * tail; with every `~` and %d of a path turned into home, and every Include
 * into a copy of its own. ssh would take the passwd entry's home, and with -F
 * would not read the system's file. Kept in memory files that ssh opens through
 * /proc, so nothing is left behind, whatever becomes of us.
 */
struct ssh_config_copy {
    int fds[SSH_CONFIG_FILES_MAX];
    size_t n;
    char path[48]; /* of the first: "/proc/<pid>/fd/<n>" */
};
int ssh_config_copy_make(const char *head, const char *home, const char *user_file,
                         const char *system_file, const char *tail,
                         struct ssh_config_copy *out, struct err *e) MUST_USE;
void ssh_config_copy_free(struct ssh_config_copy *c);
/* A memory file with that content, and the path by which a child of ours opens it. */
#define SSH_MEMORY_PATH_MAX 48
int ssh_memory_file(const char *name, const void *data, size_t len, int mode, int *out,
                    char path[SSH_MEMORY_PATH_MAX], struct err *e) MUST_USE;

/* "file" relative to dir unless absolute, with "~" for home; malloc'ed. */
char *ssh_include_path(const char *value, const char *home, const char *dir);

#endif

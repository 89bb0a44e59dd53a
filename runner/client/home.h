#ifndef RUNNER_CLIENT_HOME_H
#define RUNNER_CLIENT_HOME_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/sign.h"

/*
 * Where the client keeps what is its own: $GPURUN_HOME, else
 * $XDG_DATA_HOME/gpurun, else $HOME/.local/share/gpurun. `~` is $HOME, never
 * the passwd entry. Nothing is made before something is to be written there,
 * so looking at a fresh machine leaves it as it was.
 */
struct home;

/*
 * dir: what --home said, or NULL; a relative one counts from the current
 * directory. ERR_INVALID when nothing says where.
 */
int home_open(struct home **out, const char *dir, struct err *e) MUST_USE;
void home_free(struct home *h);

const char *home_dir(const struct home *h);
/* "<home>/<sub>", or "<home>/<sub>/<name>" when name is not NULL; malloc'ed. */
char *home_path(const struct home *h, const char *sub, const char *name);
/* "<home>/<sub>/<name>" with the directory <home>/<sub> made (0700) first. */
int home_make(const struct home *h, const char *sub, const char *name, char **path,
              struct err *e) MUST_USE;
/*
 * Replace that file with b (made 0600), so that a crash of ours at any instant leaves the
 * old content or the new; durable: on the disk, too, when it returns.
 */
int home_put(const struct home *h, const char *sub, const char *name, const struct buf *b,
             bool durable, struct err *e) MUST_USE;
/* "<home>/<sub>", opened; *fd -1: there is no such directory. */
int home_open_dir(const struct home *h, const char *sub, int *fd, struct err *e) MUST_USE;
/*
 * fn for each name in "<home>/<sub>", as file_each_name; none where there is no such
 * directory.
 */
int home_each_name(const struct home *h, const char *sub,
                   int (*fn)(void *ctx, int dir_fd, const char *name, struct err *e),
                   void *ctx, struct err *e) MUST_USE;

/* The renter's key, made at first use. It stays the home's. */
int home_key(struct home *h, const struct sign_key **out, struct err *e) MUST_USE;
/* The renter's id: that of this key. */
int home_renter(struct home *h, char id[SIGN_ID_LEN + 1], struct err *e) MUST_USE;

/* A user's path with a leading "~" or "~/" replaced by $HOME; malloc'ed. */
char *home_expand_tilde(const char *path);

#endif

#ifndef CLIENT_GIT_CONFIG_H
#define CLIENT_GIT_CONFIG_H

#include "base/attr.h"
#include "base/buf.h"

/*
 * The little of git's own settings that decides what is shipped: core.excludesFile, the
 * user's ignore rules for every repository (git-config(1)). A repository's own
 * .git/config and conditional includes are not asked.
 */

/*
 * Set *value to what text (a git configuration) says of core.excludesFile, last one wins;
 * stays as it is when nothing is said. malloc'ed strings. include is called with each
 * include.path.
 */
void git_config_excludes(const char *text, char **value,
                         void (*include)(void *ctx, const char *path, char **value),
                         void *ctx);

/* Append the rules in the user's file; nothing when there is none. */
void git_user_excludes(struct buf *out);

#endif

#ifndef RUNNER_HOST_SANDBOX_H
#define RUNNER_HOST_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/err.h"
#include "runner/job/spec.h"

/*
 * Walls around a job that runs under our own user id (DESIGN §5): name spaces, an empty
 * mount over the agent's home, Landlock, no_new_privs, fewer capabilities. Each is
 * taken where this kernel and this user may have it; what is missing is said, never
 * silently assumed.
 *
 * Two kinds of job: the login user's own, which may do what that user may but reach the
 * agent's files; and that of a renter admitted by `allow`, confined to named paths.
 */

/* Version of Landlock in this kernel; 0: none. */
int sandbox_landlock_abi(void);

/* ---- name spaces: in the process that becomes the guard's parent ---- */

enum sandbox_spaces {
    SANDBOX_SPACES_NONE = 0, /* subreaper only */
    SANDBOX_SPACES_USER,     /* user + pid + mount name spaces, without root */
    SANDBOX_SPACES_ROOT,     /* pid + mount name spaces, as root */
};
const char *
sandbox_spaces_name(enum sandbox_spaces s); /* "subreaper", "userns", "pidns" */

/*
 * Unshare what mode says; the next child is pid 1 of the new pid name space. 0 or an
 * errno. Single-threaded processes only. uid and gid as they were before.
 */
int sandbox_unshare(enum sandbox_spaces mode, uid_t uid, gid_t gid);
/* In that child: mounts of our own, and the /proc that fits. 0 or an errno. */
int sandbox_own_mounts(void);

/* ---- mounts: in the guard, before anything of the job runs ---- */

struct sandbox_bind {
    const char *path; /* shown in the same place after hiding; a directory or file */
    bool read_only;
    int fd; /* O_PATH of it; filled by sandbox_hide */
};

/*
 * Put an empty directory over home, with only the binds (paths beneath home) shown in
 * it; before that, tmp over /tmp, where it is not NULL (home may lie beneath /tmp: then
 * its path is made in tmp). Needs a mount name space of our own.
 */
int sandbox_hide(const char *home, const char *tmp, struct sandbox_bind *binds,
                 size_t n_binds, struct err *e) MUST_USE;
/*
 * Cover what not everybody may read beneath dir (shadow files, host keys), for a renter
 * who was let in where we are root: such a job is no user like the others, but would read
 * as the owner of these files. Landlock knows no exceptions beneath what it allows.
 */
int sandbox_mask_private(const char *dir, struct err *e) MUST_USE;

/* ---- what a command of the job enters just before exec ---- */

struct sandbox;

struct sandbox_options {
    bool confined;
    const struct strings *rw; /* confined: may write beneath these */
    const struct strings *ro; /* confined: may read beneath these, besides the usual */
    bool own_pids;            /* it sees only its own processes anyway */
};

/* Prepare; ERR_SYSTEM when a path cannot be opened. Missing ro paths are left out. */
int sandbox_new(struct sandbox **out, const struct sandbox_options *o,
                struct err *e) MUST_USE;
void sandbox_free(struct sandbox *s); /* NULL allowed */
/* Between fork and exec: async-signal-safe. 0 or an errno. There is no way back. */
int sandbox_enter(const struct sandbox *s);
bool sandbox_has_landlock(const struct sandbox *s);

#endif

#ifndef RUNNER_HOST_AGENT_H
#define RUNNER_HOST_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/rec.h"
#include "base/sign.h"

/*
 * The agent's home, and what is in it (runner/DESIGN.md, "Files on the host"). Every
 * program of the host begins with agent_open; everything of one renter is then reached
 * through the descriptor of that renter's directory, so that nothing a peer says can name
 * a path outside.
 */
struct agent {
    char *home; /* absolute */
    int home_fd;
    struct sign_key *key;
    struct sign_public pub;
};

/*
 * Open the home: $GPURUN_AGENT_HOME, else $XDG_DATA_HOME/gpurun-agent, else
 * $HOME/.local/share/gpurun-agent, made (0700) when missing, with the host's key in it.
 * ERR_DENIED if it belongs to somebody else or others can write there.
 */
int agent_open(struct agent **out, struct err *e) MUST_USE;
void agent_close(struct agent *a); /* NULL allowed */

/* "<home>/<name>"; malloc'ed. */
char *agent_path(const struct agent *a, const char *name);
/* Open (and make, 0700) a directory beneath the home. */
int agent_dir(const struct agent *a, const char *name, int *fd, struct err *e) MUST_USE;

/* ---- renters ---- */

#define RENTER_NAME_MAX 64
#define RENTERS_MAX     100000
#define RENTER_NO_CAP   ((int64_t)-1)

struct renter {
    char id[SIGN_ID_LEN + 1];
    char *path; /* of its directory */
    int fd;     /* of its directory: everything of it is beneath */
    /* of its record */
    char name[RENTER_NAME_MAX + 1]; /* "" unknown */
    bool confined;                  /* admitted by `allow`, not the login user's own */
    bool has_key;
    struct sign_public key; /* signs its grants; pinned at first contact */
    bool revoked;
    int64_t until_wall_ns;   /* 0: no end */
    int64_t max_cost_fen;    /* of all its jobs together; RENTER_NO_CAP */
    int64_t quota_bytes;     /* that its store may take; 0: no limit (quota.h) */
    int64_t quota_job_bytes; /* that one job's directory may hold; 0: no limit */
    char *ssh_key;           /* "ssh-ed25519 AAAA…", or NULL */
    int64_t made_wall_ns;
};

/*
 * Open a renter's directory. create: make it (a login user's own, at first contact); else
 * ERR_NOT_FOUND. id is checked.
 */
int renter_open(struct renter **out, const struct agent *a, const char *id, bool create,
                struct err *e) MUST_USE;
void renter_close(struct renter *r); /* NULL allowed */
/* Write its record. */
int renter_save(const struct renter *r, struct err *e) MUST_USE;
/*
 * The key it signs grants with: pinned now if none is, else ERR_DENIED for another one.
 */
int renter_pin_key(struct renter *r, const struct sign_public *key,
                   struct err *e) MUST_USE;
/* May it start something now? ERR_DENIED says why not (revoked, over). */
int renter_check_admitted(const struct renter *r, struct err *e) MUST_USE;
/*
 * While a job is being accepted (shared; exclusive where what all of them cost is
 * counted) or a lease declined (exclusive). *fd holds the lock.
 */
int renter_lock_admission(const struct renter *r, bool exclusive, int *fd,
                          struct err *e) MUST_USE;
/* A directory beneath the renter's, made 0700 when missing. */
int renter_dir(const struct renter *r, const char *name, int *fd, struct err *e) MUST_USE;

struct renter_ids {
    char (*v)[SIGN_ID_LEN + 1];
    size_t n;
};
/* Every renter that has a directory, by id. */
int renter_list(const struct agent *a, struct renter_ids *out, struct err *e) MUST_USE;
void renter_ids_free(struct renter_ids *l);

#endif

#ifndef RUNNER_CLIENT_ROOM_H
#define RUNNER_CLIENT_ROOM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/rec.h"
#include "runner/client/home.h"
#include "runner/client/session.h"

/* Room for data: what a host lets in, and disks that are full. */

/* What a host says of its quota for us, or of its disk, when something is sent to it
 * (SHIP_ROOM). */
struct room {
    bool limited; /* it has said something */
    uint64_t left_bytes;
    struct err why; /* of a quota: what fills it */
};

/* By the record of its ACCEPT, which may be NULL, or anything. */
void room_take(struct room *r, const struct rec *accepted);
/*
 * *e is that this is too little: put in front what fills it, and where. Of a disk
 * room_full_host does.
 */
void room_add_limit(const struct room *r, const char *host, struct err *e);

/*
 * *e is of something that was to be written on this machine. Where it is that the disk is
 * full: put in front which directory's (dir, or the one that path is in), how much is
 * free there, and what helps. Of our home: what makes room, and how to have another; else
 * elsewhere is said of what names another place (translated), NULL: nothing does. What
 * helps is said once (base/err.h, helps). All of these and room_full_host return -1.
 */
int room_full_home(const struct home *home, struct err *e);
int room_full_dir(const char *dir, const char *elsewhere, struct err *e);
int room_full_beside(const char *path, const char *elsewhere, struct err *e);
/* And of what was to be kept by the host of s, whose quota says by itself what helps. */
int room_full_host(const struct session *s, struct err *e);

#endif

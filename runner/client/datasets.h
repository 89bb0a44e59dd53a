#ifndef RUNNER_CLIENT_DATASETS_H
#define RUNNER_CLIENT_DATASETS_H

#include "base/attr.h"
#include "base/err.h"
#include "runner/client/session.h"
#include "runner/client/snaps.h"

/*
 * Data sets as hosts list them (runner/DESIGN.md, "Verbs"): snapshots with a name and a
 * tree, and no end.
 */

/* Append those of the session's host. A host too old to know any has none. */
int datasets_list(struct session *s, struct snap_infos *l, struct err *e) MUST_USE;
/* The one of that name and host in l, or NULL; host NULL: of any. */
const struct snap_info *datasets_called(const struct snap_infos *l, const char *host,
                                        const char *name);
/*
 * Ask for a verb about one set (data.put, data.rm; req is filled in but for what all have
 * in common), and take what the host says it is now.
 */
int datasets_ask(struct session *s, struct rec *req, struct snap_info *out,
                 struct err *e) MUST_USE;

#endif

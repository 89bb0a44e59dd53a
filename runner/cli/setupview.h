#ifndef RUNNER_CLI_SETUPVIEW_H
#define RUNNER_CLI_SETUPVIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "runner/client/session.h"

/*
 * The files of a snapshot, for the key of a set-up that starts from it (setupkey.h). What
 * there is is known from its listing; a file comes here when its content is asked for,
 * once, into a directory beneath our home that goes with setupview_free.
 *
 * The session must stay up as long as files are asked for; each of that runs the loop.
 */
struct setupview;

struct setupview_entry {
    char *path; /* from the root of the snapshot; "" is that */
    bool is_dir, is_file;
    char *leads; /* a link: to that path of the snapshot, if it does; else NULL */
    uint64_t size;
    int64_t mtime_ns;
    char *here; /* a file's copy, once it came */
};

int setupview_open(struct setupview **out, struct client *cl, struct session *s,
                   const char *snapshot, struct err *e) MUST_USE;
void setupview_free(struct setupview *v); /* NULL allowed */

/*
 * path of the snapshot, links followed: a copy of a file, some directory for a directory;
 * malloc'ed. *out NULL: there is nothing of the kind.
 */
int setupview_find(struct setupview *v, const char *path, char **out,
                   struct err *e) MUST_USE;
/* All files, directories and links of it in path order; NULL behind the last. */
const struct setupview_entry *setupview_entry(const struct setupview *v, size_t i);

#endif

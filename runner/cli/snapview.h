#ifndef RUNNER_CLI_SNAPVIEW_H
#define RUNNER_CLI_SNAPVIEW_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "runner/cli/cli.h"
#include "runner/client/snaps.h"

/* What a command made or changed: its id, or with --json all of it; to stdout. */
int snapview_made(const struct cli *c, const struct snap_info *info,
                  struct err *e) MUST_USE;

/* Snapshots, as people and programs are shown them. */
/*
 * The copies of one snapshot, next to each other in a sorted list, are one row, which
 * says where they are; [at, snapview_copies(l, at)) are those of the one at `at`.
 */
size_t snapview_copies(const struct snap_infos *l, size_t at);
/* When the last of them goes; 0: one has no end, or none is kept. */
int64_t snapview_goes_at(const struct snap_infos *l, size_t at, size_t end);
void snapview_list(struct buf *out, const struct snap_infos *l);
void snapview_list_json(struct buf *out, const struct home *home,
                        const struct snap_infos *l, const char *silent,
                        const char *doubts);
/* m: the manifest, which tells more (NULL: not at hand). */
struct manifest;
void snapview_page(struct buf *out, const struct snap_info *s, const struct manifest *m);
void snapview_page_json(struct buf *out, const struct snap_info *s,
                        const struct manifest *m);
/* One object and a newline. */
void snapview_json(struct buf *out, const struct snap_info *s);

/* A listing (bring_listing) to stdout, piece by piece. */
int snapview_files(const struct cli *c, const struct buf *listing,
                   struct err *e) MUST_USE;

#endif

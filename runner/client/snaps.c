#include "runner/client/snaps.h"

#include <stdlib.h>
#include <string.h>

#include "base/lang.h"
#include "base/rec.h"
#include "base/text.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"

#define SNAP_MAX_BYTES     ((size_t)1 << 20)
#define MANIFEST_BYTES_MAX ((size_t)16 << 20)

void
snap_info_init(struct snap_info *s)
{
    memset(s, 0, sizeof *s);
    s->exit_code = -1;
}

void
snap_info_free(struct snap_info *s)
{
    free(s->host);
    free(s->kind);
    free(s->name);
    free(s->job);
    free(s->parent);
    free(s->command);
    free(s->reason);
    free(s->tree);
    free(s->damaged);
    snap_info_init(s);
}

static char *
dup_field(const struct rec *r, const char *key)
{
    const char *v = rec_get(r, key);

    return v != NULL ? xstrdup(v) : NULL;
}

static int
parse_numbers(struct snap_info *s, const struct rec *r, struct err *e)
{
    int64_t partial;

    if (rec_opt_int(r, "exit_code", -1, 255, -1, &s->exit_code, e) != 0 ||
        rec_opt_int(r, "signal", 0, 64, 0, &s->signal, e) != 0 ||
        rec_opt_int(r, "made_wall_ns", 0, INT64_MAX, 0, &s->made_wall_ns, e) != 0 ||
        rec_opt_int(r, "ended_wall_ns", 0, INT64_MAX, 0, &s->ended_wall_ns, e) != 0 ||
        rec_opt_int(r, "expires_wall_ns", 0, INT64_MAX, 0, &s->expires_wall_ns, e) != 0 ||
        rec_opt_int(r, "n_files", 0, INT64_MAX, 0, &s->n_files, e) != 0 ||
        rec_opt_int(r, "content_bytes", 0, INT64_MAX, 0, &s->content_bytes, e) != 0 ||
        rec_opt_int(r, "stored_bytes", 0, INT64_MAX, 0, &s->stored_bytes, e) != 0 ||
        rec_opt_int(r, "partial", 0, 1, 0, &partial, e) != 0) {
        return -1;
    }
    s->partial = partial == 1;
    return 0;
}

int
snap_info_parse(struct snap_info *out, const char *host, const void *data, size_t len,
                struct err *e)
{
    struct snap_info s;
    struct rec *r = NULL;
    const char *id;
    const char *kept;

    if (len > SNAP_MAX_BYTES) {
        return err_set(e, ERR_RANGE, _("host '%s' tells too much of a snapshot"), host);
    }
    if (rec_parse(&r, data, len, SNAP_TYPE, e) != 0) {
        return err_wrap(e, _("what host '%s' tells of a snapshot"), host);
    }
    snap_info_init(&s);
    id = rec_get(r, "id");
    if (id == NULL || !id_is(ID_SNAPSHOT, id)) {
        rec_free(r);
        return err_set(e, ERR_CORRUPT, _("host '%s' tells of a snapshot without an id"),
                       host);
    }
    memcpy(s.id, id, sizeof s.id);
    s.host = xstrdup(host);
    s.kind = dup_field(r, "kind");
    s.name = dup_field(r, "name");
    s.job = dup_field(r, "job");
    s.parent = dup_field(r, "parent");
    s.command = dup_field(r, "command");
    s.reason = dup_field(r, "reason");
    s.tree = dup_field(r, "tree");
    kept = rec_get(r, "data");
    s.kept = kept == NULL || strcmp(kept, "kept") == 0;
    if (parse_numbers(&s, r, e) != 0) {
        (void)err_wrap(e, _("what host '%s' tells of snapshot %s"), host, id);
        snap_info_free(&s);
        rec_free(r);
        return -1;
    }
    rec_free(r);
    *out = s;
    return 0;
}

void
snap_infos_free(struct snap_infos *l)
{
    for (size_t i = 0; i < l->n; i++) {
        snap_info_free(&l->v[i]);
    }
    free(l->v);
    *l = (struct snap_infos){NULL, 0};
}

/* "ID why": a snapshot whose manifest its host cannot read. */
static void
add_damaged(struct snap_infos *l, const char *host, const char *line)
{
    const char *why = strchr(line, ' ');
    struct snap_info *s;
    char id[JOB_ID_LEN + 1];

    if (why == NULL || (size_t)(why - line) != JOB_ID_LEN) {
        return;
    }
    memcpy(id, line, JOB_ID_LEN);
    id[JOB_ID_LEN] = '\0';
    if (!id_is(ID_SNAPSHOT, id)) {
        return;
    }
    l->v = xrealloc(l->v, (l->n + 1) * sizeof *l->v);
    s = &l->v[l->n++];
    snap_info_init(s);
    memcpy(s->id, id, sizeof s->id);
    s->host = xstrdup(host);
    s->damaged = xstrdup(why + 1);
}

int
snaps_take_list(const struct rec *resp, const char *host, struct snap_infos *l,
                struct err *e)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < rec_count(resp, "snap"); i++) {
        size_t len;
        const char *bytes = rec_get_nth(resp, "snap", i, &len);

        l->v = xrealloc(l->v, (l->n + 1) * sizeof *l->v);
        rc = snap_info_parse(&l->v[l->n], host, bytes, len, e);
        l->n += rc == 0;
    }
    for (size_t i = 0; rc == 0 && i < rec_count(resp, "damaged"); i++) {
        size_t len;

        add_damaged(l, host, rec_get_nth(resp, "damaged", i, &len));
    }
    return rc;
}

int
snaps_list(struct session *s, bool all, struct snap_infos *l, struct buf *doubts,
           struct err *e)
{
    struct rec *req = msg_request_new(VERB_SNAP_LIST);
    struct rec *resp = NULL;
    int rc;

    rec_add_int(req, "all", all ? 1 : 0);
    rc = session_call(s, req, SNAP_ANSWER_NS, &resp, e);
    if (rc == 0) {
        rc = snaps_take_list(resp, session_host(s)->name, l, e);
    }
    if (rc == 0 && doubts != NULL && rec_get(resp, "clock_doubt") != NULL) {
        struct err told;

        err_told(&told, ERR_NONE, rec_get(resp, "clock_doubt"),
                 rec_get(resp, "clock_doubt_form"));
        buf_printf(doubts, _("%s%s: nothing expires: %s"), doubts->len > 0 ? "\n" : "",
                   session_host(s)->name, told.msg);
    }
    rec_free(resp);
    rec_free(req);
    return rc;
}

static int
newest_first(const void *a, const void *b)
{
    const struct snap_info *x = a;
    const struct snap_info *y = b;

    if (x->made_wall_ns != y->made_wall_ns) {
        return x->made_wall_ns < y->made_wall_ns ? 1 : -1;
    }
    return strcmp(x->id, y->id);
}

void
snaps_sort(struct snap_infos *l)
{
    if (l->n > 0) {
        qsort(l->v, l->n, sizeof *l->v, newest_first);
    }
}

/* ---- finding ---- */

const struct snap_info *
snaps_newest_of_job(const struct snap_infos *l, const char *job)
{
    for (size_t i = 0; i < l->n; i++) {
        if (l->v[i].kept && l->v[i].job != NULL && strcmp(l->v[i].job, job) == 0) {
            return &l->v[i];
        }
    }
    return NULL;
}

static bool
is_called(const struct snap_info *s, const char *what)
{
    return (s->name != NULL && strcmp(s->name, what) == 0) ||
           (s->job != NULL && strcmp(s->job, what) == 0);
}

/* The first of l (newest first) that fits; a copy that is kept before one that is gone.
 */
static const struct snap_info *
first_of(const struct snap_infos *l, const char *what,
         bool (*fits)(const struct snap_info *s, const char *what))
{
    const struct snap_info *found = NULL;

    for (size_t i = 0; i < l->n; i++) {
        const struct snap_info *s = &l->v[i];

        if (!fits(s, what)) {
            continue;
        }
        if (found == NULL) {
            found = s;
        } else if (strcmp(found->id, s->id) == 0 && !found->kept && s->kept) {
            found = s;
        }
    }
    return found;
}

static bool
has_id(const struct snap_info *s, const char *what)
{
    return strcmp(s->id, what) == 0;
}

static bool
any(const struct snap_info *s, const char *what)
{
    (void)s;
    (void)what;
    return true;
}

static bool
begins(const struct snap_info *s, const char *what)
{
    return what[0] != '\0' && strncmp(s->id, what, strlen(what)) == 0;
}

int
snaps_find(const struct snap_infos *l, const char *what, const struct snap_info **out,
           struct err *e)
{
    const struct snap_info *s = first_of(l, what, has_id);
    char shown[80];

    (void)text_escape_to(shown, sizeof shown, what);
    if (s == NULL && strcmp(what, "@last") == 0) {
        s = first_of(l, what, any);
    }
    if (s == NULL) {
        s = first_of(l, what, is_called);
    }
    if (s == NULL) {
        s = first_of(l, what, begins);
        for (size_t i = 0; s != NULL && i < l->n; i++) {
            if (begins(&l->v[i], what) && strcmp(l->v[i].id, s->id) != 0) {
                return err_set(e, ERR_INVALID,
                               _("'%s' is the beginning of several snapshots: %s, %s, …"),
                               shown, s->id, l->v[i].id);
            }
        }
    }
    if (s == NULL) {
        return err_set(e, ERR_NOT_FOUND,
                       _("no snapshot '%s', nor a job that left one; `gpurun snap ls` "
                         "lists what there is"),
                       shown);
    }
    *out = s;
    return 0;
}

int
snaps_take_shown(const struct rec *resp, const char *host, const char *id,
                 struct snap_info *out, struct buf *manifest, struct err *e)
{
    size_t len;
    const char *bytes = rec_get_bytes(resp, "snap", &len);

    if (bytes == NULL) {
        return err_set(e, ERR_CORRUPT, _("host '%s' tells nothing of snapshot %s"), host,
                       id);
    }
    if (snap_info_parse(out, host, bytes, len, e) != 0) {
        return -1;
    }
    if (manifest == NULL) {
        return 0;
    }
    bytes = rec_get_bytes(resp, "manifest", &len);
    if (bytes == NULL || len > MANIFEST_BYTES_MAX) {
        snap_info_free(out);
        return err_set(e, ERR_CORRUPT, _("host '%s' has no manifest of snapshot %s"),
                       host, id);
    }
    buf_add(manifest, bytes, len);
    return 0;
}

int
snaps_show(struct session *s, const char *id, struct snap_info *out, struct buf *manifest,
           struct err *e)
{
    struct rec *req = msg_request_new(VERB_SNAP_SHOW);
    struct rec *resp = NULL;
    int rc;

    rec_add(req, "snapshot", id);
    rc = session_call(s, req, SNAP_ANSWER_NS, &resp, e);
    if (rc == 0) {
        rc = snaps_take_shown(resp, session_host(s)->name, id, out, manifest, e);
    }
    rec_free(resp);
    rec_free(req);
    return rc;
}

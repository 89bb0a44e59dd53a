#include "runner/cli/snapview.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/lang.h"
#include "base/text.h"
#include "meter/refuse.h"
#include "runner/cli/due.h"
#include "runner/cli/out.h"
#include "runner/client/bring.h"
#include "runner/client/hosts.h"
#include "runner/job/change.h"
#include "storage/manifest.h"
#include "storage/tree.h"

#define LABEL_COLUMNS 12
#define DAMAGE_SHOWN  10
#define FLUSH_BYTES   ((size_t)64 * 1024)

static void
how_text(const struct snap_info *s, struct buf *out)
{
    buf_add_str(out, s->reason != NULL ? err_words(s->reason) : "");
    if (s->exit_code >= 0) {
        buf_printf(out, " %" PRId64, s->exit_code);
    } else if (s->signal > 0) {
        buf_printf(out, _(" by signal %" PRId64), s->signal);
    }
    if (s->partial) {
        buf_printf(out, "%s%s", out->len > 0 ? ", " : "", _("partial"));
    }
}

static const char *
until_text(const struct snap_info *s, char out[OUT_TIME_MAX])
{
    if (s->damaged != NULL) {
        (void)snprintf(out, OUT_TIME_MAX, "%s", _("damaged"));
    } else if (!s->kept) {
        (void)snprintf(out, OUT_TIME_MAX, "%s", _("data gone"));
    } else if (s->expires_wall_ns == 0) {
        (void)snprintf(out, OUT_TIME_MAX, "%s", _("no end"));
    } else {
        (void)out_when(s->expires_wall_ns, clock_wall_ns(), out);
    }
    return out;
}

size_t
snapview_copies(const struct snap_infos *l, size_t at)
{
    size_t end = at + 1;

    while (end < l->n && strcmp(l->v[end].id, l->v[at].id) == 0) {
        end++;
    }
    return end;
}

int64_t
snapview_goes_at(const struct snap_infos *l, size_t at, size_t end)
{
    int64_t last_ns = 0;

    for (size_t i = at; i < end; i++) {
        const struct snap_info *s = &l->v[i];

        if (s->kept && s->expires_wall_ns == 0) {
            return 0;
        }
        if (s->kept && s->expires_wall_ns > last_ns) {
            last_ns = s->expires_wall_ns;
        }
    }
    return last_ns;
}

/* The copy to tell of: one that is kept, the longest. */
static const struct snap_info *
best_copy(const struct snap_infos *l, size_t at, size_t end)
{
    const struct snap_info *best = &l->v[at];

    for (size_t i = at + 1; i < end; i++) {
        const struct snap_info *s = &l->v[i];
        bool longer =
            best->expires_wall_ns != 0 &&
            (s->expires_wall_ns == 0 || s->expires_wall_ns > best->expires_wall_ns);

        if (s->kept && (!best->kept || longer)) {
            best = s;
        }
    }
    return best;
}

static bool
is_local(const struct snap_info *s)
{
    return strcmp(s->host, HOST_LOCAL) == 0;
}

/* "h1 + laptop", "only on h1", "local"; this machine comes last. */
static void
where_text(const struct snap_infos *l, size_t at, size_t end, struct buf *out)
{
    const struct snap_info *first = NULL;
    size_t n = 0;

    for (int local = 0; local < 2; local++) {
        for (size_t i = at; i < end; i++) {
            const struct snap_info *s = &l->v[i];

            if (s->kept && is_local(s) == (local == 1)) {
                first = first != NULL ? first : s;
                buf_printf(out, "%s%s", n > 0 ? " + " : "",
                           n > 0 && local == 1 ? _("laptop") : s->host);
                n++;
            }
        }
    }
    if (n == 0) {
        buf_add_str(out, l->v[at].host);
    } else if (n == 1 && !is_local(first)) {
        buf_reset(out);
        buf_printf(out, _("only on %s"), first->host);
    }
}

void
snapview_list(struct buf *out, const struct snap_infos *l)
{
    const char *headers[] = {_("ID"),     _("NAME"),  _("HOST"),     _("MADE"),
                             _(">FILES"), _(">SIZE"), _(">KEPT AS"), _("EXPIRES"),
                             _("LEFT"),   _("HOW"),   NULL};
    struct table *t = table_new(headers);
    char text[OUT_TIME_MAX];
    char size[TEXT_SIZE_MAX];

    table_narrow(t, "6473925", "921");
    for (size_t at = 0, end; at < l->n; at = end) {
        const struct snap_info *s;
        struct buf how = BUF_INIT;
        struct buf where = BUF_INIT;

        end = snapview_copies(l, at);
        s = best_copy(l, at, end);
        where_text(l, at, end, &where);
        how_text(s, &how);
        table_cell(t, s->id);
        table_cell(t, s->name);
        table_cell(t, buf_str(&where));
        table_cell(t, s->damaged == NULL ? out_time(s->made_wall_ns, text) : NULL);
        table_cellf(t, "%" PRId64, s->n_files);
        text_format_size((uint64_t)s->content_bytes, size);
        table_cell(t, size);
        text_format_size((uint64_t)s->stored_bytes, size);
        table_cell(t, size);
        table_cell(t, s->kept && s->expires_wall_ns > 0
                          ? out_time(s->expires_wall_ns, text)
                          : NULL);
        table_cell(t, until_text(s, text));
        table_cell(t, buf_str(&how));
        buf_free(&how);
        buf_free(&where);
    }
    table_print(t, out);
    table_free(t);
}

/* ---- the page ---- */

static void
row(struct buf *out, const char *label, const char *text)
{
    out_page_row(out, LABEL_COLUMNS, label, text);
}

static void
row_list(struct buf *out, const char *label, const struct manifest_list *l)
{
    struct buf b = BUF_INIT;

    for (size_t i = 0; i < l->n; i++) {
        buf_printf(&b, "%s%s", i > 0 ? ", " : "", l->v[i]);
    }
    row(out, label, b.len > 0 ? buf_str(&b) : NULL);
    buf_free(&b);
}

static void
row_others(struct buf *out, const struct manifest *m)
{
    struct buf line = BUF_INIT;

    buf_printf(&line,
               NP_("%" PRIu64 " folder, link or other",
                   "%" PRIu64 " folders, links and others", m->n_other),
               m->n_other);
    buf_printf(&line, NP_(", %" PRIu64 " chunk", ", %" PRIu64 " chunks", m->n_chunks),
               m->n_chunks);
    row(out, _("and"), buf_str(&line));
    buf_free(&line);
}

/* What the host has signed of it, besides what every listing tells. */
static void
manifest_rows(struct buf *out, const struct manifest *m)
{
    char hash[SHA256_HEX_LEN + 1];
    char key[2 * SIGN_PUBLIC_LEN + 1];
    char *line;

    if (m->detail != NULL) {
        struct err told;

        refuse_told(&told, ERR_NONE, m->detail, m->detail_form);
        row(out, _("why"), told.msg);
    }
    row_others(out, m);
    row(out, _("image"), m->image);
    row(out, _("set-up"), m->setup);
    row_list(out, _("data"), &m->data);
    sha256_format(&m->tree, hash);
    row(out, _("tree"), hash);
    if (m->has_bill) {
        sha256_format(&m->bill, hash);
        row(out, _("bill"), hash);
    }
    hex_format(m->signer.b, sizeof m->signer.b, key);
    row(out, _("signed by"), key);
    for (size_t i = 0; i < m->n_damage && i < DAMAGE_SHOWN; i++) {
        line = xasprintf("%s (%s)", m->damage[i].path, err_words(m->damage[i].why));
        row(out, i == 0 ? _("damaged") : "", line);
        free(line);
    }
    if (m->n_damaged > DAMAGE_SHOWN) {
        line = xasprintf(_("%" PRIu64 " in all"), m->n_damaged);
        row(out, "", line);
        free(line);
    }
}

void
snapview_page(struct buf *out, const struct snap_info *s, const struct manifest *m)
{
    char text[OUT_TIME_MAX];
    char until[2 * OUT_TIME_MAX + 8];
    char size[TEXT_SIZE_MAX];
    char stored[TEXT_SIZE_MAX];
    char *line;
    struct buf how = BUF_INIT;

    row(out, _("snapshot"), s->id);
    row(out, _("name"), s->name);
    row(out, _("kind"), s->kind);
    row(out, _("host"), s->host);
    row(out, _("job"), s->job);
    row(out, _("from"), s->parent);
    row(out, _("command"), s->command);
    how_text(s, &how);
    row(out, _("how"), buf_str(&how));
    buf_free(&how);
    row(out, _("made"), out_time(s->made_wall_ns, text));
    if (s->ended_wall_ns > 0) {
        row(out, _("ended"), out_time(s->ended_wall_ns, text));
    }
    text_format_size((uint64_t)s->content_bytes, size);
    text_format_size((uint64_t)s->stored_bytes, stored);
    line = xasprintf(NP_("%" PRId64 " file, %s, kept as %s",
                         "%" PRId64 " files, %s, kept as %s", s->n_files),
                     s->n_files, size, stored);
    row(out, _("holds"), line);
    free(line);
    if (s->kept && s->expires_wall_ns > 0) {
        (void)out_time(s->expires_wall_ns, text);
        (void)snprintf(until, sizeof until, "%s (", text);
        (void)until_text(s, text);
        (void)snprintf(until + strlen(until), sizeof until - strlen(until), "%s)", text);
        row(out, _("expires"), until);
    } else {
        row(out, _("expires"), until_text(s, text));
    }
    if (m != NULL) {
        manifest_rows(out, m);
    }
}

/* ---- JSON ---- */

static void
fields_json(struct json_writer *j, const struct snap_info *s)
{
    json_kstr(j, "id", s->id);
    json_kstr(j, "host", s->host);
    json_kstr(j, "kind", s->kind);
    json_kstr(j, "name", s->name);
    json_kstr(j, "job", s->job);
    json_kstr(j, "parent", s->parent);
    json_kstr(j, "command", s->command);
    json_kstr(j, "reason", s->reason);
    json_key(j, "exit_code");
    if (s->exit_code >= 0) {
        json_int(j, s->exit_code);
    } else {
        json_nil(j);
    }
    json_kint(j, "signal", s->signal);
    json_ktime(j, "made", s->made_wall_ns);
    json_ktime(j, "ended", s->ended_wall_ns);
    json_ktime(j, "expires", s->expires_wall_ns);
    json_kbool(j, "kept", s->kept);
    json_kbool(j, "partial", s->partial);
    json_kint(j, "files", s->n_files);
    json_kint(j, "bytes", s->content_bytes);
    json_kint(j, "stored_bytes", s->stored_bytes);
    json_kstr(j, "damaged_manifest", s->damaged);
}

static void
manifest_json(struct json_writer *j, const struct manifest *m)
{
    char hash[SHA256_HEX_LEN + 1];
    char key[2 * SIGN_PUBLIC_LEN + 1];

    json_kint(j, "others", (int64_t)m->n_other);
    json_kint(j, "chunks", (int64_t)m->n_chunks);
    json_kstr(j, "image", m->image);
    json_kstr(j, "setup", m->setup);
    json_kstr(j, "cwd", m->cwd);
    json_kstr(j, "arch", m->arch);
    json_key(j, "data");
    json_arr(j);
    for (size_t i = 0; i < m->data.n; i++) {
        json_str(j, m->data.v[i]);
    }
    json_arr_end(j);
    json_key(j, "args");
    json_arr(j);
    for (size_t i = 0; i < m->arg.n; i++) {
        json_str(j, m->arg.v[i]);
    }
    json_arr_end(j);
    sha256_format(&m->tree, hash);
    json_kstr(j, "tree", hash);
    sha256_format(&m->bill, hash);
    json_kstr(j, "bill", m->has_bill ? hash : NULL);
    hex_format(m->signer.b, sizeof m->signer.b, key);
    json_kstr(j, "signer", key);
    json_kint(j, "n_damaged", (int64_t)m->n_damaged);
    json_key(j, "damaged");
    json_arr(j);
    for (size_t i = 0; i < m->n_damage; i++) {
        json_obj(j);
        json_kname(j, "name", m->damage[i].path, strlen(m->damage[i].path));
        json_kstr(j, "why", m->damage[i].why);
        json_obj_end(j);
    }
    json_arr_end(j);
}

void
snapview_page_json(struct buf *out, const struct snap_info *s, const struct manifest *m)
{
    struct json_writer j = json_to(out);

    json_obj(&j);
    fields_json(&j, s);
    if (m != NULL) {
        manifest_json(&j, m);
    }
    json_obj_end(&j);
    buf_add_str(out, "\n");
}

void
snapview_json(struct buf *out, const struct snap_info *s)
{
    snapview_page_json(out, s, NULL);
}

void
snapview_list_json(struct buf *out, const struct home *home, const struct snap_infos *l,
                   const char *silent, const char *doubts)
{
    struct json_writer w = json_to(out);
    struct json_writer *j = &w;

    json_obj(j);
    json_key(j, "snapshots");
    json_arr(j);
    for (size_t at = 0, end; at < l->n; at = end) {
        end = snapview_copies(l, at);
        json_obj(j);
        fields_json(j, best_copy(l, at, end));
        json_key(j, "copies");
        json_arr(j);
        for (size_t i = at; i < end; i++) {
            if (l->v[i].kept) {
                json_str(j, l->v[i].host);
            }
        }
        json_arr_end(j);
        json_obj_end(j);
    }
    json_arr_end(j);
    json_kstr(j, "silent_hosts", silent);
    json_kstr(j, "clock_doubts", doubts);
    due_json(j, home);
    json_obj_end(j);
    buf_add_str(out, "\n");
}

int
snapview_made(const struct cli *c, const struct snap_info *info, struct err *e)
{
    struct buf out = BUF_INIT;
    int rc;

    if (c->g.json) {
        snapview_json(&out, info);
    } else {
        buf_printf(&out, "%s\n", info->id);
    }
    rc = out_write(&out, e);
    buf_free(&out);
    if (rc == 0 && info->partial) {
        say(c,
            _("some files could not be kept as they were: they changed while they were "
              "read, or could not be read; `gpurun snap show %s` names them"),
            info->id);
    }
    return rc;
}

/* ---- files ---- */

/* As ls -l shows it. */
static void
mode_text(const struct tree_entry *en, char out[11])
{
    static const char kinds[] = "?d-lpscbw";
    static const char bits[] = "rwxrwxrwx";
    /* setuid, setgid and sticky take the place of an x. */
    static const char also_x[] = "sst";
    static const char only[] = "SST";

    out[0] = kinds[(size_t)en->type < sizeof kinds - 1 ? (size_t)en->type : 0];
    for (int i = 0; i < 9; i++) {
        out[i + 1] = (char)((en->mode & (0400u >> i)) != 0 ? bits[i] : '-');
    }
    for (int i = 0; i < 3; i++) {
        char *x = &out[3 + 3 * i];

        if ((en->mode & (04000u >> i)) != 0) {
            *x = *x == 'x' ? also_x[i] : only[i];
        }
    }
    out[10] = '\0';
}

static bool
is_device(const struct tree_entry *en)
{
    return (en->type == TREE_CHAR || en->type == TREE_BLOCK) && !en->hard_link;
}

static void
entry_text(const struct tree_entry *en, struct buf *out)
{
    char mode[11];
    char time[OUT_TIME_MAX];

    mode_text(en, mode);
    if (is_device(en)) {
        buf_printf(out, "%s %5" PRIu32 ", %5" PRIu32, mode, en->dev_major, en->dev_minor);
    } else {
        buf_printf(out, "%s %12" PRIu64, mode, en->type == TREE_FILE ? en->size : 0);
    }
    buf_printf(out, "  %s  ", out_time(en->mtime_ns, time));
    text_escape(out, en->path_len > 0 ? en->path : ".",
                en->path_len > 0 ? en->path_len : 1);
    if (en->target != NULL) {
        buf_add_str(out, en->hard_link ? _(" = ") : " -> ");
        text_escape(out, en->target, en->target_len);
    }
    if (en->damage != TREE_WHOLE) {
        buf_add_str(out, _("  (damaged)"));
    }
    buf_add_str(out, "\n");
}

/* One object per line: a listing of a million files need not be held by anybody. */
static void
entry_json(const struct tree_entry *en, struct buf *out)
{
    struct json_writer w = json_to(out);
    struct json_writer *j = &w;

    json_obj(j);
    json_kname(j, "name", en->path, en->path_len);
    json_kstr(j, "type", change_type_name(en->type));
    json_kint(j, "mode", en->mode);
    json_kint(j, "bytes", (int64_t)en->size);
    json_kint(j, "mtime_ns", en->mtime_ns);
    if (is_device(en)) {
        json_kint(j, "major", en->dev_major);
        json_kint(j, "minor", en->dev_minor);
    }
    if (en->target != NULL) {
        json_kname(j, en->hard_link ? "hard_link" : "target", en->target, en->target_len);
    }
    json_kbool(j, "damaged", en->damage != TREE_WHOLE);
    json_obj_end(j);
    buf_add_str(out, "\n");
}

int
snapview_files(const struct cli *c, const struct buf *listing, struct err *e)
{
    struct bring_listing_at at = {.listing = listing};
    struct tree_reader *r = NULL;
    const struct tree_group *g = NULL;
    struct buf out = BUF_INIT;
    int rc;

    if (tree_open_stream(&r, bring_listing_read, &at, e) != 0) {
        return -1;
    }
    while ((rc = tree_next(r, &g, e)) == 0 && g != NULL) {
        for (size_t i = 0; i < g->n_entries; i++) {
            if (c->g.json) {
                entry_json(&g->entries[i], &out);
            } else {
                entry_text(&g->entries[i], &out);
            }
        }
        if (out.len >= FLUSH_BYTES) {
            rc = out_write(&out, e);
            buf_reset(&out);
            if (rc != 0) {
                break;
            }
        }
    }
    if (rc == 0) {
        rc = out_write(&out, e);
    }
    buf_free(&out);
    tree_close(r);
    return rc;
}

#include "storage/manifest.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/rec.h"

void
manifest_list_add(struct manifest_list *l, const char *s)
{
    l->v = xrealloc(l->v, (l->n + 1) * sizeof *l->v);
    l->v[l->n++] = xstrdup(s);
}

static void
list_free(struct manifest_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        free(l->v[i]);
    }
    free(l->v);
}

struct manifest *
manifest_new(enum manifest_kind kind)
{
    struct manifest *m = xcalloc(1, sizeof *m);

    m->kind = kind;
    return m;
}

/* Every plain string of a manifest, with its key in the record. */
struct text_field {
    const char *key;
    size_t offset;
};
static const struct text_field text_fields[] = {
    {"id", offsetof(struct manifest, id)},
    {"name", offsetof(struct manifest, name)},
    {"job", offsetof(struct manifest, job)},
    {"parent", offsetof(struct manifest, parent)},
    {"renter", offsetof(struct manifest, renter)},
    {"image", offsetof(struct manifest, image)},
    {"setup", offsetof(struct manifest, setup)},
    {"cwd", offsetof(struct manifest, cwd)},
    {"arch", offsetof(struct manifest, arch)},
    {"reason", offsetof(struct manifest, reason)},
    {"detail", offsetof(struct manifest, detail)},
    {"detail_form", offsetof(struct manifest, detail_form)},
};
#define N_TEXT_FIELDS (sizeof text_fields / sizeof *text_fields)

static char **
text_at(const struct manifest *m, size_t i)
{
    return (char **)(void *)((char *)(uintptr_t)m + text_fields[i].offset);
}

/* Every count, likewise. */
static const struct text_field count_fields[] = {
    {"n_files", offsetof(struct manifest, n_files)},
    {"n_other", offsetof(struct manifest, n_other)},
    {"content_bytes", offsetof(struct manifest, content_bytes)},
    {"stored_bytes", offsetof(struct manifest, stored_bytes)},
    {"n_chunks", offsetof(struct manifest, n_chunks)},
    {"n_damaged", offsetof(struct manifest, n_damaged)},
};
#define N_COUNT_FIELDS (sizeof count_fields / sizeof *count_fields)

static uint64_t *
count_at(const struct manifest *m, size_t i)
{
    return (uint64_t *)(void *)((char *)(uintptr_t)m + count_fields[i].offset);
}

void
manifest_free(struct manifest *m)
{
    if (m == NULL) {
        return;
    }
    for (size_t i = 0; i < N_TEXT_FIELDS; i++) {
        free(*text_at(m, i));
    }
    list_free(&m->data);
    list_free(&m->arg);
    list_free(&m->env);
    for (size_t i = 0; i < m->n_damage; i++) {
        free(m->damage[i].path);
        free(m->damage[i].why);
    }
    free(m->damage);
    free(m);
}

void
manifest_set(char **field, const char *s)
{
    char *copy = s == NULL ? NULL : xstrdup(s);

    free(*field);
    *field = copy;
}

/* Bytes of the names of what is damaged, as they are kept. */
static size_t
named_bytes(const struct manifest *m)
{
    size_t sum = 0;

    for (size_t i = 0; i < m->n_damage; i++) {
        sum += strlen(m->damage[i].path) + strlen(m->damage[i].why);
    }
    return sum;
}

static void
name_damage(struct manifest *m, const char *path, const char *why)
{
    m->damage = xrealloc(m->damage, (m->n_damage + 1) * sizeof *m->damage);
    m->damage[m->n_damage].path = xstrdup(path);
    m->damage[m->n_damage].why = xstrdup(why);
    m->n_damage++;
}

void
manifest_add_damage(struct manifest *m, const char *path, const char *why)
{
    m->partial = true;
    m->n_damaged++;
    if (m->n_damage < MANIFEST_NAMED_MAX &&
        named_bytes(m) + strlen(path) + strlen(why) <= MANIFEST_NAMED_MAX_BYTES) {
        name_damage(m, path, why);
    }
}

static const char *const kind_names[] = {
    [MANIFEST_NONE] = "none",       [MANIFEST_SNAPSHOT] = "snapshot",
    [MANIFEST_SHIPPED] = "shipped", [MANIFEST_DATA] = "data",
    [MANIFEST_IMAGE] = "image",     [MANIFEST_SETUP] = "setup",
};
#define N_KINDS (sizeof kind_names / sizeof *kind_names)

const char *
manifest_kind_name(enum manifest_kind k)
{
    return (size_t)k < N_KINDS ? kind_names[k] : kind_names[MANIFEST_NONE];
}

bool
manifest_id_valid(const char *id)
{
    size_t n = strlen(id);

    if (n != 1 + ID_RANDOM_LEN || id[0] != 's') {
        return false;
    }
    for (size_t i = 1; i < n; i++) {
        if (!(id[i] >= 'a' && id[i] <= 'z') && !(id[i] >= '0' && id[i] <= '9')) {
            return false;
        }
    }
    return true;
}

/* ---- encoding ---- */

static void
add_list(struct rec *r, const char *key, const struct manifest_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        rec_add(r, key, l->v[i]);
    }
}

static void
add_end(struct rec *r, const struct manifest *m)
{
    if (m->has_exit_code) {
        rec_add_int(r, "exit_code", m->exit_code);
    }
    if (m->signal != 0) {
        rec_add_int(r, "signal", m->signal);
    }
    if (m->has_bill) {
        rec_add_hex(r, "bill", m->bill.b, SHA256_LEN);
    }
    rec_add_int(r, "made_wall_ns", m->made_wall_ns);
    if (m->ended_wall_ns != 0) {
        rec_add_int(r, "ended_wall_ns", m->ended_wall_ns);
    }
    rec_add_int(r, "expires_wall_ns", m->expires_wall_ns);
}

static int
add_counts(struct rec *r, const struct manifest *m, struct err *e)
{
    for (size_t i = 0; i < N_COUNT_FIELDS; i++) {
        uint64_t v = *count_at(m, i);

        if (v > INT64_MAX) {
            return err_set(e, ERR_RANGE, "%s of a manifest", count_fields[i].key);
        }
        rec_add_int(r, count_fields[i].key, (int64_t)v);
    }
    return 0;
}

int
manifest_encode(const struct manifest *m, const struct sign_key *key, struct buf *out,
                struct err *e)
{
    struct rec *r = rec_new(MANIFEST_TYPE);
    struct buf text = BUF_INIT;
    int rc = -1;

    if (m->kind == MANIFEST_NONE || (size_t)m->kind >= N_KINDS || m->id == NULL ||
        !manifest_id_valid(m->id)) {
        err_set(e, ERR_INVALID, "a manifest without a kind or id");
        goto out;
    }
    rec_add(r, "kind", kind_names[m->kind]);
    for (size_t i = 0; i < N_TEXT_FIELDS; i++) {
        if (*text_at(m, i) != NULL && **text_at(m, i) != '\0') {
            rec_add(r, text_fields[i].key, *text_at(m, i));
        }
    }
    add_list(r, "data", &m->data);
    add_list(r, "arg", &m->arg);
    add_list(r, "env", &m->env);
    add_end(r, m);
    rec_add_hex(r, "tree", m->tree.b, SHA256_LEN);
    if (add_counts(r, m, e) == -1) {
        goto out;
    }
    rec_add_int(r, "partial", m->partial ? 1 : 0);
    for (size_t i = 0; i < m->n_damage; i++) {
        rec_add(r, "damaged", m->damage[i].path);
        rec_add(r, "damaged_why", m->damage[i].why);
    }
    sign_rec(r, key);
    rec_encode(r, &text);
    if (text.len > MANIFEST_MAX_BYTES || rec_n_fields(r) > REC_MAX_FIELDS) {
        err_set(e, ERR_RANGE, "a manifest of %zu bytes", text.len);
        goto out;
    }
    buf_add(out, text.data, text.len);
    rc = 0;

out:
    buf_free(&text);
    rec_free(r);
    return rc;
}

/* ---- parsing ---- */

/* A value as a C string; one with a NUL in it is none of ours. */
static int
parse_text(const struct rec *r, const char *key, size_t nth, const char **out,
           struct err *e)
{
    size_t len;

    *out = rec_get_nth(r, key, nth, &len);
    if (*out != NULL && strlen(*out) != len) {
        return err_set(e, ERR_CORRUPT, "%s of a manifest holds a NUL", key);
    }
    return 0;
}

static int
parse_list(const struct rec *r, const char *key, struct manifest_list *l, struct err *e)
{
    size_t n = rec_count(r, key);

    for (size_t i = 0; i < n; i++) {
        const char *text;

        if (parse_text(r, key, i, &text, e) == -1) {
            return -1;
        }
        manifest_list_add(l, text);
    }
    return 0;
}

static int
parse_kind(const struct rec *r, enum manifest_kind *out, struct err *e)
{
    const char *name;

    if (rec_need_str(r, "kind", &name, e) == -1) {
        return -1;
    }
    for (size_t i = 1; i < N_KINDS; i++) {
        if (strcmp(name, kind_names[i]) == 0) {
            *out = (enum manifest_kind)i;
            return 0;
        }
    }
    return err_set(e, ERR_VERSION, "a manifest of an unknown kind");
}

static int
parse_end(const struct rec *r, struct manifest *m, struct err *e)
{
    int64_t v;

    m->has_exit_code = rec_has(r, "exit_code");
    if (rec_opt_int(r, "exit_code", INT32_MIN, INT32_MAX, 0, &v, e) == -1) {
        return -1;
    }
    m->exit_code = (int32_t)v;
    if (rec_opt_int(r, "signal", 0, 1024, 0, &v, e) == -1) {
        return -1;
    }
    m->signal = (int32_t)v;
    m->has_bill = rec_has(r, "bill");
    if (m->has_bill && rec_need_hex(r, "bill", m->bill.b, SHA256_LEN, e) == -1) {
        return -1;
    }
    if (rec_need_int(r, "made_wall_ns", INT64_MIN, INT64_MAX, &m->made_wall_ns, e) ==
            -1 ||
        rec_opt_int(r, "ended_wall_ns", INT64_MIN, INT64_MAX, 0, &m->ended_wall_ns, e) ==
            -1) {
        return -1;
    }
    return rec_need_int(r, "expires_wall_ns", 0, INT64_MAX, &m->expires_wall_ns, e);
}

static int
parse_damage(const struct rec *r, struct manifest *m, struct err *e)
{
    size_t n = rec_count(r, "damaged");
    int64_t partial;

    if (rec_need_int(r, "partial", 0, 1, &partial, e) == -1) {
        return -1;
    }
    m->partial = partial == 1;
    if (n > MANIFEST_NAMED_MAX || rec_count(r, "damaged_why") != n || n > m->n_damaged) {
        return err_set(e, ERR_CORRUPT, "the damaged entries of a manifest");
    }
    for (size_t i = 0; i < n; i++) {
        const char *path;
        const char *why;

        if (parse_text(r, "damaged", i, &path, e) == -1 ||
            parse_text(r, "damaged_why", i, &why, e) == -1) {
            return -1;
        }
        name_damage(m, path, why);
    }
    return 0;
}

static int
parse_fields(const struct rec *r, struct manifest *m, struct err *e)
{
    if (parse_kind(r, &m->kind, e) == -1) {
        return -1;
    }
    for (size_t i = 0; i < N_TEXT_FIELDS; i++) {
        const char *text;

        if (parse_text(r, text_fields[i].key, 0, &text, e) == -1) {
            return -1;
        }
        manifest_set(text_at(m, i), text);
    }
    for (size_t i = 0; i < N_COUNT_FIELDS; i++) {
        int64_t v;

        if (rec_need_int(r, count_fields[i].key, 0, INT64_MAX, &v, e) == -1) {
            return -1;
        }
        *count_at(m, i) = (uint64_t)v;
    }
    if (m->id == NULL || !manifest_id_valid(m->id)) {
        return err_set(e, ERR_CORRUPT, "a manifest without a proper id");
    }
    if (parse_list(r, "data", &m->data, e) == -1 ||
        parse_list(r, "arg", &m->arg, e) == -1 ||
        parse_list(r, "env", &m->env, e) == -1 ||
        rec_need_hex(r, "tree", m->tree.b, SHA256_LEN, e) == -1 ||
        parse_end(r, m, e) == -1) {
        return -1;
    }
    return parse_damage(r, m, e);
}

int
manifest_parse(struct manifest **out, const void *data, size_t len, struct err *e)
{
    struct manifest *m = manifest_new(MANIFEST_NONE);
    struct rec *r = NULL;
    int rc = -1;

    if (len > MANIFEST_MAX_BYTES) {
        err_set(e, ERR_RANGE, "a manifest of %zu bytes", len);
        goto out;
    }
    if (rec_parse(&r, data, len, MANIFEST_TYPE, e) == -1 ||
        sign_rec_check(r, &m->signer, e) == -1) {
        goto out;
    }
    if (parse_fields(r, m, e) == -1) {
        e->code = e->code == ERR_INVALID ? ERR_CORRUPT : e->code;
        goto out;
    }
    *out = m;
    m = NULL;
    rc = 0;

out:
    rec_free(r);
    manifest_free(m);
    return rc;
}

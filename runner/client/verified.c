#include "runner/client/verified.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/rec.h"
#include "runner/job/ids.h"

#define TYPE        "gpurun.verified.v1"
#define ENTRIES_MAX 80000 /* so many fit into a record */

struct entry {
    char job[JOB_ID_LEN + 1];
    struct sign_public host; /* all zeros: none pinned */
    struct sha256 hash;
};

struct list {
    struct entry *v;
    size_t n;
    size_t cap;
};

struct verified {
    struct home *home;
    char *path;
    const struct sign_key *key; /* the home's; NULL: the renter has none */
    struct list was;            /* by job */
    struct list is;
    bool changed;
    struct sha256 none;
};

static void
add(struct list *l, const struct entry *en)
{
    if (l->n == l->cap) {
        l->cap = l->cap == 0 ? 64 : 2 * l->cap;
        l->v = xrealloc(l->v, l->cap * sizeof *l->v);
    }
    l->v[l->n++] = *en;
}

/* ---- reading ---- */

/* "JOB HOST HASH"; false: it is none. */
static bool
parse(struct entry *en, const char *text, size_t len)
{
    const size_t host_at = JOB_ID_LEN + 1;
    const size_t hash_at = host_at + 2 * (size_t)SIGN_PUBLIC_LEN + 1;

    if (len != hash_at + SHA256_HEX_LEN || text[host_at - 1] != ' ' ||
        text[hash_at - 1] != ' ') {
        return false;
    }
    memcpy(en->job, text, JOB_ID_LEN);
    en->job[JOB_ID_LEN] = '\0';
    return id_is(ID_JOB, en->job) &&
           hex_parse(text + host_at, 2 * (size_t)SIGN_PUBLIC_LEN, en->host.b,
                     sizeof en->host.b) &&
           hex_parse(text + hash_at, SHA256_HEX_LEN, en->hash.b, sizeof en->hash.b);
}

/* Signed by this renter, and made by this program? */
static bool
is_ours(const struct verified *v, const struct rec *r)
{
    const char *program = rec_get(r, "program");
    struct sign_public own;
    struct sign_public by;
    struct err ignored;

    sign_key_public(v->key, &own);
    return program != NULL && strcmp(program, GPURUN_VERSION) == 0 &&
           sign_rec_check(r, &by, &ignored) == 0 &&
           memcmp(own.b, by.b, sizeof own.b) == 0;
}

/* In order of jobs, as they were written: one that is not is of no use. */
static void
load(struct verified *v)
{
    struct rec *r = NULL;
    struct err ignored;
    size_t n;

    if (rec_load(&r, v->path, TYPE, &ignored) != 0 || !is_ours(v, r)) {
        rec_free(r);
        return;
    }
    n = rec_n_fields(r);
    for (size_t i = 0; i < n; i++) {
        const char *value;
        size_t len;
        struct entry en;

        if (strcmp(rec_field(r, i, &value, &len), "receipt") == 0 &&
            parse(&en, value, len) &&
            (v->was.n == 0 || strcmp(v->was.v[v->was.n - 1].job, en.job) < 0)) {
            add(&v->was, &en);
        }
    }
    rec_free(r);
}

struct verified *
verified_open(struct home *home)
{
    struct verified *v = xcalloc(1, sizeof *v);
    char *key = home_path(home, "key", NULL);
    char *gists = home_path(home, "gists", NULL);
    struct err ignored;

    v->home = home;
    v->path = home_path(home, "verified", NULL);
    if (!file_exists(key) || home_key(home, &v->key, &ignored) != 0) {
        v->key = NULL;
    } else {
        load(v);
        (void)!file_mkdirs(gists, 0700, &ignored); /* without it no gist is kept */
    }
    free(gists);
    free(key);
    return v;
}

void
verified_close(struct verified *v)
{
    if (v != NULL) {
        free(v->path);
        free(v->was.v);
        free(v->is.v);
        free(v);
    }
}

static int
by_job(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->job, ((const struct entry *)b)->job);
}

static struct entry
entry_of(const char *job, const struct sign_public *host)
{
    struct entry en = {.job = ""};

    (void)snprintf(en.job, sizeof en.job, "%s", job);
    if (host != NULL) {
        en.host = *host;
    }
    return en;
}

static const struct entry *
find(const struct verified *v, const struct entry *want)
{
    const struct entry *en =
        v->was.n > 0 ? bsearch(want, v->was.v, v->was.n, sizeof *want, by_job) : NULL;

    return en != NULL && memcmp(en->host.b, want->host.b, sizeof en->host.b) == 0 ? en
                                                                                  : NULL;
}

const struct sha256 *
verified_hash(const struct verified *v, const char *job, const struct sign_public *host)
{
    const struct entry want = entry_of(job, host);
    const struct entry *en = find(v, &want);

    return en != NULL ? &en->hash : &v->none;
}

char *
verified_gist(const struct verified *v, const char *job, const struct sign_key **key)
{
    *key = v->key;
    return v->key != NULL ? home_path(v->home, "gists", job) : NULL;
}

/* ---- writing ---- */

void
verified_note(struct verified *v, const char *job, const struct sign_public *host,
              const struct sha256 *hash)
{
    struct entry en = entry_of(job, host);
    const struct entry *was = find(v, &en);

    if (v->key == NULL || v->is.n == ENTRIES_MAX || sha256_equal(hash, &v->none)) {
        return;
    }
    en.hash = *hash;
    v->changed = v->changed || was == NULL || !sha256_equal(&was->hash, hash);
    add(&v->is, &en);
}

int
verified_save(struct verified *v, struct err *e)
{
    struct rec *r;
    int rc;

    if (!v->changed) {
        return 0;
    }
    qsort(v->is.v, v->is.n, sizeof *v->is.v, by_job);
    r = rec_new(TYPE);
    rec_add(r, "program", GPURUN_VERSION);
    for (size_t i = 0; i < v->is.n; i++) {
        const struct entry *en = &v->is.v[i];
        char host[2 * SIGN_PUBLIC_LEN + 1];
        char hash[SHA256_HEX_LEN + 1];

        sign_public_format(&en->host, host);
        sha256_format(&en->hash, hash);
        rec_addf(r, "receipt", "%s %s %s", en->job, host, hash);
    }
    sign_rec(r, v->key);
    rc = rec_save(r, v->path, e);
    rec_free(r);
    return rc;
}

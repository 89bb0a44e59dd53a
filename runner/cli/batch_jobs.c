#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/lang.h"
#include "base/text.h"
#include "base/words.h"
#include "runner/cli/batch_internal.h"
#include "runner/cli/launch_internal.h"
#include "runner/cli/project.h"

#define FILE_MAX_BYTES ((size_t)16 << 20)
#define INDEX_VAR      "GPURUN_ARRAY_INDEX"
#define STEM_RANDOM    4

bool
batch_wanted(const struct run_options *o)
{
    return o->batch != NULL || o->array != NULL;
}

/* ---- one job ---- */

static int
check_options(const struct run_options *o, struct err *e)
{
    if (o->detach || o->tty || o->port.n > 0) {
        return err_set(e, ERR_INVALID, "%s",
                       _("-d, -t and --port are for single runs; `gpurun attach` and "
                         "`gpurun port` reach each job of a batch"));
    }
    if (o->from != NULL) {
        return err_set(
            e, ERR_INVALID, "%s",
            _("--from is for single runs; a batch finds what all its jobs need "
              "by --data (`gpurun data put`)"));
    }
    return 0;
}

static struct batch_job *
add_job(struct batch *b, int64_t index)
{
    struct batch_job *j;

    b->jobs = xrealloc(b->jobs, (b->n + 1) * sizeof *b->jobs);
    j = &b->jobs[b->n++];
    memset(j, 0, sizeof *j);
    j->b = b;
    j->index = index;
    j->wallet_guard = -1;
    j->seen_lock = -1;
    j->charge_fen = -1;
    spec_init(&j->r.spec);
    state_init(&j->state);
    job_record_init(&j->record);
    grant_init(&j->grant);
    return j;
}

/* Names of an array differ by their index, as those of lines without one do. */
static int
name_job(struct batch_job *j, bool numbered, struct err *e)
{
    struct job_spec *s = &j->r.spec;
    char *name;

    if (j->r.named && !numbered) {
        return 0;
    }
    if (j->r.named) {
        name = xasprintf("%s-%lld", s->name, (long long)j->index);
    } else {
        name =
            xasprintf("%s-%lld-%s", j->r.script.stem != NULL ? j->r.script.stem : "job",
                      (long long)j->index, s->job + JOB_ID_LEN - STEM_RANDOM);
    }
    free(s->name);
    s->name = name;
    return job_name_check(name, e);
}

static int
make_job(struct batch *b, int64_t index, bool numbered, const struct run_options *o,
         const struct words *w, struct err *e)
{
    struct batch_job *j = add_job(b, index);

    if (check_options(o, e) != 0 || request_make(&j->r, b->c, b->cfg, o, w, e) != 0 ||
        name_job(j, numbered, e) != 0) {
        return -1;
    }
    j->asked_time_s = j->r.spec.max_time_s;
    j->asked_window_s = j->r.spec.window_s;
    /* Nobody types into one of many. */
    j->r.spec.stdin_mode = SPEC_STDIN_NULL;
    strings_add_all(&j->own_env, &j->r.spec.env);
    return 0;
}

/* ---- --array ---- */

static int
parse_range(const char *text, int64_t *first, int64_t *last, struct err *e)
{
    const char *dash = strchr(text, '-');
    char *from = xasprintf("%.*s", dash != NULL ? (int)(dash - text) : 0, text);
    char shown[40];
    int rc = 0;

    if (dash == NULL || text_parse_int(from, 0, INT32_MAX, "--array", first, e) != 0 ||
        text_parse_int(dash + 1, 0, INT32_MAX, "--array", last, e) != 0 ||
        *last < *first) {
        rc = err_set(e, ERR_INVALID, _("--array '%s': want FIRST-LAST, as in 1-20"),
                     text_escape_to(shown, sizeof shown, text));
    } else if (*last - *first >= BATCH_JOBS_MAX) {
        rc = err_set(e, ERR_RANGE, _("--array: at most %d jobs"), BATCH_JOBS_MAX);
    }
    free(from);
    return rc;
}

static int
make_array(struct batch *b, const struct run_options *o, const struct words *w,
           struct err *e)
{
    int64_t first = 0;
    int64_t last = 0;

    if (parse_range(o->array, &first, &last, e) != 0) {
        return -1;
    }
    for (int64_t i = first; i <= last; i++) {
        char *kv;

        if (make_job(b, i, true, o, w, e) != 0) {
            return -1;
        }
        kv = xasprintf("%s=%lld", INDEX_VAR, (long long)i);
        strings_add(&b->jobs[b->n - 1].own_env, kv);
        free(kv);
    }
    return 0;
}

/* ---- --batch ---- */

static int
make_line(struct batch *b, int64_t number, const char *line,
          const struct run_options *all, struct err *e)
{
    struct text_words words = {NULL, 0};
    struct run_options o;
    struct words w = {.v = NULL};
    char **argv = NULL; /* of its own: parsing moves words about */
    int rc = -1;

    memset(&o, 0, sizeof o);
    if (words_split(&words, line, e) != 0) {
        goto out;
    }
    if (words.n == 0) {
        rc = 0;
        goto out;
    }
    if (b->n == BATCH_JOBS_MAX) {
        err_set(e, ERR_RANGE, _("more than %d jobs"), BATCH_JOBS_MAX);
        goto out;
    }
    argv = xmemdup(words.v, (words.n + 1) * sizeof *argv);
    if (cli_parse_script(&w, run_option_rows, &o, (int)words.n, argv, e) != 0) {
        goto out;
    }
    if (batch_wanted(&o)) {
        err_set(e, ERR_INVALID, "%s", _("a line of a batch is one job"));
        goto out;
    }
    if (w.n == 0 && w.n_rest == 0) {
        err_set(e, ERR_INVALID, "%s", _("it names nothing to run"));
        goto out;
    }
    options_merge(&o, all);
    o.project = all->project;
    rc = make_job(b, number, o.name == all->name, &o, &w, e);

out:
    if (rc != 0) {
        (void)err_wrap(e, _("line %lld"), (long long)number);
    }
    opt_free(run_option_rows, &o);
    free(w.v);
    free(argv);
    words_free(&words);
    return rc;
}

static int
read_all(const char *path, struct buf *out, struct err *e)
{
    char chunk[8192];
    ssize_t n;

    if (strcmp(path, "-") != 0) {
        return file_read(path, FILE_MAX_BYTES, out, e);
    }
    while ((n = fd_read_full(STDIN_FILENO, chunk, sizeof chunk)) > 0) {
        buf_add(out, chunk, (size_t)n);
        if (out->len > FILE_MAX_BYTES) {
            return err_set(e, ERR_RANGE, "%s", _("more than 16 MiB on stdin"));
        }
    }
    return n == 0 ? 0 : err_set(e, ERR_SYSTEM, "%s", _("stdin cannot be read"));
}

static int
make_lines(struct batch *b, const struct run_options *o, struct err *e)
{
    struct buf text = BUF_INIT;
    int64_t number = 0;
    char *line;
    char *end;
    int rc = -1;

    if (read_all(o->batch, &text, e) != 0 || text_of_file(&text, &line, e) != 0) {
        goto out;
    }
    for (; line != NULL; line = end) {
        end = strchr(line, '\n');
        if (end != NULL) {
            *end++ = '\0';
        }
        if (make_line(b, ++number, line, o, e) != 0) {
            goto out;
        }
    }
    rc = b->n > 0 ? 0 : err_set(e, ERR_INVALID, "%s", _("it holds no job"));

out:
    if (rc != 0) {
        (void)err_wrap(e, "--batch %s", o->batch);
    }
    buf_free(&text);
    return rc;
}

/* ---- all of them ---- */

static int
by_name(const void *x, const void *y)
{
    const struct batch_job *const *a = x;
    const struct batch_job *const *b = y;

    return strcmp((*a)->r.spec.name, (*b)->r.spec.name);
}

static int
check_names(struct batch *b, struct err *e)
{
    const struct batch_job **v = xcalloc(b->n + 1, sizeof *v);
    int rc = 0;

    for (size_t i = 0; i < b->n; i++) {
        v[i] = &b->jobs[i];
    }
    qsort(v, b->n, sizeof *v, by_name);
    for (size_t i = 1; i < b->n && rc == 0; i++) {
        if (strcmp(v[i - 1]->r.spec.name, v[i]->r.spec.name) == 0) {
            rc = err_set(e, ERR_EXISTS, _("two jobs of the batch are called '%s'"),
                         v[i]->r.spec.name);
        }
    }
    free(v);
    for (size_t i = 0; i < b->n && rc == 0; i++) {
        if (b->jobs[i].r.named) {
            rc = launch_check_name(b->c, b->cl, b->jobs[i].r.spec.name, e);
        }
    }
    return rc;
}

static bool
ships_the_same(const struct run_request *a, const struct run_request *b)
{
    bool same = strcmp(a->script.root, b->script.root) == 0 &&
                a->with_git == b->with_git && a->script.named == b->script.named &&
                a->with.n == b->with.n;

    for (size_t i = 0; same && i < a->with.n; i++) {
        same = strcmp(a->with.v[i], b->with.v[i]) == 0;
    }
    return same;
}

/* Most often all jobs of a batch start from one directory: it is read and sent once. */
static void
find_roots(struct batch *b)
{
    b->roots = xcalloc(b->n + 1, sizeof *b->roots);
    for (size_t i = 0; i < b->n; i++) {
        struct batch_job *j = &b->jobs[i];
        size_t k = 0;

        while (k < b->n_roots && !ships_the_same(b->roots[k].like, &j->r)) {
            k++;
        }
        if (k == b->n_roots) {
            b->roots[b->n_roots++].like = &j->r;
        }
        j->root = &b->roots[k];
    }
}

int
batch_make_jobs(struct batch *b, const struct run_options *o, const struct words *w,
                struct err *e)
{
    bool has_words = w->n > 0 || w->n_rest > 0;

    if (o->batch != NULL && o->array != NULL) {
        return err_set(e, ERR_INVALID, "%s", _("--batch and --array exclude each other"));
    }
    if (o->batch != NULL && has_words) {
        return err_set(e, ERR_INVALID, "%s",
                       _("--batch: what is to run stands in the file, a job per line"));
    }
    if (check_options(o, e) != 0 ||
        (o->batch != NULL ? make_lines(b, o, e) : make_array(b, o, w, e)) != 0) {
        return -1;
    }
    find_roots(b);
    return check_names(b, e);
}

void
batch_free_jobs(struct batch *b)
{
    batch_free_ships(b);
    free(b->roots);
    for (size_t i = 0; i < b->n; i++) {
        struct batch_job *j = &b->jobs[i];

        batch_close_job(j);
        request_free(&j->r);
        strings_free(&j->own_env);
        grant_clear(&j->grant);
        buf_free(&j->spec_bytes);
        job_record_free(&j->record);
        state_free(&j->state);
    }
    free(b->jobs);
}

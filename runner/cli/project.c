#include "runner/cli/project.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/lang.h"
#include "base/text.h"
#include "meter/money.h"
#include "runner/cli/cli.h"
#include "runner/cli/script.h"

#define PROJECT_FILE ".gpurun"
#define PROJECT_MAX  ((size_t)64 << 10)

/* ---- defaults ---- */

/* Of each of these groups one's own word takes the place of another by default. */
static const char *const groups[][4] = {
    {"gpu", "cpu", "device", NULL},
    {"python", "conda", "venv", NULL},
};

static bool
is_set(const struct opt *row, const void *target)
{
    const char *at = (const char *)target + row->offset;

    switch (row->kind) {
    case OPT_FLAG:
        return *(const bool *)(const void *)at;
    case OPT_STR:
        return *(const char *const *)(const void *)at != NULL;
    case OPT_LIST:
        return ((const struct opt_list *)(const void *)at)->n > 0;
    case OPT_NONE:
        break;
    }
    return false;
}

static const struct opt *
row_of(const char *name)
{
    for (const struct opt *o = run_option_rows; o->name != NULL; o++) {
        if (strcmp(o->name, name) == 0) {
            return o;
        }
    }
    return NULL;
}

static bool
taken_by_group(const char *name, const struct run_options *line)
{
    for (size_t g = 0; g < sizeof groups / sizeof groups[0]; g++) {
        bool member = false;
        bool taken = false;

        for (const char *const *m = groups[g]; *m != NULL; m++) {
            member = member || strcmp(*m, name) == 0;
            taken = taken || is_set(row_of(*m), line);
        }
        if (member) {
            return taken;
        }
    }
    return false;
}

static void
merge_list(struct opt_list *own, const struct opt_list *common)
{
    struct opt_list both = {NULL, 0};

    for (size_t i = 0; i < common->n; i++) {
        opt_list_add(&both, common->v[i]);
    }
    for (size_t i = 0; i < own->n; i++) {
        opt_list_add(&both, own->v[i]);
    }
    opt_list_free(own);
    *own = both;
}

void
options_merge(struct run_options *own, const struct run_options *defaults)
{
    const struct run_options given = *own;

    for (const struct opt *o = run_option_rows; o->name != NULL; o++) {
        char *to = (char *)own + o->offset;
        const char *from = (const char *)defaults + o->offset;

        if (!is_set(o, defaults) || taken_by_group(o->name, &given)) {
            continue;
        }
        if (o->kind == OPT_LIST) {
            merge_list((struct opt_list *)(void *)to,
                       (const struct opt_list *)(const void *)from);
        } else if (!is_set(o, own)) {
            memcpy(to, from, o->kind == OPT_FLAG ? sizeof(bool) : sizeof(char *));
        }
    }
}

/* ---- the file ---- */

static const char *const allowed[] = {
    "gpu",      "cpu",        "device", "arch",  "host",   "python",   "conda",
    "venv",     "out",        "env",    "idle",  "window", "wait",     "max-price",
    "max-time", "snap-every", "mem",    "setup", "data",   "max-cost", NULL,
};

static bool
is_allowed(const char *name)
{
    for (const char *const *a = allowed; *a != NULL; a++) {
        if (strcmp(*a, name) == 0) {
            return true;
        }
    }
    return false;
}

static int
check_allowed(const struct run_options *o, const struct config *cfg, struct err *e)
{
    int64_t own_ns;
    int64_t fen;

    for (const struct opt *row = run_option_rows; row->name != NULL; row++) {
        if (is_set(row, o) && !is_allowed(row->name)) {
            return err_set(e, ERR_DENIED,
                           _("a project file may not say --%s: give it to the command"),
                           row->name);
        }
    }
    if (o->max_cost != NULL &&
        money_parse_fen(o->max_cost, strlen(o->max_cost), &fen, e) != 0) {
        return err_wrap(e, "--max-cost");
    }
    if (o->max_time == NULL) {
        return 0;
    }
    if (text_parse_duration(o->max_time, &own_ns, e) != 0) {
        return err_wrap(e, "--max-time");
    }
    if (own_ns > config_duration_ns(cfg, "max-time")) {
        return err_set(
            e, ERR_DENIED,
            _("a project file may not raise --max-time above the setting (%s)"),
            config_get(cfg, "max-time"));
    }
    return 0;
}

/* malloc'ed, or NULL. */
static char *
find_file(void)
{
    char *dir = getcwd(NULL, 0);
    char *root = dir != NULL ? script_git_root(dir) : NULL;
    char *found = NULL;
    struct stat st;

    while (dir != NULL) {
        char *up;

        found = path_join(dir, PROJECT_FILE);
        if (stat(found, &st) == 0 && !S_ISDIR(st.st_mode)) {
            break;
        }
        free(found);
        found = NULL;
        if (root == NULL || strcmp(dir, root) == 0) {
            break;
        }
        up = path_parent(dir);
        free(dir);
        dir = up;
    }
    free(root);
    free(dir);
    return found;
}

/* All its lines as words; a remark ends with its line. */
static int
split_lines(struct project *p, char *text, struct err *e)
{
    char *save = NULL;

    for (char *line = strtok_r(text, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {
        struct text_words w;

        if (words_split(&w, line, e) != 0) {
            return -1;
        }
        p->words.v = xrealloc(p->words.v, (p->words.n + w.n + 1) * sizeof *w.v);
        for (size_t i = 0; i < w.n; i++) {
            p->words.v[p->words.n++] = w.v[i];
        }
        p->words.v[p->words.n] = NULL;
        free(w.v);
    }
    return 0;
}

static int
parse(struct project *p, const struct config *cfg, struct err *e)
{
    struct strings shown = {p->words.v, p->words.n};
    char **argv = xmemdup(p->words.v, (p->words.n + 1) * sizeof *argv);
    bool dashes = false;
    int n_rest = 0;
    int rc;

    p->text = request_command_line(&shown);
    rc = opt_parse(run_option_rows, &p->options, (int)p->words.n, argv, false, &n_rest,
                   &dashes, e);
    if (rc == 0 && n_rest > 0) {
        rc = err_set(e, ERR_INVALID,
                     _("'%s' is no option; a project file holds only those"), argv[0]);
    }
    free(argv);
    return rc == 0 ? check_allowed(&p->options, cfg, e) : -1;
}

int
project_load(struct project *out, const struct config *cfg, struct err *e)
{
    struct project p;
    struct buf text = BUF_INIT;
    char *words;
    int rc = -1;

    memset(&p, 0, sizeof p);
    p.words.v = xcalloc(1, sizeof *p.words.v);
    p.path = find_file();
    if (p.path == NULL) {
        rc = 0;
        goto out;
    }
    if (file_read(p.path, PROJECT_MAX, &text, e) != 0) {
        goto out;
    }
    if (text_of_file(&text, &words, e) != 0 || split_lines(&p, words, e) != 0 ||
        parse(&p, cfg, e) != 0) {
        (void)err_wrap(e, "%s", p.path);
        goto out;
    }
    rc = 0;

out:
    buf_free(&text);
    if (rc != 0) {
        project_free(&p);
    } else {
        *out = p;
    }
    return rc;
}

void
project_free(struct project *p)
{
    opt_free(run_option_rows, &p->options);
    words_free(&p->words);
    free(p->path);
    free(p->text);
    memset(p, 0, sizeof *p);
}

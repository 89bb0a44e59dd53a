#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/cli/cli.h"

#define ROWS_MAX 96

const struct opt global_options[] = {
    {"quiet", 'q', OPT_FLAG, offsetof(struct globals, quiet), NULL,
     N_("say nothing but errors")},
    {"verbose", 'v', OPT_FLAG, offsetof(struct globals, verbose), NULL,
     N_("say more about what is done")},
    {"yes", 'y', OPT_FLAG, offsetof(struct globals, yes), NULL, N_("do not ask")},
    {"json", 0, OPT_FLAG, offsetof(struct globals, json), NULL,
     N_("results and errors as JSON")},
    {"home", 0, OPT_STR, offsetof(struct globals, home), "DIR",
     N_("keep what gpurun knows in DIR instead of $GPURUN_HOME")},
    {"help", 'h', OPT_FLAG, offsetof(struct globals, help), NULL, N_("show this help")},
    {NULL, 0, OPT_NONE, 0, NULL, NULL},
};

const char *const placing_options[] = {"gpu", "cpu", "host", "image", "max-cost", NULL};

const struct command *
command_find(const struct command *const *table, const char *name)
{
    for (; *table != NULL; table++) {
        if (strcmp((*table)->name, name) == 0) {
            return *table;
        }
    }
    return NULL;
}

static size_t
min3(size_t a, size_t b, size_t c)
{
    size_t ab = a < b ? a : b;

    return ab < c ? ab : c;
}

/* Levenshtein's distance, for names of up to 31 bytes; more counts as far away. */
static size_t
distance(const char *a, const char *b)
{
    size_t row[32];
    size_t n = strlen(b);

    if (strlen(a) > 31 || n > 31) {
        return SIZE_MAX;
    }
    for (size_t j = 0; j <= n; j++) {
        row[j] = j;
    }
    for (size_t i = 0; a[i] != '\0'; i++) {
        size_t diagonal = row[0];

        row[0] = i + 1;
        for (size_t j = 0; j < n; j++) {
            size_t above = row[j + 1];

            row[j + 1] = min3(row[j] + 1, above + 1, diagonal + (a[i] != b[j]));
            diagonal = above;
        }
    }
    return row[n];
}

const char *
command_nearest(const struct command *const *table, const char *name)
{
    const char *best = NULL;
    size_t best_distance = 3; /* further away is no help */

    for (; *table != NULL; table++) {
        size_t d = distance((*table)->name, name);

        if (!(*table)->hidden && d < best_distance && d < strlen(name)) {
            best = (*table)->name;
            best_distance = d;
        }
    }
    return best;
}

int
command_no_sub(const struct command *parent, const char *name, struct err *e)
{
    const char *near = command_nearest(parent->subs, name);
    char shown[64];

    return err_set(e, ERR_INVALID,
                   _("there is no `%s %s`%s%s%s; `gpurun help %s` lists what there is"),
                   parent->name, text_escape_to(shown, sizeof shown, name),
                   near != NULL ? _(", but `") : "", near != NULL ? near : "",
                   near != NULL ? "`" : "", parent->name);
}

/* ---- globals before the command ---- */

static const struct opt *
find_opt(const struct opt *table, const char *word, const char **value)
{
    *value = NULL;
    if (word[0] == '-' && word[1] != '-' && word[1] != '\0' && word[2] == '\0') {
        for (const struct opt *o = table; o->name != NULL; o++) {
            if (o->short_name == word[1]) {
                return o;
            }
        }
        return NULL;
    }
    if (strncmp(word, "--", 2) != 0 || word[2] == '\0') {
        return NULL;
    }
    for (const struct opt *o = table; o->name != NULL; o++) {
        size_t len = strlen(o->name);

        if (strncmp(word + 2, o->name, len) == 0 &&
            (word[2 + len] == '\0' || (word[2 + len] == '=' && o->kind != OPT_FLAG))) {
            *value = word[2 + len] == '=' ? word + 2 + len + 1 : NULL;
            return o;
        }
    }
    return NULL;
}

/* "-qy": every letter a global that takes no value. */
static bool
take_letters(struct globals *g, const char *word)
{
    struct globals with = *g;

    if (word[0] != '-' || word[1] == '-' || strlen(word) < 3) {
        return false;
    }
    for (const char *c = word + 1; *c != '\0'; c++) {
        const char one[] = {'-', *c, '\0'};
        const char *value;
        const struct opt *o = find_opt(global_options, one, &value);

        if (o == NULL || o->kind != OPT_FLAG) {
            return false;
        }
        *(bool *)(void *)((char *)&with + o->offset) = true;
    }
    *g = with;
    return true;
}

/* Take the globals at argv[*i]…; stops at the first word that is none of them. */
static int
take_globals(struct globals *g, int argc, char **argv, int *i, struct err *e)
{
    for (; *i < argc; (*i)++) {
        const char *value;
        const struct opt *o = find_opt(global_options, argv[*i], &value);
        char *at;

        if (o == NULL && take_letters(g, argv[*i])) {
            continue;
        }
        if (o == NULL) {
            return 0;
        }
        at = (char *)g + o->offset;
        if (o->kind == OPT_FLAG) {
            *(bool *)(void *)at = true;
            continue;
        }
        if (value == NULL && *i + 1 == argc) {
            return err_set(e, ERR_INVALID, _("--%s wants a value: --%s %s"), o->name,
                           o->name, o->value);
        }
        *(const char **)(void *)at = value != NULL ? value : argv[++*i];
    }
    return 0;
}

/* ---- a command's own options, and the globals once more ---- */

/* One struct for opt_parse: the globals, then the command's options. */
struct target {
    struct globals g;
    max_align_t options[];
};

static void
add_rows(struct opt rows[ROWS_MAX], size_t *n, const struct opt *own)
{
    for (const struct opt *o = own; o != NULL && o->name != NULL; o++) {
        assert(*n + 1 < ROWS_MAX);
        rows[*n] = *o;
        rows[(*n)++].offset += offsetof(struct target, options);
    }
}

static void
merge_rows(struct opt rows[ROWS_MAX], const struct command *cmd)
{
    size_t n = 0;

    add_rows(rows, &n, cmd->options);
    add_rows(rows, &n, cmd->refused);
    for (const struct opt *o = global_options; o->name != NULL; o++) {
        bool taken = false; /* a command's own -v stays its own */

        assert(n + 1 < ROWS_MAX);
        for (size_t i = 0; i < n; i++) {
            taken = taken || strcmp(rows[i].name, o->name) == 0;
        }
        if (!taken) {
            rows[n++] = *o;
        }
    }
    rows[n] = (struct opt){.name = NULL};
}

static void
add_word(struct words *w, char *word)
{
    w->v = xrealloc(w->v, ((size_t)w->n + 1) * sizeof *w->v);
    w->v[w->n++] = word;
}

static bool
is_placing(const char *word)
{
    for (const char *const *p = placing_options; *p != NULL; p++) {
        size_t len = strlen(*p);

        if (strncmp(word, "--", 2) == 0 && strncmp(word + 2, *p, len) == 0 &&
            (word[2 + len] == '\0' || word[2 + len] == '=')) {
            return true;
        }
    }
    return false;
}

/* How many words at argv are placing options and their values. */
static int
count_placing(int argc, char **argv)
{
    int n = 0;

    while (n < argc && is_placing(argv[n])) {
        n += strchr(argv[n], '=') == NULL ? 2 : 1;
    }
    return n < argc ? n : argc;
}

int
cli_parse_script(struct words *w, const struct opt *rows, void *t, int argc, char **argv,
                 struct err *e)
{
    int n_rest = 0;
    int n_placing;
    int ignored;
    bool dashes = false;

    if (opt_parse(rows, t, argc, argv, true, &n_rest, &dashes, e) != 0) {
        return -1;
    }
    w->rest = argv;
    w->n_rest = n_rest;
    w->dashes = dashes;
    if (dashes || n_rest == 0) {
        return 0;
    }
    add_word(w, argv[0]);
    n_placing = count_placing(n_rest - 1, argv + 1);
    if (opt_parse(rows, t, n_placing, argv + 1, true, &ignored, &dashes, e) != 0) {
        return -1;
    }
    w->rest = argv + 1 + n_placing;
    w->n_rest = n_rest - 1 - n_placing;
    if (w->n_rest > 0 && strcmp(w->rest[0], "--") == 0) {
        w->rest++;
        w->n_rest--;
    }
    return 0;
}

static int
count_line(int argc, char **argv)
{
    int n = 0;

    while (n < argc && strncmp(argv[n], "--", 2) != 0) {
        n++;
    }
    return n;
}

/* Options and words in any order, up to "--". */
static int
parse_words(struct words *w, const struct command *cmd, const struct opt *rows,
            struct target *t, int argc, char **argv, struct err *e)
{
    for (;;) {
        int n_rest = 0;
        bool dashes = false;

        if (opt_parse(rows, t, argc, argv, true, &n_rest, &dashes, e) != 0) {
            return -1;
        }
        for (int i = 0; dashes && cmd->grammar == GRAMMAR_WORDS && i < n_rest; i++) {
            add_word(w, argv[i]); /* words that look like options */
        }
        if (dashes && cmd->grammar == GRAMMAR_WORDS) {
            return 0;
        }
        if (w->n_rest > 0 && n_rest == 0) {
            return 0;
        }
        if (dashes || n_rest == 0) {
            w->rest = argv;
            w->n_rest = n_rest;
            w->dashes = dashes;
            return 0;
        }
        add_word(w, argv[0]);
        argv++;
        argc = n_rest - 1;
        if (cmd->line_word != NULL && w->n == 2 && strcmp(w->v[1], cmd->line_word) == 0) {
            w->rest = argv;
            w->n_rest = count_line(argc, argv);
            argv += w->n_rest;
            argc -= w->n_rest;
        }
    }
}

static void
or_globals(struct globals *g, const struct globals *more)
{
    g->quiet = g->quiet || more->quiet;
    g->verbose = g->verbose || more->verbose;
    g->yes = g->yes || more->yes;
    g->json = g->json || more->json;
    g->help = g->help || more->help;
    g->home = more->home != NULL ? more->home : g->home;
}

/* last: the last word that was typed, or NULL; where nothing is left, an option took it.
 */
static int
check_script(const struct parsed *p, const char *last, struct err *e)
{
    const struct command *cmd = p->command;
    char shown[80];

    if (p->w.n > 0 || p->w.n_rest > 0 ||
        (cmd->needs_no_script != NULL && cmd->needs_no_script(p->options))) {
        return 0;
    }
    if (last != NULL && last[0] != '-') {
        return err_set(
            e, ERR_INVALID,
            _("nothing to run: '%s' is the value of the option before it; want "
              "gpurun %s %s"),
            text_escape_to(shown, sizeof shown, last), cmd->name, _(cmd->usage));
    }
    return err_set(e, ERR_INVALID, _("nothing to run: want gpurun %s %s"), cmd->name,
                   _(cmd->usage));
}

static int
check_words(const struct parsed *p, const char *last, struct err *e)
{
    const struct command *cmd = p->command;
    const char *parent = p->parent != NULL ? p->parent->name : "";
    const char *gap = p->parent != NULL ? " " : "";

    if (cmd->grammar == GRAMMAR_SCRIPT) {
        return check_script(p, last, e);
    }
    if (p->w.n < cmd->min_words || (cmd->max_words >= 0 && p->w.n > cmd->max_words)) {
        return err_set(e, ERR_INVALID, _("%s: want gpurun %s%s%s %s"),
                       p->w.n < cmd->min_words ? _("a word is missing")
                                               : _("one word too many"),
                       parent, gap, cmd->name, _(cmd->usage));
    }
    return 0;
}

static int
check_refused(const struct parsed *p, struct err *e)
{
    const struct command *cmd = p->command;

    for (const struct opt *o = cmd->refused; o != NULL && o->name != NULL; o++) {
        const char *const *value = (const void *)((const char *)p->options + o->offset);

        if (*value != NULL) {
            return err_set(e, ERR_INVALID, _("--%s goes with run: %s"), o->name,
                           _(cmd->refused_why));
        }
    }
    return 0;
}

static int
parse_command(struct parsed *p, int argc, char **argv, struct err *e)
{
    const struct command *cmd = p->command;
    struct opt rows[ROWS_MAX];
    struct target *t = xcalloc(1, sizeof *t + cmd->options_size);
    const char *last = argc > 0 ? argv[argc - 1] : NULL;
    int rc;

    merge_rows(rows, cmd);
    rc = cmd->grammar == GRAMMAR_SCRIPT ? cli_parse_script(&p->w, rows, t, argc, argv, e)
                                        : parse_words(&p->w, cmd, rows, t, argc, argv, e);
    or_globals(&p->g, &t->g);
    if (cmd->options_size > 0) {
        p->options = xmemdup(t->options, cmd->options_size);
    }
    free(t);
    if (p->g.help) {
        return 0;
    }
    return rc == 0 && check_refused(p, e) == 0 ? check_words(p, last, e) : -1;
}

/* `snap ls`: globals may stand between the two words. */
static int
parse_sub(struct parsed *p, int argc, char **argv, struct err *e)
{
    const struct command *parent = p->command;
    const struct command *sub;
    int i = 0;

    if (take_globals(&p->g, argc, argv, &i, e) != 0) {
        return -1;
    }
    if (i == argc) {
        return p->g.help
                   ? 0
                   : err_set(e, ERR_INVALID, _("%s what? `gpurun help %s` lists it"),
                             parent->name, parent->name);
    }
    sub = command_find(parent->subs, argv[i]);
    if (sub == NULL) {
        return command_no_sub(parent, argv[i], e);
    }
    p->parent = parent;
    p->command = sub;
    return parse_command(p, argc - i - 1, argv + i + 1, e);
}

/* Without a command word: the script comes first, and a command's name is no script. */
static int
parse_implicit(struct parsed *p, int argc, char **argv, struct err *e)
{
    p->command = command_find(command_table, "run");
    if (p->command == NULL) {
        return err_set(e, ERR_INVALID, "%s", _("want a command"));
    }
    if (parse_command(p, argc, argv, e) != 0) {
        return -1;
    }
    if (p->w.n > 0 && command_find(command_table, p->w.v[0]) != NULL) {
        return err_set(
            e, ERR_INVALID,
            _("'%s' is a command and goes first: gpurun %s …; the file of that "
              "name is ./%s"),
            p->w.v[0], p->w.v[0], p->w.v[0]);
    }
    return 0;
}

int
cli_parse(struct parsed *out, int argc, char **argv, struct err *e)
{
    int i = 1;

    memset(out, 0, sizeof *out);
    if (take_globals(&out->g, argc, argv, &i, e) != 0) {
        return -1;
    }
    if (i == argc) {
        return 0;
    }
    if (strcmp(argv[i], "--version") == 0) {
        argv[i] = (char *)(uintptr_t) "version";
    }
    out->command = command_find(command_table, argv[i]);
    if (out->command == NULL) {
        return parse_implicit(out, argc - i, argv + i, e);
    }
    if (out->command->subs != NULL) {
        return parse_sub(out, argc - i - 1, argv + i + 1, e);
    }
    return parse_command(out, argc - i - 1, argv + i + 1, e);
}

void
parsed_free(struct parsed *p)
{
    if (p->options != NULL) {
        opt_free(p->command->options, p->options);
    }
    free(p->options);
    free(p->w.v);
    memset(p, 0, sizeof *p);
}

int
cli_exit_code(enum cli_stage stage, enum err_code code)
{
    bool bad_input = code == ERR_INVALID || code == ERR_RANGE || code == ERR_NOT_FOUND ||
                     code == ERR_EXISTS;

    switch (stage) {
    case STAGE_INPUT:
        return CLI_USAGE;
    case STAGE_TRYING:
        return bad_input ? CLI_USAGE : CLI_FAILED;
    case STAGE_CHANGED:
        return code == ERR_LINK ? CLI_CONTACT : CLI_CHANGED;
    }
    return CLI_FAILED;
}

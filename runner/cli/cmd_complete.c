#include <string.h>

#include "base/buf.h"
#include "runner/cli/commands.h"
#include "runner/cli/offer.h"
#include "runner/cli/out.h"

/*
 * What the shells' completion asks: `gpurun __complete -- WORD...`, the words typed so
 * far with the one under the cursor last. The answer is described in offer.h.
 */

/* What the words before the one under the cursor have come to. */
struct typed {
    const struct command *parent;  /* of a subcommand, or one that still lacks it */
    const struct command *command; /* NULL: none yet */
    const struct opt *value;       /* the last word wants a value */
    int n_words;                   /* words that are no options of the command */
    bool rest;                     /* the script's own, or a command behind "--" */
};

static const struct opt *
find_option(const struct opt *table, const char *word, bool *has_value)
{
    size_t len = strcspn(word, "=");

    *has_value = word[len] == '=';
    for (; table != NULL && table->name != NULL; table++) {
        if (strncmp(word, "--", 2) == 0 && len == strlen(table->name) + 2 &&
            strncmp(word + 2, table->name, len - 2) == 0) {
            return table;
        }
        if (word[0] == '-' && word[1] != '\0' && word[1] == table->short_name) {
            *has_value = word[2] != '\0';
            return table;
        }
    }
    return NULL;
}

/* Where no command is named, it will be run, unless one is named yet. */
static const struct opt *
options_of(const struct typed *t)
{
    const struct command *cmd = t->command;

    if (cmd == NULL && t->parent == NULL) {
        cmd = command_find(command_table, "run");
    }
    return cmd != NULL ? cmd->options : NULL;
}

/* The option a word is, ours or of every command; NULL: none known. */
static const struct opt *
option_of(const struct typed *t, const char *word, bool *has_value)
{
    const struct opt *o = find_option(options_of(t), word, has_value);

    return o != NULL ? o : find_option(global_options, word, has_value);
}

static bool
is_script(const struct typed *t)
{
    return t->command != NULL && t->command->grammar == GRAMMAR_SCRIPT;
}

static bool
is_placing(const struct opt *o)
{
    for (const char *const *p = placing_options; o != NULL && *p != NULL; p++) {
        if (strcmp(*p, o->name) == 0) {
            return true;
        }
    }
    return false;
}

static void
take_option(struct typed *t, const char *word)
{
    bool has_value;
    const struct opt *o = option_of(t, word, &has_value);

    if (is_script(t) && t->n_words > 0 && !is_placing(o)) {
        t->rest = true;
    } else if (o != NULL && o->kind != OPT_FLAG && !has_value) {
        t->value = o;
    }
}

static void
take_word(struct typed *t, const char *word)
{
    if (t->command != NULL) {
        t->rest = is_script(t) && t->n_words > 0;
        t->n_words++;
    } else if (t->parent != NULL) {
        t->command = command_find(t->parent->subs, word);
    } else {
        t->command = command_find(command_table, word);
        if (t->command == NULL) {
            t->command = command_find(command_table, "run");
            t->n_words = 1;
        } else if (t->command->subs != NULL) {
            t->parent = t->command;
            t->command = NULL;
        }
    }
}

static void
take(struct typed *t, const char *word)
{
    if (t->value != NULL) {
        t->value = NULL;
    } else if (t->rest) {
        t->n_words++;
    } else if (strcmp(word, "--") == 0) {
        t->rest = true;
        t->command = t->command != NULL ? t->command : command_find(command_table, "run");
    } else if (word[0] == '-' && word[1] != '\0') {
        take_option(t, word);
    } else {
        take_word(t, word);
    }
}

/* An option, or the value behind its "=". */
static void
complete_option(const struct offer *a, const struct typed *t)
{
    struct offer value = *a;
    const char *equals = strchr(a->word, '=');
    bool has_value;
    const struct opt *o = equals != NULL ? option_of(t, a->word, &has_value) : NULL;

    if (o != NULL && o->kind != OPT_FLAG) {
        value.word = equals + 1;
        offer_value(&value, o);
    } else if (equals == NULL && is_script(t) && t->n_words > 0) {
        offer_options(a, options_of(t), placing_options);
        buf_add_str(a->out, ":files\n"); /* or it is the script's own */
    } else if (equals == NULL) {
        offer_options(a, options_of(t), NULL);
        offer_options(a, global_options, NULL);
    }
}

static void
complete_word(const struct offer *a, const struct typed *t)
{
    const struct command *cmd = t->command;

    if (cmd == NULL) {
        offer_commands(a, t->parent != NULL ? t->parent->subs : command_table);
        if (t->parent == NULL) {
            offer_kind(a, WORD_FILE);
        }
    } else if (cmd->grammar == GRAMMAR_SCRIPT) {
        offer_kind(a, WORD_FILE);
    } else if (t->n_words == 0 || cmd->word == WORD_JOB_PATH || cmd->max_words < 0) {
        for (const char *const *v = cmd->verbs; t->n_words == 0 && v && *v; v++) {
            offer_word(a, *v, NULL);
        }
        offer_kind(a, cmd->word);
    } else if (cmd->grammar == GRAMMAR_WORDS && t->n_words < cmd->max_words) {
        offer_kind(a, cmd->next);
    } else if (cmd->grammar == GRAMMAR_COMMAND) {
        offer_word(a, "--", NULL);
    }
}

static void
complete(const struct offer *a, char *const *words, int n)
{
    struct typed t = {.n_words = 0};

    for (int i = 0; i < n; i++) {
        take(&t, words[i]);
    }
    if (t.value != NULL) {
        offer_value(a, t.value);
    } else if (t.rest) {
        offer_kind(a, WORD_FILE);
    } else if (a->word[0] == '-') {
        complete_option(a, &t);
    } else {
        complete_word(a, &t);
    }
}

static int
run_complete(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    struct buf out = BUF_INIT;
    struct offer a = {.home = c->home, .out = &out};
    int rc;

    (void)options;
    a.word = w->n_rest > 0 ? w->rest[w->n_rest - 1] : "";
    complete(&a, w->rest, w->n_rest > 0 ? w->n_rest - 1 : 0);
    rc = out_write(&out, e);
    buf_free(&out);
    return rc;
}

const struct command cmd_complete = {
    .name = "__complete",
    .usage = "-- WORD...",
    .help = "for the shells' completion",
    .grammar = GRAMMAR_COMMAND,
    .hidden = true,
    .run = run_complete,
};

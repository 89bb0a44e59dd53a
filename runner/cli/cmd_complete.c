#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/text.h"
#include "runner/cli/commands.h"
#include "runner/cli/out.h"
#include "runner/client/config.h"
#include "runner/client/hosts.h"
#include "runner/client/i18n.h"
#include "runner/client/jobs.h"

/*
 * What the shells' completion asks: `gpurun __complete WORD...`, the words typed so far
 * with the one under the cursor last. Answers lines "word\thelp"; a line ":files" means
 * files. All of it comes from the command table and from what is on record here: no host
 * is asked.
 */
struct asked {
    const struct home *home;
    const char *word; /* to be completed */
    struct buf *out;
};

static void
offer_word(const struct asked *a, const char *word, const char *help)
{
    if (strncmp(word, a->word, strlen(a->word)) == 0) {
        buf_add_str(a->out, word);
        buf_add_str(a->out, "\t");
        buf_add_str(a->out, help != NULL ? help : "");
        buf_add_str(a->out, "\n");
    }
}

static void
offer_commands(const struct asked *a, const struct command *const *table)
{
    for (; *table != NULL; table++) {
        if (!(*table)->hidden) {
            offer_word(a, (*table)->name, _((*table)->help));
        }
    }
}

static void
offer_options(const struct asked *a, const struct opt *table)
{
    for (; table != NULL && table->name != NULL; table++) {
        char *word = xasprintf("--%s", table->name);

        offer_word(a, word, _(table->help));
        free(word);
    }
}

static void
offer_jobs(const struct asked *a)
{
    struct job_list l;
    struct err e;

    if (jobs_list(a->home, &l, &e) != 0) {
        return;
    }
    offer_word(a, "@last", _("the newest"));
    for (size_t i = 0; i < l.n; i++) {
        if (l.v[i].name != NULL) {
            offer_word(a, l.v[i].name, l.v[i].id);
        }
        if (a->word[0] == 'j') {
            offer_word(a, l.v[i].id, l.v[i].name);
        }
    }
    job_list_free(&l);
}

static void
offer_snapshots(const struct asked *a)
{
    struct job_list l;
    struct err e;

    if (jobs_list(a->home, &l, &e) != 0) {
        return;
    }
    for (size_t i = 0; i < l.n; i++) {
        if (l.v[i].snapshot[0] != '\0') {
            offer_word(a, l.v[i].snapshot, l.v[i].name);
        }
    }
    job_list_free(&l);
}

static void
offer_hosts(const struct asked *a)
{
    struct host_list l;
    struct err e;

    if (hosts_list(a->home, true, &l, &e) != 0) {
        return;
    }
    for (size_t i = 0; i < l.n; i++) {
        char *where = host_where(&l.v[i]);

        offer_word(a, l.v[i].name, where);
        free(where);
    }
    host_list_free(&l);
}

static void
offer_kind(const struct asked *a, enum word_kind kind)
{
    switch (kind) {
    case WORD_JOB:
        offer_jobs(a);
        break;
    case WORD_SNAPSHOT:
        offer_snapshots(a);
        break;
    case WORD_JOB_OR_SNAPSHOT:
        offer_jobs(a);
        offer_snapshots(a);
        break;
    case WORD_HOST:
        offer_hosts(a);
        break;
    case WORD_COMMAND:
        offer_commands(a, command_table);
        break;
    case WORD_KEY:
        for (const struct config_key *k = config_keys; k->name != NULL; k++) {
            offer_word(a, k->name, _(k->help));
        }
        break;
    case WORD_FILE:
    case WORD_NONE:
        buf_add_str(a->out, ":files\n");
        break;
    }
}

/* The option that the word before asks a value for, or NULL. */
static const struct opt *
pending(const struct opt *table, const char *before)
{
    for (; table != NULL && table->name != NULL; table++) {
        bool is_long =
            strncmp(before, "--", 2) == 0 && strcmp(before + 2, table->name) == 0;
        bool is_short = before[0] == '-' && before[1] == table->short_name &&
                        before[1] != '\0' && before[2] == '\0';

        if ((is_long || is_short) && table->kind != OPT_FLAG) {
            return table;
        }
    }
    return NULL;
}

static void
offer_value(const struct asked *a, const struct opt *o)
{
    if (strcmp(o->name, "host") == 0) {
        offer_hosts(a);
    } else if (strcmp(o->name, "from") == 0) {
        offer_snapshots(a);
    } else {
        buf_add_str(a->out, ":files\n");
    }
}

static void
complete(const struct asked *a, char *const *words, int n)
{
    const struct command *cmd = NULL;
    const struct command *parent = NULL;
    const struct opt *value;
    int at = 0;

    for (; at < n && cmd == NULL; at++) {
        cmd = command_find(command_table, words[at]);
        if (cmd == NULL && words[at][0] != '-') {
            break; /* a script: run */
        }
    }
    if (cmd != NULL && cmd->subs != NULL) {
        for (; at < n; at++) {
            if (command_find(cmd->subs, words[at]) != NULL) {
                parent = cmd;
                cmd = command_find(cmd->subs, words[at]);
                break;
            }
        }
    }
    if (cmd != NULL && cmd->subs != NULL && parent == NULL) {
        offer_commands(a, cmd->subs);
        offer_options(a, a->word[0] == '-' ? global_options : NULL);
        return;
    }
    if (cmd == NULL) {
        cmd = command_find(command_table, "run");
        if (n == 0 && a->word[0] != '-') {
            offer_commands(a, command_table);
        }
    }
    value = n > 0 && cmd != NULL ? pending(cmd->options, words[n - 1]) : NULL;
    if (value != NULL) {
        offer_value(a, value);
    } else if (a->word[0] == '-') {
        offer_options(a, cmd != NULL ? cmd->options : NULL);
        offer_options(a, global_options);
    } else if (cmd != NULL) {
        offer_kind(a, cmd->word);
    }
}

static int
run_complete(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    struct buf out = BUF_INIT;
    struct asked a = {.home = c->home, .out = &out};
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

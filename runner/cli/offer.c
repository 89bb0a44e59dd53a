#include "runner/cli/offer.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/lang.h"
#include "base/text.h"
#include "runner/client/config.h"
#include "runner/client/hosts.h"
#include "runner/client/jobs.h"
#include "runner/job/hostinfo.h"

static bool
is_typed(const struct offer *a, const char *word)
{
    return strncmp(word, a->word, strlen(a->word)) == 0;
}

void
offer_word(const struct offer *a, const char *word, const char *help)
{
    if (is_typed(a, word)) {
        text_escape(a->out, word, strlen(word));
        buf_add_str(a->out, "\t");
        if (help != NULL) {
            text_escape(a->out, help, strlen(help));
        }
        buf_add_str(a->out, "\n");
    }
}

void
offer_commands(const struct offer *a, const struct command *const *table)
{
    for (; *table != NULL; table++) {
        if (!(*table)->hidden) {
            offer_word(a, (*table)->name, _((*table)->help));
        }
    }
}

static bool
is_among(const char *name, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (strcmp(*names, name) == 0) {
            return true;
        }
    }
    return false;
}

void
offer_options(const struct offer *a, const struct opt *table, const char *const *only)
{
    for (; table != NULL && table->name != NULL; table++) {
        if (only == NULL || is_among(table->name, only)) {
            char *word = xasprintf("--%s", table->name);

            offer_word(a, word, _(table->help));
            free(word);
        }
    }
}

/* end: what follows the name, "" or ":" */
static void
offer_named(const struct offer *a, const char *name, const char *end, const char *help)
{
    char *word = xasprintf("%s%s", name, end);

    offer_word(a, word, help);
    free(word);
}

static void
offer_jobs(const struct offer *a, const char *end)
{
    struct job_list l;
    struct err e;

    offer_named(a, "@last", end, _("the newest"));
    if (jobs_list(a->home, &l, &e) != 0) {
        return;
    }
    for (size_t i = 0; i < l.n; i++) {
        if (l.v[i].name != NULL) {
            offer_named(a, l.v[i].name, end, l.v[i].command);
        }
        /* Ids are for those who begin to type one. */
        if (a->word[0] == 'j') {
            offer_named(a, l.v[i].id, end, l.v[i].name);
        }
    }
    job_list_free(&l);
}

static void
offer_snapshots(const struct offer *a, const char *end)
{
    struct job_list l;
    struct err e;

    if (jobs_list(a->home, &l, &e) != 0) {
        return;
    }
    for (size_t i = 0; i < l.n; i++) {
        if (l.v[i].snapshot[0] != '\0') {
            offer_named(a, l.v[i].snapshot, end, l.v[i].name);
        }
    }
    job_list_free(&l);
}

static void
offer_hosts(const struct offer *a)
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

/* The GPUs a host had when it was last seen. */
static void
offer_gpus_of(const struct offer *a, const struct host *h)
{
    struct host_info info;

    if (!host_recall(h, &info)) {
        return;
    }
    for (size_t i = 0; i < info.devices.n; i++) {
        const struct device *d = &info.devices.v[i];

        if (strcmp(d->device_class, "gpu") == 0 && d->type != NULL) {
            offer_word(a, d->type, h->name);
        }
    }
    hostinfo_free(&info);
}

static void
offer_gpus(const struct offer *a)
{
    struct host_list l;
    struct err e;

    offer_word(a, "any", NULL);
    if (hosts_list(a->home, true, &l, &e) != 0) {
        return;
    }
    for (size_t i = 0; i < l.n; i++) {
        offer_gpus_of(a, &l.v[i]);
    }
    host_list_free(&l);
}

/* Names of variables that are set, as --secret wants them. */
static void
offer_variables(const struct offer *a)
{
    for (char **v = environ; v != NULL && *v != NULL; v++) {
        size_t len = strcspn(*v, "=");
        char *name = xasprintf("%.*s", (int)len, *v);

        offer_word(a, name, NULL);
        free(name);
    }
}

static void
offer_keys(const struct offer *a)
{
    for (const struct config_key *k = config_keys; k->name != NULL; k++) {
        offer_word(a, k->name, _(k->help));
    }
}

void
offer_kind(const struct offer *a, enum word_kind kind)
{
    switch (kind) {
    case WORD_JOB:
        offer_jobs(a, "");
        break;
    case WORD_SNAPSHOT:
        offer_snapshots(a, "");
        break;
    case WORD_JOB_OR_SNAPSHOT:
        offer_jobs(a, "");
        offer_snapshots(a, "");
        break;
    case WORD_JOB_PATH:
        offer_jobs(a, ":");
        offer_snapshots(a, ":");
        buf_add_str(a->out, ":nospace\n:files\n");
        break;
    case WORD_HOST:
        offer_hosts(a);
        break;
    case WORD_COMMAND:
        offer_commands(a, command_table);
        break;
    case WORD_KEY:
        offer_keys(a);
        break;
    case WORD_FILE:
        buf_add_str(a->out, ":files\n");
        break;
    case WORD_JOB_OR_FILE:
        offer_jobs(a, "");
        buf_add_str(a->out, ":files\n");
        break;
    case WORD_NONE:
        break;
    }
}

/* By what the option is called, else by what its value is called in help. */
void
offer_value(const struct offer *a, const struct opt *o)
{
    static const char *const there[] = {"venv", "agent-home", NULL}; /* not here */

    if (strcmp(o->name, "host") == 0) {
        offer_hosts(a);
    } else if (strcmp(o->name, "from") == 0) {
        offer_kind(a, WORD_JOB_OR_SNAPSHOT);
    } else if (strcmp(o->name, "gpu") == 0) {
        offer_gpus(a);
    } else if (strcmp(o->name, "secret") == 0) {
        offer_variables(a);
    } else if (strcmp(o->value, "FILE") == 0 || strcmp(o->value, "PATH") == 0) {
        buf_add_str(a->out, ":files\n");
    } else if (strcmp(o->value, "DIR") == 0 && !is_among(o->name, there)) {
        buf_add_str(a->out, ":dirs\n");
    }
}

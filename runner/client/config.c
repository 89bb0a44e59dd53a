#include "runner/client/config.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/lang.h"
#include "base/rec.h"
#include "base/text.h"
#include "meter/money.h"
#include "runner/job/spec.h"

#define CONFIG_RECORD    "gpurun.config.v1"
#define CONFIG_VALUE_MAX 4096

struct config {
    char *path;
    char *dir;
    struct rec *r;
};

static int
check_money(const char *value, struct err *e)
{
    int64_t fen;

    return money_parse_fen(value, strlen(value), &fen, e);
}

/* As the options that they stand for take them. */
static int
check_max_time(const char *value, struct err *e)
{
    int64_t s;

    return text_parse_seconds(value, 1, SPEC_TIME_MAX_S, &s, e);
}

static int
check_window(const char *value, struct err *e)
{
    int64_t s;

    return text_parse_seconds(value, 0, SPEC_WINDOW_MAX_S, &s, e);
}

static int
check_percent(const char *value, struct err *e)
{
    int64_t percent;

    return text_parse_int(value, 0, 100, _("a percentage"), &percent, e);
}

static int
check_words(const char *value, struct err *e)
{
    if (!text_is_utf8(value, strlen(value)) || strpbrk(value, "\r\n\t\x1b") != NULL) {
        return err_set(e, ERR_INVALID, "%s", _("one line of text, as UTF-8"));
    }
    return 0;
}

const struct config_key config_keys[] = {
    {"ask-above", "YUAN", "50",
     N_("on a terminal, ask before a run whose cap is above this; off one refuse it, "
        "where a "
        "project file chose it"),
     check_money},
    {"bill-tax-number", "TEXT", "", N_("the tax number that statements carry"),
     check_words},
    {"bill-title", "TEXT", "", N_("whom statements are made out to"), check_words},
    {"bill-vat", "PERCENT", "6", N_("the VAT that prices include, for statements"),
     check_percent},
    {"max-time", "DUR", "24h", N_("the time limit of a run that names none"),
     check_max_time},
    {"window", "DUR", "60s", N_("between SIGTERM and SIGKILL, where a run names none"),
     check_window},
    {NULL, NULL, NULL, NULL, NULL},
};

static const struct config_key *
find_key(const char *name)
{
    for (const struct config_key *k = config_keys; k->name != NULL; k++) {
        if (strcmp(k->name, name) == 0) {
            return k;
        }
    }
    return NULL;
}

/* Record keys know no '-'. */
static void
record_key(const char *name, char out[64])
{
    size_t i = 0;

    for (; name[i] != '\0' && i < 63; i++) {
        out[i] = (char)(name[i] == '-' ? '_' : name[i]);
    }
    out[i] = '\0';
}

static int
check_all(const struct config *c, struct err *e)
{
    for (const struct config_key *k = config_keys; k->name != NULL; k++) {
        const char *v = config_get_set(c, k->name);

        if (v != NULL && k->check(v, e) != 0) {
            return err_wrap(e, _("%s: setting %s"), c->path, k->name);
        }
    }
    return 0;
}

int
config_open(struct config **out, const struct home *home, struct err *e)
{
    struct config *c = xcalloc(1, sizeof *c);

    c->dir = xstrdup(home_dir(home));
    c->path = path_join(c->dir, "config");
    if (!file_exists(c->path)) {
        c->r = rec_new(CONFIG_RECORD);
    } else if (rec_load(&c->r, c->path, CONFIG_RECORD, e) != 0 || check_all(c, e) != 0) {
        config_free(c);
        return -1;
    }
    *out = c;
    return 0;
}

void
config_free(struct config *c)
{
    if (c == NULL) {
        return;
    }
    rec_free(c->r);
    free(c->path);
    free(c->dir);
    free(c);
}

const char *
config_get_set(const struct config *c, const char *key)
{
    char name[64];

    record_key(key, name);
    return rec_get(c->r, name);
}

const char *
config_get(const struct config *c, const char *key)
{
    const struct config_key *k = find_key(key);
    const char *v = config_get_set(c, key);

    assert(k != NULL);
    return v != NULL ? v : k->dflt;
}

static int
no_such_key(const char *key, struct err *e)
{
    struct buf names = BUF_INIT;
    char shown[64];

    for (const struct config_key *k = config_keys; k->name != NULL; k++) {
        buf_printf(&names, "%s%s", names.len > 0 ? ", " : "", k->name);
    }
    err_set(e, ERR_NOT_FOUND, _("there is no setting '%s'; there are: %s"),
            text_escape_to(shown, sizeof shown, key), buf_str(&names));
    buf_free(&names);
    return -1;
}

/* A copy of r without key. */
static struct rec *
without(const struct rec *r, const char *key)
{
    struct rec *copy = rec_new(CONFIG_RECORD);

    for (size_t i = 0; i < rec_n_fields(r); i++) {
        const char *value;
        size_t len;
        const char *name = rec_field(r, i, &value, &len);

        if (strcmp(name, key) != 0) {
            rec_add_bytes(copy, name, value, len);
        }
    }
    return copy;
}

int
config_set(struct config *c, const char *key, const char *value, struct err *e)
{
    const struct config_key *k = find_key(key);
    char name[64];
    struct rec *next;

    if (k == NULL) {
        return no_such_key(key, e);
    }
    if (value != NULL && strlen(value) > CONFIG_VALUE_MAX) {
        return err_set(e, ERR_RANGE, _("a setting has at most %d bytes"),
                       CONFIG_VALUE_MAX);
    }
    if (value != NULL && k->check(value, e) != 0) {
        return err_wrap(e, _("setting %s wants %s"), k->name, k->value);
    }
    record_key(key, name);
    next = without(c->r, name);
    if (value != NULL) {
        rec_add(next, name, value);
    }
    if (file_mkdirs(c->dir, 0700, e) != 0 || rec_save(next, c->path, e) != 0) {
        rec_free(next);
        return -1;
    }
    rec_free(c->r);
    c->r = next;
    return 0;
}

int64_t
config_money_fen(const struct config *c, const char *key)
{
    const char *v = config_get(c, key);
    int64_t fen = 0;
    struct err e;
    int rc = money_parse_fen(v, strlen(v), &fen, &e);

    assert(rc == 0); /* checked when opened and when set */
    (void)rc;
    return fen;
}

int64_t
config_duration_ns(const struct config *c, const char *key)
{
    int64_t ns = 0;
    struct err e;
    int rc = text_parse_duration(config_get(c, key), &ns, &e);

    assert(rc == 0);
    (void)rc;
    return ns;
}

#include "base/opt.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/text.h"

#define SHOWN_MAX    80
#define NAME_MAX_LEN 64 /* longer words are like no option */

struct parse {
    const struct opt *table;
    void *target;
    int argc;
    char **argv;
    int at; /* next word */
};

void
opt_list_add(struct opt_list *l, const char *value)
{
    l->v = xgrow(l->v, l->n, sizeof *l->v);
    l->v[l->n++] = value;
}

void
opt_list_free(struct opt_list *l)
{
    free(l->v);
    *l = (struct opt_list){NULL, 0};
}

void
opt_free(const struct opt *table, void *target)
{
    for (const struct opt *o = table; o->name != NULL; o++) {
        if (o->kind == OPT_LIST) {
            opt_list_free((struct opt_list *)(void *)((char *)target + o->offset));
        }
    }
}

static size_t
min3(size_t a, size_t b, size_t c)
{
    size_t m = a < b ? a : b;

    return m < c ? m : c;
}

/* Letters to change, drop or add to make b of a[0..len). */
static size_t
edit_distance(const char *a, size_t len, const char *b)
{
    size_t row[NAME_MAX_LEN + 1];
    size_t n = strlen(b);

    if (len > NAME_MAX_LEN || n > NAME_MAX_LEN) {
        return SIZE_MAX;
    }
    for (size_t j = 0; j <= n; j++) {
        row[j] = j;
    }
    for (size_t i = 0; i < len; i++) {
        size_t diagonal = row[0];

        row[0] = i + 1;
        for (size_t j = 0; j < n; j++) {
            size_t above = row[j + 1];

            row[j + 1] = min3(above + 1, row[j] + 1, diagonal + (a[i] != b[j]));
            diagonal = above;
        }
    }
    return row[n];
}

static const struct opt *
nearest(const struct opt *table, const char *name, size_t len)
{
    const struct opt *best = NULL;
    size_t best_distance = len / 3 + 2; /* from here on a guess would only confuse */

    for (const struct opt *o = table; o->name != NULL; o++) {
        bool begins = len >= 3 && strncmp(o->name, name, len) == 0;
        size_t d = begins ? 1 : edit_distance(name, len, o->name);

        if (d < best_distance) {
            best = o;
            best_distance = d;
        }
    }
    return best;
}

static int
unknown(const struct opt *table, const char *word, const char *name, size_t len,
        struct err *e)
{
    const struct opt *o = nearest(table, name, len);
    char shown[SHOWN_MAX];

    (void)text_escape_to(shown, sizeof shown, word);
    if (o == NULL) {
        return err_set(e, ERR_INVALID,
                       "unknown option '%s'; --help lists those there are", shown);
    }
    return err_set(e, ERR_INVALID, "unknown option '%s'; did you mean '--%s'?", shown,
                   o->name);
}

static void
store(const struct parse *p, const struct opt *o, const char *value)
{
    char *at = (char *)p->target + o->offset;

    switch (o->kind) {
    case OPT_FLAG:
        *(bool *)(void *)at = true;
        break;
    case OPT_STR:
        *(const char **)(void *)at = value;
        break;
    case OPT_LIST:
        opt_list_add((struct opt_list *)(void *)at, value);
        break;
    case OPT_NONE:
        break;
    }
}

/* The next word is the value of o, named shown. */
static int
store_next(struct parse *p, const struct opt *o, const char *shown, struct err *e)
{
    if (p->at == p->argc) {
        return err_set(e, ERR_INVALID, "option '%s' needs a value: %s", shown,
                       o->value != NULL ? o->value : "VALUE");
    }
    store(p, o, p->argv[p->at++]);
    return 0;
}

/* word is "--name" or "--name=value". */
static int
parse_long(struct parse *p, const char *word, struct err *e)
{
    const char *name = word + 2;
    size_t len = strcspn(name, "=");
    const struct opt *o = p->table;

    while (o->name != NULL &&
           (strlen(o->name) != len || memcmp(o->name, name, len) != 0)) {
        o++;
    }
    if (o->name == NULL) {
        return unknown(p->table, word, name, len, e);
    }
    if (name[len] == '=') {
        if (o->kind == OPT_FLAG) {
            return err_set(e, ERR_INVALID, "option '--%s' takes no value", o->name);
        }
        store(p, o, name + len + 1);
        return 0;
    }
    if (o->kind == OPT_FLAG) {
        store(p, o, NULL);
        return 0;
    }
    return store_next(p, o, word, e);
}

/* word is "-n", "-nVALUE" or, where n is a flag, more short options behind it. */
static int
parse_short(struct parse *p, const char *word, struct err *e)
{
    for (const char *c = word + 1; *c != '\0'; c++) {
        const struct opt *o = p->table;

        while (o->name != NULL && o->short_name != *c) {
            o++;
        }
        if (o->name == NULL) {
            /* "-gpu" was meant to be "--gpu". */
            return unknown(p->table, word, word + 1, strlen(word + 1), e);
        }
        if (o->kind == OPT_FLAG) {
            store(p, o, NULL);
            continue;
        }
        if (c[1] != '\0') {
            store(p, o, c + 1);
            return 0;
        }
        return store_next(p, o, (const char[]){'-', *c, '\0'}, e);
    }
    return 0;
}

int
opt_parse(const struct opt *table, void *target, int argc, char **argv,
          bool stop_at_first, int *n_rest, bool *ended_by_dashes, struct err *e)
{
    struct parse p = {.table = table, .target = target, .argc = argc, .argv = argv};
    bool only_words = false; /* the rest is no options */
    bool dashes = false;
    int n = 0;

    while (p.at < argc) {
        char *word = argv[p.at++];

        if (only_words || word[0] != '-' || word[1] == '\0') {
            only_words = only_words || stop_at_first;
            argv[n++] = word;
        } else if (strcmp(word, "--") == 0) {
            dashes = true;
            only_words = true;
        } else if ((word[1] == '-' ? parse_long(&p, word, e)
                                   : parse_short(&p, word, e)) != 0) {
            return -1;
        }
    }
    *n_rest = n;
    *ended_by_dashes = dashes;
    return 0;
}

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/rec.h"
#include "meter/card.h"
#include "meter/words.h"

#define MEMBERS_TYPE      "gpurun.members.v1"
#define MEMBERS_MAX_BYTES ((size_t)16 << 20)

struct card_members {
    struct card_member *who;
    size_t n;
};

void
card_members_free(struct card_members *m)
{
    if (m != NULL) {
        free(m->who);
        free(m);
    }
}

static bool
parse_member(const char *v, size_t len, struct card_member *w)
{
    struct words words = words_of(v, len);

    memset(w, 0, sizeof *w);
    words_name(&words, w->renter, sizeof w->renter);
    words_name(&words, w->level, sizeof w->level);
    w->from_s = words_int_or(&words, CARD_ALWAYS);
    w->to_s = words_int_or(&words, CARD_FOREVER);
    return words_done(&words) && w->renter[0] != '\0' && w->level[0] != '\0' &&
           w->from_s < w->to_s;
}

static struct card_member *
add(struct card_members *m)
{
    m->who = xrealloc(m->who, (m->n + 1) * sizeof *m->who);
    return &m->who[m->n++];
}

static int
parse(struct card_members *m, const struct rec *r, struct err *e)
{
    for (size_t i = 0; i < rec_n_fields(r); i++) {
        const char *v;
        size_t len;

        if (strcmp(rec_field(r, i, &v, &len), "member") != 0 ||
            !parse_member(v, len, add(m))) {
            return err_set(e, ERR_CORRUPT, "an unreadable member in line %zu", i + 2);
        }
    }
    return 0;
}

int
card_members_load(struct card_members **out, const char *path, struct err *e)
{
    struct card_members *m = xcalloc(1, sizeof *m);
    struct rec *r = NULL;
    int rc = rec_load(&r, path, MEMBERS_TYPE, e);

    if (rc != 0 && e->code == ERR_NOT_FOUND) {
        rc = 0; /* nobody yet */
    } else if (rc == 0 && parse(m, r, e) != 0) {
        rc = err_wrap(e, "'%s'", path);
    }
    rec_free(r);
    if (rc != 0) {
        card_members_free(m);
        return -1;
    }
    *out = m;
    return 0;
}

int
card_members_save(const struct card_members *m, const char *path, struct err *e)
{
    struct rec *r = rec_new(MEMBERS_TYPE);
    int rc;

    for (size_t i = 0; i < m->n; i++) {
        struct buf b = BUF_INIT;

        words_add(&b, m->who[i].renter);
        words_add(&b, m->who[i].level);
        words_add_int_or(&b, m->who[i].from_s, CARD_ALWAYS);
        words_add_int_or(&b, m->who[i].to_s, CARD_FOREVER);
        rec_add_bytes(r, "member", b.data, b.len);
        buf_free(&b);
    }
    rc = rec_save(r, path, e);
    rec_free(r);
    return rc;
}

int
card_members_set(struct card_members *m, const struct card *c,
                 const struct card_member *who, struct err *e)
{
    size_t n = 0;

    if (!words_is_name(who->renter) || who->from_s >= who->to_s) {
        return err_set(e, ERR_INVALID, "a member needs a renter id and a time span");
    }
    if (who->level[0] != '\0' && card_find_level(c, who->level) == NULL) {
        return err_set(e, ERR_NOT_FOUND, "the rate card has no level '%.32s'",
                       who->level);
    }
    for (size_t i = 0; i < m->n; i++) {
        if (strcmp(m->who[i].renter, who->renter) != 0) {
            m->who[n++] = m->who[i];
        }
    }
    m->n = n;
    if (who->level[0] != '\0') {
        *add(m) = *who;
    }
    return 0;
}

const struct card_member *
card_members_all(const struct card_members *m, size_t *n)
{
    *n = m->n;
    return m->who;
}

const struct card_member *
card_members_at(const struct card_members *m, const char *renter, int64_t at_s)
{
    for (size_t i = 0; i < m->n; i++) {
        const struct card_member *w = &m->who[i];

        if (strcmp(w->renter, renter) == 0 && w->from_s <= at_s &&
            (at_s < w->to_s || w->to_s == CARD_FOREVER)) {
            return w;
        }
    }
    return NULL;
}

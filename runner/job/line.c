#include "runner/job/line.h"

#include <stdlib.h>
#include <string.h>

static int
id_cmp(const void *a, const void *b)
{
    return strcmp(((const struct line_snap *)a)->id, ((const struct line_snap *)b)->id);
}

void
line_sort(struct line_snap *v, size_t n)
{
    if (n > 1) {
        qsort(v, n, sizeof *v, id_cmp);
    }
}

static bool
is_of(const struct line_snap *s, const char *job)
{
    return s->job != NULL && strcmp(s->job, job) == 0;
}

static bool
is_better(const struct line_snap *a, const struct line_snap *b)
{
    return a->whole != b->whole ? a->whole : a->made_wall_ns > b->made_wall_ns;
}

const struct line_snap *
line_last(const struct line_snap *v, size_t n, const char *job)
{
    const struct line_snap *last = NULL;

    for (size_t i = 0; i < n; i++) {
        if (v[i].kept && is_of(&v[i], job) && (last == NULL || is_better(&v[i], last))) {
            last = &v[i];
        }
    }
    return last;
}

static const struct line_snap *
parent_of(const struct line_snap *v, size_t n, const struct line_snap *s)
{
    const struct line_snap key = {.id = s->parent};

    return s->parent == NULL || n == 0 ? NULL : bsearch(&key, v, n, sizeof *v, id_cmp);
}

/* The same one, or a later one of its job. */
static bool
is_at_or_after(const struct line_snap *a, const struct line_snap *s)
{
    return strcmp(a->id, s->id) == 0 ||
           (s->job != NULL && is_of(a, s->job) && a->made_wall_ns > s->made_wall_ns);
}

static bool
is_kept_longer(const struct line_snap *a, const struct line_snap *s)
{
    return s->expires_wall_ns != 0 &&
           (a->expires_wall_ns == 0 || a->expires_wall_ns > s->expires_wall_ns);
}

bool
line_is_carried_on(const struct line_snap *v, size_t n, const struct line_snap *s)
{
    for (size_t i = 0; i < n; i++) {
        const struct line_snap *a = &v[i];

        if (!a->kept || !a->whole || strcmp(a->id, s->id) == 0 || !is_kept_longer(a, s)) {
            continue;
        }
        /* Parents are a host's word: a ring of them has an end here, too. */
        for (size_t steps = 0; a != NULL && steps <= n; steps++) {
            if (is_at_or_after(a, s)) {
                return true;
            }
            a = parent_of(v, n, a);
        }
    }
    return false;
}

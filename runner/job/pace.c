#include "runner/job/pace.h"

#include <string.h>

#include "runner/job/verbs.h"

static const char *const names[] = {"",      "snapshots", "packs",
                                    "index", "sweep",     "contents"};

#define N_STEPS (sizeof names / sizeof names[0])

static int64_t
amount(uint64_t n)
{
    return n <= INT64_MAX ? (int64_t)n : INT64_MAX;
}

struct rec *
pace_rec(const struct pace *p)
{
    struct rec *r = rec_new(EVENT_PROGRESS);

    rec_add_int(r, "progress", p->number);
    rec_add(r, "step", names[p->step]);
    rec_add_int(r, "done", amount(p->done));
    rec_add_int(r, "all", amount(p->all));
    return r;
}

int
pace_parse(struct pace *out, const struct rec *r, struct err *e)
{
    struct pace p = {.step = CARE_NONE};
    const char *step;
    int64_t done;
    int64_t all;

    if (strcmp(rec_type(r), EVENT_PROGRESS) != 0) {
        return err_set(e, ERR_INVALID, "no record of progress");
    }
    if (rec_need_int(r, "progress", 1, INT64_MAX, &p.number, e) != 0 ||
        rec_need_str(r, "step", &step, e) != 0 ||
        rec_need_int(r, "done", 0, INT64_MAX, &done, e) != 0 ||
        rec_need_int(r, "all", 0, INT64_MAX, &all, e) != 0) {
        return -1;
    }
    for (size_t i = 1; i < N_STEPS; i++) {
        if (strcmp(step, names[i]) == 0) {
            p.step = (enum care_step)i;
        }
    }
    p.done = (uint64_t)done;
    p.all = (uint64_t)all;
    *out = p;
    return 0;
}

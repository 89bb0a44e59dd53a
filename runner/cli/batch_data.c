#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/cli/batch_internal.h"
#include "runner/cli/context.h"
#include "runner/cli/launch_internal.h"
#include "runner/cli/out.h"
#include "runner/client/datasets.h"

/*
 * --data for many jobs: each goes to hosts that have all of its sets only. Where none
 * that it could run on has them, they go to the cheapest of those first, before anything
 * starts.
 */

/* What the hosts have that jobs may run on; one that does not tell has nothing for us. */
static void
list_own(struct batch *b)
{
    for (size_t i = 0; i < b->n_hosts; i++) {
        struct session *s = place_at(b->place, i)->session;
        struct err e;

        if (session_conn(s) != NULL && datasets_list(s, &b->sets, &e) != 0) {
            say(b->c, "%s", e.msg);
        }
    }
}

bool
batch_has_data(const struct batch *b, const struct batch_job *j, size_t at)
{
    return request_has_data(&j->r, &b->sets, place_at(b->place, at)->host);
}

/* ---- what has to travel ---- */

/* From now on it counts as being there: jobs start only after that. */
static void
plan_move(struct batch *b, const struct data_want *d, const char *to)
{
    const struct snap_info *s = datasets_called(&b->sets, d->from, d->name);
    struct batch_move *m;
    struct snap_info there;

    snap_info_init(&there);
    memcpy(there.id, s->id, sizeof there.id);
    there.host = xstrdup(to);
    there.name = xstrdup(s->name);
    there.tree = xstrdup(s->tree);
    there.n_files = s->n_files;
    there.content_bytes = s->content_bytes;
    there.stored_bytes = s->stored_bytes;
    b->moves = xrealloc(b->moves, (b->n_moves + 1) * sizeof *b->moves);
    m = &b->moves[b->n_moves++];
    *m = (struct batch_move){.to = xstrdup(to),
                             .set = {.name = xstrdup(d->name),
                                     .id = xstrdup(d->id),
                                     .from = xstrdup(d->from),
                                     .stored_bytes = d->stored_bytes}};
    b->sets.v = xrealloc(b->sets.v, (b->sets.n + 1) * sizeof *b->sets.v);
    b->sets.v[b->sets.n++] = there;
}

static int
find_for(struct batch *b, struct batch_job *j, bool *asked, struct err *e)
{
    const struct candidate *there = batch_cheapest(b, j, true);

    /* Jobs of one batch must not see different things by one name. */
    if (j->r.host == NULL && request_check_data(&j->r, &b->sets, e) != 0) {
        return -1;
    }
    if (there != NULL) {
        return 0;
    }
    if (!*asked && launch_list_data(b->c, b->cl, NULL, &b->sets, e) != 0) {
        return -1;
    }
    *asked = true;
    there = batch_cheapest(b, j, false);
    if (there == NULL) { /* a link went meanwhile */
        return batch_check_place(b, j, e) != 0
                   ? -1
                   : err_set(e, ERR_LINK, "%s", _("the link to the hosts went away"));
    }
    if (request_choose_data(&j->r, &b->sets, there->host, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < j->r.n_data; i++) {
        if (j->r.data[i].from != NULL) {
            plan_move(b, &j->r.data[i], there->host);
        }
    }
    return 0;
}

int
batch_find_data(struct batch *b, struct err *e)
{
    bool asked = false;
    bool listed = false;

    for (size_t i = 0; i < b->n; i++) {
        struct batch_job *j = &b->jobs[i];

        if (j->r.n_data == 0) {
            continue;
        }
        if (!listed) {
            list_own(b);
            listed = true;
        }
        if (find_for(b, j, &asked, e) != 0) {
            b->c->stage = e->code == ERR_LINK ? STAGE_TRYING : STAGE_INPUT;
            return err_wrap(e, "%s", j->r.spec.name);
        }
    }
    return 0;
}

int
batch_take_data(struct batch_job *j, const char *host, struct err *e)
{
    if (request_choose_data(&j->r, &j->b->sets, host, e) != 0) {
        return -1;
    }
    request_name_data(&j->r);
    return 0;
}

/* ---- telling, and moving ---- */

void
batch_say_data(const struct batch *b, struct buf *out)
{
    for (size_t i = 0; i < b->n_moves; i++) {
        const struct batch_move *m = &b->moves[i];
        char size[TEXT_SIZE_MAX];

        text_format_size((uint64_t)m->set.stored_bytes, size);
        buf_printf(out, _("data set %s (%s) goes from %s to %s first"), m->set.name, size,
                   m->set.from, m->to);
        buf_add_str(out, "\n");
    }
}

void
batch_json_data(const struct batch *b, struct json_writer *j)
{
    json_key(j, "data_travels");
    json_arr(j);
    for (size_t i = 0; i < b->n_moves; i++) {
        const struct batch_move *m = &b->moves[i];

        json_obj(j);
        json_kstr(j, "name", m->set.name);
        json_kstr(j, "from", m->set.from);
        json_kstr(j, "to", m->to);
        json_kint(j, "travel_bytes", m->set.stored_bytes);
        json_obj_end(j);
    }
    json_arr_end(j);
}

int
batch_move_data(struct batch *b, struct err *e)
{
    for (size_t i = 0; i < b->n_moves; i++) {
        const struct batch_move *m = &b->moves[i];
        struct session *to = NULL;
        int rc = context_session(b->cl, m->to, LAUNCH_EARLY_NS, &to, e);

        if (rc == 0) {
            rc = launch_move_set(b->c, b->cl, to, &m->set, e);
        }
        session_close(to);
        if (rc != 0) {
            return -1;
        }
    }
    return 0;
}

void
batch_free_data(struct batch *b)
{
    for (size_t i = 0; i < b->n_moves; i++) {
        free(b->moves[i].to);
        free(b->moves[i].set.name);
        request_clear_data(&b->moves[i].set);
    }
    free(b->moves);
    b->moves = NULL;
    b->n_moves = 0;
    snap_infos_free(&b->sets);
}

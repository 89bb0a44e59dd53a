#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/text.h"
#include "runner/cli/batch_internal.h"
#include "runner/cli/context.h"
#include "runner/cli/launch_internal.h"
#include "runner/cli/out.h"
#include "runner/client/datasets.h"
#include "runner/client/i18n.h"

/*
 * --data for many jobs: each goes to hosts that have all of its sets only. Where none
 * that it could run on has them, they go to the cheapest of those first, before anything
 * starts.
 */

static struct batch_set *
find(const struct batch *b, const char *host, const char *name)
{
    for (size_t i = 0; i < b->n_sets; i++) {
        if (strcmp(b->sets[i].name, name) == 0 &&
            (host == NULL || strcmp(b->sets[i].host, host) == 0)) {
            return &b->sets[i];
        }
    }
    return NULL;
}

static struct batch_set *
add(struct batch *b, const char *host, const char *name, const char *id, const char *tree)
{
    struct batch_set *s;

    b->sets = xrealloc(b->sets, (b->n_sets + 1) * sizeof *b->sets);
    s = &b->sets[b->n_sets++];
    *s = (struct batch_set){.host = xstrdup(host),
                            .name = xstrdup(name),
                            .id = xstrdup(id),
                            .tree = xstrdup(tree)};
    return s;
}

static void
take_list(struct batch *b, const struct snap_infos *l)
{
    for (size_t i = 0; i < l->n; i++) {
        const struct snap_info *n = &l->v[i];

        if (find(b, n->host, n->name) == NULL) {
            add(b, n->host, n->name, n->id, n->tree)->stored_bytes = n->stored_bytes;
        }
    }
}

/* What the hosts have that jobs may run on; one that does not tell has nothing for us. */
static void
list_own(struct batch *b)
{
    for (size_t i = 0; i < b->n_hosts; i++) {
        struct session *s = place_at(b->place, i)->session;
        struct snap_infos l = {NULL, 0};
        struct err e;

        if (session_conn(s) != NULL && datasets_list(s, &l, &e) != 0) {
            say(b->c, "%s", e.msg);
        }
        take_list(b, &l);
        snap_infos_free(&l);
    }
}

static int
list_all(struct batch *b, struct err *e)
{
    struct snap_infos l = {NULL, 0};
    int rc = launch_list_data(b->c, b->cl, NULL, &l, e);

    take_list(b, &l);
    snap_infos_free(&l);
    return rc;
}

bool
batch_has_data(const struct batch *b, const struct batch_job *j, size_t at)
{
    const char *host = place_at(b->place, at)->host;

    for (size_t i = 0; i < j->r.n_data; i++) {
        if (find(b, host, j->r.data[i].name) == NULL) {
            return false;
        }
    }
    return true;
}

/* ---- what has to travel ---- */

/* Jobs of one batch must not see different things by one name. */
static int
check_agreed(const struct batch *b, const struct batch_set *s, struct err *e)
{
    for (size_t i = 0; i < b->n_sets; i++) {
        const struct batch_set *o = &b->sets[i];

        if (strcmp(o->name, s->name) == 0 && strcmp(o->tree, s->tree) != 0) {
            return request_data_differs(s->name, s->host, o->host, e);
        }
    }
    return 0;
}

static int
send_to(struct batch *b, const char *name, const char *host, struct err *e)
{
    const struct batch_set *any = find(b, NULL, name);
    struct batch_set *s;

    if (any == NULL) {
        return err_set(e, ERR_NOT_FOUND,
                       _("no host has a data set '%s' (`gpurun data put %s PATH` makes "
                         "one, `gpurun data ls` lists them)"),
                       name, name);
    }
    if (check_agreed(b, any, e) != 0) {
        return -1;
    }
    s = add(b, host, name, any->id, any->tree); /* any has moved */
    any = find(b, NULL, name);
    s->from = xstrdup(any->from != NULL ? any->from : any->host);
    s->stored_bytes = any->stored_bytes;
    return 0;
}

static int
find_for(struct batch *b, struct batch_job *j, bool *asked, struct err *e)
{
    const struct candidate *there = batch_cheapest(b, j, true);

    for (size_t i = 0; i < j->r.n_data && j->r.host == NULL; i++) {
        const struct batch_set *s = find(b, NULL, j->r.data[i].name);

        if (s != NULL && check_agreed(b, s, e) != 0) {
            return -1;
        }
    }
    if (there != NULL) {
        return 0;
    }
    if (!*asked && list_all(b, e) != 0) {
        return -1;
    }
    *asked = true;
    there = batch_cheapest(b, j, false);
    if (there == NULL) { /* a link went meanwhile */
        return batch_check_place(b, j, e) != 0
                   ? -1
                   : err_set(e, ERR_LINK, "%s", _("the link to the hosts went away"));
    }
    for (size_t i = 0; i < j->r.n_data; i++) {
        const char *name = j->r.data[i].name;

        if (find(b, there->host, name) == NULL && send_to(b, name, there->host, e) != 0) {
            return -1;
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

void
batch_take_data(struct batch_job *j, const char *host)
{
    for (size_t i = 0; i < j->r.n_data; i++) {
        struct data_want *d = &j->r.data[i];
        const struct batch_set *s = find(j->b, host, d->name);

        request_clear_data(d);
        d->id = xstrdup(s->id);
        d->tree = xstrdup(s->tree);
    }
    request_name_data(&j->r);
}

/* ---- telling, and moving ---- */

void
batch_say_data(const struct batch *b, struct buf *out)
{
    for (size_t i = 0; i < b->n_sets; i++) {
        const struct batch_set *s = &b->sets[i];
        char size[TEXT_SIZE_MAX];

        if (s->from != NULL) {
            text_format_size((uint64_t)s->stored_bytes, size);
            buf_printf(out, _("data set %s (%s) goes from %s to %s first"), s->name, size,
                       s->from, s->host);
            buf_add_str(out, "\n");
        }
    }
}

void
batch_json_data(const struct batch *b, struct json_writer *j)
{
    json_key(j, "data_travels");
    json_arr(j);
    for (size_t i = 0; i < b->n_sets; i++) {
        const struct batch_set *s = &b->sets[i];

        if (s->from != NULL) {
            json_obj(j);
            json_kstr(j, "name", s->name);
            json_kstr(j, "from", s->from);
            json_kstr(j, "to", s->host);
            json_kint(j, "travel_bytes", s->stored_bytes);
            json_obj_end(j);
        }
    }
    json_arr_end(j);
}

int
batch_move_data(struct batch *b, struct err *e)
{
    for (size_t i = 0; i < b->n_sets; i++) {
        struct batch_set *s = &b->sets[i];
        struct session *to = NULL;
        int rc = -1;

        if (s->from == NULL) {
            continue;
        }
        if (context_session(b->cl, s->host, LAUNCH_EARLY_NS, &to, e) == 0) {
            struct data_want d = {.name = s->name,
                                  .id = s->id,
                                  .from = s->from,
                                  .stored_bytes = s->stored_bytes};

            rc = launch_move_set(b->c, b->cl, to, &d, e);
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
    for (size_t i = 0; i < b->n_sets; i++) {
        free(b->sets[i].host);
        free(b->sets[i].name);
        free(b->sets[i].id);
        free(b->sets[i].tree);
        free(b->sets[i].from);
    }
    free(b->sets);
    b->sets = NULL;
    b->n_sets = 0;
}

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "runner/host/datasets.h"
#include "runner/host/layerkey.h"
#include "runner/host/loginenv.h"
#include "runner/host/serve_work.h"
#include "runner/host/setups.h"
#include "runner/host/workdirs.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"
#include "storage/manifest.h"
#include "storage/snap.h"
#include "storage/store.h"

/* ---- data.list ---- */

static int
list_run(void *ctx, struct err *e)
{
    struct serve_work *w = ctx;
    struct snap_list l = {NULL, 0};
    struct store *st = NULL;
    int rc = -1;

    if (workdirs_open_store(w->serve->renter, &st, e) == 0 && snap_list(st, &l, e) == 0) {
        for (size_t i = 0; i < l.n; i++) {
            const struct snap *n = &l.v[i];

            if (n->m != NULL && n->m->kind == MANIFEST_DATA &&
                n->claim.data == SNAP_DATA_KEPT) {
                serve_add_snap(w->reply, n->m, &n->claim);
            }
        }
        rc = 0;
    }
    snap_list_free(&l);
    store_close(st);
    return rc;
}

static void
answer_reply(struct serve_work *w)
{
    mux_respond(w->serve->mux, w->id, w->reply);
}

static void
data_list(struct serve *s, uint64_t id, const struct rec *req)
{
    struct serve_work *w = serve_work_new(s, id);

    (void)req;
    w->run = list_run;
    w->only_looks = true;
    w->answer = answer_reply;
    w->reply = msg_answer_new(VERB_DATA_LIST);
    serve_work_start(w);
}

/* ---- data.put ---- */

static int
put_run(void *ctx, struct err *e)
{
    struct serve_work *w = ctx;

    return datasets_keep(w->serve->agent, w->serve->renter, w->snapshot, w->name,
                         &w->tree, w->other[0] != '\0' ? w->other : NULL, e);
}

static void
answer_snap(struct serve_work *w, const char *verb)
{
    struct store *st = NULL;
    struct err e;

    if (workdirs_open_store(w->serve->renter, &st, &e) != 0 ||
        serve_answer_snap(w->serve, w->id, verb, st, w->snapshot, false, &e) != 0) {
        serve_fail(w->serve, w->id, &e);
    }
    store_close(st);
}

static void
put_answer(struct serve_work *w)
{
    answer_snap(w, VERB_DATA_PUT);
}

static int
need_name(const struct rec *req, struct serve_work *w, struct err *e)
{
    const char *name;

    if (rec_need_str(req, "name", &name, e) != 0 || data_name_check(name, e) != 0) {
        return -1;
    }
    w->name = xstrdup(name);
    return 0;
}

static void
data_put(struct serve *s, uint64_t id, const struct rec *req)
{
    struct serve_work *w = serve_work_new(s, id);
    bool from = rec_has(req, "from");
    struct err e;

    w->run = put_run;
    w->answer = put_answer;
    if (need_name(req, w, &e) != 0 ||
        serve_need_id(req, "snapshot", ID_SNAPSHOT, w->snapshot, &e) != 0 ||
        (from ? serve_need_id(req, "from", ID_SNAPSHOT, w->other, &e)
              : rec_need_hex(req, "tree", w->tree.b, sizeof w->tree.b, &e)) != 0) {
        serve_fail(s, id, &e);
        serve_work_free(w);
        return;
    }
    if (!from && !serve_tree_is_here(s, id, req, &w->tree)) {
        serve_work_free(w);
        return;
    }
    serve_work_start(w);
}

/* ---- data.rm ---- */

static int
rm_run(void *ctx, struct err *e)
{
    struct serve_work *w = ctx;
    struct store *st = NULL;
    int rc = -1;

    if (workdirs_open_store(w->serve->renter, &st, e) == 0 &&
        datasets_find(st, w->name, w->snapshot, e) == 0 &&
        snap_drop(st, w->snapshot, "removed", e) == 0) {
        rc = 0;
    }
    store_close(st);
    return rc == 0 ? datasets_trim(w->serve->renter, NULL, e) : -1;
}

static void
rm_answer(struct serve_work *w)
{
    answer_snap(w, VERB_DATA_RM);
}

static void
data_rm(struct serve *s, uint64_t id, const struct rec *req)
{
    struct serve_work *w = serve_work_new(s, id);
    struct err e;

    w->run = rm_run;
    w->answer = rm_answer;
    if (need_name(req, w, &e) != 0) {
        serve_fail(s, id, &e);
        serve_work_free(w);
        return;
    }
    serve_work_start(w);
}

/* ---- setup.show ---- */

/* name is the client's key, path what --python asks for, only what --conda. */
static int
show_run(void *ctx, struct err *e)
{
    struct serve_work *w = ctx;
    const struct renter *r = w->serve->renter;
    struct strings login = {NULL, 0};
    struct layerkey_wants wants = {.key = w->name,
                                   .python = w->path,
                                   .conda = w->only,
                                   .login = &login,
                                   .own = &w->env,
                                   .confined = r->confined};
    char key[SHA256_HEX_LEN + 1];
    bool ready = false;
    struct err why;

    loginenv_get(w->serve->agent, &login, &why);
    layerkey_make(&wants, key);
    strings_free(&login);
    if (setups_has(r, key, &ready, e) != 0) {
        return -1;
    }
    w->reply = msg_answer_new(VERB_SETUP_SHOW);
    rec_add_int(w->reply, "ready", ready ? 1 : 0);
    return 0;
}

static void
show_answer(struct serve_work *w)
{
    mux_respond(w->serve->mux, w->id, w->reply);
}

static char *
opt_text(const struct rec *req, const char *key)
{
    const char *text = rec_get(req, key);

    return text != NULL ? xstrdup(text) : NULL;
}

static void
setup_show(struct serve *s, uint64_t id, const struct rec *req)
{
    struct serve_work *w;
    uint8_t key[SHA256_LEN];
    struct err e;

    if (rec_need_hex(req, "key", key, sizeof key, &e) != 0) {
        serve_fail(s, id, &e);
        return;
    }
    w = serve_work_new(s, id);
    w->run = show_run;
    w->answer = show_answer;
    w->only_looks = true;
    w->name = opt_text(req, "key");
    w->path = opt_text(req, "python");
    w->only = opt_text(req, "conda");
    for (size_t i = 0; i < rec_count(req, "env"); i++) {
        const char *text = rec_get_nth(req, "env", i, NULL);

        if (strchr(text, '=') != NULL) {
            strings_add(&w->env, text);
        }
    }
    serve_work_start(w);
}

const struct serve_verb serve_verbs_datasets[] = {
    {VERB_SETUP_SHOW, setup_show},
    {VERB_DATA_LIST, data_list},
    {VERB_DATA_PUT, data_put},
    {VERB_DATA_RM, data_rm},
    {NULL, NULL},
};

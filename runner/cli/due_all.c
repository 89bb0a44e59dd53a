#include <stdlib.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/lang.h"
#include "runner/cli/context.h"
#include "runner/cli/due_internal.h"
#include "runner/cli/out.h"

/* `snap mirror` without a name: all second copies that are due. */

struct sessions {
    struct session **v;
    size_t n;
};

/* One to each host that has something; those that do not answer are said. */
static void
open_hosts(struct cli *c, struct client *cl, const struct copies *l, struct sessions *out)
{
    struct strings asked = {NULL, 0};
    struct err e;

    out->v = xcalloc(l->n + 1, sizeof *out->v);
    for (size_t i = 0; i < l->n; i++) {
        if (strings_has(&asked, l->v[i].host) ||
            !due_is_known_host(cl->home, l->v[i].host)) {
            continue;
        }
        strings_add(&asked, l->v[i].host);
        if (context_session(cl, l->v[i].host, 0, &out->v[out->n], &e) == 0) {
            out->n++;
        } else {
            say(c, "%s", e.msg);
        }
    }
    strings_free(&asked);
}

static int
print_all(const struct cli *c, const struct copies *l, const enum paid *paid,
          struct err *e)
{
    struct buf out = BUF_INIT;
    struct json_writer j = json_to(&out);
    int rc;

    if (c->g.json) {
        json_obj(&j);
        for (int copied_ones = 1; copied_ones >= 0; copied_ones--) {
            json_key(&j, copied_ones == 1 ? "copied" : "copies_due");
            json_arr(&j);
            for (size_t i = 0; i < l->n; i++) {
                if ((paid[i] == PAID_DONE) == (copied_ones == 1) &&
                    paid[i] != PAID_OVER) {
                    due_json_one(&j, &l->v[i]);
                }
            }
            json_arr_end(&j);
        }
        json_obj_end(&j);
        buf_add_str(&out, "\n");
    }
    for (size_t i = 0; i < l->n && !c->g.json; i++) {
        if (paid[i] == PAID_DONE) {
            buf_printf(&out, "%s\n",
                       l->v[i].snapshot[0] != '\0' ? l->v[i].snapshot : l->v[i].copied);
        }
    }
    rc = out.len > 0 ? out_write(&out, e) : 0;
    buf_free(&out);
    return rc;
}

/* 0, or what is left after all. */
static int
judge(struct cli *c, const struct copies *l, const enum paid *paid, bool stopped,
      struct err *e)
{
    const struct copy_due *first = NULL;
    size_t n = 0;

    for (size_t i = 0; i < l->n; i++) {
        if (paid[i] == PAID_DONE) {
            c->stage = STAGE_CHANGED;
        } else if (paid[i] == PAID_NOT) {
            first = first != NULL ? first : &l->v[i];
            n++;
        }
    }
    if (n == 0) {
        return 0;
    }
    return err_set(
        e, ERR_SYSTEM,
        NP_("%zu copy is due still: the data of %s is only on %s (%s)",
            "%zu copies are due still, the first: the data of %s is only on %s (%s)", n),
        n, due_word(first), first->host,
        stopped              ? _("interrupted")
        : first->why != NULL ? first->why
                             : _("it does not answer"));
}

int
due_pay_all(struct cli *c, struct client *cl, struct err *e)
{
    struct copies l = {NULL, 0};
    struct sessions from = {NULL, 0};
    enum paid *paid;
    struct payer p;
    int rc;

    if (copies_list(cl->home, &l, e) != 0) {
        return -1;
    }
    paid = xcalloc(l.n + 1, sizeof *paid);
    c->stage = STAGE_TRYING;
    open_hosts(c, cl, &l, &from);
    payer_open(&p, c, cl, false);
    for (size_t i = 0; i < l.n; i++) {
        struct session *s = due_session(from.v, from.n, l.v[i].host);

        if (s != NULL && !payer_is_over(&p)) {
            paid[i] = payer_pay(&p, &l.v[i], s);
        } else {
            paid[i] = due_is_left(&l.v[i]) && due_is_known_host(cl->home, l.v[i].host)
                          ? PAID_NOT
                          : PAID_WAITS;
        }
    }
    rc = print_all(c, &l, paid, e) == 0 ? judge(c, &l, paid, p.stop, e) : -1;
    payer_close(&p);
    for (size_t i = 0; i < from.n; i++) {
        session_close(from.v[i]);
    }
    free(from.v);
    free(paid);
    copies_free(&l);
    return rc;
}

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/lang.h"
#include "runner/cli/due_internal.h"
#include "runner/cli/out.h"
#include "runner/client/hosts.h"
#include "runner/client/mirror.h"
#include "runner/job/spec.h"

const char *
due_place(const char *host)
{
    return strcmp(host, HOST_LOCAL) == 0 ? _("laptop") : host;
}

const char *
due_word(const struct copy_due *d)
{
    return d->name != NULL ? d->name : d->id;
}

/* There is data, as far as is known here, and it is not past its end. */
bool
due_is_left(const struct copy_due *d)
{
    return (d->snapshot[0] != '\0' || d->n_failed > 0) &&
           (d->expires_wall_ns == 0 || d->expires_wall_ns > clock_wall_ns());
}

bool
due_is_known_host(const struct home *home, const char *name)
{
    struct host h;
    struct err none;

    if (hosts_load(home, name, &h, &none) != 0) {
        return false;
    }
    host_free(&h);
    return true;
}

void
due_json_one(struct json_writer *j, const struct copy_due *d)
{
    bool of_job = id_is(ID_JOB, d->id);

    json_obj(j);
    json_kstr(j, "id", d->id);
    json_kstr(j, "name", d->name);
    json_kstr(j, "job", of_job ? d->id : NULL);
    json_kstr(j, "snapshot",
              d->snapshot[0] != '\0' ? d->snapshot
              : of_job               ? NULL
                                     : d->id);
    json_kstr(j, "host", d->host);
    json_kint_or_nil(j, "stored_bytes", d->stored_bytes, -1);
    json_kint(j, "n_failed", d->n_failed);
    json_kstr(j, "error", d->why_code != ERR_NONE ? err_code_name(d->why_code) : NULL);
    json_ktime(j, "expires", d->expires_wall_ns);
    json_obj_end(j);
}

void
due_copied_live(const struct cli *c, const struct client *cl, struct copy_due *d,
                const char *snapshot, const char *to)
{
    struct err e;

    (void)snprintf(d->copied, sizeof d->copied, "%s", snapshot);
    free(d->copied_to);
    d->copied_to = xstrdup(to);
    d->n_failed = 0;
    if (copies_save(cl->home, d, false, &e) != 0) {
        say(c, "%s", e.msg);
    }
}

void
due_say_older(const struct cli *c, const char *to, const struct err *why)
{
    say(c, _("an older copy of the data stays on %s until it expires: %s"), due_place(to),
        why->msg);
}

static void
note(const struct cli *c, const struct client *cl, const struct copy_due *d, bool durable)
{
    struct err e;

    if (copies_save(cl->home, d, durable, &e) != 0) {
        say(c,
            _("%s; a second copy of the data of %s is made only if this command sees "
              "its end"),
            e.msg, due_word(d));
    }
}

void
due_expect(const struct cli *c, const struct client *cl, const struct host *h,
           const struct job_record *r, const struct job_spec *spec, bool durable)
{
    struct copy_due d;

    if (mirror_target(h, 0, r->outs.n > 0) == NULL) {
        return;
    }
    copy_due_init(&d);
    (void)snprintf(d.id, sizeof d.id, "%s", r->id);
    d.host = xstrdup(h->name);
    d.name = r->name != NULL ? xstrdup(r->name) : NULL;
    d.outs = r->outs.n > 0;
    d.live = spec->snap_every_s > 0;
    d.made_wall_ns = clock_wall_ns();
    note(c, cl, &d, durable);
    copy_due_free(&d);
}

void
due_expect_snapshot(const struct cli *c, const struct client *cl, const struct host *h,
                    const char *id, const char *name)
{
    struct copy_due d;

    if (mirror_target(h, 0, false) == NULL) {
        return;
    }
    copy_due_init(&d);
    (void)snprintf(d.id, sizeof d.id, "%s", id);
    d.host = xstrdup(h->name);
    d.name = name != NULL ? xstrdup(name) : NULL;
    d.made_wall_ns = clock_wall_ns();
    note(c, cl, &d, true);
    copy_due_free(&d);
}

void
due_json(struct json_writer *j, const struct home *home)
{
    struct copies l = {NULL, 0};
    struct err none;

    json_key(j, "copies_due");
    json_arr(j);
    if (copies_list(home, &l, &none) == 0) {
        for (size_t i = 0; i < l.n; i++) {
            if (due_is_left(&l.v[i])) {
                due_json_one(j, &l.v[i]);
            }
        }
    }
    json_arr_end(j);
    copies_free(&l);
}

#include "runner/client/told.h"

#include <string.h>

#include "base/lang.h"
#include "runner/client/hosts.h"
#include "runner/client/jobs.h"

int
told_state(const struct session *s, const struct rec *resp, const char *job,
           struct job_state *out, struct err *e)
{
    const char *host = session_host(s)->name;

    if (state_get(resp, 0, out, e) != 0) {
        return err_set(e, ERR_CORRUPT,
                       _("host '%s' told the state of job %s in a way that cannot be "
                         "read"),
                       host, job);
    }
    return strcmp(out->job, job) == 0
               ? 0
               : err_set(e, ERR_CORRUPT,
                         _("host '%s' was asked about job %s and told of job %s"), host,
                         job, out->job);
}

static bool
has_other_key(const struct home *home, const struct session *s, const char *host)
{
    const struct host *asked = session_host(s);
    const struct sign_public *key = asked->pinned ? &asked->key : &session_info(s)->key;
    struct host h;
    struct err none;
    bool other;

    if (strcmp(host, asked->name) == 0 || hosts_load(home, host, &h, &none) != 0) {
        return false;
    }
    other = h.pinned && memcmp(h.key.b, key->b, sizeof key->b) != 0;
    host_free(&h);
    return other;
}

bool
told_foreign(const struct home *home, const struct session *s, const char *job)
{
    struct job_record known;
    struct err none;
    bool foreign;

    job_record_init(&known);
    foreign =
        jobs_load(home, job, &known, &none) == 0 && has_other_key(home, s, known.host);
    job_record_free(&known);
    return foreign;
}

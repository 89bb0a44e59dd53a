#include "runner/client/datasets.h"

#include <stdlib.h>
#include <string.h>

#include "base/lang.h"
#include "base/rec.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"

int
datasets_list(struct session *s, struct snap_infos *l, struct err *e)
{
    struct rec *req = msg_request_new(VERB_DATA_LIST);
    struct rec *resp = NULL;
    int rc = session_call(s, req, SNAP_ANSWER_NS, &resp, e);

    rec_free(req);
    if (rc != 0) {
        return e->code == ERR_VERSION ? 0 : -1;
    }
    for (size_t i = 0; rc == 0 && i < rec_count(resp, "snap"); i++) {
        size_t len;
        const char *bytes = rec_get_nth(resp, "snap", i, &len);

        l->v = xrealloc(l->v, (l->n + 1) * sizeof *l->v);
        rc = snap_info_parse(&l->v[l->n], session_host(s)->name, bytes, len, e);
        if (rc == 0 && (l->v[l->n].name == NULL || l->v[l->n].tree == NULL)) {
            snap_info_free(&l->v[l->n]);
            rc = err_set(e, ERR_CORRUPT,
                         _("host '%s' tells of a data set without name or tree"),
                         session_host(s)->name);
        }
        l->n += rc == 0;
    }
    rec_free(resp);
    return rc;
}

const struct snap_info *
datasets_called(const struct snap_infos *l, const char *host, const char *name)
{
    for (size_t i = 0; i < l->n; i++) {
        if ((host == NULL || strcmp(l->v[i].host, host) == 0) &&
            strcmp(l->v[i].name, name) == 0) {
            return &l->v[i];
        }
    }
    return NULL;
}

int
datasets_ask(struct session *s, struct rec *req, struct snap_info *out, struct err *e)
{
    struct rec *resp = NULL;
    const char *bytes;
    size_t len;
    int rc;

    msg_add_key(req, NULL);
    if (session_call(s, req, -1, &resp, e) != 0) {
        return -1;
    }
    bytes = rec_get_bytes(resp, "snap", &len);
    rc = bytes != NULL ? snap_info_parse(out, session_host(s)->name, bytes, len, e)
                       : err_set(e, ERR_CORRUPT, _("the host names no data set"));
    rec_free(resp);
    return rc;
}

#include "runner/client/near.h"

#include "runner/client/snaps.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"

void
near_store(struct session *s, bool to_put, struct store **out)
{
    struct store_options o = {.must_exist = !to_put};
    struct rec *resp = NULL;
    const char *path;
    struct rec *req;
    struct err ignored;

    *out = NULL;
    if (!session_host(s)->local) {
        return;
    }
    req = msg_request_new(VERB_STORE_WHERE);
    if (to_put) {
        rec_add_int(req, "puts", 1);
    }
    if (session_call(s, req, SNAP_ANSWER_NS, &resp, &ignored) == 0) {
        path = rec_get(resp, "path");
        if (path == NULL || store_open(out, path, &o, &ignored) != 0) {
            *out = NULL;
        }
    }
    rec_free(resp);
    rec_free(req);
}

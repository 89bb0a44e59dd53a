#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/columns.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/host/commands.h"
#include "runner/host/owner_json.h"
#include "runner/host/quota.h"

/* `gpurun-agent quota`: who keeps how much here, and how much each may. */

static int
parse_limit(const char *text, int64_t *bytes, struct err *e)
{
    if (strcmp(text, "none") == 0) {
        *bytes = 0;
        return 0;
    }
    if (text_parse_size(text, bytes, e) != 0) {
        return -1;
    }
    return *bytes > 0 ? 0
                      : err_set(e, ERR_INVALID,
                                "a quota is above 0; `revoke` lets a renter in no more");
}

static const char *
limit_text(int64_t bytes, char out[TEXT_SIZE_MAX])
{
    if (bytes == 0) {
        return "-";
    }
    text_format_size((uint64_t)bytes, out);
    return out;
}

static void
row(struct columns *c, const struct renter *r, const struct quota_use *u)
{
    char text[TEXT_SIZE_MAX];
    struct buf b = BUF_INIT;

    columns_add(c, r->name[0] != '\0' ? r->name : r->id);
    text_format_size((uint64_t)u->bytes, text);
    columns_add(c, text);
    text_format_size((uint64_t)u->cache_bytes, text);
    columns_add(c, text);
    text_format_size((uint64_t)u->copies_bytes, text);
    columns_add(c, text);
    columns_add(c, limit_text(r->quota_bytes, text));
    columns_add(c, limit_text(r->quota_job_bytes, text));
    quota_top_text(&u->largest, SIZE_MAX, &b);
    columns_add(c, buf_str(&b));
    buf_free(&b);
}

static void
row_json(struct json_writer *j, const struct renter *r, const struct quota_use *u)
{
    json_obj(j);
    json_kstr(j, "renter", r->id);
    json_kstr(j, "name", r->name[0] != '\0' ? r->name : NULL);
    json_kint(j, "used_bytes", u->bytes);
    json_kint(j, "cache_bytes", u->cache_bytes);
    json_kint(j, "copies_bytes", u->copies_bytes);
    json_kint_or_nil(j, "quota_bytes", r->quota_bytes, 0);
    json_kint_or_nil(j, "job_quota_bytes", r->quota_job_bytes, 0);
    json_key(j, "largest");
    json_arr(j);
    for (size_t i = 0; i < u->largest.n; i++) {
        json_obj(j);
        json_kstr(j, "what", u->largest.v[i].what);
        json_kint(j, "bytes", u->largest.v[i].bytes);
        json_obj_end(j);
    }
    json_arr_end(j);
    json_obj_end(j);
}

static int
show(const struct agent *a, bool json, struct err *e)
{
    static const char *const titles[] = {N_("RENTER"), N_("USED"), N_("CACHE"),
                                         N_("COPIES"), N_("MAY"),  N_("A JOB MAY"),
                                         N_("LARGEST")};
    struct columns *c = json ? NULL : columns_new(7, titles);
    struct renter_ids l = {NULL, 0};
    struct buf b = BUF_INIT;
    struct json_writer j = json_to(&b);
    int rc = renter_list(a, &l, e);

    if (json) {
        json_obj(&j);
        json_key(&j, "quotas");
        json_arr(&j);
    }
    for (size_t i = 0; i < l.n && rc == 0; i++) {
        struct renter *r = NULL;
        struct quota_use u = {0};

        rc = renter_open(&r, a, l.v[i], false, e);
        if (rc == 0 && (rc = quota_use_all(r, &u, e)) == 0) {
            if (json) {
                row_json(&j, r, &u);
            } else {
                row(c, r, &u);
            }
            quota_use_free(&u);
        }
        renter_close(r);
    }
    if (c != NULL) {
        columns_print_free(c);
    }
    if (rc == 0 && json) {
        json_arr_end(&j);
        json_obj_end(&j);
        rc = program_print_json(&b, e);
    }
    buf_free(&b);
    renter_ids_free(&l);
    return rc;
}

static int
set(const struct agent *a, const struct command_options *o, const char *who,
    const char *limit, struct err *e)
{
    struct renter *r = NULL;
    int rc = -1;

    if (owner_find_renter(a, who, &r, e) != 0) {
        return -1;
    }
    if ((limit == NULL || parse_limit(limit, &r->quota_bytes, e) == 0) &&
        (o->job == NULL || parse_limit(o->job, &r->quota_job_bytes, e) == 0)) {
        rc = renter_save(r, e);
    }
    renter_close(r);
    return rc;
}

int
owner_quota(const struct command_options *o, int argc, char **argv, struct err *e)
{
    struct agent *a = NULL;
    int rc;

    if ((argc == 0 && o->job != NULL) || (argc == 1 && o->job == NULL)) {
        return err_set(e, ERR_INVALID,
                       "it is `quota`, `quota RENTER BYTES` or `quota RENTER [BYTES] "
                       "--job BYTES`; none takes a limit away");
    }
    if (agent_open(&a, e) != 0) {
        return -1;
    }
    rc = argc == 0 ? 0 : set(a, o, argv[0], argc > 1 ? argv[1] : NULL, e);
    if (rc == 0) {
        rc = show(a, o->json, e);
    }
    agent_close(a);
    return rc;
}

#include "meter/declined.h"

#include <string.h>

#include "base/rec.h"
#include "meter/words.h"

#define DECLINED_TYPE "gpurun.declined.v1"

void
declined_init(struct declined *d)
{
    memset(d, 0, sizeof *d);
}

void
declined_clear(struct declined *d)
{
    buf_free(&d->bytes);
    declined_init(d);
}

static void
encode(struct rec *r, const struct declined *d)
{
    rec_add(r, "lease", d->lease);
    rec_add(r, "job", d->job);
    rec_add_hex(r, "renter", d->renter.b, sizeof d->renter.b);
    rec_add_int(r, "at", d->wall_ns);
}

void
declined_make(struct declined *d, const struct grant *g, int64_t wall_ns,
              const struct sign_key *host)
{
    struct rec *r = rec_new(DECLINED_TYPE);

    memcpy(d->lease, g->lease, sizeof d->lease);
    memcpy(d->job, g->job, sizeof d->job);
    d->renter = g->renter;
    d->wall_ns = wall_ns;
    sign_key_public(host, &d->host);
    encode(r, d);
    sign_rec(r, host);
    buf_reset(&d->bytes);
    rec_encode(r, &d->bytes);
    rec_free(r);
}

static int
parse_id(const struct rec *r, const char *key, char out[GRANT_ID_MAX + 1], struct err *e)
{
    const char *v;

    if (rec_need_str(r, key, &v, e) != 0) {
        return -1;
    }
    if (!words_is_text(v)) {
        return err_set(e, ERR_CORRUPT, "a declined lease with an unreadable %s", key);
    }
    (void)strcpy(out, v);
    return 0;
}

int
declined_parse(struct declined *out, const void *data, size_t len, struct err *e)
{
    struct declined d;
    struct rec *r = NULL;
    struct rec *again = NULL;
    int rc = -1;

    declined_init(&d);
    if (len > DECLINED_MAX_BYTES) {
        return err_set(e, ERR_CORRUPT, "a declined lease of %zu bytes", len);
    }
    if (rec_parse(&r, data, len, DECLINED_TYPE, e) != 0 ||
        parse_id(r, "lease", d.lease, e) != 0 || parse_id(r, "job", d.job, e) != 0 ||
        rec_need_hex(r, "renter", d.renter.b, sizeof d.renter.b, e) != 0 ||
        rec_need_count(r, "at", &d.wall_ns, e) != 0 ||
        sign_rec_check(r, &d.host, e) != 0) {
        goto out;
    }
    again = rec_new(DECLINED_TYPE);
    encode(again, &d);
    if (!sign_rec_says(r, again)) {
        err_set(e, ERR_CORRUPT, "a declined lease that is not written as one");
        goto out;
    }
    buf_add(&d.bytes, data, len);
    *out = d;
    rc = 0;

out:
    rec_free(r);
    rec_free(again);
    return rc;
}

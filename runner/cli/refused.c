#include "runner/cli/refused.h"

#include <string.h>

#include "base/lang.h"
#include "base/text.h"
#include "runner/cli/out.h"
#include "runner/client/booked.h"
#include "runner/client/purse.h"

static const char *
of_what(const struct refusal *r)
{
    return r->job[0] != '\0' ? r->job : r->id;
}

static void
say_one(void *ctx, const struct refusal *r)
{
    char shown[sizeof r->why.msg];

    say(ctx,
        _("the %s of %s is refused for good, and is not sent again (`gpurun wallet "
          "retry` does): %s"),
        err_words(r->what), of_what(r), refusal_words(r, shown, sizeof shown));
}

void
refused_say(struct cli *c)
{
    struct err e;

    if (purse_refused_tell(c->home, say_one, c, &e) != 0) {
        say(c, "%s", e.msg);
    }
}

int
refused_put(const struct cli *c, struct buf *out, struct json_writer *j, struct err *e)
{
    struct refusals l;
    char shown[sizeof l.v->why.msg];

    if (purse_refused(c->home, &l, e) != 0) {
        return -1;
    }
    if (j != NULL) {
        refusals_json(j, &l);
    }
    for (size_t i = 0; j == NULL && i < l.n; i++) {
        const struct refusal *r = &l.v[i];

        buf_printf(out, _("the book %s refuses the %s of %s for good: %s\n"), r->book,
                   err_words(r->what), of_what(r), refusal_words(r, shown, sizeof shown));
    }
    if (j == NULL && l.n > 0) {
        buf_add_str(out, _("`gpurun wallet retry` sends again what was refused\n"));
    }
    refusals_free(&l);
    return 0;
}

int
refused_retry(struct cli *c, struct err *e)
{
    struct client cl = {.loop = NULL};
    struct err why;
    size_t n = 0;
    int rc = -1;

    if (context_open(&cl, c, e) == 0 && purse_retry(c->home, e) == 0) {
        rc = booked_sync(&cl, &n, e);
        /* What could not be sent stays noted, and is sent with the next. */
        if (purse_sync(&cl, NULL, &why) != 0 && rc == 0) {
            *e = why;
            rc = -1;
        }
        refused_say(c);
    }
    context_close(&cl);
    return rc;
}

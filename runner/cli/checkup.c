#include "runner/cli/checkup.h"

#include <stdarg.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/lang.h"
#include "runner/cli/out.h"

struct check {
    enum finding finding;
    char *what;
    char *text;
};

struct checkup {
    struct check *v;
    size_t n;
};

struct checkup *
checkup_new(void)
{
    return xcalloc(1, sizeof(struct checkup));
}

void
checkup_free(struct checkup *k)
{
    if (k == NULL) {
        return;
    }
    for (size_t i = 0; i < k->n; i++) {
        free(k->v[i].what);
        free(k->v[i].text);
    }
    free(k->v);
    free(k);
}

void
checkup_add(struct checkup *k, enum finding f, const char *what, const char *fmt, ...)
{
    struct buf b = BUF_INIT;
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    k->v = xrealloc(k->v, (k->n + 1) * sizeof *k->v);
    k->v[k->n++] = (struct check){.finding = f,
                                  .what = xstrdup(what),
                                  .text = b.len > 0 ? buf_steal(&b) : xstrdup("")};
}

bool
checkup_all_right(const struct checkup *k)
{
    for (size_t i = 0; i < k->n; i++) {
        if (k->v[i].finding == FINDING_WRONG) {
            return false;
        }
    }
    return true;
}

static void
print_json(const struct checkup *k, struct buf *out)
{
    static const char *const names[] = {"", "ok", "note", "wrong"};
    struct json_writer w = json_to(out);
    struct json_writer *j = &w;

    json_obj(j);
    json_kbool(j, "ok", checkup_all_right(k));
    json_key(j, "checks");
    json_arr(j);
    for (size_t i = 0; i < k->n; i++) {
        json_obj(j);
        json_kstr(j, "check", k->v[i].what);
        json_kstr(j, "finding", names[k->v[i].finding]);
        json_kstr(j, "text", k->v[i].text);
        json_obj_end(j);
    }
    json_arr_end(j);
    json_obj_end(j);
    buf_add_str(out, "\n");
}

static void
print_text(const struct checkup *k, struct buf *out)
{
    const char *headers[] = {"", _("CHECK"), _("FOUND"), NULL};
    const char *names[] = {"", _("ok"), _("note"), _("WRONG")};
    struct table *t = table_new(headers);

    for (size_t i = 0; i < k->n; i++) {
        table_cell(t, names[k->v[i].finding]);
        table_cell(t, k->v[i].what);
        table_cell(t, k->v[i].text);
    }
    table_print(t, out);
    table_free(t);
}

int
checkup_print(const struct checkup *k, const struct cli *c, struct err *e)
{
    struct buf out = BUF_INIT;
    int rc;

    if (c->g.json) {
        print_json(k, &out);
    } else {
        print_text(k, &out);
    }
    rc = out_write(&out, e);
    buf_free(&out);
    if (rc != 0) {
        return -1;
    }
    return checkup_all_right(k) ? CLI_OK : CLI_FAILED;
}

#include "runner/host/owner_json.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

#define NS_DIGITS 9

void
owner_json_time(struct json_writer *j, const char *key, int64_t wall_ns)
{
    char *key_ns = xasprintf("%s_ns", key);
    char text[CLOCK_TEXT_MAX];

    if (wall_ns == 0) {
        json_kstr(j, key, NULL);
        json_kstr(j, key_ns, NULL);
    } else {
        clock_format_utc(wall_ns, NS_DIGITS, text);
        json_kstr(j, key, text);
        json_kint(j, key_ns, wall_ns);
    }
    free(key_ns);
}

void
owner_json_int(struct json_writer *j, const char *key, int64_t v)
{
    json_key(j, key);
    if (v == JOB_NOT_SET) {
        json_nil(j);
    } else {
        json_int(j, v);
    }
}

void
owner_json_job(struct json_writer *j, const struct job_state *st, const char *renter_id,
               const char *renter_name)
{
    json_obj(j);
    json_kstr(j, "id", st->job);
    json_kstr(j, "name", st->name);
    json_kstr(j, "renter", renter_id);
    json_kstr(j, "renter_name", renter_name);
    json_kstr(j, "state", job_phase_name(st->phase));
    json_kstr(j, "reason", job_reason_name(st->reason));
    owner_json_int(j, "exit_code", st->exit_code);
    owner_json_int(j, "signal", st->signal);
    json_kstr(j, "command", st->command);
    owner_json_time(j, "made", st->made_wall_ns);
    owner_json_time(j, "started", st->started_wall_ns);
    owner_json_time(j, "ended", st->ended_wall_ns);
    json_key(j, "devices");
    json_arr(j);
    for (size_t i = 0; i < st->n_devices; i++) {
        json_obj(j);
        json_kstr(j, "class", st->devices[i].device_class);
        json_kstr(j, "type", st->devices[i].type);
        json_kstr(j, "uuid", st->devices[i].uuid);
        json_obj_end(j);
    }
    json_arr_end(j);
    json_kint(j, "count", st->count);
    owner_json_int(j, "price_uyuan_per_h", st->price_uyuan);
    json_kint(j, "cost_fen", st->cost_fen);
    owner_json_int(j, "cap_fen", st->cap_fen);
    owner_json_int(j, "charge_fen", st->charge_fen);
    json_obj_end(j);
}

int
owner_json_print(struct buf *b, struct err *e)
{
    bool ok;

    buf_add_str(b, "\n");
    ok = fwrite(b->data, 1, b->len, stdout) == b->len && fflush(stdout) == 0;
    buf_free(b);
    return ok ? 0 : err_set_sys(e, errno, "cannot write to stdout");
}

void
owner_json_error(const struct err *e)
{
    struct buf b = BUF_INIT;
    struct json_writer j = json_to(&b);

    json_obj(&j);
    json_key(&j, "error");
    json_obj(&j);
    json_kstr(&j, "code", err_code_name(e->code));
    json_kstr(&j, "message", e->msg);
    json_obj_end(&j);
    json_obj_end(&j);
    buf_add_str(&b, "\n");
    (void)fwrite(b.data, 1, b.len, stderr);
    buf_free(&b);
}

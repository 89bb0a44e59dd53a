#include "runner/host/owner_json.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

#define NS_DIGITS 9

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
    json_kint_or_nil(j, "exit_code", st->exit_code, JOB_NOT_SET);
    json_kint_or_nil(j, "signal", st->signal, JOB_NOT_SET);
    json_kstr(j, "command", st->command);
    json_ktime(j, "made", st->made_wall_ns);
    json_ktime(j, "started", st->started_wall_ns);
    json_ktime(j, "ended", st->ended_wall_ns);
    state_json_devices(j, st);
    json_kint(j, "count", st->count);
    json_kint_or_nil(j, "price_uyuan_per_h", st->price_uyuan, JOB_NOT_SET);
    json_kint(j, "cost_fen", st->cost_fen);
    json_kint_or_nil(j, "cap_fen", st->cap_fen, JOB_NOT_SET);
    json_kint_or_nil(j, "charge_fen", st->charge_fen, JOB_NOT_SET);
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

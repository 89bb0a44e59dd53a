#include "runner/host/owner_json.h"

#include <stdbool.h>

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

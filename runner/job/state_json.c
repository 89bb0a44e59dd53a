#include "runner/job/state.h"

void
state_json_devices(struct json_writer *j, const struct job_state *st)
{
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
}

#include "runner/cli/landed.h"

#include <inttypes.h>

#include "base/lang.h"
#include "runner/cli/out.h"

int
landed_tell(struct cli *c, const struct extract_report *r, const char *target, bool exact,
            struct err *e)
{
    if (r->n_skipped_damaged > 0) {
        say(c,
            NP_("%" PRIu64 " file is left out: it could not be read when it was kept "
                "(`gpurun snap show` names it)",
                "%" PRIu64 " files are left out: they could not be read when they "
                "were kept (`gpurun snap show` names the first)",
                r->n_skipped_damaged),
            r->n_skipped_damaged);
    }
    if (r->n_skipped_devices > 0) {
        say(c,
            NP_("%" PRIu64 " device is left out (root can have it with --exact)",
                "%" PRIu64 " devices are left out (root can have them with --exact)",
                r->n_skipped_devices),
            r->n_skipped_devices);
    }
    if (r->n_lost_metadata == 0) {
        return 0;
    }
    if (exact) {
        c->stage = STAGE_CHANGED;
        return err_set(e, ERR_SYSTEM,
                       _("'%s' is there, but is not exactly what was kept: owners, "
                         "attributes or access lists that could not be set: %" PRIu64
                         " (the first: %s)"),
                       target, r->n_lost_metadata, r->first_lost);
    }
    say(c,
        _("attributes or access lists that could not be set here: %" PRIu64
          " (the first: %s)"),
        r->n_lost_metadata, r->first_lost);
    return 0;
}

void
landed_json(struct json_writer *j, const struct extract_report *r)
{
    json_kint(j, "skipped_damaged", (int64_t)r->n_skipped_damaged);
    json_kint(j, "skipped_devices", (int64_t)r->n_skipped_devices);
    json_kint(j, "lost_metadata", (int64_t)r->n_lost_metadata);
}

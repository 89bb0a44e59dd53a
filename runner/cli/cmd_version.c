#include "base/buf.h"
#include "base/json.h"
#include "base/lang.h"
#include "runner/cli/commands.h"
#include "runner/cli/out.h"
#include "runner/wire/hello.h"

static int
run_version(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    struct buf out = BUF_INIT;
    int rc;

    (void)options;
    (void)w;
    if (c->g.json) {
        struct json_writer j = json_to(&out);

        json_obj(&j);
        json_kstr(&j, "version", GPURUN_VERSION);
        json_kint(&j, "protocol_min", HELLO_PROTO_MIN);
        json_kint(&j, "protocol_max", HELLO_PROTO_MAX);
        json_obj_end(&j);
        buf_add_str(&out, "\n");
    } else {
        buf_printf(&out, "gpurun %s (protocol %d)\n", GPURUN_VERSION, HELLO_PROTO_MAX);
    }
    c->stage = STAGE_TRYING;
    rc = out_write(&out, e);
    buf_free(&out);
    return rc;
}

const struct command cmd_version = {
    .name = "version",
    .usage = "",
    .help = N_("say which version this is"),
    .run = run_version,
};

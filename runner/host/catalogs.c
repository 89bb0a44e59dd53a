#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "runner/host/catalogs.h"
#include "storage/codec.h"

static int
put(const char *agent_dir, const struct catalog *c, struct err *e)
{
    char *dir = xasprintf("%s/share/locale/%s/LC_MESSAGES", agent_dir, c->language);
    char *path = path_join(dir, "gpurun.mo");
    struct codec *codec = codec_new();
    void *mo = xmalloc(c->raw_len);
    int rc = -1;

    if (codec_decode(codec, STORE_CODEC_ZSTD, c->zstd, c->len, mo, c->raw_len, e) == 0 &&
        file_mkdirs(dir, 0700, e) == 0) {
        rc = file_replace(path, mo, c->raw_len, e);
    }
    codec_free(codec);
    free(mo);
    free(path);
    free(dir);
    return rc;
}

int
catalogs_put(const char *agent_dir, struct err *e)
{
    for (const struct catalog *c = catalogs; c->language != NULL; c++) {
        if (put(agent_dir, c, e) != 0) {
            return err_wrap(e, "translation '%s'", c->language);
        }
    }
    return 0;
}

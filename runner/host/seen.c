#include "runner/host/seen.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/rec.h"
#include "meter/words.h"
#include "runner/host/devices.h"

#define SEEN_TYPE "gpurun.seen.v1"
#define SEEN_FILE "devices/seen"
/* A stretch takes a hundred bytes; there is one per device and boot, or pause of looking.
 */
#define STRETCHES_MAX 20000

struct stretches {
    struct audit_sight *v;
    size_t n;
};

/* "CLASS TYPE UUID BOOT FROM TO WALL" */
static bool
parse(const char *text, size_t len, struct audit_sight *s)
{
    struct words w = words_of(text, len);

    memset(s, 0, sizeof *s);
    words_text(&w, s->device.class_name, sizeof s->device.class_name);
    words_text(&w, s->device.type, sizeof s->device.type);
    words_text(&w, s->device.uuid, sizeof s->device.uuid);
    words_text(&w, s->boot, sizeof s->boot);
    s->from_boot_ns = words_count(&w);
    s->to_boot_ns = words_count(&w);
    s->from_wall_ns = words_int(&w, INT64_MIN, INT64_MAX);
    return words_done(&w) && s->from_boot_ns <= s->to_boot_ns;
}

static int
load(const struct agent *a, struct stretches *l, struct err *e)
{
    char *path = agent_path(a, SEEN_FILE);
    struct rec *r = NULL;
    int rc = 0;

    if (file_exists(path)) {
        rc = rec_load(&r, path, SEEN_TYPE, e);
    }
    for (size_t i = 0; rc == 0 && r != NULL && i < rec_count(r, "free"); i++) {
        struct audit_sight s;
        size_t len = 0;
        const char *text = rec_get_nth(r, "free", i, &len);

        if (!parse(text, len, &s)) {
            rc = err_set(e, ERR_CORRUPT, "'%s': stretch %zu is none", path, i + 1);
            break;
        }
        l->v = xrealloc(l->v, (l->n + 1) * sizeof *l->v);
        l->v[l->n++] = s;
    }
    rec_free(r);
    free(path);
    return rc;
}

static int
save(const struct agent *a, const struct stretches *l, struct err *e)
{
    char *path = agent_path(a, SEEN_FILE);
    struct rec *r = rec_new(SEEN_TYPE);
    struct buf b = BUF_INIT;
    size_t first = l->n > STRETCHES_MAX ? l->n - STRETCHES_MAX : 0;
    int rc;

    for (size_t i = first; i < l->n; i++) {
        const struct audit_sight *s = &l->v[i];

        buf_reset(&b);
        words_add(&b, s->device.class_name);
        words_add(&b, s->device.type);
        words_add(&b, s->device.uuid);
        words_add(&b, s->boot);
        words_add_int(&b, s->from_boot_ns);
        words_add_int(&b, s->to_boot_ns);
        words_add_int(&b, s->from_wall_ns);
        rec_add_bytes(r, "free", b.data, b.len);
    }
    rc = rec_save(r, path, e);
    buf_free(&b);
    rec_free(r);
    free(path);
    return rc;
}

/* The newest stretch of that device goes on, if it may; else another one begins. */
static void
extend(struct stretches *l, const struct audit_sight *now)
{
    for (size_t i = l->n; i-- > 0;) {
        struct audit_sight *s = &l->v[i];

        if (strcmp(s->device.uuid, now->device.uuid) != 0) {
            continue;
        }
        if (strcmp(s->boot, now->boot) == 0 && s->to_boot_ns <= now->to_boot_ns &&
            now->to_boot_ns - s->to_boot_ns <= SEEN_STEP_NS) {
            s->to_boot_ns = now->to_boot_ns;
            return;
        }
        break;
    }
    l->v = xrealloc(l->v, (l->n + 1) * sizeof *l->v);
    l->v[l->n++] = *now;
}

/* A device to note: one of its own (cores are shared), free, its names fit for a record.
 */
static bool
is_notable(const struct device *d, struct audit_sight *s)
{
    if (strcmp(d->device_class, "cpu") == 0 || d->state != DEVICE_FREE ||
        !words_is_text(d->device_class) || !words_is_text_or_none(d->type) ||
        !words_is_text(d->uuid) ||
        strlen(d->device_class) >= sizeof s->device.class_name ||
        strlen(d->type) >= sizeof s->device.type) {
        return false;
    }
    (void)strcpy(s->device.class_name, d->device_class);
    (void)strcpy(s->device.type, d->type);
    (void)strcpy(s->device.uuid, d->uuid);
    return true;
}

int
seen_note(const struct agent *a, struct err *e)
{
    struct device_list devices = {NULL, 0};
    struct stretches l = {NULL, 0};
    struct audit_sight now = {.from_boot_ns = clock_boot_ns(),
                              .from_wall_ns = clock_wall_ns()};
    bool any = false;
    int dir = -1;
    int rc = -1;

    clock_boot_id(now.boot);
    now.to_boot_ns = now.from_boot_ns;
    if (agent_dir(a, "devices", &dir, e) != 0 ||
        devices_list(a, true, &devices, NULL, e) != 0 || load(a, &l, e) != 0) {
        goto out;
    }
    devices_look(a, &devices);
    for (size_t i = 0; i < devices.n; i++) {
        if (is_notable(&devices.v[i], &now)) {
            extend(&l, &now);
            any = true;
        }
    }
    rc = any ? save(a, &l, e) : 0;

out:
    free(l.v);
    device_list_free(&devices);
    (void)fd_close(&dir);
    return rc;
}

int
seen_put(const struct agent *a, struct audit *to, struct err *e)
{
    struct stretches l = {NULL, 0};
    int rc = load(a, &l, e);

    for (size_t i = 0; rc == 0 && i < l.n; i++) {
        audit_see(to, &l.v[i]);
    }
    free(l.v);
    return rc;
}

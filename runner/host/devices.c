#include "runner/host/devices.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "runner/host/devices_internal.h"
#include "runner/host/runout.h"

#define PROBE_NAME  "gpurun-gpuprobe"
#define PROBE_TYPE  "gpurun.probe.v1"
#define PROBE_MAX   ((size_t)4 << 20)
#define PROBE_CACHE "devices/probe"
#define CACHE_TYPE  "gpurun.probe.cache.v1"
#define SMALL_MAX   ((size_t)1 << 20)
#define KB          1024

int64_t
devices_cores(void)
{
    cpu_set_t set;
    long n;

    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        return CPU_COUNT(&set);
    }
    n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n;
}

int64_t
devices_mem_bytes(void)
{
    struct buf b = BUF_INIT;
    struct err none;
    long long kib = 0;
    const char *at;

    if (file_read("/proc/meminfo", SMALL_MAX, &b, &none) == 0 && b.len > 0) {
        at = strstr((const char *)b.data, "MemTotal:");
        if (at != NULL) {
            kib = strtoll(at + strlen("MemTotal:"), NULL, 10);
        }
    }
    buf_free(&b);
    return (int64_t)kib * KB;
}

void
device_text(char **field, const char *text)
{
    free(*field);
    *field = xstrdup(text);
}

/* The model as the kernel tells, e.g. "AMD EPYC 7B13"; "" where it does not. */
static void
cpu_name(char out[DEVICE_TEXT_MAX + 1])
{
    struct buf b = BUF_INIT;
    struct err none;
    const char *at = NULL;

    out[0] = '\0';
    if (file_read("/proc/cpuinfo", SMALL_MAX * 16, &b, &none) == 0 && b.len > 0) {
        at = strstr((const char *)b.data, "model name");
    }
    at = at == NULL ? NULL : strchr(at, ':');
    if (at != NULL) {
        at += 1 + strspn(at + 1, " \t");
        (void)snprintf(out, DEVICE_TEXT_MAX + 1, "%.*s", (int)strcspn(at, "\n"), at);
    }
    buf_free(&b);
}

static void
add_cpu(struct device_list *l)
{
    struct device d;
    struct utsname u;
    char name[DEVICE_TEXT_MAX + 1];

    device_init(&d);
    cpu_name(name);
    device_text(&d.device_class, "cpu");
    device_text(&d.name, name[0] != '\0' ? name : uname(&u) == 0 ? u.machine : "cpu");
    device_text(&d.type, "cpu");
    device_text(&d.uuid, "cpu");
    d.cores = devices_cores();
    d.memory_bytes = devices_mem_bytes();
    device_list_add(l, &d);
}

/* ---- the probe ---- */

/*
 * Beside our own program, or, for an owner's PREFIX/bin/gpurun-agent, where the one for
 * hosts lies. malloc'ed; NULL: there is none.
 */
static char *
probe_path(void)
{
    char exe[4096];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    struct utsname u;
    char *path;

    if (n <= 0) {
        return NULL;
    }
    exe[n] = '\0';
    *strrchr(exe, '/') = '\0';
    path = path_join(exe, PROBE_NAME);
    if (access(path, X_OK) != 0 && uname(&u) == 0) {
        free(path);
        path = xasprintf("%s/../lib/gpurun/agent/%s/" PROBE_NAME, exe, u.machine);
    }
    if (access(path, X_OK) != 0) {
        free(path);
        path = NULL;
    }
    return path;
}

static int
ask_probe(const char *path, struct buf *out, struct err *e)
{
    char *argv[] = {(char *)(uintptr_t)path, NULL};
    char *envp[] = {NULL};
    struct runout_options o = {.path = path,
                               .argv = argv,
                               .envp = envp,
                               .timeout_ns = DEVICES_PROBE_NS,
                               .max_bytes = PROBE_MAX};
    int status = 0;

    if (runout(&o, out, &status, e) != 0) {
        return err_wrap(e, "the GPU probe");
    }
    if (status != 0) {
        return err_set(e, ERR_SYSTEM, "the GPU probe failed (status %#x)",
                       (unsigned)status);
    }
    return 0;
}

static void
take_probed(struct device_list *l, const struct rec *probe, char *why)
{
    for (size_t i = 0; i < rec_count(probe, "device") && l->n < DEVICE_MAX; i++) {
        size_t len;
        const char *v = rec_get_nth(probe, "device", i, &len);
        struct rec *r = NULL;
        struct device d;
        struct err e;

        if (rec_parse(&r, v, len, DEVICE_TYPE_TAG, &e) == 0 &&
            device_parse(&d, r, &e) == 0) {
            /* A card that is cut into slices is not to be had whole. */
            if (strcmp(d.mig, "parent") == 0) {
                device_free(&d);
            } else {
                device_list_add(l, &d);
            }
        } else if (why != NULL) {
            (void)text_escape_to(why, DEVICES_WHY_MAX, e.msg);
        }
        rec_free(r);
    }
}

/* The record is followed by one empty line, which a watch needs. */
static int
parse_probe(struct rec **out, const uint8_t *data, size_t len, struct err *e)
{
    if (len >= 2 && data[len - 1] == '\n' && data[len - 2] == '\n') {
        len--;
    }
    return rec_parse(out, data, len, PROBE_TYPE, e);
}

static bool
load_cached(const struct agent *a, struct buf *out)
{
    struct buf b = BUF_INIT;
    struct rec *r = NULL;
    struct err none;
    char boot[BOOT_ID_LEN + 1];
    const char *was;
    const char *text;
    size_t len;
    int64_t at_ns = 0;
    bool ok = false;

    clock_boot_id(boot);
    if (file_read_at(a->home_fd, PROBE_CACHE, PROBE_MAX * 2, &b, &none) != 0 ||
        rec_parse(&r, b.data, b.len, CACHE_TYPE, &none) != 0) {
        goto out;
    }
    was = rec_get(r, "boot");
    text = rec_get_bytes(r, "probe", &len);
    if (was != NULL && strcmp(was, boot) == 0 && text != NULL &&
        rec_need_int(r, "boot_ns", 0, INT64_MAX, &at_ns, &none) == 0 &&
        clock_boot_ns() - at_ns < DEVICES_PROBE_AGE_NS) {
        buf_add(out, text, len);
        ok = true;
    }

out:
    rec_free(r);
    buf_free(&b);
    return ok;
}

static void
store_cached(const struct agent *a, const struct buf *probe)
{
    struct rec *r = rec_new(CACHE_TYPE);
    struct buf b = BUF_INIT;
    char boot[BOOT_ID_LEN + 1];
    struct err none;
    int dir = -1;

    clock_boot_id(boot);
    rec_add(r, "boot", boot);
    rec_add_int(r, "boot_ns", clock_boot_ns());
    rec_add_bytes(r, "probe", probe->data, probe->len);
    rec_encode(r, &b);
    if (agent_dir(a, "devices", &dir, &none) == 0) {
        (void)!file_replace_at(dir, "probe", b.data, b.len, &none);
        (void)fd_close(&dir);
    }
    buf_free(&b);
    rec_free(r);
}

static void
add_probed(const struct agent *a, bool fresh, struct device_list *l, char *why)
{
    char *path = probe_path();
    struct buf b = BUF_INIT;
    struct rec *r = NULL;
    struct err e;

    if (path == NULL) {
        if (why != NULL) {
            (void)snprintf(
                why, DEVICES_WHY_MAX,
                "there is no gpurun-gpuprobe beside the agent: no GPUs are seen");
        }
        goto out;
    }
    if (fresh || !load_cached(a, &b)) {
        buf_reset(&b);
        if (ask_probe(path, &b, &e) != 0) {
            if (why != NULL) {
                (void)text_escape_to(why, DEVICES_WHY_MAX, e.msg);
            }
            goto out;
        }
        store_cached(a, &b);
    }
    if (parse_probe(&r, b.data, b.len, &e) != 0) {
        if (why != NULL) {
            (void)text_escape_to(why, DEVICES_WHY_MAX, e.msg);
        }
        goto out;
    }
    take_probed(l, r, why);
    if (why != NULL && rec_get(r, "nvml") != NULL &&
        strcmp(rec_get(r, "nvml"), "failed") == 0) {
        const char *error = rec_get(r, "nvml_error");
        char *text =
            xasprintf("NVIDIA's driver does not answer: %s", error == NULL ? "?" : error);

        (void)text_escape_to(why, DEVICES_WHY_MAX, text);
        free(text);
    }

out:
    rec_free(r);
    buf_free(&b);
    free(path);
}

int
devices_list(const struct agent *a, bool fresh, struct device_list *out, char *why,
             struct err *e)
{
    struct device_list l = {NULL, 0};
    struct device_rows rows;

    if (why != NULL) {
        why[0] = '\0';
    }
    if (device_rows_load(&rows, a, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < rows.n; i++) {
        switch (rows.v[i]->detect) {
        case DEVICE_DETECT_CPU:
            add_cpu(&l);
            break;
        case DEVICE_DETECT_PROBE:
            add_probed(a, fresh, &l, why);
            break;
        case DEVICE_DETECT_NODES:
            device_find_nodes(rows.v[i], &l);
            break;
        case DEVICE_DETECT_PCI:
            device_find_pci(rows.v[i], &l);
            break;
        case DEVICE_DETECT_NONE:
            break;
        }
    }
    device_rows_free(&rows);
    *out = l;
    return 0;
}

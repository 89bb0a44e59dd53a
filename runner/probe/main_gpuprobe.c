/*
 * gpurun-gpuprobe: prints what NVIDIA GPUs this machine has, as one record
 * "gpurun.probe.v1" on stdout, and exits 0 also when there are none.
 *
 * A program of its own because the agent is static and cannot dlopen, and
 * because drivers hang: the agent runs it with an empty environment and a time
 * limit. With --watch-ms N it prints a record every N ms until stdin ends, for
 * `top`, `--idle` and busy shares.
 *
 * Fields: nvml (ok, missing, or failed with nvml_error), driver, cuda_driver, cuda
 * (not-built, ok, older-driver, failed), cuda_runtime, cuda_error, and device
 * (repeated): an encoded record "gpurun.device.v1" each.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "base/rec.h"
#include "base/text.h"
#include "runner/probe/cuda_runtime.h"
#include "runner/probe/nvml.h"

#define WATCH_MS_MIN 100
#define WATCH_MS_MAX 3600000

const char *
cuda_state_name(enum cuda_state state)
{
    switch (state) {
    case CUDA_NOT_BUILT:
        return "not-built";
    case CUDA_OK:
        return "ok";
    case CUDA_OLDER_DRIVER:
        return "older-driver";
    case CUDA_FAILED:
        return "failed";
    case CUDA_NONE:
        break;
    }
    return "none";
}

/* A MIG slice is confirmed by its GPU: the runtime lists at most one slice. */
static bool
confirmed(const struct nvml_device *d, const struct cuda_answer *cuda)
{
    const char *want = d->parent_uuid[0] != '\0' ? d->parent_uuid : d->uuid;

    for (size_t i = 0; i < cuda->n_uuids; i++) {
        if (strcmp(cuda->uuids[i], want) == 0 || strcmp(cuda->uuids[i], d->uuid) == 0) {
            return true;
        }
    }
    return false;
}

/*
 * "yes": the runtime computes on it. "unknown": nobody could ask, or the
 * driver is older than our runtime, which says nothing of the user's own.
 * "no": the runtime works and does not see it, or the GPU is only a parent of slices.
 */
static const char *
usable(const struct nvml_device *d, const struct cuda_answer *cuda)
{
    if (d->mig_mode) {
        return "no";
    }
    if (cuda->state != CUDA_OK) {
        return "unknown";
    }
    return confirmed(d, cuda) ? "yes" : "no";
}

static const char *
note(const struct nvml_device *d, const struct cuda_answer *cuda)
{
    if (d->mig_mode) {
        return "in MIG mode: its slices are the devices";
    }
    switch (cuda->state) {
    case CUDA_OK:
        return confirmed(d, cuda) ? "" : "NVML lists it, the CUDA runtime does not";
    case CUDA_OLDER_DRIVER:
        return "older driver: works with the CUDA versions that this driver supports";
    case CUDA_FAILED:
        return "the CUDA runtime failed; see cuda_error";
    case CUDA_NOT_BUILT:
    case CUDA_NONE:
        break;
    }
    return "";
}

static void
add_device(struct rec *probe, const struct nvml_answer *a, const struct nvml_device *d,
           const struct cuda_answer *cuda)
{
    struct rec *r = rec_new("gpurun.device.v1");
    struct buf text = BUF_INIT;

    rec_add(r, "class", "gpu");
    rec_add(r, "vendor", "nvidia");
    rec_add(r, "name", d->name);
    rec_add(r, "uuid", d->uuid);
    rec_add_int(r, "index", d->index);
    rec_add_int(r, "memory_bytes", (int64_t)d->memory_bytes);
    rec_add_int(r, "memory_used_bytes", (int64_t)d->memory_used_bytes);
    rec_add(r, "pci", d->pci);
    rec_add(r, "driver", a->driver);
    rec_add_int(r, "cuda_driver", a->cuda_driver);
    rec_add_int(r, "cuda_runtime", cuda->runtime);
    rec_addf(r, "capability", "%d.%d", d->capability_major, d->capability_minor);
    rec_add(r, "mig",
            d->parent_uuid[0] != '\0' ? "slice" : (d->mig_mode ? "parent" : ""));
    rec_add(r, "mig_parent", d->parent_uuid);
    rec_add_int(r, "busy_percent", d->busy_percent);
    rec_add_int(r, "n_processes", d->n_processes);
    rec_add(r, "usable", usable(d, cuda));
    rec_add(r, "note", note(d, cuda));
    rec_encode(r, &text);
    rec_add_bytes(probe, "device", text.data, text.len);
    buf_free(&text);
    rec_free(r);
}

/* Print one record; nvml NULL means that it could not be opened, for the reason in *why.
 */
static int
print_once(struct nvml *nvml, const struct err *why, const struct cuda_answer *cuda,
           struct err *e)
{
    struct rec *probe = rec_new("gpurun.probe.v1");
    struct nvml_answer a = {0};
    struct err failed = {0};
    struct buf text = BUF_INIT;
    int rc = -1;

    if (nvml == NULL) {
        rec_add(probe, "nvml", why->code == ERR_NOT_FOUND ? "missing" : "failed");
        rec_add(probe, "nvml_error", why->msg);
    } else if (nvml_ask(nvml, &a, &failed) != 0) {
        rec_add(probe, "nvml", "failed");
        rec_add(probe, "nvml_error", failed.msg);
    } else {
        rec_add(probe, "nvml", "ok");
        rec_add(probe, "driver", a.driver);
        rec_add_int(probe, "cuda_driver", a.cuda_driver);
    }
    rec_add(probe, "cuda", cuda_state_name(cuda->state));
    rec_add_int(probe, "cuda_runtime", cuda->runtime);
    rec_add(probe, "cuda_error", cuda->message);
    for (size_t i = 0; i < a.n_devices; i++) {
        add_device(probe, &a, &a.devices[i], cuda);
    }
    rec_encode(probe, &text);
    buf_add_u8(&text, '\n'); /* an empty line ends a record */
    if (fd_write_all(STDOUT_FILENO, text.data, text.len) != 0) {
        err_set_sys(e, errno, "cannot write");
        goto out;
    }
    rc = 0;

out:
    nvml_answer_free(&a);
    buf_free(&text);
    rec_free(probe);
    return rc;
}

/* Wait ms; false once stdin has ended, which is how the agent stops a watch. */
static bool
wait_or_end(int ms)
{
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    char byte;

    if (poll(&in, 1, ms) <= 0) {
        return true;
    }
    return read(STDIN_FILENO, &byte, 1) > 0;
}

int
main(int argc, char **argv)
{
    static struct cuda_answer cuda; /* 12 KiB: not on a stack that a library shares */
    struct nvml *nvml = NULL;
    struct err why = {0};
    struct err e = {0};
    int64_t watch_ms = 0;
    int rc = 0;

    if (argc == 3 && strcmp(argv[1], "--watch-ms") == 0) {
        if (text_parse_int(argv[2], WATCH_MS_MIN, WATCH_MS_MAX, "--watch-ms", &watch_ms,
                           &e) != 0) {
            (void)fprintf(stderr, "gpurun-gpuprobe: %s\n", e.msg);
            return 100;
        }
    } else if (argc != 1) {
        (void)fprintf(stderr, "usage: gpurun-gpuprobe [--watch-ms N]\n");
        return 100;
    }
    /* The same order and the same devices as NVML, whatever the environment says. */
    (void)setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID", 1);
    (void)unsetenv("CUDA_VISIBLE_DEVICES");
    if (nvml_open(&nvml, &why) != 0) {
        nvml = NULL;
    }
    cuda_ask(&cuda);
    do {
        rc = print_once(nvml, &why, &cuda, &e);
    } while (rc == 0 && watch_ms != 0 && wait_or_end((int)watch_ms));
    nvml_close(nvml);
    if (rc != 0) {
        (void)fprintf(stderr, "gpurun-gpuprobe: %s\n", e.msg);
        return 101;
    }
    return 0;
}

#ifndef RUNNER_PROBE_NVML_H
#define RUNNER_PROBE_NVML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

/*
 * What NVIDIA's management library says of the GPUs of this machine.
 *
 * The library is loaded at run time (there is no header for it in Debian; the
 * few declarations we use are ours, from the public API reference, "NVML API
 * Reference Guide", functions present since driver 450). It answers with any
 * driver, also one too old for the CUDA runtime, so it is the source of the
 * list; the runtime only confirms (cuda_runtime.h).
 */
#define NVML_DEVICES_MAX 256 /* GPUs and MIG slices together; more are an error */
#define NVML_NAME_MAX    96
#define NVML_UUID_MAX    96
#define NVML_VERSION_MAX 80

struct nvml_device {
    char name[NVML_NAME_MAX];
    char uuid[NVML_UUID_MAX];        /* "GPU-…" or "MIG-…" */
    char pci[32];                    /* "00000000:01:00.0" */
    char parent_uuid[NVML_UUID_MAX]; /* of a MIG slice: its GPU; else "" */
    unsigned index;                  /* NVML's index of the GPU */
    uint64_t memory_bytes;
    uint64_t memory_used_bytes;
    bool mig_mode;    /* a GPU in MIG mode is no device itself, its slices are */
    int busy_percent; /* of the last sample period; -1 where not told */
    int n_processes;  /* compute processes on it now; -1 where not told */
    int capability_major, capability_minor; /* 0.0 where not told */
};

struct nvml_answer {
    char driver[NVML_VERSION_MAX]; /* "550.54.14" */
    int cuda_driver;               /* 12040 for 12.4; 0 where not told */
    size_t n_devices;
    struct nvml_device *devices; /* free() */
};

struct nvml; /* the loaded and initialised library; one thread */

/*
 * Load and initialise. ERR_NOT_FOUND: no library on this machine (no NVIDIA
 * driver); anything else: it is there and refuses, the message says how.
 */
int nvml_open(struct nvml **out, struct err *e) MUST_USE;
void nvml_close(struct nvml *n); /* NULL allowed */

/* Ask for everything once. A device that fails to answer is ERR_SYSTEM with its index. */
int nvml_ask(struct nvml *n, struct nvml_answer *out, struct err *e) MUST_USE;
void nvml_answer_free(struct nvml_answer *a);

#endif

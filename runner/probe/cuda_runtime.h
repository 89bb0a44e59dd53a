#ifndef RUNNER_PROBE_CUDA_RUNTIME_H
#define RUNNER_PROBE_CUDA_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Whether programs can really compute on the GPUs that NVML lists.
 *
 * The answer comes from the CUDA runtime, statically linked where the toolkit
 * was there at build time (cuda_runtime.c); elsewhere cuda_runtime_none.c
 * answers that nobody can tell. The two are joined by UUID, because the runtime
 * orders and hides devices by environment variables and NVML does not.
 */
#define CUDA_DEVICES_MAX 256
#define CUDA_UUID_MAX    48

enum cuda_state {
    CUDA_NONE = 0,
    CUDA_NOT_BUILT,    /* this probe was built without the toolkit */
    CUDA_OK,           /* uuids[] are usable */
    CUDA_OLDER_DRIVER, /* the driver is older than the runtime needs, or missing (error
                          35) */
    CUDA_FAILED,       /* see message */
};

struct cuda_answer {
    enum cuda_state state;
    int runtime; /* 13000 for 13.0; 0 if not built */
    char message[128];
    size_t n_uuids;
    char uuids[CUDA_DEVICES_MAX][CUDA_UUID_MAX]; /* "GPU-…" */
};

/* Never fails: what went wrong is part of the answer. Creates no context on a device. */
void cuda_ask(struct cuda_answer *out);

const char *cuda_state_name(enum cuda_state state);

#endif

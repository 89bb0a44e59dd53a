/* Compiled only where nvcc was found; see cuda_runtime.h. */
#include "runner/probe/cuda_runtime.h"

#include <cuda_runtime_api.h>
#include <stdio.h>
#include <string.h>

static void
format_uuid(const unsigned char *b, char out[CUDA_UUID_MAX])
{
    (void)snprintf(
        out, CUDA_UUID_MAX,
        "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
        b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
        b[14], b[15]);
}

void
cuda_ask(struct cuda_answer *out)
{
    int count = 0; /* on error 35 the runtime leaves it unwritten */
    cudaError_t status;

    memset(out, 0, sizeof *out);
    out->runtime = CUDART_VERSION;
    status = cudaGetDeviceCount(&count);
    if (status == cudaErrorNoDevice) {
        out->state = CUDA_OK; /* it works, and sees none */
        return;
    }
    if (status != cudaSuccess) {
        out->state =
            status == cudaErrorInsufficientDriver ? CUDA_OLDER_DRIVER : CUDA_FAILED;
        (void)snprintf(out->message, sizeof out->message, "%s",
                       cudaGetErrorString(status));
        return;
    }
    out->state = CUDA_OK;
    for (int i = 0; i < count && out->n_uuids < CUDA_DEVICES_MAX; i++) {
        struct cudaDeviceProp p;

        if (cudaGetDeviceProperties(&p, i) != cudaSuccess) {
            continue; /* not listed: not confirmed */
        }
        format_uuid((const unsigned char *)p.uuid.bytes, out->uuids[out->n_uuids++]);
    }
}

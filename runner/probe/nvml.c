#include "runner/probe/nvml.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

/* Declarations of the public API, as far as it is used here. */
typedef struct nvml_device_st *nvml_handle;
struct nvml_memory {
    unsigned long long total, free, used;
};
struct nvml_pci {
    char bus_id_legacy[16];
    unsigned domain, bus, device;
    unsigned pci_device_id, pci_subsystem_id;
    char bus_id[32];
};
struct nvml_utilization {
    unsigned gpu, memory;
};

enum {
    NVML_OK = 0,
    NVML_NOT_SUPPORTED = 3,
    NVML_NOT_FOUND = 6,
    NVML_INSUFFICIENT_SIZE = 7
};

struct nvml {
    void *library;
    int (*init)(void);
    int (*shutdown)(void);
    const char *(*error_string)(int);
    int (*driver_version)(char *, unsigned);
    int (*cuda_version)(int *);
    int (*count)(unsigned *);
    int (*by_index)(unsigned, nvml_handle *);
    int (*name)(nvml_handle, char *, unsigned);
    int (*uuid)(nvml_handle, char *, unsigned);
    int (*memory)(nvml_handle, struct nvml_memory *);
    int (*pci)(nvml_handle, struct nvml_pci *);
    /* May be missing in old libraries: NULL. */
    int (*mig_mode)(nvml_handle, unsigned *, unsigned *);
    int (*mig_max)(nvml_handle, unsigned *);
    int (*mig_by_index)(nvml_handle, unsigned, nvml_handle *);
    int (*utilization)(nvml_handle, struct nvml_utilization *);
    int (*processes)(nvml_handle, unsigned *, void *);
    int (*capability)(nvml_handle, int *, int *);
};

/* The loader's own search first, then where WSL and hosts' container runtimes put it. */
static const char *const LIBRARY_NAMES[] = {
    "libnvidia-ml.so.1",
    "/usr/lib/wsl/lib/libnvidia-ml.so.1",
    "/usr/lib64/libnvidia-ml.so.1",
    "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1",
    "/usr/lib/aarch64-linux-gnu/libnvidia-ml.so.1",
    "/usr/local/nvidia/lib64/libnvidia-ml.so.1",
};

struct symbol {
    const char *name;
    const char *older_name; /* tried when the first is missing; may be NULL */
    size_t offset;
    bool required;
};

#define SYMBOL(field, name, older, required)                                             \
    {                                                                                    \
        name, older, offsetof(struct nvml, field), required                              \
    }

static const struct symbol SYMBOLS[] = {
    SYMBOL(init, "nvmlInit_v2", "nvmlInit", true),
    SYMBOL(shutdown, "nvmlShutdown", NULL, true),
    SYMBOL(error_string, "nvmlErrorString", NULL, true),
    SYMBOL(driver_version, "nvmlSystemGetDriverVersion", NULL, true),
    SYMBOL(cuda_version, "nvmlSystemGetCudaDriverVersion_v2",
           "nvmlSystemGetCudaDriverVersion", false),
    SYMBOL(count, "nvmlDeviceGetCount_v2", "nvmlDeviceGetCount", true),
    SYMBOL(by_index, "nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetHandleByIndex", true),
    SYMBOL(name, "nvmlDeviceGetName", NULL, true),
    SYMBOL(uuid, "nvmlDeviceGetUUID", NULL, true),
    SYMBOL(memory, "nvmlDeviceGetMemoryInfo", NULL, true),
    SYMBOL(pci, "nvmlDeviceGetPciInfo_v3", NULL, false),
    SYMBOL(mig_mode, "nvmlDeviceGetMigMode", NULL, false),
    SYMBOL(mig_max, "nvmlDeviceGetMaxMigDeviceCount", NULL, false),
    SYMBOL(mig_by_index, "nvmlDeviceGetMigDeviceHandleByIndex", NULL, false),
    SYMBOL(utilization, "nvmlDeviceGetUtilizationRates", NULL, false),
    SYMBOL(processes, "nvmlDeviceGetComputeRunningProcesses_v3",
           "nvmlDeviceGetComputeRunningProcesses", false),
    SYMBOL(capability, "nvmlDeviceGetCudaComputeCapability", NULL, false),
};

static int
nvml_fail(struct nvml *n, int status, const char *doing, struct err *e)
{
    const char *text = n->error_string(status);

    return err_set(e, ERR_SYSTEM, "NVML: %s: %s", doing, text == NULL ? "?" : text);
}

static int
resolve(struct nvml *n, struct err *e)
{
    for (size_t i = 0; i < sizeof SYMBOLS / sizeof SYMBOLS[0]; i++) {
        const struct symbol *s = &SYMBOLS[i];
        void *at = dlsym(n->library, s->name);

        if (at == NULL && s->older_name != NULL) {
            at = dlsym(n->library, s->older_name);
        }
        if (at == NULL && s->required) {
            return err_set(e, ERR_VERSION, "NVML: the library has no %s", s->name);
        }
        memcpy((char *)n + s->offset, &at, sizeof at);
    }
    return 0;
}

int
nvml_open(struct nvml **out, struct err *e)
{
    struct nvml *n = xcalloc(1, sizeof *n);
    int status;

    for (size_t i = 0; i < sizeof LIBRARY_NAMES / sizeof LIBRARY_NAMES[0]; i++) {
        n->library = dlopen(LIBRARY_NAMES[i], RTLD_NOW | RTLD_LOCAL);
        if (n->library != NULL) {
            break;
        }
    }
    if (n->library == NULL) {
        err_set(e, ERR_NOT_FOUND, "no NVIDIA driver library (libnvidia-ml.so.1)");
        goto fail;
    }
    if (resolve(n, e) != 0) {
        goto fail;
    }
    status = n->init();
    if (status != NVML_OK) {
        nvml_fail(n, status, "cannot start", e);
        goto fail;
    }
    *out = n;
    return 0;

fail:
    if (n->library != NULL) {
        (void)dlclose(n->library);
    }
    free(n);
    return -1;
}

void
nvml_close(struct nvml *n)
{
    if (n == NULL) {
        return;
    }
    (void)n->shutdown();
    (void)dlclose(n->library);
    free(n);
}

/* A library's string may fill its array without an end: never trust it to have one. */
static int
ask_string(struct nvml *n, int (*get)(nvml_handle, char *, unsigned), nvml_handle h,
           char *out, size_t size, const char *doing, struct err *e)
{
    int status;

    memset(out, 0, size);
    status = get(h, out, (unsigned)size - 1);
    if (status != NVML_OK) {
        return nvml_fail(n, status, doing, e);
    }
    out[size - 1] = '\0';
    return 0;
}

/* What a card may decline to tell is left at "not told". */
static void
ask_extras(struct nvml *n, nvml_handle h, struct nvml_device *d)
{
    struct nvml_pci pci = {0};
    struct nvml_utilization use = {0};
    unsigned n_processes = 0;
    int status;

    if (n->pci != NULL && n->pci(h, &pci) == NVML_OK) {
        (void)snprintf(d->pci, sizeof d->pci, "%.*s", (int)sizeof pci.bus_id - 1,
                       pci.bus_id);
    }
    d->busy_percent = -1;
    if (n->utilization != NULL && n->utilization(h, &use) == NVML_OK && use.gpu <= 100) {
        d->busy_percent = (int)use.gpu;
    }
    /* With no room given, the answer is either "none" or "too small" and the count. */
    d->n_processes = -1;
    status =
        n->processes == NULL ? NVML_NOT_SUPPORTED : n->processes(h, &n_processes, NULL);
    if (status == NVML_OK || status == NVML_INSUFFICIENT_SIZE) {
        d->n_processes = n_processes > 1000000 ? 1000000 : (int)n_processes;
    }
    if (n->capability == NULL ||
        n->capability(h, &d->capability_major, &d->capability_minor) != NVML_OK) {
        d->capability_major = 0;
        d->capability_minor = 0;
    }
}

static int
ask_device(struct nvml *n, nvml_handle h, unsigned index, struct nvml_device *d,
           struct err *e)
{
    struct nvml_memory memory = {0};
    int status;

    memset(d, 0, sizeof *d);
    d->index = index;
    if (ask_string(n, n->name, h, d->name, sizeof d->name, "cannot read a name", e) !=
            0 ||
        ask_string(n, n->uuid, h, d->uuid, sizeof d->uuid, "cannot read a UUID", e) !=
            0) {
        return err_wrap(e, "GPU %u", index);
    }
    status = n->memory(h, &memory);
    if (status != NVML_OK && status != NVML_NOT_SUPPORTED) {
        nvml_fail(n, status, "cannot read the memory", e);
        return err_wrap(e, "GPU %u", index);
    }
    d->memory_bytes = memory.total;
    d->memory_used_bytes = memory.used;
    ask_extras(n, h, d);
    return 0;
}

static int
add_device(struct nvml *n, nvml_handle h, unsigned index, struct nvml_answer *a,
           struct err *e)
{
    if (a->n_devices == NVML_DEVICES_MAX) {
        return err_set(e, ERR_RANGE, "NVML: more than %d devices", NVML_DEVICES_MAX);
    }
    if (ask_device(n, h, index, &a->devices[a->n_devices], e) != 0) {
        return -1;
    }
    a->n_devices++;
    return 0;
}

/* The slices of a GPU in MIG mode follow it in the list, each naming it as parent. */
static int
add_slices(struct nvml *n, nvml_handle gpu, unsigned index, struct nvml_answer *a,
           struct err *e)
{
    struct nvml_device *parent = &a->devices[a->n_devices - 1];
    unsigned mode = 0;
    unsigned pending = 0;
    unsigned max = 0;

    if (n->mig_mode == NULL || n->mig_mode(gpu, &mode, &pending) != NVML_OK ||
        mode == 0) {
        return 0;
    }
    parent->mig_mode = true;
    if (n->mig_max == NULL || n->mig_by_index == NULL ||
        n->mig_max(gpu, &max) != NVML_OK) {
        return 0;
    }
    for (unsigned i = 0; i < max && i < NVML_DEVICES_MAX; i++) {
        nvml_handle slice = NULL;
        int status = n->mig_by_index(gpu, i, &slice);

        if (status == NVML_NOT_FOUND) {
            continue; /* slots without a slice in them */
        }
        if (status != NVML_OK) {
            return nvml_fail(n, status, "cannot list MIG slices", e);
        }
        if (add_device(n, slice, index, a, e) != 0) {
            return -1;
        }
        memcpy(a->devices[a->n_devices - 1].parent_uuid, parent->uuid,
               sizeof parent->uuid);
    }
    return 0;
}

int
nvml_ask(struct nvml *n, struct nvml_answer *out, struct err *e)
{
    struct nvml_answer a = {0};
    unsigned count = 0;
    int status;

    a.devices = xcalloc(NVML_DEVICES_MAX, sizeof *a.devices);
    status = n->driver_version(a.driver, (unsigned)sizeof a.driver - 1);
    if (status != NVML_OK) {
        nvml_fail(n, status, "cannot read the driver's version", e);
        goto fail;
    }
    if (n->cuda_version == NULL || n->cuda_version(&a.cuda_driver) != NVML_OK) {
        a.cuda_driver = 0;
    }
    status = n->count(&count);
    if (status != NVML_OK) {
        nvml_fail(n, status, "cannot count the GPUs", e);
        goto fail;
    }
    for (unsigned i = 0; i < count; i++) {
        nvml_handle h = NULL;

        status = n->by_index(i, &h);
        if (status != NVML_OK) {
            nvml_fail(n, status, "cannot open a GPU", e);
            err_wrap(e, "GPU %u", i);
            goto fail;
        }
        if (add_device(n, h, i, &a, e) != 0 || add_slices(n, h, i, &a, e) != 0) {
            goto fail;
        }
    }
    *out = a;
    return 0;

fail:
    nvml_answer_free(&a);
    return -1;
}

void
nvml_answer_free(struct nvml_answer *a)
{
    free(a->devices);
    memset(a, 0, sizeof *a);
}

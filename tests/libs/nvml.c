/*
 * A substitute for libnvidia-ml.so.1, for tests: bind-mounted over the real name
 * in a private mount namespace. It answers from the text file "<its own path>.conf",
 * because the probe is run with an empty environment:
 *
 *   driver 550.54.14
 *   cuda 12040
 *   device NAME|UUID|MEMORY_BYTES|PCI|BUSY_PERCENT|N_PROCESSES     -1 busy: not told
 *   slice NAME|UUID|MEMORY_BYTES          a MIG slice of the device above
 *   fail init 9                           nvmlInit answers 9
 *   fail device 1 15                      opening device 1 answers 15 (GPU lost)
 *   hang                                  nvmlInit never returns
 *   unterminated                          strings fill their arrays without an end
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEVICES_MAX 32
enum { OK = 0, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7 };

struct device {
    char name[96], uuid[96], pci[32];
    unsigned long long memory;
    int busy, n_processes;
    int parent; /* index of the GPU of a slice; -1 for a GPU */
    int fail;
};

static struct device devices[DEVICES_MAX];
static unsigned n_devices;
static char driver[80] = "550.54.14";
static int cuda_version = 12040;
static int init_fail;
static int unterminated;

/* The names below are NVIDIA's; they are called by address only. */
int nvmlInit_v2(void);
int nvmlShutdown(void);
const char *nvmlErrorString(int status);
int nvmlSystemGetDriverVersion(char *out, unsigned size);
int nvmlSystemGetCudaDriverVersion_v2(int *out);
int nvmlDeviceGetCount_v2(unsigned *out);
int nvmlDeviceGetHandleByIndex_v2(unsigned index, struct device **out);
int nvmlDeviceGetName(struct device *d, char *out, unsigned size);
int nvmlDeviceGetUUID(struct device *d, char *out, unsigned size);
int nvmlDeviceGetMemoryInfo(struct device *d, unsigned long long *out);
int nvmlDeviceGetPciInfo_v3(struct device *d, void *out);
int nvmlDeviceGetMigMode(struct device *d, unsigned *now, unsigned *pending);
int nvmlDeviceGetMaxMigDeviceCount(struct device *d, unsigned *out);
int nvmlDeviceGetMigDeviceHandleByIndex(struct device *d, unsigned i,
                                        struct device **out);
int nvmlDeviceGetUtilizationRates(struct device *d, unsigned *out);
int nvmlDeviceGetComputeRunningProcesses_v3(struct device *d, unsigned *n, void *infos);
int nvmlDeviceGetCudaComputeCapability(struct device *d, int *major, int *minor);

static void
read_line(char *line)
{
    struct device *d = &devices[n_devices < DEVICES_MAX ? n_devices : DEVICES_MAX - 1];
    unsigned at;
    int status;

    if (sscanf(line, "driver %79s", driver) == 1 ||
        sscanf(line, "cuda %d", &cuda_version) == 1 ||
        sscanf(line, "fail init %d", &init_fail) == 1) {
        return;
    }
    if (sscanf(line, "fail device %u %d", &at, &status) == 2 && at < DEVICES_MAX) {
        devices[at].fail = status;
    } else if (sscanf(line, "device %95[^|]|%95[^|]|%llu|%31[^|]|%d|%d", d->name, d->uuid,
                      &d->memory, d->pci, &d->busy, &d->n_processes) == 6) {
        d->parent = -1;
        n_devices++;
    } else if (sscanf(line, "slice %95[^|]|%95[^|]|%llu", d->name, d->uuid, &d->memory) ==
               3) {
        unsigned gpu = n_devices - 1;

        while (gpu > 0 && devices[gpu].parent != -1) {
            gpu--;
        }
        d->parent = (int)gpu;
        n_devices++;
    } else if (strncmp(line, "hang", 4) == 0) {
        for (;;) {
            (void)pause();
        }
    } else if (strncmp(line, "unterminated", 12) == 0) {
        unterminated = 1;
    }
}

int
nvmlInit_v2(void)
{
    Dl_info self;
    char path[4096];
    char line[512];
    FILE *f;

    if (dladdr((void *)&devices, &self) == 0 || self.dli_fname == NULL) {
        return 999;
    }
    (void)snprintf(path, sizeof path, "%s.conf", self.dli_fname);
    f = fopen(path, "re");
    if (f == NULL) {
        return 999;
    }
    n_devices = 0;
    while (fgets(line, sizeof line, f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        read_line(line);
    }
    (void)fclose(f);
    return init_fail;
}

int
nvmlShutdown(void)
{
    return OK;
}

const char *
nvmlErrorString(int status)
{
    switch (status) {
    case 9:
        return "Driver Not Loaded";
    case 15:
        return "GPU is lost";
    case 18:
        return "Driver/library version mismatch";
    default:
        return "Unknown Error";
    }
}

static int
give(const char *text, char *out, unsigned size)
{
    if (unterminated) {
        memset(out, 'A', size);
        return OK;
    }
    if (strlen(text) >= size) {
        return TOO_SMALL;
    }
    memcpy(out, text, strlen(text) + 1);
    return OK;
}

int
nvmlSystemGetDriverVersion(char *out, unsigned size)
{
    return give(driver, out, size);
}

int
nvmlSystemGetCudaDriverVersion_v2(int *out)
{
    *out = cuda_version;
    return OK;
}

/* GPUs count, slices do not: they are reached through their GPU. */
int
nvmlDeviceGetCount_v2(unsigned *out)
{
    *out = 0;
    for (unsigned i = 0; i < n_devices; i++) {
        *out += devices[i].parent == -1;
    }
    return OK;
}

int
nvmlDeviceGetHandleByIndex_v2(unsigned index, struct device **out)
{
    for (unsigned i = 0; i < n_devices; i++) {
        if (devices[i].parent == -1 && index-- == 0) {
            *out = &devices[i];
            return devices[i].fail;
        }
    }
    return INVALID;
}

int
nvmlDeviceGetName(struct device *d, char *out, unsigned size)
{
    return give(d->name, out, size);
}

int
nvmlDeviceGetUUID(struct device *d, char *out, unsigned size)
{
    return give(d->uuid, out, size);
}

int
nvmlDeviceGetMemoryInfo(struct device *d, unsigned long long *out)
{
    out[0] = d->memory;
    out[2] = d->busy < 0 ? 0 : d->memory / 100 * (unsigned long long)d->busy;
    out[1] = out[0] - out[2];
    return OK;
}

int
nvmlDeviceGetPciInfo_v3(struct device *d, void *out)
{
    if (d->parent != -1) {
        return NOT_SUPPORTED;
    }
    /* busIdLegacy[16], five unsigned, busId[32] */
    memcpy((char *)out + 16 + 5 * sizeof(unsigned), d->pci, sizeof d->pci);
    return OK;
}

static unsigned
slices_of(const struct device *gpu, unsigned wanted, struct device **out)
{
    unsigned n = 0;

    for (unsigned i = 0; i < n_devices; i++) {
        if (devices[i].parent == (int)(gpu - devices)) {
            if (n == wanted && out != NULL) {
                *out = &devices[i];
            }
            n++;
        }
    }
    return n;
}

int
nvmlDeviceGetMigMode(struct device *d, unsigned *now, unsigned *pending)
{
    *now = *pending = slices_of(d, 0, NULL) > 0;
    return OK;
}

int
nvmlDeviceGetMaxMigDeviceCount(struct device *d, unsigned *out)
{
    (void)d;
    *out = 7;
    return OK;
}

int
nvmlDeviceGetMigDeviceHandleByIndex(struct device *d, unsigned i, struct device **out)
{
    return i < slices_of(d, i, out) ? OK : NOT_FOUND;
}

int
nvmlDeviceGetUtilizationRates(struct device *d, unsigned *out)
{
    if (d->parent != -1 || d->busy < 0) {
        return NOT_SUPPORTED;
    }
    out[0] = (unsigned)d->busy;
    out[1] = (unsigned)d->busy;
    return OK;
}

int
nvmlDeviceGetComputeRunningProcesses_v3(struct device *d, unsigned *n, void *infos)
{
    unsigned room = *n;

    (void)infos;
    *n = (unsigned)d->n_processes;
    return *n > room ? TOO_SMALL : OK;
}

int
nvmlDeviceGetCudaComputeCapability(struct device *d, int *major, int *minor)
{
    (void)d;
    *major = 8;
    *minor = 9;
    return OK;
}

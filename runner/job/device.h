#ifndef RUNNER_JOB_DEVICE_H
#define RUNNER_JOB_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/rec.h"
#include "runner/job/spec.h"

/*
 * Devices: what a host has, and what a user asks for.
 *
 * A device class is a row of data: how devices of it are found, and how a job is told
 * which are its own. NVIDIA, AMD, Ascend and CPU are built in; files of devices.d/ add
 * rows.
 */
#define DEVICE_TYPE_TAG    "gpurun.device.v1"
#define DEVICE_CLASS_TAG   "gpurun.class.v1"
#define DEVICE_TEXT_MAX    255
#define DEVICE_MAX         4096 /* of one host */
#define DEVICE_CLASSES_MAX 64

/* How devices of a class are found. */
enum device_detect {
    DEVICE_DETECT_NONE = 0,
    DEVICE_DETECT_PROBE, /* gpurun-gpuprobe tells */
    DEVICE_DETECT_CPU,   /* this machine's cores */
    DEVICE_DETECT_NODES, /* one per device node that matches `nodes` */
    DEVICE_DETECT_PCI,   /* one per PCI device of `pci` ids */
};

struct device_class {
    char *name;   /* "gpu", "npu", "asic", "cpu" */
    char *vendor; /* "nvidia", "amd", "huawei", … */
    enum device_detect detect;
    struct strings nodes;  /* DETECT_NODES: globs, e.g. "/dev/davinci[0-9]*" */
    struct strings shared; /* nodes every job of the class needs, e.g. "/dev/kfd" */
    struct strings pci;    /* DETECT_PCI: "vendor:device" in hex, device may be "*" */
    char *visible_var;     /* e.g. "CUDA_VISIBLE_DEVICES", or NULL */
    char *visible_by;      /* "uuid" or "index" */
    char *type;            /* what its devices are called where nothing tells, or NULL */
};

void device_class_free(struct device_class *c);
/* The built-in rows (static), *n of them. */
const struct device_class *device_classes_builtin(size_t *n);
/* A row from a devices.d file (record gpurun.class.v1). ERR_INVALID names the field. */
int device_class_parse(struct device_class *out, const struct rec *r,
                       struct err *e) MUST_USE;

enum device_free {
    DEVICE_FREE_UNKNOWN = 0,
    DEVICE_FREE,
    DEVICE_BUSY,
    DEVICE_BROKEN,
    DEVICE_RESERVED, /* nobody uses it, but it is held for one renter */
};

struct device {
    char *device_class; /* never NULL from here on but where said */
    char *vendor;
    char *name;    /* as the vendor calls it: "NVIDIA GeForce RTX 4090" */
    char *type;    /* as prices call it: "rtx4090" → device_type_of(name, memory) */
    char *uuid;    /* stable and unique on the host: the lock's name */
    int64_t index; /* the vendor's own numbering */
    int64_t memory_bytes;      /* 0: not told */
    int64_t memory_used_bytes; /* -1: not told; so is the next */
    int64_t busy_percent;      /* of the probe's last sample period */
    int64_t n_processes;       /* that compute on it, whoever's; -1: not told */
    char *pci;                 /* "" where there is none; the same for those below */
    char *driver;
    char *cuda_driver;
    char *cuda_runtime;
    char *mig;              /* "", "parent" or "slice" */
    char *note;             /* what is wrong with it, for people */
    bool usable;            /* false only where that is known */
    int64_t cores;          /* class cpu: how many; else 0 */
    enum device_free state; /* by its lock; set by the agent, not by a probe */
};

struct device_list {
    struct device *v;
    size_t n;
};

void device_init(struct device *d);
void device_free(struct device *d);
void device_list_add(struct device_list *l,
                     struct device *d); /* takes over d's contents */
void device_list_free(struct device_list *l);

/*
 * Nobody of ours has it, and processes compute on it all the same, by its driver's last
 * word: somebody uses it without gpurun. It may be had, beside them.
 */
bool device_is_shared(const struct device *d);

struct rec *device_encode(const struct device *d);
/* A record of the probe or of a host. Missing optional fields become "" and 0. */
int device_parse(struct device *out, const struct rec *r, struct err *e) MUST_USE;
const char *
device_free_name(enum device_free f); /* "free", "busy", "broken", "reserved", … */

/* ---- what people write ---- */

/* "4090", "h100:2", "RTX 4090", "any": type and count (1 unless given). ERR_INVALID. */
struct device_want {
    char device_class[DEVICE_TEXT_MAX + 1];
    char type[DEVICE_TEXT_MAX + 1];
    int64_t count;
};
int device_want_parse_gpu(struct device_want *out, const char *text,
                          struct err *e) MUST_USE;
/* "--device CLASS:TYPE[:N]". */
int device_want_parse(struct device_want *out, const char *text, struct err *e) MUST_USE;

/*
 * Does a type as people write it mean this device? Case, spaces, dashes, makers' names
 * and brand words do not matter ("RTX 4090", "rtx4090", "4090"); what names another
 * product does ("4090" is not "4090 D", "3080" not "3080 Ti", "l4" not "l40"). Form
 * ("sxm", "pcie") and memory ("80g") have to fit only where they are written. "any" and
 * "" fit everything.
 */
bool device_type_matches(const char *wanted, const char *name, const char *type,
                         int64_t memory_bytes);
/* Could text[0..len) be a type as people write it? ASCII: no full-width digits. */
bool device_type_usable(const char *text, size_t len);
bool device_matches(const struct device *d, const char *device_class, const char *wanted);

/*
 * The short name of a device for price cards and listings, from the vendor's name:
 * "NVIDIA GeForce RTX 4090" → "4090", "NVIDIA A100-SXM4-80GB" → "a100-80g". Never empty.
 */
void device_type_of(const char *name, int64_t memory_bytes,
                    char out[DEVICE_TEXT_MAX + 1]);

#endif

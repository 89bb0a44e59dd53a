#include "runner/job/device.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

#define LIST_MAX 64
#define N_OF(a)  (sizeof(a) / sizeof((a)[0]))

static char *nvidia_nodes[] = {"/dev/nvidia[0-9]*"};
static char *nvidia_shared[] = {"/dev/nvidiactl", "/dev/nvidia-uvm",
                                "/dev/nvidia-uvm-tools", "/dev/nvidia-caps/*"};
static char *amd_pci[] = {"1002:*"};
static char *amd_shared[] = {"/dev/kfd", "/dev/dri/renderD*"};
static char *ascend_nodes[] = {"/dev/davinci[0-9]*"};
static char *ascend_shared[] = {"/dev/davinci_manager", "/dev/devmm_svm",
                                "/dev/hisi_hdc"};

/* Rows of data: whoever sells another kind of machine adds one, not code. */
static const struct device_class builtin[] = {
    {.name = "cpu", .vendor = "", .detect = DEVICE_DETECT_CPU},
    {.name = "gpu",
     .vendor = "nvidia",
     .detect = DEVICE_DETECT_PROBE,
     .nodes = {nvidia_nodes, N_OF(nvidia_nodes)},
     .shared = {nvidia_shared, N_OF(nvidia_shared)},
     .visible_var = "CUDA_VISIBLE_DEVICES",
     .visible_by = "uuid"},
    {.name = "gpu",
     .vendor = "amd",
     .detect = DEVICE_DETECT_PCI,
     .shared = {amd_shared, N_OF(amd_shared)},
     .pci = {amd_pci, N_OF(amd_pci)},
     .visible_var = "HIP_VISIBLE_DEVICES",
     .visible_by = "index"},
    {.name = "npu",
     .vendor = "huawei",
     .detect = DEVICE_DETECT_NODES,
     .nodes = {ascend_nodes, N_OF(ascend_nodes)},
     .shared = {ascend_shared, N_OF(ascend_shared)},
     .visible_var = "ASCEND_RT_VISIBLE_DEVICES",
     .visible_by = "index",
     .type = "ascend"},
};

const struct device_class *
device_classes_builtin(size_t *n)
{
    *n = N_OF(builtin);
    return builtin;
}

void
device_class_free(struct device_class *c)
{
    free(c->name);
    free(c->vendor);
    free(c->visible_var);
    free(c->visible_by);
    free(c->type);
    strings_free(&c->nodes);
    strings_free(&c->shared);
    strings_free(&c->pci);
    memset(c, 0, sizeof *c);
}

/* [A-Za-z0-9_.-]{1,64}: these words become file names and fields with spaces between. */
static bool
is_word(const char *s)
{
    size_t n = strlen(s);

    return n > 0 && n <= 64 &&
           strspn(s,
                  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") ==
               n;
}

static int
take_word(const struct rec *r, const char *key, bool needed, char **out, struct err *e)
{
    size_t len;
    const char *v = rec_get_bytes(r, key, &len);

    if (v == NULL && !needed) {
        return 0;
    }
    if (v == NULL || strlen(v) != len || !is_word(v)) {
        return err_set(e, ERR_INVALID, "%s: '%s' is missing or not a plain word",
                       rec_type(r), key);
    }
    *out = xstrdup(v);
    return 0;
}

static int
take_list(const struct rec *r, const char *key, const char *prefix, struct strings *out,
          struct err *e)
{
    size_t n = rec_count(r, key);

    if (n > LIST_MAX) {
        return err_set(e, ERR_RANGE, "%s: more than %d of '%s'", rec_type(r), LIST_MAX,
                       key);
    }
    for (size_t i = 0; i < n; i++) {
        size_t len;
        const char *v = rec_get_nth(r, key, i, &len);

        if (len == 0 || len > DEVICE_TEXT_MAX || strlen(v) != len ||
            strncmp(v, prefix, strlen(prefix)) != 0 || strstr(v, "..") != NULL) {
            return err_set(e, ERR_INVALID, "%s: a value of '%s' is not usable",
                           rec_type(r), key);
        }
        strings_add(out, v);
    }
    return 0;
}

static int
take_detect(const struct rec *r, struct device_class *c, struct err *e)
{
    const char *v;

    if (rec_need_str(r, "detect", &v, e) != 0) {
        return -1;
    }
    if (strcmp(v, "nodes") == 0 && c->nodes.n > 0) {
        c->detect = DEVICE_DETECT_NODES;
    } else if (strcmp(v, "pci") == 0 && c->pci.n > 0) {
        c->detect = DEVICE_DETECT_PCI;
    } else {
        return err_set(e, ERR_INVALID,
                       "%s: 'detect' must be nodes (with node=) or pci (with pci=)",
                       rec_type(r));
    }
    return 0;
}

int
device_class_parse(struct device_class *out, const struct rec *r, struct err *e)
{
    struct device_class c = {0};
    int rc = -1;

    if (strcmp(rec_type(r), DEVICE_CLASS_TAG) != 0) {
        err_set(e, ERR_VERSION, "'%s' is not a device class", rec_type(r));
        goto out;
    }
    if (take_word(r, "class", true, &c.name, e) != 0 ||
        take_word(r, "vendor", true, &c.vendor, e) != 0 ||
        take_word(r, "visible_var", false, &c.visible_var, e) != 0 ||
        take_word(r, "visible_by", false, &c.visible_by, e) != 0 ||
        take_word(r, "type", false, &c.type, e) != 0 ||
        take_list(r, "node", "/dev/", &c.nodes, e) != 0 ||
        take_list(r, "shared", "/dev/", &c.shared, e) != 0 ||
        take_list(r, "pci", "", &c.pci, e) != 0 || take_detect(r, &c, e) != 0) {
        goto out;
    }
    if (c.visible_by != NULL && strcmp(c.visible_by, "uuid") != 0 &&
        strcmp(c.visible_by, "index") != 0) {
        err_set(e, ERR_INVALID, "%s: 'visible_by' must be uuid or index", rec_type(r));
        goto out;
    }
    *out = c;
    memset(&c, 0, sizeof c);
    rc = 0;

out:
    device_class_free(&c);
    return rc;
}

/* ---- devices ---- */

struct text_field {
    const char *key;
    size_t offset;
};
static const struct text_field text_fields[] = {
    {"class", offsetof(struct device, device_class)},
    {"vendor", offsetof(struct device, vendor)},
    {"name", offsetof(struct device, name)},
    {"type", offsetof(struct device, type)},
    {"uuid", offsetof(struct device, uuid)},
    {"pci", offsetof(struct device, pci)},
    {"driver", offsetof(struct device, driver)},
    {"cuda_driver", offsetof(struct device, cuda_driver)},
    {"cuda_runtime", offsetof(struct device, cuda_runtime)},
    {"mig", offsetof(struct device, mig)},
    {"note", offsetof(struct device, note)},
};

static char **
text_at(struct device *d, size_t i)
{
    return (char **)((char *)d + text_fields[i].offset);
}

static const char *
text_of(const struct device *d, size_t i)
{
    return *(char *const *)((const char *)d + text_fields[i].offset);
}

static const char *const free_names[] = {[DEVICE_FREE_UNKNOWN] = "unknown",
                                         [DEVICE_FREE] = "free",
                                         [DEVICE_BUSY] = "busy",
                                         [DEVICE_BROKEN] = "broken",
                                         [DEVICE_RESERVED] = "reserved"};

const char *
device_free_name(enum device_free f)
{
    return (size_t)f < N_OF(free_names) ? free_names[f] : "unknown";
}

void
device_init(struct device *d)
{
    memset(d, 0, sizeof *d);
    for (size_t i = 0; i < N_OF(text_fields); i++) {
        *text_at(d, i) = xstrdup("");
    }
    d->usable = true;
    d->memory_used_bytes = d->busy_percent = d->n_processes = -1;
}

void
device_free(struct device *d)
{
    for (size_t i = 0; i < N_OF(text_fields); i++) {
        free(*text_at(d, i));
    }
    memset(d, 0, sizeof *d);
}

void
device_list_add(struct device_list *l, struct device *d)
{
    l->v = xrealloc(l->v, (l->n + 1) * sizeof *l->v);
    l->v[l->n++] = *d;
    memset(d, 0, sizeof *d);
}

void
device_list_free(struct device_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        device_free(&l->v[i]);
    }
    free(l->v);
    *l = (struct device_list){NULL, 0};
}

bool
device_is_shared(const struct device *d)
{
    return (d->state == DEVICE_FREE || d->state == DEVICE_RESERVED) && d->n_processes > 0;
}

struct rec *
device_encode(const struct device *d)
{
    struct rec *r = rec_new(DEVICE_TYPE_TAG);

    for (size_t i = 0; i < N_OF(text_fields); i++) {
        if (text_of(d, i)[0] != '\0') {
            rec_add(r, text_fields[i].key, text_of(d, i));
        }
    }
    rec_add_int(r, "index", d->index);
    rec_add_int(r, "memory_bytes", d->memory_bytes);
    if (d->cores != 0) {
        rec_add_int(r, "cores", d->cores);
    }
    if (d->memory_used_bytes >= 0) {
        rec_add_int(r, "memory_used_bytes", d->memory_used_bytes);
    }
    if (d->busy_percent >= 0) {
        rec_add_int(r, "busy_percent", d->busy_percent);
    }
    if (d->n_processes >= 0) {
        rec_add_int(r, "n_processes", d->n_processes);
    }
    rec_add(r, "usable", d->usable ? "yes" : "no");
    if (d->state != DEVICE_FREE_UNKNOWN) {
        rec_add(r, "state", device_free_name(d->state));
    }
    return r;
}

static int
parse_texts(struct device *d, const struct rec *r, struct err *e)
{
    for (size_t i = 0; i < N_OF(text_fields); i++) {
        size_t len;
        const char *v = rec_get_bytes(r, text_fields[i].key, &len);

        if (v == NULL) {
            continue;
        }
        if (len > DEVICE_TEXT_MAX || strlen(v) != len) {
            return err_set(e, ERR_INVALID, "a device's '%s' is too long or holds a NUL",
                           text_fields[i].key);
        }
        free(*text_at(d, i));
        *text_at(d, i) = xstrdup(v);
    }
    if (d->type[0] == '\0') {
        char type[DEVICE_TEXT_MAX + 1];

        device_type_of(d->name, d->memory_bytes, type);
        free(d->type);
        d->type = xstrdup(type);
    }
    return 0;
}

int
device_parse(struct device *out, const struct rec *r, struct err *e)
{
    struct device d;
    const char *usable = rec_get(r, "usable");
    const char *state = rec_get(r, "state");
    int rc = -1;

    device_init(&d);
    if (strcmp(rec_type(r), DEVICE_TYPE_TAG) != 0) {
        err_set(e, ERR_VERSION, "'%s' is not a device", rec_type(r));
        goto out;
    }
    if (rec_opt_int(r, "index", -1, DEVICE_MAX, 0, &d.index, e) != 0 ||
        rec_opt_int(r, "memory_bytes", 0, INT64_MAX, 0, &d.memory_bytes, e) != 0 ||
        rec_opt_int(r, "memory_used_bytes", -1, INT64_MAX, -1, &d.memory_used_bytes, e) !=
            0 ||
        rec_opt_int(r, "busy_percent", -1, 100, -1, &d.busy_percent, e) != 0 ||
        rec_opt_int(r, "n_processes", -1, INT32_MAX, -1, &d.n_processes, e) != 0 ||
        rec_opt_int(r, "cores", 0, SPEC_COUNT_MAX * 16, 0, &d.cores, e) != 0 ||
        parse_texts(&d, r, e) != 0) {
        goto out;
    }
    /* class, type and uuid become words of records and names of files */
    if (!is_word(d.device_class) || !is_word(d.uuid) || !is_word(d.type)) {
        err_set(e, ERR_INVALID, "a device has no usable class, type or uuid");
        goto out;
    }
    d.usable = usable == NULL || strcmp(usable, "no") != 0;
    for (size_t i = 0; state != NULL && i < N_OF(free_names); i++) {
        if (strcmp(state, free_names[i]) == 0) {
            d.state = (enum device_free)i;
        }
    }
    *out = d;
    memset(&d, 0, sizeof d);
    rc = 0;

out:
    device_free(&d);
    return rc;
}

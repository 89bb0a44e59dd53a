#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/text.h"
#include "runner/host/devices_internal.h"

#define ROW_MAX     ((size_t)64 * 1024)
#define SMALL_MAX   ((size_t)4096)
#define PCI_DIR     "/sys/bus/pci/devices"
#define ADDRESS_MAX 64

/* ---- reading rows ---- */

/* Owners write these by hand: comments and empty lines are not of the record. */
static int
read_row(struct rec **out, const char *path, struct err *e)
{
    struct buf text = BUF_INIT;
    struct buf record = BUF_INIT;
    const char *at;
    int rc = -1;

    if (file_read(path, ROW_MAX, &text, e) != 0) {
        goto out;
    }
    at = buf_str(&text);
    while (*at != '\0') {
        size_t n = strcspn(at, "\n");

        if (n > 0 && at[0] != '#') {
            buf_add(&record, at, n);
            buf_add_str(&record, "\n");
        }
        at += n;
        at += *at == '\n' ? 1 : 0;
    }
    rc = rec_parse(out, record.data, record.len, DEVICE_CLASS_TAG, e);

out:
    buf_free(&text);
    buf_free(&record);
    return rc;
}

static int
add_file(struct device_rows *rows, const char *path, struct err *e)
{
    struct rec *r = NULL;
    struct device_class c;
    int rc = -1;

    if (rows->n == DEVICE_CLASSES_MAX) {
        return err_set(e, ERR_RANGE, "more than %d device classes", DEVICE_CLASSES_MAX);
    }
    if (read_row(&r, path, e) != 0 || device_class_parse(&c, r, e) != 0) {
        err_wrap(e, "device class '%s'", path);
        goto out;
    }
    rows->owned = xrealloc(rows->owned, (rows->n_owned + 1) * sizeof *rows->owned);
    rows->owned[rows->n_owned++] = c;
    rc = 0;

out:
    rec_free(r);
    return rc;
}

static int
add_dir(struct device_rows *rows, const char *dir, struct err *e)
{
    char *pattern = path_join(dir, "*.conf");
    glob_t g;
    int rc = 0;

    if (glob(pattern, 0, NULL, &g) == 0) {
        for (size_t i = 0; i < g.gl_pathc && rc == 0; i++) {
            rc = add_file(rows, g.gl_pathv[i], e);
        }
        globfree(&g);
    }
    free(pattern);
    return rc;
}

/* PREFIX/share/gpurun/devices.d, seen from PREFIX/lib/gpurun/agent/ARCH or PREFIX/bin. */
static int
add_installed(struct device_rows *rows, struct err *e)
{
    static const char *const ups[] = {"../share/gpurun/devices.d",
                                      "../../../../share/gpurun/devices.d", NULL};
    char exe[4096];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);

    if (n <= 0) {
        return 0;
    }
    exe[n] = '\0';
    *strrchr(exe, '/') = '\0';
    for (size_t i = 0; ups[i] != NULL; i++) {
        char *dir = path_join(exe, ups[i]);
        bool there = access(dir, R_OK) == 0;
        int rc = there ? add_dir(rows, dir, e) : 0;

        free(dir);
        if (there || rc != 0) {
            return rc;
        }
    }
    return 0;
}

int
device_rows_load(struct device_rows *out, const struct agent *a, struct err *e)
{
    struct device_rows rows = {.n = 0};
    const struct device_class *builtin = device_classes_builtin(&rows.n);
    char *dir = agent_path(a, "devices.d");
    int rc = -1;

    for (size_t i = 0; i < rows.n; i++) {
        rows.v[i] = &builtin[i];
    }
    if (add_installed(&rows, e) != 0 || add_dir(&rows, dir, e) != 0) {
        device_rows_free(&rows);
        goto out;
    }
    for (size_t i = 0; i < rows.n_owned && rows.n < DEVICE_CLASSES_MAX; i++) {
        rows.v[rows.n++] = &rows.owned[i];
    }
    *out = rows;
    rc = 0;

out:
    free(dir);
    return rc;
}

void
device_rows_free(struct device_rows *r)
{
    for (size_t i = 0; i < r->n_owned; i++) {
        device_class_free(&r->owned[i]);
    }
    free(r->owned);
    memset(r, 0, sizeof *r);
}

/* ---- finding ---- */

/* Letters, digits, '.', '-' and '_' stay: the text becomes a file name. */
static void
make_word(char *text)
{
    for (; *text != '\0'; text++) {
        if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-",
                   *text) == NULL) {
            *text = '-';
        }
    }
}

static void
fill(struct device *d, const struct device_class *c, const char *name, const char *uuid,
     int64_t index)
{
    char type[DEVICE_TEXT_MAX + 1];
    char *word = xasprintf("%s-%s", c->vendor, uuid);

    device_init(d);
    make_word(word);
    device_text(&d->device_class, c->name);
    device_text(&d->vendor, c->vendor);
    device_text(&d->name, name);
    device_text(&d->uuid, word);
    device_type_of(name, 0, type);
    device_text(&d->type, c->type != NULL ? c->type : type);
    d->index = index;
    free(word);
}

void
device_find_nodes(const struct device_class *c, struct device_list *l)
{
    for (size_t i = 0; i < c->nodes.n; i++) {
        glob_t g;

        if (glob(c->nodes.v[i], 0, NULL, &g) != 0) {
            continue;
        }
        for (size_t k = 0; k < g.gl_pathc && l->n < DEVICE_MAX; k++) {
            const char *base = strrchr(g.gl_pathv[k], '/') + 1;
            const char *digits = base + strcspn(base, "0123456789");
            /* Where nothing tells what they are, /dev/acme3 and /dev/acme5 are two acme.
             */
            char *kind = xasprintf("%.*s", (int)(digits - base), base);
            struct device d;

            fill(&d, c, c->type != NULL ? c->type : kind, base,
                 *digits == '\0' ? (int64_t)k : strtoll(digits, NULL, 10));
            free(kind);
            device_list_add(l, &d);
        }
        globfree(&g);
    }
}

/* A one-line file beneath a PCI device; "" where there is none. */
static void
pci_file(const char *address, const char *name, char out[DEVICE_TEXT_MAX + 1])
{
    char path[256];
    struct buf b = BUF_INIT;
    struct err none;

    out[0] = '\0';
    (void)snprintf(path, sizeof path, PCI_DIR "/%s/%s", address, name);
    if (file_read(path, SMALL_MAX, &b, &none) == 0 && b.len > 0) {
        (void)snprintf(out, DEVICE_TEXT_MAX + 1, "%.*s",
                       (int)strcspn((const char *)b.data, "\n"), (const char *)b.data);
    }
    buf_free(&b);
}

static bool
pci_fits(const struct device_class *c, const char *address)
{
    char vendor[DEVICE_TEXT_MAX + 1];
    char device[DEVICE_TEXT_MAX + 1];
    char id[2 * DEVICE_TEXT_MAX + 2];
    char kind[DEVICE_TEXT_MAX + 1];

    /* Displays and processing accelerators; a vendor makes bridges and audio too. All
     * else (hundreds of functions on a server) costs one file. */
    pci_file(address, "class", kind);
    if (strncmp(kind, "0x03", 4) != 0 && strncmp(kind, "0x12", 4) != 0) {
        return false;
    }
    pci_file(address, "vendor", vendor);
    pci_file(address, "device", device);
    (void)snprintf(id, sizeof id, "%s:%s",
                   strncmp(vendor, "0x", 2) == 0 ? vendor + 2 : "",
                   strncmp(device, "0x", 2) == 0 ? device + 2 : "");
    for (size_t i = 0; i < c->pci.n; i++) {
        if (text_glob(c->pci.v[i], id)) {
            return true;
        }
    }
    return false;
}

static int
by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Addresses that fit, in the order of the bus: a vendor's own numbering follows it. */
static void
find_addresses(const struct device_class *c, struct strings *out)
{
    DIR *dir = opendir(PCI_DIR);
    struct dirent *de;

    while (dir != NULL && (de = readdir(dir)) != NULL && out->n < DEVICE_MAX) {
        if (de->d_name[0] != '.' && strlen(de->d_name) <= ADDRESS_MAX &&
            pci_fits(c, de->d_name)) {
            strings_add(out, de->d_name);
        }
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
    if (out->n > 1) {
        qsort(out->v, out->n, sizeof *out->v, by_name);
    }
}

void
device_find_pci(const struct device_class *c, struct device_list *l)
{
    struct strings found = {NULL, 0};

    find_addresses(c, &found);
    for (size_t i = 0; i < found.n && l->n < DEVICE_MAX; i++) {
        const char *address = found.v[i];
        char name[DEVICE_TEXT_MAX + 1];
        char unique[DEVICE_TEXT_MAX + 1];
        char memory[DEVICE_TEXT_MAX + 1];
        struct device d;

        pci_file(address, "product_name", name);
        pci_file(address, "unique_id", unique);
        pci_file(address, "mem_info_vram_total", memory);
        if (name[0] == '\0') {
            char id[DEVICE_TEXT_MAX + 1];

            pci_file(address, "device", id);
            (void)snprintf(name, sizeof name, "%.32s %.64s", c->vendor, id);
        }
        fill(&d, c, name, unique[0] != '\0' ? unique : address, (int64_t)i);
        device_text(&d.pci, address);
        d.memory_bytes = strtoll(memory, NULL, 10);
        device_list_add(l, &d);
    }
    strings_free(&found);
}

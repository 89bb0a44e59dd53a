#ifndef RUNNER_HOST_DEVICES_INTERNAL_H
#define RUNNER_HOST_DEVICES_INTERNAL_H

#include "runner/host/devices.h"

/* The rows in force: built in, then devices.d beside the program and in the agent's home.
 */
struct device_rows {
    const struct device_class *v[DEVICE_CLASSES_MAX];
    size_t n;
    struct device_class *owned; /* those that were read from files */
    size_t n_owned;
};

/* ERR_INVALID names the file whose row is wrong. */
int device_rows_load(struct device_rows *out, const struct agent *a,
                     struct err *e) MUST_USE;
void device_rows_free(struct device_rows *r);

void device_find_nodes(const struct device_class *c, struct device_list *l);
void device_find_pci(const struct device_class *c, struct device_list *l);

/* Replace a text field of a device. */
void device_text(char **field, const char *text);

#endif

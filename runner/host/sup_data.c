#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "runner/host/datasets.h"
#include "runner/host/supervise_internal.h"

/* One data set that the job sees, in the order of the specification. */
struct sup_data {
    char *path;
    int lock_fd; /* while it is open nobody removes the files */
};

int
sup_data_place(struct sup *s, struct err *e)
{
    s->data = xcalloc(s->spec.data.n + 1, sizeof *s->data);
    for (size_t i = 0; i < s->spec.data.n; i++) {
        struct spec_data d;

        if (spec_data_parse(&d, s->spec.data.v[i], e) != 0 ||
            datasets_open(s->renter, &d.tree, &s->data[i].path, &s->data[i].lock_fd, e) !=
                0) {
            return err_wrap(e, "data set");
        }
        s->n_data++;
        if (datasets_link(s->workdir, d.path, s->data[i].path, e) != 0) {
            return -1;
        }
    }
    return 0;
}

void
sup_data_walls(const struct sup *s, struct rec *walls)
{
    for (size_t i = 0; i < s->n_data; i++) {
        rec_add(walls, "show_ro", s->data[i].path);
        rec_add(walls, "ro", s->data[i].path);
    }
}

void
sup_data_unlink(struct sup *s)
{
    for (size_t i = 0; i < s->n_data; i++) {
        struct spec_data d;
        struct err none;

        if (spec_data_parse(&d, s->spec.data.v[i], &none) == 0) {
            datasets_unlink(s->workdir, d.path, s->data[i].path);
        }
    }
}

void
sup_data_free(struct sup *s)
{
    for (size_t i = 0; i < s->n_data; i++) {
        free(s->data[i].path);
        (void)fd_close(&s->data[i].lock_fd);
    }
    free(s->data);
    s->data = NULL;
    s->n_data = 0;
}

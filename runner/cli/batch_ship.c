#include <stdlib.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/lang.h"
#include "runner/cli/batch_internal.h"
#include "runner/cli/out.h"

/*
 * The directories of a batch: read once for each host, whoever starts from them. What has
 * changed when it was to be sent is read anew, a few times.
 */

int
batch_ship(struct batch_job *j, struct batch_host *h, struct ship **out,
           const struct build_report **report, struct err *e)
{
    struct batch *b = j->b;
    struct batch_root *root = j->root;
    const struct run_request *like = root->like;
    struct ship_options o = {
        .dir = like->script.root,
        .with_git = like->with_git,
        .allow_home = like->script.named,
        .for_job = true,
        .with = (const char *const *)like->with.v,
        .n_with = like->with.n,
    };

    if (root->ships == NULL) {
        root->ships = xcalloc(b->n_hosts + 1, sizeof(struct ship *));
        root->n_changed = xcalloc(b->n_hosts + 1, sizeof *root->n_changed);
        root->wall_ns = clock_wall_ns();
    }
    if (root->n_changed[h->at] >= BATCH_READS_MAX) {
        *e = root->changed;
        return -1;
    }
    if (root->ships[h->at] == NULL &&
        ship_start(&root->ships[h->at], b->cl, &o, e) != 0) {
        return -1;
    }
    *out = root->ships[h->at];
    if (ship_has_changed(*out)) { /* others still hear of that: not now */
        (void)ship_state(*out, e);
        return -1;
    }
    return ship_wait_built(*out, report, e);
}

void
batch_free_ships(struct batch *b)
{
    for (size_t i = 0; i < b->n_roots; i++) {
        for (size_t k = 0; b->roots[i].ships != NULL && k < b->n_hosts; k++) {
            ship_free(b->roots[i].ships[k]);
        }
        free(b->roots[i].ships);
        free(b->roots[i].n_changed);
    }
}

/* ---- what changed meanwhile ---- */

static struct ship *
ship_of(const struct batch_job *j)
{
    return j->root->ships[j->host->at];
}

bool
batch_has_changed(const struct batch_job *j)
{
    return ship_has_changed(ship_of(j));
}

bool
batch_is_awaited(const struct batch_job *j)
{
    const struct batch *b = j->b;

    for (size_t i = 0; i < b->n; i++) {
        const struct batch_job *k = &b->jobs[i];

        if (k->stage == BATCH_SENT && !k->refused && k->host == j->host &&
            k->root == j->root) {
            return true;
        }
    }
    return false;
}

bool
batch_may_read_again(const struct batch_job *j)
{
    return j->root->n_changed[j->host->at] + 1 < BATCH_READS_MAX;
}

int
batch_wrap_changed(struct err *e)
{
    return err_wrap(e, _("read %d times, and each time"), BATCH_READS_MAX);
}

static void
forget_ship(struct batch *b, struct batch_root *root, size_t at)
{
    unsigned n = ++root->n_changed[at];

    (void)ship_state(root->ships[at], &root->changed);
    if (n < BATCH_READS_MAX) {
        say(b->c, _("%s; it is read again (%u of %d)"), root->changed.msg, n + 1,
            BATCH_READS_MAX);
    } else {
        batch_wrap_changed(&root->changed);
    }
    ship_free(root->ships[at]);
    root->ships[at] = NULL;
}

void
batch_read_anew(struct batch *b)
{
    for (size_t i = 0; i < b->n_roots; i++) {
        struct batch_root *root = &b->roots[i];

        for (size_t k = 0; root->ships != NULL && k < b->n_hosts; k++) {
            bool awaited = false;

            if (root->ships[k] == NULL || !ship_has_changed(root->ships[k])) {
                continue;
            }
            for (size_t n = 0; n < b->n && !awaited; n++) {
                awaited = b->jobs[n].root == root && b->jobs[n].host == &b->hosts[k] &&
                          b->jobs[n].stage == BATCH_SENT;
            }
            if (!awaited) {
                forget_ship(b, root, k);
            }
        }
    }
}

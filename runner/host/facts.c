#include "runner/host/facts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "runner/host/cgroup.h"
#include "runner/host/devices.h"
#include "runner/host/guard.h"
#include "runner/host/jobdir.h"
#include "runner/host/offers.h"
#include "runner/host/park.h"
#include "runner/host/reservations.h"
#include "runner/host/sandbox.h"
#include "runner/host/supervise.h"

#define WALLS_TYPE "gpurun.walls.found.v1"
#define WALLS_MAX  ((size_t)64 * 1024)

/* ---- walls ---- */

/* By doing it, in a process of its own: trying changes what this one is. */
static enum sandbox_spaces
try_spaces(void)
{
    enum sandbox_spaces got = SANDBOX_SPACES_NONE;
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        struct guard *g = NULL;
        struct err none;
        int code = guard_start(&g, &none) == 0 ? (int)guard_spaces(g) : 0;

        guard_free(g);
        _exit(code);
    }
    if (pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status)) {
        got = (enum sandbox_spaces)WEXITSTATUS(status);
    }
    return got;
}

static void
find_walls(struct facts_walls *w)
{
    enum sandbox_spaces spaces = try_spaces();
    bool landlock = sandbox_landlock_abi() > 0;
    enum cgroup_kind group = cgroup_probe();

    memset(w, 0, sizeof *w);
    (void)snprintf(w->confine, sizeof w->confine, "%s", sandbox_spaces_name(spaces));
    (void)snprintf(w->memory_by, sizeof w->memory_by, "%s",
                   group == CGROUP_NONE ? "watch" : cgroup_kind_name(group));
    if (spaces == SANDBOX_SPACES_NONE && !landlock) {
        w->protection = HOST_PROTECTION_NONE;
        (void)snprintf(w->why, sizeof w->why,
                       N_("neither name spaces nor Landlock are allowed here"));
    } else if (spaces == SANDBOX_SPACES_NONE) {
        w->protection = HOST_PROTECTION_NONE;
        (void)snprintf(
            w->why, sizeof w->why,
            N_("no mount name space is allowed here, so a login user's own job can "
               "reach the agent's files"));
    } else if (!landlock) {
        w->protection = HOST_PROTECTION_PARTIAL;
        (void)snprintf(w->why, sizeof w->why, N_("this kernel has no Landlock"));
    } else if (geteuid() == 0) {
        w->protection = HOST_PROTECTION_PARTIAL;
        (void)snprintf(w->why, sizeof w->why,
                       N_("jobs of the login user run as root and can read raw devices"));
    } else {
        w->protection = HOST_PROTECTION_FULL;
    }
}

/* Which boot and which program the answer is for. */
static void
walls_key(char out[160])
{
    char boot[BOOT_ID_LEN + 1];
    struct stat sb = {0};

    clock_boot_id(boot);
    (void)stat("/proc/self/exe", &sb);
    (void)snprintf(out, 160, "%s %u %lld %lld", boot, (unsigned)geteuid(),
                   (long long)sb.st_ino, (long long)sb.st_mtim.tv_sec);
}

static bool
load_walls(const struct agent *a, const char *key, struct facts_walls *w)
{
    struct buf b = BUF_INIT;
    struct rec *r = NULL;
    struct err none;
    int64_t level;
    bool ok = false;

    memset(w, 0, sizeof *w);
    if (file_read_at(a->home_fd, "walls", WALLS_MAX, &b, &none) == 0 &&
        rec_parse(&r, b.data, b.len, WALLS_TYPE, &none) == 0 &&
        rec_get(r, "key") != NULL && strcmp(rec_get(r, "key"), key) == 0 &&
        rec_need_int(r, "protection", 0, HOST_PROTECTION_FULL, &level, &none) == 0 &&
        rec_has(r, "why") && rec_has(r, "confine") && rec_has(r, "memory_by")) {
        w->protection = (enum host_protection)level;
        (void)snprintf(w->why, sizeof w->why, "%s", rec_get(r, "why"));
        (void)snprintf(w->confine, sizeof w->confine, "%s", rec_get(r, "confine"));
        (void)snprintf(w->memory_by, sizeof w->memory_by, "%s", rec_get(r, "memory_by"));
        ok = true;
    }
    rec_free(r);
    buf_free(&b);
    return ok;
}

static void
store_walls(const struct agent *a, const char *key, const struct facts_walls *w)
{
    struct rec *r = rec_new(WALLS_TYPE);
    struct buf b = BUF_INIT;
    struct err none;

    rec_add(r, "key", key);
    rec_add_int(r, "protection", w->protection);
    rec_add(r, "why", w->why);
    rec_add(r, "confine", w->confine);
    rec_add(r, "memory_by", w->memory_by);
    rec_encode(r, &b);
    (void)!file_replace_at(a->home_fd, "walls", b.data, b.len, &none);
    buf_free(&b);
    rec_free(r);
}

void
facts_walls(const struct agent *a, bool fresh, struct facts_walls *out)
{
    char key[160];

    walls_key(key);
    if (fresh || !load_walls(a, key, out)) {
        find_walls(out);
        store_walls(a, key, out);
    }
}

/* ---- the record ---- */

/* What a job holds of the cores, which are shared: a card's has what the others leave. */
static void
take_cores(void *ctx, const struct renter *r, const struct job_state *st)
{
    int64_t *n = ctx;

    (void)r;
    if (st->phase == JOB_SETUP) {
        *n += SUP_SETUP_CORES;
    } else if (st->phase < JOB_SNAPSHOTTING && st->n_devices > 0 &&
               strcmp(st->devices[0].device_class, "cpu") == 0) {
        *n += st->count;
    }
}

/* They may be more than there are: nobody is refused for want of them. */
static int64_t
count_free_cores(const struct agent *a, int64_t cores)
{
    int64_t taken = 0;
    struct err none;

    (void)!jobdir_each(a, false, take_cores, &taken, &none);
    return taken < cores ? cores - taken : 0;
}

static void
fill_machine(struct host_info *h, const struct agent *a)
{
    struct statvfs v;
    struct utsname u;

    if (uname(&u) == 0) {
        h->hostname = xstrdup(u.nodename);
        h->arch = xstrdup(u.machine);
        h->os = xasprintf("%s %s", u.sysname, u.release);
    } else {
        h->arch = xstrdup("unknown");
    }
    if (fstatvfs(a->home_fd, &v) == 0) {
        h->disk_free_bytes = (int64_t)((uint64_t)v.f_bavail * v.f_frsize);
    }
    h->cores = devices_cores();
    h->cores_free = count_free_cores(a, h->cores);
    h->mem_bytes = devices_mem_bytes();
    h->wall_ns = clock_wall_ns();
    h->boot_ns = clock_boot_ns();
    h->root = geteuid() == 0;
}

/*
 * That this machine will go, everybody may know. By which command only the login user
 * may: it is theirs, and may hold what opens a provider's console.
 */
static void
fill_park(struct host_info *h, const struct agent *a, const struct renter *r)
{
    struct err e;

    if (park_look(a, &h->park, &e) != 0) {
        h->park.phase = PARK_FAILED;
        h->park.at_wall_ns = h->wall_ns;
        park_set_why(&h->park, &e);
    }
    if (r != NULL && r->confined) {
        park_set_text(&h->park.command, NULL);
        park_set_why(&h->park, NULL);
    }
}

/*
 * An answer of the probe that is kept may tell of a job that has ended since. Who really
 * computes beside us is worth asking: the driver is awake then, and answers at once.
 */
static int
list_devices(const struct agent *a, bool fresh, struct device_list *out, struct err *e)
{
    bool doubtful = false;

    if (devices_list(a, fresh, out, NULL, e) != 0) {
        return -1;
    }
    devices_look(a, out);
    for (size_t i = 0; !fresh && i < out->n; i++) {
        doubtful = doubtful || device_is_shared(&out->v[i]);
    }
    if (!doubtful) {
        return 0;
    }
    device_list_free(out);
    return list_devices(a, true, out, e);
}

int
facts_fill(struct host_info *out, const struct agent *a, const struct renter *r,
           bool fresh, struct err *e)
{
    struct host_info h;
    struct facts_walls walls;
    struct offer *offer = NULL;
    int rc = -1;

    hostinfo_init(&h);
    h.key = a->pub;
    h.version = xstrdup(GPURUN_VERSION);
    fill_machine(&h, a);
    facts_walls(a, false, &walls);
    h.protection = walls.protection;
    h.protection_why = walls.why[0] == '\0' ? NULL : xstrdup(walls.why);
    h.confine = xstrdup(walls.confine);
    h.memory_by = xstrdup(walls.memory_by);
    if (r != NULL) {
        memcpy(h.renter, r->id, sizeof h.renter);
        h.renter_name = r->name[0] == '\0' ? NULL : xstrdup(r->name);
        h.has_store = faccessat(r->fd, "store", F_OK, 0) == 0;
    }
    if (list_devices(a, fresh, &h.devices, e) != 0) {
        goto out;
    }
    if (reservations_mark(a, &h.devices, e) != 0) {
        goto out;
    }
    if (offers_current(&offer, a, r, &h.devices, e) != 0) {
        goto out;
    }
    fill_park(&h, a, r);
    h.offer = xmemdup(offer->bytes.data, offer->bytes.len);
    h.offer_len = offer->bytes.len;
    *out = h;
    hostinfo_init(&h);
    rc = 0;

out:
    offer_free(offer);
    hostinfo_free(&h);
    return rc;
}

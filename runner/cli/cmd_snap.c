#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/cli/arrive.h"
#include "runner/cli/commands.h"
#include "runner/cli/context.h"
#include "runner/cli/due.h"
#include "runner/cli/find.h"
#include "runner/cli/landed.h"
#include "runner/cli/out.h"
#include "runner/cli/snapnotify.h"
#include "runner/cli/snapview.h"
#include "runner/client/bring.h"
#include "runner/client/place.h"
#include "runner/client/snaps.h"
#include "storage/manifest.h"

#define NS_PER_S ((int64_t)1000000000)

/* ---- ls ---- */

struct ls_options {
    bool all;
};

static const struct opt options_ls[] = {
    {"all", 'a', OPT_FLAG, offsetof(struct ls_options, all), NULL,
     N_("also those whose data is gone")},
    {NULL, 0, OPT_NONE, 0, NULL, NULL},
};

#define DAY_NS (86400 * NS_PER_S)

/* What goes within so many days, and how to keep it; how many. */
static int64_t
warn_within(const struct cli *c, const struct snap_infos *l, int days)
{
    int64_t now_ns = clock_wall_ns();
    int64_t first_ns = 0;
    int64_t n_soon = 0;
    const char *id = NULL;
    char when[OUT_TIME_MAX];
    char date[OUT_TIME_MAX];

    for (size_t at = 0, end; at < l->n; at = end) {
        int64_t goes_ns;

        end = snapview_copies(l, at);
        goes_ns = snapview_goes_at(l, at, end);
        if (goes_ns > 0 && goes_ns - now_ns < days * DAY_NS) {
            n_soon++;
            if (id == NULL || goes_ns < first_ns) {
                first_ns = goes_ns;
                id = l->v[at].id;
            }
        }
    }
    if (id == NULL) {
        return 0;
    }
    (void)out_when(first_ns, now_ns, when);
    (void)out_time(first_ns, date);
    if (days == 1) {
        say(c,
            _("snapshots that expire within a day: %" PRId64
              ", first %s %s (%s); `gpurun "
              "snap keep %s --days N` keeps it"),
            n_soon, id, when, date, id);
    } else {
        say(c,
            _("snapshots that expire within %d days: %" PRId64 ", first %s %s (%s); "
              "`gpurun snap keep %s --days N` keeps it"),
            days, n_soon, id, when, date, id);
    }
    return n_soon;
}

/* The nearer warning speaks for both, unless there is more in the further one. */
static void
warn_of_expiry(const struct cli *c, const struct snap_infos *l)
{
    int64_t n_day = warn_within(c, l, 1);
    int64_t n_days = 0;
    int64_t now_ns = clock_wall_ns();

    for (size_t at = 0, end; at < l->n; at = end) {
        int64_t goes_ns;

        end = snapview_copies(l, at);
        goes_ns = snapview_goes_at(l, at, end);
        if (goes_ns > 0 && goes_ns - now_ns < 3 * DAY_NS) {
            n_days++;
        }
    }
    if (n_day == 0) {
        (void)warn_within(c, l, 3);
    } else if (n_days > n_day) {
        say(c, _("and %" PRId64 " more within 3 days"), n_days - n_day);
    }
}

/* Hosts whose clock is not believed: a line each. */
static void
say_doubts(const struct cli *c, const struct buf *doubts)
{
    const char *line = buf_str(doubts);

    while (*line != '\0') {
        size_t len = strcspn(line, "\n");

        say(c, "%.*s", (int)len, line);
        line += len + (line[len] == '\n');
    }
}

static int
run_ls(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    const struct ls_options *o = options;
    struct client cl = {.loop = NULL};
    struct snap_infos l = {NULL, 0};
    struct place *p = NULL;
    struct buf silent = BUF_INIT;
    struct buf doubts = BUF_INIT;
    struct buf out = BUF_INIT;
    int rc = -1;

    (void)w;
    c->stage = STAGE_TRYING;
    if (context_open(&cl, c, e) == 0 && find_ask_hosts(&cl, &p, e) == 0) {
        find_snapshots_at(c, p, o->all, NULL, &l, &silent, &doubts);
        if (c->g.json) {
            snapview_list_json(&out, c->home, &l, buf_str(&silent), buf_str(&doubts));
        } else {
            snapview_list(&out, &l);
        }
        rc = out_write(&out, e);
        warn_of_expiry(c, &l);
        snapnotify(c, &cl, &l);
        say_doubts(c, &doubts);
        due_pay_place(c, &cl, p);
    }
    place_free(p);
    context_close(&cl);
    snap_infos_free(&l);
    buf_free(&silent);
    buf_free(&doubts);
    buf_free(&out);
    return rc;
}

/* ---- show, files ---- */

static int
run_show(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    struct client cl = {.loop = NULL};
    struct data_ref ref = {.session = NULL};
    struct snap_info again;
    struct manifest *m = NULL;
    struct buf signed_bytes = BUF_INIT;
    struct buf out = BUF_INIT;
    int rc = -1;

    (void)options;
    snap_info_init(&again);
    if (context_open(&cl, c, e) == 0 && find_data(c, &cl, w->v[0], false, &ref, e) == 0 &&
        snaps_show(ref.session, ref.snapshot, &again, &signed_bytes, e) == 0 &&
        manifest_parse(&m, signed_bytes.data, signed_bytes.len, e) == 0) {
        if (c->g.json) {
            snapview_page_json(&out, &again, m);
        } else {
            snapview_page(&out, &again, m);
        }
        rc = out_write(&out, e);
    }
    manifest_free(m);
    snap_info_free(&again);
    buf_free(&signed_bytes);
    data_ref_close(&ref);
    context_close(&cl);
    buf_free(&out);
    return rc;
}

static int
run_files(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    struct client cl = {.loop = NULL};
    struct data_ref ref = {.session = NULL};
    struct buf listing = BUF_INIT;
    struct bring_want want = {.snapshot = NULL};
    int rc = -1;

    (void)options;
    if (context_open(&cl, c, e) == 0 && find_data(c, &cl, w->v[0], true, &ref, e) == 0) {
        want.snapshot = ref.snapshot[0] != '\0' ? ref.snapshot : NULL;
        want.job = ref.job;
        if (bring_listing(&cl, ref.session, &want, &listing, e) == 0) {
            rc = snapview_files(c, &listing, e);
        }
    }
    data_ref_close(&ref);
    context_close(&cl);
    buf_free(&listing);
    return rc;
}

/* ---- get ---- */

struct get_options {
    const char *out;
    bool exact;
};

static const struct opt options_get[] = {
    {"out", 'o', OPT_STR, offsetof(struct get_options, out), "DIR",
     N_("put it there (default: the snapshot's name, or PATH's last one, here)")},
    {"exact", 0, OPT_FLAG, offsetof(struct get_options, exact), NULL,
     N_("owners, setuid bits and device nodes too: as root, from a host you trust")},
    {NULL, 0, OPT_NONE, 0, NULL, NULL},
};

/* What the data is called when nobody says. */
static char *
default_target(const struct data_ref *ref, const char *path)
{
    if (path != NULL) {
        const char *slash = strrchr(path, '/');

        return xstrdup(slash != NULL ? slash + 1 : path);
    }
    if (ref->info.name != NULL && ref->info.name[0] != '.' &&
        strchr(ref->info.name, '/') == NULL) {
        return xstrdup(ref->info.name);
    }
    return xstrdup(ref->snapshot);
}

static int
check_target(const char *target, struct err *e)
{
    char shown[200];

    if (file_exists(target)) {
        return err_set(e, ERR_EXISTS, _("'%s' is there already; -o names another place"),
                       text_escape_to(shown, sizeof shown, target));
    }
    return 0;
}

static int
get_to(struct cli *c, struct client *cl, struct data_ref *ref, const char *path,
       const char *target, bool exact, struct extract_report *report, struct err *e)
{
    struct bring_want want = {.snapshot = ref->snapshot, .path = path};
    struct land_options lo = {
        .exact = exact, .elsewhere = _("-o names another place"), .report = report};

    return arrive(c, cl, ref, &want, target, &lo, e);
}

/* A path as typed: no leading or trailing slash. */
static char *
trim_path(const char *path)
{
    size_t len;

    while (*path == '/') {
        path++;
    }
    while (strncmp(path, "./", 2) == 0) {
        path += 2;
    }
    len = strlen(path);
    while (len > 0 && path[len - 1] == '/') {
        len--;
    }
    if (len == 0 || (len == 1 && path[0] == '.')) {
        return NULL;
    }
    return xasprintf("%.*s", (int)len, path);
}

static int
print_target(const struct cli *c, const struct data_ref *ref, const char *target,
             const struct extract_report *report, struct err *e)
{
    struct buf out = BUF_INIT;
    int rc;

    if (c->g.json) {
        struct json_writer j = json_to(&out);

        json_obj(&j);
        json_kstr(&j, "id", ref->snapshot);
        json_kname(&j, "path", target, strlen(target));
        landed_json(&j, report);
        json_obj_end(&j);
    } else {
        text_escape(&out, target, strlen(target));
    }
    buf_add_str(&out, "\n");
    rc = out_write(&out, e);
    buf_free(&out);
    return rc;
}

static int
run_get(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    const struct get_options *o = options;
    struct client cl = {.loop = NULL};
    struct data_ref ref = {.session = NULL};
    struct extract_report report = {.n_lost_metadata = 0};
    char *path = w->n > 1 ? trim_path(w->v[1]) : NULL;
    char *target = NULL;
    int rc = -1;

    if ((o->out != NULL && check_target(o->out, e) != 0) ||
        context_open(&cl, c, e) != 0 || find_data(c, &cl, w->v[0], false, &ref, e) != 0) {
        goto out;
    }
    target = o->out != NULL ? xstrdup(o->out) : default_target(&ref, path);
    if (check_target(target, e) == 0 &&
        get_to(c, &cl, &ref, path, target, o->exact, &report, e) == 0 &&
        landed_tell(c, &report, target, o->exact, e) == 0) {
        rc = print_target(c, &ref, target, &report, e);
    }

out:
    data_ref_close(&ref);
    context_close(&cl);
    free(target);
    free(path);
    return rc;
}

/* ---- the table ---- */

static const struct command sub_ls = {
    .name = "ls",
    .usage = N_("[-a]"),
    .help = N_("list the snapshots of all hosts, and until when they are kept"),
    .options = options_ls,
    .options_size = sizeof(struct ls_options),
    .run = run_ls,
};
static const struct command sub_show = {
    .name = "show",
    .usage = N_("SNAPSHOT"),
    .help = N_("where a snapshot comes from and what it holds"),
    .min_words = 1,
    .max_words = 1,
    .word = WORD_JOB_OR_SNAPSHOT,
    .run = run_show,
};
static const struct command sub_files = {
    .name = "files",
    .usage = N_("SNAPSHOT|JOB"),
    .help = N_("list the files of a snapshot, or of a job's directory now"),
    .min_words = 1,
    .max_words = 1,
    .word = WORD_JOB_OR_SNAPSHOT,
    .run = run_files,
};
static const struct command sub_get = {
    .name = "get",
    .usage = N_("SNAPSHOT [PATH] [-o DIR]"),
    .help = N_("bring a snapshot, or one file or folder of it, here"),
    .options = options_get,
    .options_size = sizeof(struct get_options),
    .min_words = 1,
    .max_words = 2,
    .word = WORD_JOB_OR_SNAPSHOT,
    .run = run_get,
};
static const struct command *const subs[] = {
    &sub_ls,          &sub_show,        &sub_files,   &sub_snap_diff,   &sub_get,
    &sub_snap_take,   &sub_snap_keep,   &sub_snap_rm, &sub_snap_verify, &sub_snap_export,
    &sub_snap_import, &sub_snap_mirror, NULL};

const struct command cmd_snap = {
    .name = "snap",
    .usage = N_("ls|show|files|get|diff|take|keep|rm|verify|export|import|mirror ..."),
    .help = N_("the data jobs left behind"),
    .subs = subs,
};

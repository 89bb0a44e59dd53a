#include "runner/client/hosts.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/lang.h"
#include "base/rec.h"
#include "base/text.h"
#include "meter/money.h"
#include "runner/job/device.h"
#include "runner/job/hostinfo.h"

#define HOST_RECORD "gpurun.hostconf.v1"
#define PORT_MAX    65535

void
host_init(struct host *h)
{
    memset(h, 0, sizeof *h);
}

void
host_free(struct host *h)
{
    for (size_t i = 0; i < h->n_env; i++) {
        free(h->env[i]);
    }
    for (size_t i = 0; i < h->n_prices; i++) {
        free(h->prices[i].type);
    }
    free(h->env);
    free(h->prices);
    free(h->name);
    free(h->address);
    free(h->user);
    free(h->identity);
    free(h->jump);
    free(h->agent_home);
    free(h->command);
    free(h->mirror);
    free(h->info);
    host_init(h);
}

static char *
dup_or_null(const char *s)
{
    return s != NULL ? xstrdup(s) : NULL;
}

void
host_copy(struct host *to, const struct host *from)
{
    *to = *from;
    to->name = dup_or_null(from->name);
    to->address = dup_or_null(from->address);
    to->user = dup_or_null(from->user);
    to->identity = dup_or_null(from->identity);
    to->jump = dup_or_null(from->jump);
    to->agent_home = dup_or_null(from->agent_home);
    to->command = dup_or_null(from->command);
    to->mirror = dup_or_null(from->mirror);
    to->info = from->info != NULL ? xmemdup(from->info, from->info_len) : NULL;
    to->env = xcalloc(from->n_env + 1, sizeof *to->env);
    for (size_t i = 0; i < from->n_env; i++) {
        to->env[i] = xstrdup(from->env[i]);
    }
    to->prices = xcalloc(from->n_prices + 1, sizeof *to->prices);
    for (size_t i = 0; i < from->n_prices; i++) {
        to->prices[i] = from->prices[i];
        to->prices[i].type = xstrdup(from->prices[i].type);
    }
}

int
host_name_check(const char *name, struct err *e)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789._-";
    size_t len = strlen(name);
    char shown[80];

    if (len == 0 || len > HOST_NAME_LEN_MAX || strspn(name, allowed) != len ||
        strchr("._-", name[0]) != NULL) {
        return err_set(e, ERR_INVALID,
                       _("'%s' is not a usable host name: 1 to %d letters, digits, "
                         "'.', '_' and '-', beginning with a letter or digit"),
                       text_escape_to(shown, sizeof shown, name), HOST_NAME_LEN_MAX);
    }
    return 0;
}

int
host_add_price(struct host *h, const char *text, struct err *e)
{
    const char *eq = strchr(text, '=');
    size_t type_len = eq != NULL ? (size_t)(eq - text) : 0;
    int64_t uyuan;
    char shown[80];
    char *type;

    /* Such as no device has would price nothing, and what is not priced is not offered.
     */
    if (eq == NULL || type_len > HOST_FIELD_LEN_MAX ||
        !device_type_usable(text, type_len)) {
        return err_set(e, ERR_INVALID, _("--price '%s': want TYPE=YUAN, as in 4090=1.88"),
                       text_escape_to(shown, sizeof shown, text));
    }
    if (money_parse_uyuan(eq + 1, strlen(eq + 1), &uyuan, e) != 0) {
        return err_wrap(e, "--price '%s'", text_escape_to(shown, sizeof shown, text));
    }
    type = xmemdup(text, type_len + 1);
    type[type_len] = '\0';
    for (size_t i = 0; i < h->n_prices; i++) {
        if (strcmp(h->prices[i].type, type) == 0) {
            h->prices[i].uyuan = uyuan;
            free(type);
            return 0;
        }
    }
    h->prices = xrealloc(h->prices, (h->n_prices + 1) * sizeof *h->prices);
    h->prices[h->n_prices++] = (struct host_price){.type = type, .uyuan = uyuan};
    return 0;
}

int
host_check_env(const char *option, const char *kv, struct err *e)
{
    const char *eq = strchr(kv, '=');
    char shown[80];

    if (eq == NULL || eq == kv || strncmp(kv, "GPURUN_", 7) == 0) {
        return err_set(e, ERR_INVALID, _("--%s '%s': want K=V, and K not GPURUN_…"),
                       option, text_escape_to(shown, sizeof shown, kv));
    }
    if (strcspn(kv, " \t\r\n") < (size_t)(eq - kv)) { /* "export K=V" */
        return err_set(e, ERR_INVALID, _("--%s '%s': want K=V, and K without blanks"),
                       option, text_escape_to(shown, sizeof shown, kv));
    }
    return 0;
}

int
host_add_env(struct host *h, const char *text, struct err *e)
{
    if (host_check_env("env", text, e) != 0) {
        return -1;
    }
    h->env = xrealloc(h->env, (h->n_env + 1) * sizeof *h->env);
    h->env[h->n_env++] = xstrdup(text);
    return 0;
}

char *
host_where(const struct host *h)
{
    struct buf b = BUF_INIT;
    bool v6;

    if (h->local) {
        return xstrdup(_("this machine"));
    }
    v6 = strchr(h->address, ':') != NULL;
    if (h->user != NULL) {
        buf_printf(&b, "%s@", h->user);
    }
    buf_printf(&b, v6 && h->port != 0 ? "[%s]" : "%s", h->address);
    if (h->port != 0) {
        buf_printf(&b, ":%d", h->port);
    }
    return buf_steal(&b);
}

/* ---- records ---- */

static void
add_if(struct rec *r, const char *key, const char *value)
{
    if (value != NULL) {
        rec_add(r, key, value);
    }
}

static struct rec *
host_to_rec(const struct host *h)
{
    struct rec *r = rec_new(HOST_RECORD);

    rec_add(r, "name", h->name);
    add_if(r, "address", h->address);
    add_if(r, "user", h->user);
    if (h->port != 0) {
        rec_add_int(r, "port", h->port);
    }
    add_if(r, "identity", h->identity);
    add_if(r, "jump", h->jump);
    add_if(r, "agent_home", h->agent_home);
    add_if(r, "command", h->command);
    add_if(r, "mirror", h->mirror);
    for (size_t i = 0; i < h->n_env; i++) {
        rec_add(r, "env", h->env[i]);
    }
    for (size_t i = 0; i < h->n_prices; i++) {
        rec_addf(r, "price", "%lld %s", (long long)h->prices[i].uyuan, h->prices[i].type);
    }
    if (h->pinned) {
        rec_add_hex(r, "key", h->key.b, sizeof h->key.b);
    }
    rec_add_int(r, "added_wall_ns", h->added_wall_ns);
    if (h->info != NULL) {
        rec_add_int(r, "info_wall_ns", h->info_wall_ns);
        rec_add_bytes(r, "info", h->info, h->info_len);
    }
    return r;
}

static int
read_prices(const struct rec *r, struct host *h, struct err *e)
{
    size_t n = rec_count(r, "price");

    for (size_t i = 0; i < n; i++) {
        const char *v = rec_get_nth(r, "price", i, NULL);
        char *end;
        long long uyuan;

        errno = 0;
        uyuan = strtoll(v, &end, 10);
        if (errno != 0 || end == v || *end != ' ' || end[1] == '\0' || uyuan < 0) {
            return err_set(e, ERR_CORRUPT, "a price line is malformed");
        }
        h->prices = xrealloc(h->prices, (h->n_prices + 1) * sizeof *h->prices);
        h->prices[h->n_prices++] =
            (struct host_price){.type = xstrdup(end + 1), .uyuan = uyuan};
    }
    return 0;
}

static int
host_from_rec(const struct rec *r, struct host *h, struct err *e)
{
    int64_t port;
    const char *info;

    h->name = dup_or_null(rec_get(r, "name"));
    if (h->name == NULL || host_name_check(h->name, e) != 0) {
        return err_set(e, ERR_CORRUPT, "the record has no usable name");
    }
    h->local = strcmp(h->name, HOST_LOCAL) == 0;
    h->address = dup_or_null(rec_get(r, "address"));
    h->user = dup_or_null(rec_get(r, "user"));
    h->identity = dup_or_null(rec_get(r, "identity"));
    h->jump = dup_or_null(rec_get(r, "jump"));
    h->agent_home = dup_or_null(rec_get(r, "agent_home"));
    h->command = dup_or_null(rec_get(r, "command"));
    h->mirror = dup_or_null(rec_get(r, "mirror"));
    if (!h->local && h->address == NULL) {
        return err_set(e, ERR_CORRUPT, "the record has no address");
    }
    if (rec_opt_int(r, "port", 1, PORT_MAX, 0, &port, e) != 0 ||
        rec_opt_int(r, "added_wall_ns", 0, INT64_MAX, 0, &h->added_wall_ns, e) != 0 ||
        rec_opt_int(r, "info_wall_ns", 0, INT64_MAX, 0, &h->info_wall_ns, e) != 0) {
        return -1;
    }
    h->port = (int)port;
    for (size_t i = 0; i < rec_count(r, "env"); i++) {
        if (host_add_env(h, rec_get_nth(r, "env", i, NULL), e) != 0) {
            return -1;
        }
    }
    h->pinned = rec_has(r, "key");
    if (h->pinned && rec_need_hex(r, "key", h->key.b, sizeof h->key.b, e) != 0) {
        return -1;
    }
    info = rec_get_bytes(r, "info", &h->info_len);
    h->info = info != NULL ? xmemdup(info, h->info_len) : NULL;
    return read_prices(r, h, e);
}

/* ---- the directory of records ---- */

static int
by_name(const void *a, const void *b)
{
    const struct host *x = a;
    const struct host *y = b;

    return strcmp(x->name, y->name);
}

int
hosts_load_file(const char *path, struct host *out, struct err *e)
{
    struct rec *r = NULL;
    struct host h;

    host_init(&h);
    if (rec_load(&r, path, HOST_RECORD, e) != 0) {
        return -1;
    }
    if (host_from_rec(r, &h, e) != 0) {
        host_free(&h);
        rec_free(r);
        return err_wrap(e, "%s", path);
    }
    rec_free(r);
    *out = h;
    return 0;
}

int
hosts_save_file(const char *path, const struct host *h, struct err *e)
{
    struct rec *r = host_to_rec(h);
    int rc = rec_save(r, path, e);

    rec_free(r);
    return rc;
}

static void
make_local(struct host *h)
{
    host_init(h);
    h->name = xstrdup(HOST_LOCAL);
    h->local = true;
}

static int
add_record(const struct home *home, const char *name, struct host_list *l, struct err *e)
{
    char *path = home_path(home, "hosts", name);
    struct host h;
    int rc = hosts_load_file(path, &h, e);

    free(path);
    if (rc != 0) {
        return -1;
    }
    l->v = xrealloc(l->v, (l->n + 1) * sizeof *l->v);
    l->v[l->n++] = h;
    return 0;
}

/* A name that a record could have; "x.tmp" is a replacement cut short by a crash. */
static bool
is_record_name(const char *name)
{
    struct err e;
    size_t len = strlen(name);

    return host_name_check(name, &e) == 0 &&
           !(len > 4 && strcmp(name + len - 4, ".tmp") == 0);
}

static int
read_dir(const struct home *home, struct host_list *l, struct err *e)
{
    char *path = home_path(home, "hosts", NULL);
    DIR *dir = opendir(path);
    const struct dirent *entry;
    int rc = -1;

    if (dir == NULL && errno == ENOENT) {
        free(path);
        return 0;
    }
    if (dir == NULL) {
        err_set_sys(e, errno, "cannot read '%s'", path);
        goto out;
    }
    while (errno = 0, (entry = readdir(dir)) != NULL) {
        if (!is_record_name(entry->d_name)) {
            continue;
        }
        if (l->n == HOST_ENTRIES_MAX) {
            err_set(e, ERR_RANGE,
                    _("more than %d hosts in '%s': `gpurun host rm` takes one away"),
                    HOST_ENTRIES_MAX, path);
            goto out;
        }
        if (add_record(home, entry->d_name, l, e) != 0) {
            goto out;
        }
    }
    if (errno != 0) {
        err_set_sys(e, errno, "cannot read '%s'", path);
        goto out;
    }
    rc = 0;

out:
    if (dir != NULL) {
        (void)closedir(dir);
    }
    free(path);
    return rc;
}

void
host_list_free(struct host_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        host_free(&l->v[i]);
    }
    free(l->v);
    *l = (struct host_list){NULL, 0};
}

int
hosts_list(const struct home *home, bool with_local, struct host_list *out, struct err *e)
{
    struct host_list l = {NULL, 0};
    bool have_local = false;

    if (read_dir(home, &l, e) != 0) {
        host_list_free(&l);
        return -1;
    }
    if (l.n > 1) {
        qsort(l.v, l.n, sizeof *l.v, by_name);
    }
    for (size_t i = 0; i < l.n; i++) {
        have_local = have_local || l.v[i].local;
    }
    if (with_local && !have_local) {
        l.v = xrealloc(l.v, (l.n + 1) * sizeof *l.v);
        make_local(&l.v[l.n++]);
    }
    *out = l;
    return 0;
}

int
hosts_list_used(const struct home *home, struct host_list *out, struct err *e)
{
    char *agent_home = home_path(home, HOST_LOCAL, NULL);
    bool used = file_exists(agent_home);
    struct host_list l = {NULL, 0};
    size_t n = 0;

    free(agent_home);
    if (hosts_list(home, true, &l, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < l.n; i++) {
        if (l.v[i].local && !used && l.n > 1) {
            host_free(&l.v[i]);
        } else {
            l.v[n++] = l.v[i];
        }
    }
    l.n = n;
    *out = l;
    return 0;
}

int
hosts_by_key(const struct home *home, const struct sign_public *key, struct host *out,
             struct err *e)
{
    struct host_list l = {NULL, 0};
    char id[SIGN_ID_LEN + 1];
    int rc;

    if (hosts_list(home, true, &l, e) != 0) {
        return -1;
    }
    sign_public_id(key, id);
    rc = err_set(e, ERR_NOT_FOUND, _("host %s is not known any more: `gpurun host add`"),
                 id);
    for (size_t i = 0; i < l.n && rc != 0; i++) {
        if (l.v[i].pinned && memcmp(l.v[i].key.b, key->b, sizeof key->b) == 0) {
            host_copy(out, &l.v[i]);
            rc = 0;
        }
    }
    host_list_free(&l);
    return rc;
}

static int
no_such_host(const struct home *home, const char *name, struct err *e)
{
    struct host_list l = {NULL, 0};
    struct buf names = BUF_INIT;
    char shown[80];

    if (hosts_list(home, true, &l, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < l.n && names.len < 200; i++) {
        buf_printf(&names, "%s%s", i > 0 ? ", " : "", l.v[i].name);
    }
    err_set(e, ERR_NOT_FOUND,
            _("no host '%s'; there are: %s (`gpurun host add` adds one)"),
            text_escape_to(shown, sizeof shown, name), buf_str(&names));
    buf_free(&names);
    host_list_free(&l);
    return -1;
}

int
hosts_load(const struct home *home, const char *name, struct host *out, struct err *e)
{
    struct err why;
    char *path;
    int rc;

    if (host_name_check(name, &why) != 0) {
        return no_such_host(home, name, e);
    }
    path = home_path(home, "hosts", name);
    if (file_exists(path)) {
        rc = hosts_load_file(path, out, e);
    } else if (strcmp(name, HOST_LOCAL) == 0) {
        make_local(out);
        rc = 0;
    } else {
        rc = no_such_host(home, name, e);
    }
    free(path);
    return rc;
}

int
hosts_save(const struct home *home, const struct host *h, bool fresh, struct err *e)
{
    struct rec *r = NULL;
    char *path = NULL;
    int lock_fd = -1;
    char *lock = NULL;
    int rc = -1;

    if (host_name_check(h->name, e) != 0 ||
        home_make(home, "hosts", h->name, &path, e) != 0) {
        return -1;
    }
    /* The temporary of a replacement has one name: one writer at a time. */
    lock = home_path(home, "hosts", ".lock");
    if (file_lock(lock, true, true, &lock_fd, e) != 0) {
        goto out;
    }
    if (fresh && file_exists(path)) {
        err_set(e, ERR_EXISTS,
                _("there is a host '%s' already; `gpurun host rm %s` first, or take "
                  "another name"),
                h->name, h->name);
        goto out;
    }
    r = host_to_rec(h);
    rc = rec_save(r, path, e);

out:
    rec_free(r);
    (void)fd_close(&lock_fd);
    free(lock);
    free(path);
    return rc;
}

int
hosts_remove(const struct home *home, const char *name, struct err *e)
{
    struct host h;
    char *path;
    int rc = 0;

    if (hosts_load(home, name, &h, e) != 0) {
        return -1;
    }
    host_free(&h);
    path = home_path(home, "hosts", name);
    if (unlink(path) == -1) {
        rc = errno == ENOENT ? err_set(e, ERR_INVALID, _("'%s' is always there"), name)
                             : err_set_sys(e, errno, "cannot remove '%s'", path);
    }
    free(path);
    return rc;
}

bool
host_recall(const struct host *h, struct host_info *out)
{
    struct host_info info;
    struct rec *r = NULL;
    struct err none;
    bool known;

    hostinfo_init(&info);
    known = h->info != NULL &&
            rec_parse(&r, h->info, h->info_len, HOSTINFO_TYPE, &none) == 0 &&
            hostinfo_parse(&info, r, &none) == 0;
    rec_free(r);
    if (known) {
        *out = info;
    } else {
        hostinfo_free(&info);
    }
    return known;
}

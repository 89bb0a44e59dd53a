#include "runner/cli/hostview.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/lang.h"
#include "base/rec.h"
#include "base/sign.h"
#include "base/text.h"
#include "runner/cli/out.h"
#include "runner/cli/parkview.h"

#define LABEL_COLUMNS 12
#define NS_PER_S      1000000000LL

static bool
is_cpu(const struct device *d)
{
    return strcmp(d->device_class, "cpu") == 0;
}

/* Each type once, at its first device. */
static bool
seen_before(const struct host_info *info, size_t i)
{
    for (size_t k = 0; k < i; k++) {
        if (strcmp(info->devices.v[k].type, info->devices.v[i].type) == 0 &&
            strcmp(info->devices.v[k].device_class, info->devices.v[i].device_class) ==
                0) {
            return true;
        }
    }
    return false;
}

char *
hostview_devices(const struct host_info *info)
{
    struct buf b = BUF_INIT;

    for (size_t i = 0; i < info->devices.n; i++) {
        const struct device *d = &info->devices.v[i];
        int64_t n = 0;
        int64_t n_free = 0;

        if (is_cpu(d) || seen_before(info, i)) {
            continue;
        }
        for (size_t k = i; k < info->devices.n; k++) {
            const struct device *o = &info->devices.v[k];
            bool same = strcmp(o->type, d->type) == 0 &&
                        strcmp(o->device_class, d->device_class) == 0;

            n += same;
            n_free += same && o->usable && o->state == DEVICE_FREE;
        }
        buf_printf(&b, "%s%" PRId64 "x ", b.len > 0 ? ", " : "", n);
        text_escape(&b, d->type, strlen(d->type));
        if (n_free < n) {
            buf_printf(&b, _(" (%" PRId64 " free)"), n_free);
        }
    }
    buf_printf(&b, NP_("%s%" PRId64 " core", "%s%" PRId64 " cores", info->cores),
               b.len > 0 ? ", " : "", info->cores);
    return buf_steal(&b);
}

char *
hostview_prices(const struct host *h, const struct offer *offer)
{
    struct buf b = BUF_INIT;
    char money[OUT_MONEY_MAX];

    for (size_t i = 0; offer != NULL && !offer->free && i < offer->n_prices; i++) {
        const struct offer_price *p = &offer->prices[i];
        const char *what = p->type[0] != '\0' ? p->type : p->class_name;

        buf_add_str(&b, b.len > 0 ? ", " : "");
        text_escape(&b, what, strlen(what));
        buf_printf(&b, " %s", out_price(p->uyuan_per_h, _("h"), money));
    }
    if (b.len == 0 && h->n_prices > 0) {
        for (size_t k = 0; k < h->n_prices; k++) {
            bool disk = strcmp(h->prices[k].type, "disk") == 0;

            buf_printf(
                &b, "%s%s %s", b.len > 0 ? ", " : "", h->prices[k].type,
                out_price(h->prices[k].uyuan, disk ? _("GB and day") : _("h"), money));
        }
        buf_add_str(&b, _(" (own estimate)"));
    }
    return b.len > 0 ? buf_steal(&b) : xstrdup(_("free"));
}

/* transport_info has it in English, for programs. */
char *
hostview_login(const struct transport_info *t)
{
    static const char *const ways[] = {N_("certificate"), N_("key"),
                                       N_("ssh agent"),   N_("keyboard-interactive"),
                                       N_("password"),    N_("none was asked for")};
    static const char *const names[] = {"certificate",          "key",      "agent",
                                        "keyboard-interactive", "password", "none"};
    size_t n;

    if (t == NULL || t->login[0] == '\0') {
        return NULL;
    }
    n = strcspn(t->login, " ");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strlen(names[i]) == n && strncmp(t->login, names[i], n) == 0) {
            return xasprintf("%s%s", err_words(ways[i]), t->login + n);
        }
    }
    return xstrdup(t->login);
}

/* ---- the page ---- */

static void
row(struct buf *out, const char *label, const char *text)
{
    out_page_row(out, LABEL_COLUMNS, label, text);
}

static void
row_steal(struct buf *out, const char *label, char *text)
{
    row(out, label, text);
    free(text);
}

static void
page_login(struct buf *out, const struct transport_info *t)
{
    static const char *const kinds[] = {"", "libssh", "ssh", "pipe"};

    if (t == NULL) {
        return;
    }
    row_steal(out, _("transport"),
              xasprintf("%s%s%s%s%s", kinds[t->kind], t->peer[0] != '\0' ? ", " : "",
                        t->peer, t->why_binary[0] != '\0' ? _(", because of ") : "",
                        t->why_binary));
    row_steal(out, _("login"), hostview_login(t));
    row(out, _("SSH key"), t->host_key);
}

/* Free, but not empty. */
static void
shared_text(const struct device *d, char out[128])
{
    out[0] = '\0';
    if (device_is_shared(d)) {
        (void)snprintf(out, 128,
                       NP_(" (%" PRId64 " process that no job started computes on it)",
                           " (%" PRId64 " processes that no job started compute on it)",
                           d->n_processes),
                       d->n_processes);
    }
}

static void
page_devices(struct buf *out, const struct host_info *info)
{
    for (size_t i = 0; i < info->devices.n; i++) {
        const struct device *d = &info->devices.v[i];
        char mem[TEXT_SIZE_MAX] = "";
        char shared[128];
        char *text;

        if (d->memory_bytes > 0) {
            text_format_size((uint64_t)d->memory_bytes, mem);
        }
        if (is_cpu(d)) {
            text = xasprintf(_("%s, %" PRId64 " cores, of which jobs have asked for "
                               "%" PRId64),
                             d->name, info->cores, info->cores - info->cores_free);
        } else {
            shared_text(d, shared);
            text = xasprintf("%s %s (%s), %s, %s%s%s%s%s%s", d->device_class, d->type,
                             d->name, mem, device_free_name(d->state), shared,
                             d->driver[0] != '\0' ? _(", driver ") : "", d->driver,
                             d->note[0] != '\0' ? ": " : "", d->note);
        }
        row_steal(out, i == 0 ? _("devices") : "", text);
    }
}

void
hostview_page(struct buf *out, const struct host *h, const struct host_info *info,
              const struct offer *offer, const struct transport_info *t)
{
    char key[2 * SIGN_PUBLIC_LEN + 1];
    char mem[TEXT_SIZE_MAX];
    char disk[TEXT_SIZE_MAX];
    char money[OUT_MONEY_MAX];
    int64_t skew_s = (info->wall_ns - clock_wall_ns()) / NS_PER_S;

    row(out, _("name"), h->name);
    row_steal(out, _("where"), host_where(h));
    page_login(out, t);
    row_steal(out, _("machine"),
              xasprintf("%s, %s, %s", info->hostname, info->os, info->arch));
    row_steal(out, _("agent"),
              xasprintf("%s%s", info->version, info->root ? _(", runs as root") : ""));
    sign_public_format(&info->key, key);
    row_steal(out, _("agent key"),
              xasprintf("%s%s", key, h->pinned ? _(" (pinned)") : ""));
    page_devices(out, info);
    text_format_size((uint64_t)(info->mem_bytes > 0 ? info->mem_bytes : 0), mem);
    text_format_size((uint64_t)(info->disk_free_bytes > 0 ? info->disk_free_bytes : 0),
                     disk);
    row(out, _("memory"), mem);
    row_steal(out, _("disk"), xasprintf(_("%s free"), disk));
    row_steal(out, _("price"), hostview_prices(h, offer));
    if (offer != NULL && offer->keep_uyuan_per_gb_day > 0) {
        row(out, _("keeping"),
            out_price(offer->keep_uyuan_per_gb_day, _("GB and day"), money));
    }
    row_steal(
        out, _("protection"),
        xasprintf("%s%s%s", err_words(host_protection_name(info->protection)),
                  info->protection_why != NULL ? ": " : "",
                  info->protection_why != NULL ? err_words(info->protection_why) : ""));
    row_steal(out, _("parking"), parkview_text(h->name, &info->park));
    if (skew_s > 5 || skew_s < -5) {
        row_steal(out, _("clock"),
                  xasprintf(_("%" PRId64 " s %s ours"), skew_s < 0 ? -skew_s : skew_s,
                            skew_s < 0 ? _("behind") : _("ahead of")));
    }
}

void
hostview_say(const struct cli *c, const struct host *h, const struct host_info *info,
             const struct offer *offer, const struct transport_info *t)
{
    char *devices = hostview_devices(info);
    char *prices = hostview_prices(h, offer);
    char *park = parkview_text(h->name, &info->park);
    char *login = hostview_login(t);

    say(c, _("host '%s': %s; %s"), h->name, devices, prices);
    say(c, _("agent %s, protection from the job: %s%s%s"), info->version,
        err_words(host_protection_name(info->protection)),
        info->protection_why != NULL ? ", " : "",
        info->protection_why != NULL ? err_words(info->protection_why) : "");
    if (park != NULL) {
        say(c, "%s", park);
    }
    if (login != NULL) {
        say_more(c, _("logged in with %s"), login);
    }
    free(login);
    free(devices);
    free(prices);
    free(park);
}

/* ---- JSON ---- */

static void
json_device(struct json_writer *j, const struct device *d)
{
    json_obj(j);
    json_kstr(j, "class", d->device_class);
    json_kstr(j, "type", d->type);
    json_kstr(j, "name", d->name);
    json_kstr(j, "uuid", d->uuid);
    json_kstr(j, "state", device_free_name(d->state));
    json_kbool(j, "usable", d->usable);
    json_kint(j, "memory_bytes", d->memory_bytes);
    json_kint(j, "cores", d->cores);
    json_kint_or_nil(j, "n_processes", d->n_processes, -1);
    json_kstr(j, "driver", d->driver);
    json_kstr(j, "note", d->note);
    json_obj_end(j);
}

static void
json_prices(struct json_writer *j, const struct host *h, const struct offer *offer)
{
    bool own = (offer == NULL || offer->free) && h->n_prices > 0;

    json_kbool(j, "own_estimate", own);
    json_key(j, "prices");
    json_arr(j);
    for (size_t i = 0; !own && offer != NULL && !offer->free && i < offer->n_prices;
         i++) {
        json_obj(j);
        json_kstr(j, "class", offer->prices[i].class_name);
        json_kstr(j, "type", offer->prices[i].type);
        json_kint(j, "uyuan_per_h", offer->prices[i].uyuan_per_h);
        json_obj_end(j);
    }
    for (size_t i = 0; own && i < h->n_prices; i++) {
        json_obj(j);
        json_kstr(j, "type", h->prices[i].type);
        json_kint(j, "uyuan_per_h", h->prices[i].uyuan);
        json_obj_end(j);
    }
    json_arr_end(j);
    json_kint(j, "keep_uyuan_per_gb_day",
              offer != NULL ? offer->keep_uyuan_per_gb_day : 0);
}

static void
json_info(struct json_writer *j, const struct host_info *info)
{
    char key[2 * SIGN_PUBLIC_LEN + 1];

    sign_public_format(&info->key, key);
    json_kstr(j, "agent_key", key);
    json_kstr(j, "agent_version", info->version);
    json_kstr(j, "hostname", info->hostname);
    json_kstr(j, "arch", info->arch);
    json_kstr(j, "os", info->os);
    json_kint(j, "cores", info->cores);
    json_kint(j, "cores_free", info->cores_free);
    json_kint(j, "mem_bytes", info->mem_bytes);
    json_kint(j, "disk_free_bytes", info->disk_free_bytes);
    json_kint(j, "wall_ns", info->wall_ns);
    json_kbool(j, "root", info->root);
    json_kstr(j, "protection", host_protection_name(info->protection));
    json_kstr(j, "protection_why", info->protection_why);
    json_kstr(j, "confine", info->confine);
    json_kstr(j, "renter", info->renter);
    park_json(j, &info->park);
    json_key(j, "devices");
    json_arr(j);
    for (size_t i = 0; i < info->devices.n; i++) {
        json_device(j, &info->devices.v[i]);
    }
    json_arr_end(j);
}

void
hostview_json(struct buf *out, const struct host *h, const struct host_info *info,
              const struct offer *offer, const struct transport_info *t,
              const struct failure *why)
{
    static const char *const kinds[] = {"none", "libssh", "ssh", "pipe"};
    struct json_writer w = json_to(out);
    struct json_writer *j = &w;
    char *where = host_where(h);

    json_obj(j);
    json_kstr(j, "id", h->name);
    json_kstr(j, "name", h->name);
    json_kstr(j, "where", where);
    json_kbool(j, "pinned", h->pinned);
    json_kbool(j, "reachable", info != NULL);
    if (t != NULL) {
        json_kstr(j, "transport", kinds[t->kind]);
        json_kstr(j, "peer", t->peer);
        json_kstr(j, "login", t->login);
        json_kstr(j, "host_key", t->host_key);
    }
    if (info != NULL) {
        json_info(j, info);
        json_prices(j, h, offer);
    }
    if (why != NULL) {
        json_kstr(j, "cause", cause_name(why->cause));
        json_kstr(j, "why", why->err.msg);
    }
    json_obj_end(j);
    free(where);
}

void
hostview_remember(struct host *h, const struct host_info *info)
{
    struct rec *r = hostinfo_encode(info);
    struct buf b = BUF_INIT;

    rec_encode(r, &b);
    rec_free(r);
    free(h->info);
    h->info_len = b.len;
    h->info = (uint8_t *)buf_steal(&b);
    h->info_wall_ns = clock_wall_ns();
}

#include "runner/job/hostinfo.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

#define TEXT_MAX ((size_t)1024)
#define N_OF(a)  (sizeof(a) / sizeof((a)[0]))

struct text_field {
    const char *key;
    size_t offset;
};
static const struct text_field text_fields[] = {
    {"version", offsetof(struct host_info, version)},
    {"hostname", offsetof(struct host_info, hostname)},
    {"arch", offsetof(struct host_info, arch)},
    {"os", offsetof(struct host_info, os)},
    {"protection_why", offsetof(struct host_info, protection_why)},
    {"confine", offsetof(struct host_info, confine)},
    {"memory_by", offsetof(struct host_info, memory_by)},
    {"renter_name", offsetof(struct host_info, renter_name)},
};

struct int_field {
    const char *key;
    size_t offset;
    int64_t min;
};
static const struct int_field int_fields[] = {
    {"cores", offsetof(struct host_info, cores), 1},
    {"cores_free", offsetof(struct host_info, cores_free), 0},
    {"mem_bytes", offsetof(struct host_info, mem_bytes), 0},
    {"disk_free_bytes", offsetof(struct host_info, disk_free_bytes), 0},
    {"wall_ns", offsetof(struct host_info, wall_ns), INT64_MIN},
    {"boot_ns", offsetof(struct host_info, boot_ns), 0},
};

static const char *const protection_names[] = {[HOST_PROTECTION_NONE] = "none",
                                               [HOST_PROTECTION_PARTIAL] = "partial",
                                               [HOST_PROTECTION_FULL] = "full"};

static char **
text_at(struct host_info *h, size_t i)
{
    return (char **)((char *)h + text_fields[i].offset);
}

static const char *
text_of(const struct host_info *h, size_t i)
{
    return *(char *const *)((const char *)h + text_fields[i].offset);
}

void
hostinfo_init(struct host_info *h)
{
    memset(h, 0, sizeof *h);
}

void
hostinfo_free(struct host_info *h)
{
    for (size_t i = 0; i < N_OF(text_fields); i++) {
        free(*text_at(h, i));
    }
    free(h->offer);
    park_free(&h->park);
    device_list_free(&h->devices);
    hostinfo_init(h);
}

const char *
host_protection_name(enum host_protection p)
{
    return (size_t)p < N_OF(protection_names) ? protection_names[p] : "none";
}

struct rec *
hostinfo_encode(const struct host_info *h)
{
    struct rec *r = rec_new(HOSTINFO_TYPE);

    rec_add_hex(r, "key", h->key.b, sizeof h->key.b);
    for (size_t i = 0; i < N_OF(text_fields); i++) {
        if (text_of(h, i) != NULL) {
            rec_add(r, text_fields[i].key, text_of(h, i));
        }
    }
    for (size_t i = 0; i < N_OF(int_fields); i++) {
        rec_add_int(r, int_fields[i].key,
                    *(const int64_t *)((const char *)h + int_fields[i].offset));
    }
    rec_add_int(r, "root", h->root ? 1 : 0);
    rec_add(r, "protection", host_protection_name(h->protection));
    if (h->renter[0] != '\0') {
        rec_add(r, "renter", h->renter);
    }
    rec_add_int(r, "store", h->has_store ? 1 : 0);
    if (h->offer != NULL) {
        rec_add_bytes(r, "offer", h->offer, h->offer_len);
    }
    if (h->park.phase != PARK_NONE) {
        struct rec *p = park_encode(&h->park);
        struct buf b = BUF_INIT;

        rec_encode(p, &b);
        rec_add_bytes(r, "park", b.data, b.len);
        buf_free(&b);
        rec_free(p);
    }
    for (size_t i = 0; i < h->devices.n; i++) {
        struct rec *d = device_encode(&h->devices.v[i]);
        struct buf b = BUF_INIT;

        rec_encode(d, &b);
        rec_add_bytes(r, "device", b.data, b.len);
        buf_free(&b);
        rec_free(d);
    }
    return r;
}

static int
parse_texts(struct host_info *h, const struct rec *r, struct err *e)
{
    const char *protection = rec_get(r, "protection");
    const char *renter = rec_get(r, "renter");

    for (size_t i = 0; i < N_OF(text_fields); i++) {
        size_t len;
        const char *v = rec_get_bytes(r, text_fields[i].key, &len);

        if (v == NULL) {
            continue;
        }
        if (len > TEXT_MAX || strlen(v) != len) {
            return err_set(e, ERR_INVALID, "the host's '%s' is too long or holds a NUL",
                           text_fields[i].key);
        }
        *text_at(h, i) = xstrdup(v);
    }
    if (h->version == NULL || h->arch == NULL) {
        return err_set(e, ERR_INVALID,
                       "the host does not say its version or architecture");
    }
    for (size_t i = 0; protection != NULL && i < N_OF(protection_names); i++) {
        if (strcmp(protection, protection_names[i]) == 0) {
            h->protection = (enum host_protection)i;
        }
    }
    if (renter != NULL) {
        if (id_check_renter(renter, e) != 0) {
            return -1;
        }
        memcpy(h->renter, renter, SIGN_ID_LEN + 1);
    }
    return 0;
}

static int
parse_ints(struct host_info *h, const struct rec *r, struct err *e)
{
    int64_t flag;

    for (size_t i = 0; i < N_OF(int_fields); i++) {
        const struct int_field *f = &int_fields[i];

        if (rec_opt_int(r, f->key, f->min, INT64_MAX, f->min > 0 ? f->min : 0,
                        (int64_t *)((char *)h + f->offset), e) != 0) {
            return -1;
        }
    }
    if (rec_opt_int(r, "root", 0, 1, 0, &flag, e) != 0) {
        return -1;
    }
    h->root = flag == 1;
    if (rec_opt_int(r, "store", 0, 1, 0, &flag, e) != 0) {
        return -1;
    }
    h->has_store = flag == 1;
    return 0;
}

static int
parse_devices(struct host_info *h, const struct rec *r, struct err *e)
{
    size_t n = rec_count(r, "device");

    if (n > DEVICE_MAX) {
        return err_set(e, ERR_RANGE, "the host names more than %d devices", DEVICE_MAX);
    }
    for (size_t i = 0; i < n; i++) {
        size_t len;
        const char *v = rec_get_nth(r, "device", i, &len);
        struct rec *sub = NULL;
        struct device d;
        int rc;

        if (rec_parse(&sub, v, len, DEVICE_TYPE_TAG, e) != 0) {
            return -1;
        }
        rc = device_parse(&d, sub, e);
        rec_free(sub);
        if (rc != 0) {
            return -1;
        }
        device_list_add(&h->devices, &d);
    }
    return 0;
}

static int
parse_park(struct host_info *h, const struct rec *r, struct err *e)
{
    size_t len;
    const char *v = rec_get_bytes(r, "park", &len);
    struct rec *sub = NULL;
    int rc;

    if (v == NULL) {
        return 0;
    }
    if (rec_parse(&sub, v, len, PARK_TYPE, e) != 0) {
        return -1;
    }
    rc = park_parse(&h->park, sub, e);
    rec_free(sub);
    return rc;
}

int
hostinfo_parse(struct host_info *out, const struct rec *r, struct err *e)
{
    struct host_info h;
    size_t len;
    const char *offer = rec_get_bytes(r, "offer", &len);
    int rc = -1;

    hostinfo_init(&h);
    if (strcmp(rec_type(r), HOSTINFO_TYPE) != 0) {
        err_set(e, ERR_VERSION, "'%s' is not a host record", rec_type(r));
        goto out;
    }
    if (offer != NULL && len > HOSTINFO_OFFER_MAX) {
        err_set(e, ERR_RANGE, "the host's offer is longer than %zu bytes",
                HOSTINFO_OFFER_MAX);
        goto out;
    }
    if (rec_need_hex(r, "key", h.key.b, sizeof h.key.b, e) != 0 ||
        parse_texts(&h, r, e) != 0 || parse_ints(&h, r, e) != 0 ||
        parse_devices(&h, r, e) != 0 || parse_park(&h, r, e) != 0) {
        goto out;
    }
    if (offer != NULL) {
        h.offer = xmemdup(offer, len);
        h.offer_len = len;
    }
    *out = h;
    hostinfo_init(&h);
    rc = 0;

out:
    hostinfo_free(&h);
    return rc;
}

int64_t
hostinfo_count_free(const struct host_info *h, const char *device_class,
                    const char *wanted)
{
    int64_t n = 0;

    for (size_t i = 0; i < h->devices.n; i++) {
        const struct device *d = &h->devices.v[i];

        if (!device_matches(d, device_class, wanted) || !d->usable) {
            continue;
        }
        if (strcmp(d->device_class, "cpu") == 0) {
            n += h->cores; /* shared: a quota, never a lock */
        } else if (d->state == DEVICE_FREE) {
            n++;
        }
    }
    return n;
}

#include "runner/host/offers.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "meter/card.h"
#include "runner/host/sandbox.h"

#define NS_PER_S ((int64_t)1000000000)

static int
add_book(void *ctx, int dir_fd, const char *name, struct err *e)
{
    struct offer *o = ctx;
    struct sign_public key;

    (void)dir_fd;
    (void)e;
    if (strcmp(name, OFFERS_NO_OWN) == 0) {
        o->own_book = false;
    }
    if (o->n_books < OFFER_BOOKS_MAX &&
        hex_parse(name, strlen(name), key.b, sizeof key.b)) {
        offer_add_book(o, &key);
    }
    return 0;
}

/* Operators' books the owner accepts: files named by their keys. */
static int
add_books(struct offer *o, const struct agent *a, struct err *e)
{
    int rc;
    int fd;

    if (agent_dir(a, "books", &fd, e) != 0) {
        return -1;
    }
    o->own_book = true;
    rc = file_each_name(fd, add_book, o, e);
    (void)fd_close(&fd);
    return rc == 0 ? 0 : err_wrap(e, "the accepted books");
}

static void
add_devices(struct offer *o, const struct device_list *l)
{
    for (size_t i = 0; i < l->n && o->n_devices < OFFER_DEVICES_MAX; i++) {
        const struct device *d = &l->v[i];
        bool cpu = strcmp(d->device_class, "cpu") == 0;
        struct offer_device od = {.n_units = cpu ? d->cores : 1,
                                  .mem_bytes = d->memory_bytes};

        if (strlen(d->type) > CARD_WORD_MAX || strlen(d->uuid) > OFFER_WORD_MAX ||
            strlen(d->device_class) > CARD_WORD_MAX) {
            continue; /* such a thing cannot have a price */
        }
        (void)strcpy(od.class_name, d->device_class);
        (void)strcpy(od.type, cpu ? "" : d->type);
        (void)strcpy(od.uuid, d->uuid);
        offer_add_device(o, &od);
    }
}

static int
draft(struct offer **out, const struct agent *a, const struct renter *renter,
      const struct device_list *devices, struct err *e)
{
    struct offer *o = offer_new();
    struct card *card = NULL;
    struct card_members *members = NULL;
    const struct card_member *member = NULL;
    struct card_member by_key;
    char *card_path = agent_path(a, "card");
    char *members_path = agent_path(a, "members");
    int64_t now_s = clock_wall_ns() / NS_PER_S;
    struct utsname u;
    int rc = -1;

    if (card_load(&card, card_path, e) != 0 ||
        card_members_load(&members, members_path, e) != 0) {
        goto out;
    }
    /* The grant is held against the renter's key: one that is not known has no level. */
    if (renter != NULL && renter->has_key) {
        member = card_members_at(members, renter->id, now_s);
    }
    if (member != NULL) { /* here the renter is a name of ours, there it is the key */
        by_key = *member;
        sign_public_id(&renter->key, by_key.renter);
        member = &by_key;
    }
    o->made_wall_ns = now_s * NS_PER_S;
    o->until_wall_ns = (now_s + OFFERS_VALID_S) * NS_PER_S;
    if (uname(&u) == 0) {
        (void)snprintf(o->arch, sizeof o->arch, "%s", u.machine);
    }
    (void)snprintf(o->isolation, sizeof o->isolation, "process");
    add_devices(o, devices);
    if (add_books(o, a, e) != 0 || offer_set_card(o, card, member, now_s, e) != 0 ||
        offer_sign(o, a->key, e) != 0) {
        goto out;
    }
    *out = o;
    o = NULL;
    rc = 0;

out:
    offer_free(o);
    card_free(card);
    card_members_free(members);
    free(card_path);
    free(members_path);
    return rc;
}

/* Equal but for when it was made and until when it holds? */
static bool
says_the_same(const struct offer *a, const struct offer *b)
{
    struct rec *x = NULL;
    struct rec *y = NULL;
    struct err none;
    bool same = false;
    size_t n;

    if (rec_parse(&x, a->bytes.data, a->bytes.len, NULL, &none) != 0 ||
        rec_parse(&y, b->bytes.data, b->bytes.len, NULL, &none) != 0) {
        goto out;
    }
    n = rec_n_fields(x);
    same = n == rec_n_fields(y);
    for (size_t i = 0; same && i < n; i++) {
        const char *v;
        const char *w;
        size_t vl;
        size_t wl;
        const char *k = rec_field(x, i, &v, &vl);
        const char *m = rec_field(y, i, &w, &wl);

        if (strcmp(k, m) != 0) {
            same = false;
        } else if (strncmp(k, "made", 4) != 0 && strncmp(k, "until", 5) != 0 &&
                   strcmp(k, "sig") != 0) {
            same = vl == wl && memcmp(v, w, vl) == 0;
        }
    }

out:
    rec_free(x);
    rec_free(y);
    return same;
}

static int
load_file(struct offer **out, const struct agent *a, const char *name, struct err *e)
{
    struct buf b = BUF_INIT;
    char *rel = xasprintf("offers/%s", name);
    int rc = -1;

    if (file_read_at(a->home_fd, rel, OFFER_MAX_BYTES, &b, e) == 0) {
        rc = offer_parse(out, b.data, b.len, &a->pub, e);
    }
    free(rel);
    buf_free(&b);
    return rc;
}

int
offers_load(struct offer **out, const struct agent *a, const struct sha256 *hash,
            struct err *e)
{
    char name[SHA256_HEX_LEN + 1];

    sha256_format(hash, name);
    if (load_file(out, a, name, e) == 0) {
        return 0;
    }
    if (e->code == ERR_NOT_FOUND) {
        return err_set(e, ERR_DENIED, "the grant is for an offer this host never made");
    }
    return -1;
}

static int
publish(const struct agent *a, const struct offer *o, const char *current, struct err *e)
{
    char name[SHA256_HEX_LEN + 1];
    int dir = -1;
    int rc = -1;

    sha256_format(&o->hash, name);
    if (agent_dir(a, "offers", &dir, e) == 0 &&
        file_replace_at(dir, name, o->bytes.data, o->bytes.len, e) == 0 &&
        file_replace_at(dir, current, o->bytes.data, o->bytes.len, e) == 0) {
        rc = 0;
    }
    (void)fd_close(&dir);
    return rc;
}

int
offers_current(struct offer **out, const struct agent *a, const struct renter *renter,
               const struct device_list *devices, struct err *e)
{
    struct offer *fresh = NULL;
    struct offer *was = NULL;
    struct err none;
    char current[80];
    int rc = -1;

    if (draft(&fresh, a, renter, devices, e) != 0) {
        return err_wrap(e, "cannot make this host's offer");
    }
    (void)snprintf(current, sizeof current, "current-%s",
                   fresh->renter[0] != '\0' ? fresh->renter : "any");
    if (load_file(&was, a, current, &none) == 0 && says_the_same(was, fresh) &&
        was->until_wall_ns - fresh->made_wall_ns > OFFERS_RENEW_S * NS_PER_S &&
        was->made_wall_ns <= fresh->made_wall_ns) {
        *out = was;
        was = NULL;
        rc = 0;
    } else if (publish(a, fresh, current, e) == 0) {
        *out = fresh;
        fresh = NULL;
        rc = 0;
    }
    offer_free(fresh);
    offer_free(was);
    return rc;
}

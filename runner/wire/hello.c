#include "runner/wire/hello.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"

static const char *const role_names[] = {
    [HELLO_ROLE_NONE] = "none",   [HELLO_ROLE_CLIENT] = "client",
    [HELLO_ROLE_SERVE] = "serve", [HELLO_ROLE_SUPERVISE] = "supervise",
    [HELLO_ROLE_BOOK] = "book",
};

#define N_ROLES (sizeof role_names / sizeof role_names[0])

/* Fields that are ours; all others are the extra ones. */
static const char *const own_keys[] = {
    "proto_min", "proto_max", "features", "need",   "role",
    "nonce",     "version",   "renter",   "pubkey",
};

const char *
hello_role_name(enum hello_role r)
{
    for (size_t i = 0; i < N_ROLES; i++) {
        if (i == (size_t)r) {
            return role_names[i];
        }
    }
    return role_names[HELLO_ROLE_NONE];
}

void
hello_init(struct hello *h, enum hello_role role, const char *version)
{
    *h = (struct hello){
        .proto_min = HELLO_PROTO_MIN,
        .proto_max = HELLO_PROTO_MAX,
        .features = HELLO_F_ALL,
        .need = HELLO_F_ALL,
        .role = role,
    };
    (void)snprintf(h->version, sizeof h->version, "%s", version);
    random_bytes(h->nonce, sizeof h->nonce);
}

void
hello_clear(struct hello *h)
{
    rec_free(h->extra);
    h->extra = NULL;
}

static bool
is_own_key(const char *key)
{
    for (size_t i = 0; i < sizeof own_keys / sizeof own_keys[0]; i++) {
        if (strcmp(key, own_keys[i]) == 0) {
            return true;
        }
    }
    return false;
}

static void
copy_extra(struct rec *to, const struct rec *from)
{
    for (size_t i = 0; i < rec_n_fields(from); i++) {
        const char *value;
        size_t len;
        const char *key = rec_field(from, i, &value, &len);

        if (!is_own_key(key)) {
            rec_add_bytes(to, key, value, len);
        }
    }
}

struct rec *
hello_encode(const struct hello *h)
{
    struct rec *r = rec_new(HELLO_TYPE);

    rec_add_int(r, "proto_min", h->proto_min);
    rec_add_int(r, "proto_max", h->proto_max);
    rec_add_int(r, "features", (int64_t)h->features);
    rec_add_int(r, "need", (int64_t)h->need);
    rec_add(r, "role", hello_role_name(h->role));
    rec_add_hex(r, "nonce", h->nonce, sizeof h->nonce);
    rec_add(r, "version", h->version);
    if (h->renter[0] != '\0') {
        rec_add(r, "renter", h->renter);
    }
    if (h->has_key) {
        rec_add_hex(r, "pubkey", h->key.b, sizeof h->key.b);
    }
    if (h->extra != NULL) {
        copy_extra(r, h->extra);
    }
    return r;
}

static int
parse_role(struct hello *h, const struct rec *r, struct err *e)
{
    const char *name;

    if (rec_need_str(r, "role", &name, e) == -1) {
        return -1;
    }
    for (size_t i = 1; i < N_ROLES; i++) {
        if (strcmp(name, role_names[i]) == 0) {
            h->role = (enum hello_role)i;
            return 0;
        }
    }
    return err_set(e, ERR_INVALID, "hello of an unknown role");
}

static int
parse_numbers(struct hello *h, const struct rec *r, struct err *e)
{
    int64_t min;
    int64_t max;
    int64_t features;
    int64_t need;

    if (rec_need_int(r, "proto_min", 1, HELLO_PROTO_CEILING, &min, e) == -1 ||
        rec_need_int(r, "proto_max", 1, HELLO_PROTO_CEILING, &max, e) == -1 ||
        rec_need_int(r, "features", 0, INT64_MAX, &features, e) == -1 ||
        rec_need_int(r, "need", 0, INT64_MAX, &need, e) == -1) {
        return -1;
    }
    if (min > max || (need & ~features) != 0) {
        return err_set(e, ERR_INVALID, "hello that contradicts itself");
    }
    h->proto_min = (int)min;
    h->proto_max = (int)max;
    h->features = (uint64_t)features;
    h->need = (uint64_t)need;
    return 0;
}

/* A printable ASCII word of at most HELLO_TEXT_MAX bytes. */
static int
parse_word(const struct rec *r, const char *key, bool required, char *out, struct err *e)
{
    const char *v = rec_get(r, key);
    size_t len = 0;

    if (v == NULL && !required) {
        out[0] = '\0';
        return 0;
    }
    if (v != NULL) {
        v = rec_get_bytes(r, key, &len);
    }
    if (len == 0 || len > HELLO_TEXT_MAX) {
        return err_set(e, ERR_INVALID, "hello with a bad %s", key);
    }
    for (size_t i = 0; i < len; i++) {
        if (v[i] < 0x21 || v[i] > 0x7e) {
            return err_set(e, ERR_INVALID, "hello with a bad %s", key);
        }
    }
    memcpy(out, v, len);
    out[len] = '\0';
    return 0;
}

int
hello_parse(struct hello *out, const struct rec *r, struct err *e)
{
    struct hello h = {0};

    if (strcmp(rec_type(r), HELLO_TYPE) != 0) {
        return err_set(e, ERR_INVALID, "the peer's first record is not a hello");
    }
    if (parse_numbers(&h, r, e) == -1 || parse_role(&h, r, e) == -1 ||
        rec_need_hex(r, "nonce", h.nonce, sizeof h.nonce, e) == -1 ||
        parse_word(r, "version", true, h.version, e) == -1 ||
        parse_word(r, "renter", false, h.renter, e) == -1) {
        return -1;
    }
    if (rec_has(r, "pubkey")) {
        if (rec_need_hex(r, "pubkey", h.key.b, sizeof h.key.b, e) == -1) {
            return -1;
        }
        h.has_key = true;
    }
    h.extra = rec_new(HELLO_TYPE);
    copy_extra(h.extra, r);
    *out = h;
    return 0;
}

/* What to do about a peer whose protocol is too old or too new, as `mine` sees it. */
static int
no_common_version(const struct hello *mine, const struct hello *theirs, struct err *e)
{
    bool peer_is_older = theirs->proto_max < mine->proto_min;
    const char *advice;

    if (mine->role == HELLO_ROLE_CLIENT) {
        advice = peer_is_older ? "install the newer agent with 'gpurun host doctor'"
                               : "update gpurun on this machine";
    } else {
        advice = peer_is_older ? "update the program that connects"
                               : "update gpurun-agent on this host";
    }
    return err_set(e, ERR_VERSION,
                   "%s %s speaks protocol %d to %d, %s %s speaks %d to %d: %s",
                   hello_role_name(theirs->role), theirs->version, theirs->proto_min,
                   theirs->proto_max, hello_role_name(mine->role), mine->version,
                   mine->proto_min, mine->proto_max, advice);
}

static bool
roles_fit(enum hello_role a, enum hello_role b)
{
    switch (a) {
    case HELLO_ROLE_CLIENT:
        return b == HELLO_ROLE_SERVE || b == HELLO_ROLE_BOOK;
    case HELLO_ROLE_SERVE:
        return b == HELLO_ROLE_CLIENT || b == HELLO_ROLE_SUPERVISE ||
               b == HELLO_ROLE_BOOK;
    case HELLO_ROLE_SUPERVISE:
        return b == HELLO_ROLE_SERVE;
    case HELLO_ROLE_BOOK:
        return b == HELLO_ROLE_CLIENT || b == HELLO_ROLE_SERVE;
    case HELLO_ROLE_NONE:
        break;
    }
    return false;
}

int
hello_negotiate(const struct hello *mine, const struct hello *theirs, int *proto,
                uint64_t *features, struct err *e)
{
    int low = mine->proto_min > theirs->proto_min ? mine->proto_min : theirs->proto_min;
    int high = mine->proto_max < theirs->proto_max ? mine->proto_max : theirs->proto_max;
    uint64_t both = mine->features & theirs->features;

    if (memcmp(mine->nonce, theirs->nonce, HELLO_NONCE_LEN) == 0) {
        return err_set(e, ERR_DENIED, "the peer sends back what we say");
    }
    if (low > high) {
        return no_common_version(mine, theirs, e);
    }
    if (!roles_fit(mine->role, theirs->role)) {
        return err_set(e, ERR_DENIED, "a %s does not talk to a %s",
                       hello_role_name(mine->role), hello_role_name(theirs->role));
    }
    if ((mine->need & ~both) != 0 || (theirs->need & ~both) != 0) {
        return err_set(e, ERR_VERSION,
                       "%s %s and %s %s need features the other lacks (0x%llx, 0x%llx): "
                       "update the older of the two",
                       hello_role_name(mine->role), mine->version,
                       hello_role_name(theirs->role), theirs->version,
                       (unsigned long long)(mine->need & ~both),
                       (unsigned long long)(theirs->need & ~both));
    }
    *proto = high;
    *features = both;
    return 0;
}

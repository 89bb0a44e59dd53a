/* Operations of proven time, lifecycle, repeated requests and hash chains. */
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "meter/chain.h"
#include "meter/evidence.h"
#include "meter/idem.h"
#include "meter/lifecycle.h"
#include "meter/refuse.h"
#include "meter/wallet.h"
#include "tests/tools/vectors_ops/call.h"

static int
op_elapsed(struct call *c)
{
    size_t n;
    const struct json *a = call_arr(c, "mono_segments", &n);
    struct evidence_span *s = call_alloc(c, n, sizeof *s);
    int64_t billable_s = 0;

    for (size_t i = 0; i < n; i++) {
        s[i].start = call_int_of(c, json_at(a, i), "mono_start_ns");
        s[i].end = call_int_of(c, json_at(a, i), "mono_end_ns");
    }
    if (c->bad || evidence_elapsed(s, n, &billable_s, &c->e) != 0) {
        return -1;
    }
    json_kint(&c->out, "billable_s", billable_s);
    return 0;
}

static int
op_referee(struct call *c)
{
    int64_t host_s = call_int(c, "host_s");
    int64_t platform_s = call_int(c, "platform_s");
    int64_t tol_s = call_int(c, "tol_s");
    int64_t tol_ppm = call_int(c, "tol_ppm");
    int64_t billable_s = 0;
    bool flagged = false;

    if (c->bad || evidence_referee(host_s, platform_s, tol_s, tol_ppm, &billable_s,
                                   &flagged, &c->e) != 0) {
        return -1;
    }
    json_kint(&c->out, "billable_s", billable_s);
    json_kbool(&c->out, "flagged", flagged);
    return 0;
}

static int
op_heartbeats(struct call *c)
{
    size_t n;
    const struct json *a = call_arr(c, "heartbeats", &n);
    struct evidence_heartbeat *b = call_alloc(c, n, sizeof *b);
    int64_t until_s = call_int_or(c, "lease_until_s", INT64_MAX);
    int64_t billable_s = 0;

    for (size_t i = 0; i < n; i++) {
        b[i].seq = call_int_of(c, json_at(a, i), "seq");
        b[i].cum_s = call_int_of(c, json_at(a, i), "cum_s");
    }
    if (c->bad || evidence_heartbeats(b, n, until_s, &billable_s, &c->e) != 0) {
        return -1;
    }
    json_kint(&c->out, "billable_s", billable_s);
    return 0;
}

static int
op_evidence(struct call *c)
{
    int64_t host_s = call_int(c, "host_cum_s");
    int64_t ack_s = call_int_or(c, "platform_ack_s", 0);
    int64_t cosigned_s = call_int_or(c, "client_cosigned_s", 0);
    int64_t until_s = call_int_or(c, "lease_until_s", 0);

    json_kint(&c->out, "billable_s",
              evidence_billable(host_s, ack_s, cosigned_s, until_s));
    return c->bad ? -1 : 0;
}

static int
op_union(struct call *c)
{
    size_t n;
    const struct json *a = call_arr(c, "intervals", &n);
    struct evidence_span *s = call_alloc(c, n, sizeof *s);
    int64_t covered_s = 0;

    for (size_t i = 0; i < n; i++) {
        const struct json *pair = json_at(a, i);

        if (json_kind(pair) != JSON_ARR || json_len(pair) != 2 ||
            json_kind(json_at(pair, 0)) != JSON_INT ||
            json_kind(json_at(pair, 1)) != JSON_INT) {
            c->bad = true;
            return -1;
        }
        s[i].start = json_as_int(json_at(pair, 0));
        s[i].end = json_as_int(json_at(pair, 1));
    }
    if (c->bad || evidence_union(s, n, &covered_s, &c->e) != 0) {
        return -1;
    }
    json_kint(&c->out, "billable_s", covered_s);
    return 0;
}

/* The vectors' words for the free states of a session. */
static const struct {
    enum usage_state state;
    const char *word;
} free_words[] = {
    {USAGE_PREPARING, "provisioning"},
    {USAGE_STOPPING, "stopping"},
    {USAGE_RELEASED, "released"},
    {USAGE_SUSPENDED, "host_suspended"},
    {USAGE_HOST_SNAPSHOT, "platform_snapshot"},
    {USAGE_PREEMPTED, "preempted_early"},
    {USAGE_LOST, "after_last_heartbeat"},
};

static int
put_lifecycle(struct call *c, const struct lifecycle *l)
{
    const int64_t *ns = l->track.total.ns; /* in seconds here */
    const struct tariff_segment s[2] = {
        {call_int_or(c, "gpu_price_uyh", 0), 1, ns[USAGE_RUNNING], TARIFF_BPS_ONE},
        {call_int_or(c, "nocard_price_uyh", 0), 1, ns[USAGE_SETUP], TARIFF_BPS_ONE},
    };
    int64_t fen = 0;

    if (c->bad || tariff_charge(s, 2, TARIFF_MIN_FEN, &fen, &c->e) != 0) {
        return -1;
    }
    json_kint(&c->out, "gpu_s", ns[USAGE_RUNNING]);
    json_kint(&c->out, "nocard_s", ns[USAGE_SETUP]);
    json_key(&c->out, "free");
    json_obj(&c->out);
    for (size_t i = 0; i < sizeof free_words / sizeof *free_words; i++) {
        if (ns[free_words[i].state] > 0) {
            json_kint(&c->out, free_words[i].word, ns[free_words[i].state]);
        }
    }
    json_obj_end(&c->out);
    json_kint(&c->out, "charge_fen", fen);
    return 0;
}

static int
op_lifecycle(struct call *c)
{
    size_t n;
    const struct json *a = call_arr(c, "events", &n);
    struct lifecycle l =
        lifecycle_new(call_int_or(c, "free_preempt_s", USAGE_FREE_PREEMPT_S));

    for (size_t i = 0; i < n && !c->bad; i++) {
        const struct json *v = json_at(a, i);
        const char *word = call_str_of(c, v, "ev");
        enum lifecycle_event ev = lifecycle_event_from_name(word);
        int64_t t = call_int_of(c, v, "t");
        bool snap = ev == LIFECYCLE_SNAP_BEGIN || ev == LIFECYCLE_SNAP_END;
        bool renter = snap && strcmp(call_str_of(c, v, "by"), "renter") == 0;
        int64_t last = ev == LIFECYCLE_HOST_LOST ? call_int_of(c, v, "last_hb") : 0;

        if (ev == LIFECYCLE_NONE) {
            return refuse(&c->e, REFUSE_UNKNOWN, "no event '%s'", word);
        }
        if (c->bad || lifecycle_step(&l, t, ev, renter, last, &c->e) != 0) {
            return -1;
        }
    }
    return put_lifecycle(c, &l);
}

static int
op_idempotent_charge(struct call *c)
{
    size_t n;
    const struct json *a = call_arr(c, "requests", &n);
    struct idem *seen = idem_new();
    int64_t billed = 0;
    int rc = 0;

    for (size_t i = 0; i < n && rc == 0; i++) {
        const char *key = call_str_of(c, json_at(a, i), "key");
        int64_t fen = call_int_of(c, json_at(a, i), "fen");
        size_t first = 0;

        /* The body plays no part here: a key is billed once, whatever comes later. */
        if (idem_use(seen, key, "", i, &first, &c->e) == 0 && first == i &&
            __builtin_add_overflow(billed, fen, &billed)) {
            rc = refuse(&c->e, REFUSE_RANGE, "the sum");
        }
    }
    idem_free(seen);
    json_kint(&c->out, "billed_fen", billed);
    return c->bad ? -1 : rc;
}

/* One request to start: a new session, a repeat, or a mismatch. */
static int
start_one(struct call *c, struct idem *seen, const struct json *v, size_t i,
          struct tariff_segment *session, bool *is_new)
{
    const char *key = call_str_of(c, v, "key");
    const char *body = call_str_of(c, v, "body");
    int64_t t = call_int_of(c, v, "t");
    int64_t stop_t = call_int(c, "stop_t");
    size_t first = 0;

    if (idem_use(seen, key, body, i, &first, &c->e) != 0) {
        return -1;
    }
    *is_new = first == i;
    *session = (struct tariff_segment){.price_uyuan_per_h = call_int(c, "price_uyh"),
                                       .n_units = call_int_or(c, "gpus", 1),
                                       .used_s = stop_t > t ? stop_t - t : 0,
                                       .discount_bps = TARIFF_BPS_ONE};
    return 0;
}

static int
op_start_twice(struct call *c)
{
    size_t n;
    const struct json *a = call_arr(c, "requests", &n);
    struct idem *seen = idem_new();
    size_t error_on = 0;
    int64_t sessions = 0;
    int64_t sum = 0;
    int rc = 0;

    for (size_t i = 0; i < n && rc == 0; i++) {
        struct tariff_segment s;
        bool is_new = false;
        int64_t fen = 0;

        if (start_one(c, seen, json_at(a, i), i, &s, &is_new) != 0) {
            error_on = error_on == 0 ? i + 1 : error_on;
        } else if (is_new) {
            sessions++;
            rc = tariff_charge(&s, 1, TARIFF_MIN_FEN, &fen, &c->e);
            if (rc == 0 && __builtin_add_overflow(sum, fen, &sum)) {
                rc = refuse(&c->e, REFUSE_RANGE, "the sum");
            }
        }
    }
    idem_free(seen);
    if (rc != 0 || c->bad) {
        return -1;
    }
    json_kint(&c->out, "sessions", sessions);
    json_kint(&c->out, "charge_fen", sum);
    if (error_on != 0) {
        json_kstr(&c->out, "error", refuse_name(REFUSE_KEY_MISMATCH));
        json_kint(&c->out, "error_on", (int64_t)error_on);
    }
    return 0;
}

static int
op_stop_twice(struct call *c)
{
    size_t n;
    int64_t *stops = call_ints(c, "stops_t", &n);
    struct tariff_segment s = {.price_uyuan_per_h = call_int(c, "price_uyh"),
                               .n_units = call_int_or(c, "gpus", 1),
                               .used_s = INT64_MAX,
                               .discount_bps = TARIFF_BPS_ONE};
    int64_t fen = 0;

    for (size_t i = 0; i < n; i++) {
        s.used_s = stops[i] < s.used_s ? stops[i] : s.used_s;
    }
    if (n == 0) {
        c->bad = true;
    }
    if (c->bad || tariff_charge(&s, 1, TARIFF_MIN_FEN, &fen, &c->e) != 0) {
        return -1;
    }
    json_kint(&c->out, "billable_s", s.used_s);
    json_kint(&c->out, "charge_fen", fen);
    return 0;
}

static int
op_cumulative_payment(struct call *c)
{
    size_t n;
    int64_t *due = call_ints(c, "total_due", &n);
    int64_t *pays = call_alloc(c, n, sizeof *pays);
    int64_t paid = call_int_or(c, "paid_before", 0);

    for (size_t i = 0; i < n; i++) {
        pays[i] = wallet_payment(due[i], paid);
        paid += pays[i];
    }
    call_put_ints(c, "payments", pays, n);
    json_kint(&c->out, "total_paid", paid);
    return c->bad ? -1 : 0;
}

/* The texts of an array of strings. */
static size_t
read_texts(struct call *c, const char *key, const char ***texts, size_t **lens)
{
    size_t n;
    const struct json *a = call_arr(c, key, &n);

    *texts = call_alloc(c, n, sizeof **texts);
    *lens = call_alloc(c, n, sizeof **lens);
    for (size_t i = 0; i < n; i++) {
        if (json_kind(json_at(a, i)) != JSON_STR) {
            c->bad = true;
            return 0;
        }
        (*texts)[i] = json_as_str(json_at(a, i));
        (*lens)[i] = json_str_len(json_at(a, i));
    }
    return n;
}

static int
op_chain(struct call *c)
{
    const char **texts;
    size_t *lens;
    size_t n = read_texts(c, "records", &texts, &lens);
    struct chain chain = chain_new();
    char hex[SHA256_HEX_LEN + 1];

    json_key(&c->out, "sha256");
    json_arr(&c->out);
    for (size_t i = 0; i < n; i++) {
        chain_add(&chain, texts[i], lens[i]);
        sha256_format(&chain.head, hex);
        json_str(&c->out, hex);
    }
    json_arr_end(&c->out);
    sha256_format(&chain.head, hex);
    json_kstr(&c->out, "head", hex);
    return c->bad ? -1 : 0;
}

static int
op_chain_verify(struct call *c)
{
    const char **texts;
    size_t *lens;
    size_t n = read_texts(c, "records", &texts, &lens);
    int64_t bad_seq = 0;
    bool valid = chain_check(texts, lens, n, &bad_seq);

    json_kbool(&c->out, "valid", valid);
    json_key(&c->out, "first_bad_seq");
    if (valid) {
        json_nil(&c->out);
    } else {
        json_int(&c->out, bad_seq);
    }
    return c->bad ? -1 : 0;
}

#define ROOTS_SHOWN 8

static int
op_merkle_root(struct call *c)
{
    const char **texts;
    size_t *lens;
    bool hex = call_has(c, "leaves_hex");
    size_t n = read_texts(c, hex ? "leaves_hex" : "leaves_utf8", &texts, &lens);
    struct merkle m;
    struct sha256 root;
    char text[SHA256_HEX_LEN + 1];

    merkle_init(&m);
    json_key(&c->out, "roots_hex_for_n_1_to_8");
    json_arr(&c->out);
    for (size_t i = 0; i < n; i++) {
        uint8_t *bytes = call_alloc(c, lens[i] + 1, 1);

        memcpy(bytes, texts[i], lens[i]);
        if (hex &&
            (lens[i] % 2 != 0 || !hex_parse(texts[i], lens[i], bytes, lens[i] / 2))) {
            c->bad = true;
            break;
        }
        merkle_add(&m, bytes, hex ? lens[i] / 2 : lens[i]);
        merkle_root(&m, &root);
        sha256_format(&root, text);
        if (i < ROOTS_SHOWN) {
            json_str(&c->out, text);
        }
    }
    json_arr_end(&c->out);
    merkle_root(&m, &root);
    sha256_format(&root, text);
    json_kstr(&c->out, "root_hex", text);
    return c->bad ? -1 : 0;
}

const struct op ops_time[] = {
    {"elapsed", op_elapsed},
    {"referee", op_referee},
    {"heartbeats", op_heartbeats},
    {"evidence", op_evidence},
    {"union", op_union},
    {"lifecycle", op_lifecycle},
    {"idempotent_charge", op_idempotent_charge},
    {"start_twice", op_start_twice},
    {"stop_twice", op_stop_twice},
    {"cumulative_payment", op_cumulative_payment},
    {"chain", op_chain},
    {"chain_verify", op_chain_verify},
    {"merkle_root", op_merkle_root},
    {NULL, NULL},
};

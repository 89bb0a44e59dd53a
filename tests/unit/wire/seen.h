#ifndef TESTS_UNIT_WIRE_SEEN_H
#define TESTS_UNIT_WIRE_SEEN_H

/* What a mux told its application, written down. */

#include "runner/wire/msg.h"

#include "sim.h"

#define SECOND ((int64_t)1000000000)

/* What a side was told. */
struct seen {
    struct mux *m;
    int hellos;
    int requests;
    uint64_t ids[2000];
    char verbs[2000][24];
    int events;
    size_t event_sizes[100];
    int answers;
    int errors;
    struct err why;
    char hint[MUX_HINT_MAX + 1];
    size_t answer_size;
    bool answer_at_once;
    int opens;
    int cancelled;
    uint32_t last_offer;
    int goaways;
    struct err goaway;
    bool goaway_in_order;
};

static inline void
seen_on_hello(void *ctx, struct mux *m, const struct hello *peer)
{
    struct seen *s = ctx;

    (void)m;
    (void)peer;
    s->hellos++;
}

static inline void
seen_on_request(void *ctx, struct mux *m, uint64_t id, const struct rec *req)
{
    struct seen *s = ctx;
    int version;
    struct err e;

    s->ids[s->requests] = id;
    assert_int_equal(msg_verb(req, s->verbs[s->requests++], &version, &e), 0);
    if (s->answer_at_once) {
        struct rec *r = msg_answer_new("x");
        const char *size = rec_get(req, "size");

        if (size != NULL) {
            size_t n = strtoul(size, NULL, 10);
            char *text = xcalloc(1, n + 1);

            memset(text, 'a', n);
            rec_add(r, "text", text);
            free(text);
        }
        mux_respond(m, id, r);
        rec_free(r);
    }
}

static inline void
seen_on_event(void *ctx, struct mux *m, const struct rec *event)
{
    struct seen *s = ctx;
    size_t len = 0;

    (void)m;
    (void)rec_get_bytes(event, "text", &len);
    if (s->events < 100) {
        s->event_sizes[s->events] = len;
    }
    s->events++;
}

static inline void
seen_on_open(void *ctx, struct mux *m, const struct mux_offer *offer)
{
    struct seen *s = ctx;

    (void)m;
    s->opens++;
    s->last_offer = offer->stream;
}

static inline void
seen_on_cancelled(void *ctx, struct mux *m, uint32_t stream)
{
    struct seen *s = ctx;

    (void)m;
    (void)stream;
    s->cancelled++;
}

static inline void
seen_on_goaway(void *ctx, struct mux *m, const struct err *why, const char *hint)
{
    struct seen *s = ctx;

    (void)m;
    (void)hint;
    s->goaways++;
    s->goaway_in_order = why == NULL;
    if (why != NULL) {
        s->goaway = *why;
    }
}

static const struct mux_events seen_events = {
    .on_hello = seen_on_hello,
    .on_request = seen_on_request,
    .on_event = seen_on_event,
    .on_open = seen_on_open,
    .on_open_cancelled = seen_on_cancelled,
    .on_goaway = seen_on_goaway,
};

static inline void
seen_on_answer(void *ctx, const struct rec *resp, const struct err *why, const char *hint)
{
    struct seen *s = ctx;

    if (why != NULL) {
        s->errors++;
        s->why = *why;
        (void)snprintf(s->hint, sizeof s->hint, "%s", hint);
    } else {
        s->answers++;
        s->answer_size = 0;
        (void)rec_get_bytes(resp, "text", &s->answer_size);
    }
}

#endif

/*
 * The same bytes as a HELLO, an error, a request and a channel's state: what is
 * accepted can be written and read again, and both sides of a negotiation agree.
 */
#include <string.h>

#include "runner/wire/channel.h"
#include "runner/wire/hello.h"
#include "runner/wire/msg.h"
#include "tests/fuzz/fuzz.h"

static void
negotiate(const struct hello *theirs)
{
    static const enum hello_role roles[] = {HELLO_ROLE_CLIENT, HELLO_ROLE_SERVE,
                                            HELLO_ROLE_SUPERVISE, HELLO_ROLE_BOOK};

    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
        struct hello mine;
        int proto[2] = {0, 0};
        uint64_t features[2] = {0, 0};
        struct err e[2];
        int rc;

        hello_init(&mine, roles[i], "1");
        rc = hello_negotiate(&mine, theirs, &proto[0], &features[0], &e[0]);
        must(hello_negotiate(theirs, &mine, &proto[1], &features[1], &e[1]) == rc);
        must(proto[0] == proto[1] && features[0] == features[1]);
        must(rc == 0 || e[0].code == e[1].code);
    }
}

static void
as_hello(const struct rec *r)
{
    struct hello h;
    struct hello again;
    struct rec *out;
    struct err e;

    if (hello_parse(&h, r, &e) == -1) {
        must(e.code == ERR_INVALID);
        return;
    }
    must(h.proto_min >= 1 && h.proto_min <= h.proto_max && (h.need & ~h.features) == 0);
    out = hello_encode(&h);
    must(hello_parse(&again, out, &e) == 0);
    must(again.role == h.role && again.features == h.features &&
         strcmp(again.version, h.version) == 0 && strcmp(again.renter, h.renter) == 0 &&
         rec_n_fields(again.extra) == rec_n_fields(h.extra));
    negotiate(&h);
    rec_free(out);
    hello_clear(&h);
    hello_clear(&again);
}

static void
as_message(const struct rec *r)
{
    struct channel_state s;
    char verb[MSG_VERB_MAX + 1];
    char hint[MSG_HINT_MAX + 1];
    uint8_t key[MSG_KEY_LEN];
    struct err why;
    struct err e;
    int version;

    if (msg_error_parse(r, &why, hint, &e) == 0) {
        struct rec *out = msg_error_new(&why, hint);
        struct err again;

        must(why.code > ERR_NONE && why.code < ERR_CODE_COUNT);
        must(msg_error_parse(out, &again, NULL, &e) == 0);
        must(again.code == why.code && strcmp(again.msg, why.msg) == 0);
        rec_free(out);
    }
    if (msg_verb(r, verb, &version, &e) == 0) {
        must(strlen(verb) >= 1 && strlen(verb) <= MSG_VERB_MAX);
        must(version >= 1 && version <= 9);
    }
    (void)!msg_need_key(r, key, &e);
    if (channel_state_get(r, "", &s, &e) == 0) {
        must(s.recv_next <= CHANNEL_OFFSET_MAX && s.send_acked <= CHANNEL_OFFSET_MAX);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rec *r = NULL;
    struct err e;

    if (rec_parse(&r, data, size, NULL, &e) == -1) {
        return 0;
    }
    as_hello(r);
    as_message(r);
    rec_free(r);
    return 0;
}

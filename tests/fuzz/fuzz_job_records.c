/*
 * Records that client and host tell each other: a job, its state, a host, a device, a
 * class of devices, a snapshot. What is accepted is written again as something that is
 * accepted, and then the same bytes come.
 */
#include <string.h>

#include "runner/client/snaps.h"
#include "runner/job/device.h"
#include "runner/job/hostinfo.h"
#include "runner/job/spec.h"
#include "runner/job/state.h"
#include "tests/fuzz/fuzz.h"

/* r is what the first reading was written as; again is what the second one was. */
static void
must_be_equal(struct rec *r, struct rec *again)
{
    struct buf a = BUF_INIT;
    struct buf b = BUF_INIT;

    rec_encode(r, &a);
    rec_encode(again, &b);
    must(a.len == b.len && memcmp(a.data, b.data, a.len) == 0);
    buf_free(&a);
    buf_free(&b);
    rec_free(r);
    rec_free(again);
}

static void
as_spec(const struct rec *r)
{
    struct job_spec s;
    struct job_spec t;
    struct rec *once;
    struct err e;

    spec_init(&s);
    spec_init(&t);
    if (spec_parse(&s, r, &e) != 0) {
        must(e.code == ERR_CORRUPT || e.code == ERR_INVALID || e.code == ERR_RANGE ||
             e.code == ERR_VERSION);
        return;
    }
    must(s.name != NULL && s.args.n > 0 && s.cwd != NULL && s.count > 0);
    must(s.cwd[0] != '/' && strstr(s.cwd, "..") != s.cwd);
    once = spec_encode(&s);
    must(spec_parse(&t, once, &e) == 0);
    must_be_equal(once, spec_encode(&t));
    spec_free(&s);
    spec_free(&t);
}

static void
as_state(const struct rec *r)
{
    struct job_state s;
    struct job_state t;
    char phrase[JOB_PHRASE_MAX];
    struct rec *once;
    struct err e;
    int code;

    state_init(&s);
    state_init(&t);
    if (state_parse(&s, r, &e) != 0) {
        must(e.code == ERR_CORRUPT || e.code == ERR_INVALID || e.code == ERR_RANGE ||
             e.code == ERR_VERSION);
        return;
    }
    code = job_exit_code(&s);
    must(code >= 0 && code <= 255);
    must(code != 0 || (s.phase == JOB_ENDED && s.exit_code == 0));
    job_phrase(&s, phrase);
    must(strlen(phrase) < sizeof phrase);
    once = state_encode(&s);
    must(state_parse(&t, once, &e) == 0);
    must_be_equal(once, state_encode(&t));
    state_free(&s);
    state_free(&t);
}

static void
as_host(const struct rec *r)
{
    struct host_info h;
    struct host_info g;
    struct rec *once;
    struct err e;

    hostinfo_init(&h);
    hostinfo_init(&g);
    if (hostinfo_parse(&h, r, &e) != 0) {
        must(e.code == ERR_CORRUPT || e.code == ERR_INVALID || e.code == ERR_RANGE ||
             e.code == ERR_VERSION);
        return;
    }
    must(hostinfo_count_free(&h, "gpu", "any") >= 0);
    must(hostinfo_count_free(&h, "cpu", "any") >= 0);
    once = hostinfo_encode(&h);
    must(hostinfo_parse(&g, once, &e) == 0);
    must_be_equal(once, hostinfo_encode(&g));
    hostinfo_free(&h);
    hostinfo_free(&g);
}

static void
as_device(const struct rec *r)
{
    char type[DEVICE_TEXT_MAX + 1];
    struct device d;
    struct device c;
    struct rec *once;
    struct err e;

    if (device_parse(&d, r, &e) != 0) {
        return;
    }
    device_type_of(d.name, d.memory_bytes, type);
    must(type[0] != '\0' && strlen(type) < sizeof type);
    must(device_matches(&d, d.device_class, "any"));
    once = device_encode(&d);
    must(device_parse(&c, once, &e) == 0);
    must_be_equal(once, device_encode(&c));
    device_free(&d);
    device_free(&c);
}

static void
as_class(const struct rec *r)
{
    struct device_class c = {0};
    struct err e;

    if (device_class_parse(&c, r, &e) == 0) {
        must(c.name != NULL && c.detect != DEVICE_DETECT_NONE);
        device_class_free(&c);
    } else {
        must(e.msg[0] != '\0');
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct snap_info s;
    struct rec *r = NULL;
    struct err e;

    snap_info_init(&s);
    if (snap_info_parse(&s, "h", data, size, &e) == 0) {
        must(strcmp(s.host, "h") == 0 && s.id[0] != '\0');
        snap_info_free(&s);
    }
    if (rec_parse(&r, data, size, NULL, &e) != 0) {
        return 0;
    }
    as_spec(r);
    as_state(r);
    as_host(r);
    as_device(r);
    as_class(r);
    rec_free(r);
    return 0;
}

/*
 * Is control ever behind bulk? Ships a directory to a host and meanwhile, on the same
 * connection, asks it for its jobs again and again:
 *
 *   bulk_latency HOST DIR
 *
 * prints "idle_ms=… calls=… p50_ms=… p99_ms=… max_ms=… sent=… seconds=…": the round trips
 * before, and during, the transfer. Homes and transports as gpurun has them.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/clock.h"
#include "runner/client/session.h"
#include "runner/client/ship.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"

#define NS_PER_MS ((int64_t)1000000)
#define CALLS_MAX 100000
#define IDLE      20

static int64_t took_ns[CALLS_MAX];

static int
one_call(struct session *s, int64_t *ns, struct err *e)
{
    struct rec *req = msg_request_new(VERB_JOB_LIST);
    struct rec *resp = NULL;
    int64_t began = clock_mono_ns();
    int rc = session_call(s, req, -1, &resp, e);

    *ns = clock_mono_ns() - began;
    rec_free(resp);
    rec_free(req);
    return rc;
}

static int
by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

static int
measure(struct client *cl, struct session *s, const char *dir, struct err *e)
{
    struct ship_options o = {.dir = dir, .allow_home = true};
    const struct build_report *built;
    struct sync_stats stats;
    struct ship *ship = NULL;
    int64_t idle_ns;
    int64_t began;
    size_t n = 0;
    int rc = -1;

    for (int i = 0; i < IDLE; i++) {
        if (one_call(s, &took_ns[i], e) != 0) {
            return -1;
        }
    }
    qsort(took_ns, IDLE, sizeof took_ns[0], by_size);
    idle_ns = took_ns[IDLE / 2];
    if (ship_start(&ship, cl, &o, e) != 0 || ship_wait_built(ship, &built, e) != 0) {
        goto out;
    }
    began = clock_mono_ns();
    if (ship_send(ship, s, session_conn(s), e) != 0) {
        goto out;
    }
    while (ship_state(ship, e) == SHIP_SENDING && n < CALLS_MAX) {
        if (one_call(s, &took_ns[n++], e) != 0) {
            goto out;
        }
    }
    if (ship_state(ship, e) != SHIP_DONE || n == 0) {
        goto out;
    }
    ship_stats(ship, &stats);
    qsort(took_ns, n, sizeof took_ns[0], by_size);
    (void)printf("idle_ms=%" PRId64 " calls=%zu p50_ms=%" PRId64 " p99_ms=%" PRId64
                 " max_ms=%" PRId64 " sent=%" PRIu64 " seconds=%" PRId64 "\n",
                 idle_ns / NS_PER_MS, n, took_ns[n / 2] / NS_PER_MS,
                 took_ns[n - 1 - n / 100] / NS_PER_MS, took_ns[n - 1] / NS_PER_MS,
                 (uint64_t)stats.sent_bytes, (clock_mono_ns() - began) / 1000000000);
    rc = 0;

out:
    ship_free(ship);
    return rc;
}

int
main(int argc, char **argv)
{
    const char *ssh = getenv("GPURUN_SSH");
    struct session_options o = {.patience_ns = 0};
    struct client cl = {.ssh_program = ssh};
    struct session *s = NULL;
    struct host h = {0};
    struct err e = {0};
    int rc = 1;

    if (argc != 3) {
        (void)fprintf(stderr, "usage: bulk_latency HOST DIR\n");
        return 2;
    }
    if (home_open(&cl.home, NULL, &e) != 0 || loop_new(&cl.loop, &e) != 0) {
        (void)fprintf(stderr, "%s\n", e.msg);
        return 1;
    }
    cl.links = links_new(cl.loop);
    if (hosts_load(cl.home, argv[1], &h, &e) == 0 &&
        session_open(&s, &cl, &h, &o, &e) == 0 && session_wait_up(s, &e) == 0 &&
        measure(&cl, s, argv[2], &e) == 0) {
        rc = 0;
    } else {
        (void)fprintf(stderr, "%s\n", e.msg);
    }
    session_close(s);
    host_free(&h);
    links_free(cl.links, 1000);
    loop_free(cl.loop);
    home_free(cl.home);
    return rc;
}

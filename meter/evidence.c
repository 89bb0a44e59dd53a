#include "meter/evidence.h"

#include <inttypes.h>
#include <stdlib.h>

#include "meter/refuse.h"
#include "meter/usage.h"
#include "meter/wide.h"

int
evidence_elapsed(const struct evidence_span *mono_ns, size_t n, int64_t *billable_s,
                 struct err *e)
{
    __int128 sum_ns = 0;

    for (size_t i = 0; i < n; i++) {
        if (mono_ns[i].end < mono_ns[i].start) {
            return refuse(e, REFUSE_CLOCK_BACK, "span %zu ends before it starts", i + 1);
        }
        sum_ns += (__int128)mono_ns[i].end - mono_ns[i].start;
    }
    if (!wide_fits64(sum_ns / USAGE_NS_PER_S)) {
        return refuse(e, REFUSE_RANGE, "more time than can be counted");
    }
    *billable_s = (int64_t)(sum_ns / USAGE_NS_PER_S);
    return 0;
}

int
evidence_referee(int64_t host_s, int64_t platform_s, int64_t tol_s, int64_t tol_ppm,
                 int64_t *billable_s, bool *flagged, struct err *e)
{
    const __int128 million = 1000000;
    __int128 off = (__int128)host_s - platform_s;

    if (host_s < 0 || platform_s < 0 || tol_s < 0 || tol_ppm < 0) {
        return refuse(e, REFUSE_RANGE, "a negative count or tolerance");
    }
    off = wide_max(off, -off);
    *flagged = off * million > tol_s * million + (__int128)tol_ppm * platform_s;
    *billable_s = *flagged ? i64_min(platform_s, host_s) : host_s;
    return 0;
}

static int
by_seq(const void *a, const void *b)
{
    const struct evidence_heartbeat *x = a;
    const struct evidence_heartbeat *y = b;

    return i64_cmp(x->seq, y->seq);
}

int
evidence_heartbeats(struct evidence_heartbeat *beats, size_t n, int64_t lease_until_s,
                    int64_t *billable_s, struct err *e)
{
    int64_t last = 0;

    if (n > 0) {
        qsort(beats, n, sizeof *beats, by_seq);
        last = beats[n - 1].cum_s;
    }
    for (size_t i = 1; i < n; i++) {
        if (beats[i].seq == beats[i - 1].seq && beats[i].cum_s != beats[i - 1].cum_s) {
            return refuse(e, REFUSE_HEARTBEAT,
                          "number %" PRId64 " came with two counters", beats[i].seq);
        }
    }
    for (size_t i = 1; i < n; i++) {
        if (beats[i].cum_s < beats[i - 1].cum_s) {
            return refuse(e, REFUSE_COUNTER_BACK, "the counter falls at number %" PRId64,
                          beats[i].seq);
        }
    }
    *billable_s = i64_min(last, lease_until_s);
    return 0;
}

int64_t
evidence_billable(int64_t host_cum_s, int64_t platform_ack_s, int64_t client_cosigned_s,
                  int64_t lease_until_s)
{
    int64_t proven = i64_max(i64_max(platform_ack_s, client_cosigned_s), lease_until_s);

    return i64_min(host_cum_s, proven);
}

static int
by_start(const void *a, const void *b)
{
    const struct evidence_span *x = a;
    const struct evidence_span *y = b;

    return i64_cmp(x->start, y->start);
}

int
evidence_union(struct evidence_span *spans, size_t n, int64_t *covered, struct err *e)
{
    __int128 sum = 0;
    int64_t reached = INT64_MIN;

    if (n > 0) {
        qsort(spans, n, sizeof *spans, by_start);
    }
    for (size_t i = 0; i < n; i++) {
        int64_t from = i64_max(spans[i].start, reached);

        if (spans[i].end > from) {
            sum += (__int128)spans[i].end - from;
            reached = spans[i].end;
        }
    }
    if (!wide_fits64(sum)) {
        return refuse(e, REFUSE_RANGE, "more time than can be counted");
    }
    *covered = (int64_t)sum;
    return 0;
}

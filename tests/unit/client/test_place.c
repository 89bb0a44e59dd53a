#include "tests/unit/unit.h"

#include <inttypes.h>

#include "runner/client/place_internal.h"

/*
 * What a host's devices are worth to a job: how many of those that it would get are such
 * as somebody computes on without gpurun. The devices: as many letters, f free, s free
 * and shared, b busy, r of the reservation, R of it and shared.
 */
static void
add_devices(struct host_info *info, struct reservation *r, const char *devices)
{
    for (size_t i = 0; devices[i] != '\0'; i++) {
        char c = devices[i];
        struct device d;

        device_init(&d);
        free(d.device_class);
        free(d.name);
        free(d.type);
        free(d.uuid);
        d.device_class = xstrdup("gpu");
        d.name = xstrdup("NVIDIA GeForce RTX 4090");
        d.type = xstrdup("rtx4090");
        d.uuid = xasprintf("GPU-%zu", i);
        d.n_processes = c == 's' || c == 'R' || c == 'b' ? 1 : 0;
        d.state = c == 'b'               ? DEVICE_BUSY
                  : c == 'r' || c == 'R' ? DEVICE_RESERVED
                                         : DEVICE_FREE;
        if (d.state == DEVICE_RESERVED) {
            (void)snprintf(r->devices[r->n_devices++], sizeof r->devices[0], "%s",
                           d.uuid);
        }
        device_list_add(&info->devices, &d);
    }
}

static void
check(const char *devices, int64_t count, enum place_fit fit, int64_t n_shared)
{
    struct offer_price price = {
        .class_name = "gpu", .type = "rtx4090", .uyuan_per_h = 2000000};
    struct offer offer = {.prices = &price, .n_prices = 1};
    struct place_want w = {
        .device = {.device_class = "gpu", .type = "4090", .count = count},
        .max_price_uyuan = -1,
    };
    struct host h = {.name = NULL};
    struct reservation *r = reservation_new();
    struct candidate c = {.host = "h"};
    struct host_info info;

    hostinfo_init(&info);
    add_devices(&info, r, devices);
    (void)snprintf(r->class_name, sizeof r->class_name, "gpu");
    (void)snprintf(r->type, sizeof r->type, "rtx4090");
    (void)snprintf(r->id, sizeof r->id, "vaaaaaaaaaaaa");
    r->host = info.key;
    r->to_s = 3600;
    place_judge(&c, &w, &h, &info, &offer);
    place_judge_reserved(&c, &w, &info, r);
    if (c.fit != fit || c.n_shared != n_shared) {
        fail_msg("%" PRId64 " of '%s': fit %d, %" PRId64 " shared", count, devices,
                 (int)c.fit, c.n_shared);
    }
    assert_int_equal(c.reservation[0] != '\0',
                     fit == PLACE_FITS && (int64_t)r->n_devices >= count);
    reservation_free(r);
    hostinfo_free(&info);
}

static void
place_judge__counts_as_shared_what_must_be_taken_of_it(void **state)
{
    (void)state;
    check("ff", 2, PLACE_FITS, 0);
    check("fs", 1, PLACE_FITS, 0);
    check("fs", 2, PLACE_FITS, 1);
    check("ss", 1, PLACE_FITS, 1);
    check("ss", 2, PLACE_FITS, 2);
}

/* One that waits for a job to end may well find what nobody else is on. */
static void
place_judge__takes_no_busy_device_for_a_shared_one(void **state)
{
    (void)state;
    check("b", 1, PLACE_BUSY, 0);
    check("bbbb", 4, PLACE_BUSY, 0);
    check("fb", 2, PLACE_BUSY, 0);
    check("sb", 2, PLACE_BUSY, 1);
    check("sbb", 3, PLACE_BUSY, 1);
}

static void
place_judge_reserved__counts_the_reservations_own(void **state)
{
    (void)state;
    check("br", 1, PLACE_FITS, 0);
    check("sr", 1, PLACE_FITS, 0);
    check("srr", 2, PLACE_FITS, 0);
    check("brR", 1, PLACE_FITS, 0);
    check("brR", 2, PLACE_FITS, 1);
    check("fR", 1, PLACE_FITS, 1);
    /* Too few of them: as without it. */
    check("fsr", 2, PLACE_FITS, 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(place_judge__counts_as_shared_what_must_be_taken_of_it),
        cmocka_unit_test(place_judge__takes_no_busy_device_for_a_shared_one),
        cmocka_unit_test(place_judge_reserved__counts_the_reservations_own),
    };

    return cmocka_run_group_tests_name("place", tests, NULL, NULL);
}

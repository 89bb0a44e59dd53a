#ifndef METER_AUDIT_H
#define METER_AUDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "meter/receipt.h"
#include "meter/usage.h"

/*
 * Where every second of a host's devices went. Sessions (verified journals, ended or not)
 * and observations ("free then, and looked at again by then") are put in; out comes for
 * each device a sum over a stretch of time in which each nanosecond is in exactly one of
 *
 *   sold         running, billed window; reserved, that is paid in front, used or not
 *   free         held by a session at no charge, by the state that says why
 *   fault        held, but nobody can say what happened (also lost)
 *   idle         held by nobody, and seen free
 *   unobserved   held by nobody as far as is known, and not looked at
 *
 * and every gap and overlap as a line. Time within a boot is CLOCK_BOOTTIME, so a wall
 * clock that was stepped makes no gap; boots follow each other by their wall labels, and
 * what lies between two is unobserved. Cores are shared: they are summed up (times their
 * number), but have no line of time that could have gaps.
 *
 * Pure: reads no clock, no file. One thread.
 */
struct audit;

/* What is looked at: [from, to) by the wall clock; INT64_MIN and INT64_MAX: everything.
 */
struct audit *audit_new(int64_t from_wall_ns, int64_t to_wall_ns);
void audit_free(struct audit *a); /* NULL allowed */

/* A session; the same again changes nothing. r stays the caller's. */
void audit_add(struct audit *a, const struct receipt *r);

/* A device was seen free at from and at every look until to, all in one boot. */
struct audit_sight {
    struct journal_device device;
    char boot[BOOT_ID_LEN + 1];
    int64_t from_boot_ns;
    int64_t to_boot_ns;
    int64_t from_wall_ns;
};
void audit_see(struct audit *a, const struct audit_sight *s);

/* A device was sold in front for [from, to) by the wall clock. */
void audit_reserve(struct audit *a, const struct journal_device *device,
                   int64_t from_wall_ns, int64_t to_wall_ns);

enum audit_what {
    AUDIT_NONE = 0,
    AUDIT_IDLE,
    AUDIT_UNOBSERVED,
    AUDIT_RESERVED, /* held by nobody, and sold in front */
    AUDIT_FAULT,    /* also in a holding: its begin is that of the state it fell into */
    AUDIT_OVERLAP
};
const char *
audit_what_name(enum audit_what w); /* "idle", "unobserved", "reserved", "fault", … */

/* A stretch between two holdings of a device, or one that two sessions have. */
struct audit_gap {
    enum audit_what what;
    int64_t from_wall_ns; /* labels */
    int64_t ns;
    char before[GRANT_ID_MAX + 1]; /* jobs on either side; "" none */
    char after[GRANT_ID_MAX + 1];
};

struct audit_device {
    struct journal_device device;
    bool shared;          /* cores */
    int64_t from_wall_ns; /* labels; not of shared ones */
    int64_t to_wall_ns;
    int64_t ns; /* from then to then: the sum of all that follows */
    int64_t sold_ns;
    int64_t free_ns[USAGE_STATE_COUNT]; /* by the state that is the reason */
    int64_t fault_ns;
    int64_t idle_ns;
    int64_t unobserved_ns;
    struct audit_gap *gaps; /* in order of time; those of a second at least */
    size_t n_gaps;
    size_t n_overlaps; /* of them */
};

/*
 * Work it out, up to now. Devices in the order of their uuids; they stay a's. To be
 * called once, after everything was added.
 */
void audit_close(struct audit *a, const struct usage_moment *now);
const struct audit_device *audit_devices(const struct audit *a, size_t *n);

#endif

#ifndef TESTS_UNIT_JOB_SPEC_UTIL_H
#define TESTS_UNIT_JOB_SPEC_UTIL_H

#include "base/rec.h"
#include "runner/job/spec.h"

/* The least that spec_parse takes, of that job; rec_free it. */
static inline struct rec *
small_spec(const char *job)
{
    struct rec *r = rec_new(SPEC_TYPE);

    rec_add(r, "job", job);
    rec_add(r, "renter", "0123456789abcdef");
    rec_add(r, "kind", "python");
    rec_add(r, "stdin", "open");
    rec_add(r, "name", "quiet-fox");
    rec_add(r, "class", "cpu");
    rec_add(r, "type", "any");
    rec_add(r, "arg", "train.py");
    return r;
}

#endif

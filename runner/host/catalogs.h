#ifndef RUNNER_HOST_CATALOGS_H
#define RUNNER_HOST_CATALOGS_H

#include <stddef.h>

#include "base/attr.h"
#include "base/err.h"

/*
 * The translations, in the program itself: where a client puts an agent there is nothing
 * else of the installation, and its owner is to be spoken to in words of their language.
 */
struct catalog {
    const char *language; /* "zh_CN" */
    const unsigned char *zstd;
    size_t len;
    size_t raw_len; /* of the .mo file */
};

/* Ended by a NULL language. Made from po/ (packaging/catalogs). */
extern const struct catalog catalogs[];

/*
 * Put them beneath the directory of an agent, where it looks for them (base/lang.h). Not
 * synced.
 */
int catalogs_put(const char *agent_dir, struct err *e) MUST_USE;

#endif

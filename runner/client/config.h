#ifndef RUNNER_CLIENT_CONFIG_H
#define RUNNER_CLIENT_CONFIG_H

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "runner/client/home.h"

/*
 * The user's settings: <home>/config, a record with the keys of config_keys. A
 * key that is not set has its default; a value is checked when it is set and
 * again when it is read.
 */
struct config_key {
    const char *name;  /* "ask-above" */
    const char *value; /* what a value looks like: "YUAN", "DUR", … */
    const char *dflt;
    const char *help;
    int (*check)(const char *value, struct err *e);
};
extern const struct config_key config_keys[]; /* ended by a row with name NULL */

struct config;

int config_open(struct config **out, const struct home *home, struct err *e) MUST_USE;
void config_free(struct config *c);
/* The value in force. key is one of config_keys (asserted). Stays c's. */
const char *config_get(const struct config *c, const char *key);
/* The value that was set, NULL where only the default is in force. */
const char *config_get_set(const struct config *c, const char *key);
/*
 * Set a value (NULL: back to the default) and save. ERR_NOT_FOUND: no such key (names the
 * keys there are); ERR_INVALID: not a value of it; nothing changed then.
 */
int config_set(struct config *c, const char *key, const char *value,
               struct err *e) MUST_USE;

/* The value of a YUAN or DUR key in force. */
int64_t config_money_fen(const struct config *c, const char *key);
int64_t config_duration_ns(const struct config *c, const char *key);

#endif

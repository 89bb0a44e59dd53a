#ifndef METER_CARD_H
#define METER_CARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"

/*
 * The owner's rate card: what is asked, from when to when. Plain data, a
 * record "gpurun.card.v1" (meter/DESIGN.md) in one file; plans (day, week, month)
 * and levels (member, student) are rows like prices, not code.
 *
 * Prices of one thing follow each other without gap or overlap: setting a price
 * ends the one before at that second. A card with no price at all means "free";
 * one with some prices offers only those things.
 */
#define CARD_WORD_MAX        32 /* class, type and level names: [a-z0-9._-]{1,32} */
#define CARD_ROWS_MAX        4096
#define CARD_FOREVER         INT64_MAX
#define CARD_ALWAYS          INT64_MIN
#define CARD_WITHDRAWN       INT64_MIN     /* as a price: no longer offered */
#define CARD_PRICE_MAX_UYUAN 1000000000000 /* a million yuan */

enum card_unit {
    CARD_UNIT_NONE = 0,
    CARD_UNIT_HOUR,   /* micro-yuan per unit-hour: a device; for class cpu, a core */
    CARD_UNIT_GB_DAY, /* class "disk": micro-yuan per GB-day */
    CARD_UNIT_JOB,    /* class "job": micro-yuan per job */
    CARD_UNIT_COUNT
};

struct card_price {
    char class_name[CARD_WORD_MAX + 1]; /* "gpu", "cpu", "npu", …, "disk", "job" */
    char type[CARD_WORD_MAX + 1];       /* "4090"; "" for cpu, disk and job */
    enum card_unit unit;
    int64_t price_uyuan;
    int64_t from_s; /* wall seconds since 1970; CARD_ALWAYS */
    int64_t to_s;   /* exclusive; CARD_FOREVER */
};

struct card_level {
    char name[CARD_WORD_MAX + 1]; /* "member", "student" */
    int64_t bps;                  /* of the price: 9500 is 5 % off */
};

struct card_plan {
    char class_name[CARD_WORD_MAX + 1];
    char type[CARD_WORD_MAX + 1];
    char unit[CARD_WORD_MAX + 1]; /* "day", "week", "month30", "year365" (reserve.h) */
    int64_t price_fen;            /* per unit of time and device, paid in front */
    int64_t refund_fee_bps;
    int64_t from_s;
    int64_t to_s;
};

/* Who has which level; a file of its own, never published. */
struct card_member {
    char renter[CARD_WORD_MAX + 1]; /* renter id */
    char level[CARD_WORD_MAX + 1];
    int64_t from_s;
    int64_t to_s;
};

struct card; /* one thread at a time */

struct card *card_new(void); /* no price: free */
void card_free(struct card *c);

/*
 * Levels apply to prices per unit-hour. A price that was withdrawn stays in the card as
 * a row of its own, so that its history has no hole.
 *
 * Load the card at path; a missing file is a new card. ERR_CORRUPT, ERR_VERSION, or
 * ERR_INVALID for a card that breaks a rule (gap, overlap, negative price, a level
 * that makes a price inexact), naming the row.
 */
int card_load(struct card **out, const char *path, struct err *e) MUST_USE;
int card_save(const struct card *c, const char *path, struct err *e) MUST_USE;
int card_parse(struct card **out, const void *data, size_t len, struct err *e) MUST_USE;
void card_encode(const struct card *c, struct buf *out);
void card_hash(const struct card *c, struct sha256 *out); /* of the encoding */

/*
 * "4090=1.88", "npu:910b=3.5", "cpu=0.10", "disk=0.0066", "job=0.05": set that price
 * from from_s on. A word without a class is a gpu type. Refused by name as
 * money_parse_uyuan, and "inexact_price" with a level; nothing is changed then.
 */
int card_set(struct card *c, const char *type_and_yuan, int64_t from_s,
             struct err *e) MUST_USE;
/* Stop offering it from from_s on: "4090", "cpu". ERR_NOT_FOUND. */
int card_unset(struct card *c, const char *type, int64_t from_s, struct err *e) MUST_USE;
int card_set_level(struct card *c, const char *name, int64_t bps, struct err *e) MUST_USE;
int card_set_plan(struct card *c, const struct card_plan *plan, struct err *e) MUST_USE;
/* Free quota of stored bytes per renter, and what owners show (title, tax number). */
int card_set_quota(struct card *c, int64_t free_bytes, struct err *e) MUST_USE;
int card_set_title(struct card *c, const char *title, const char *tax_number,
                   int64_t vat_bps, struct err *e) MUST_USE;

/* A class and type from a user's word, as card_set reads them. */
int card_parse_type(const char *word, size_t len, char class_name[CARD_WORD_MAX + 1],
                    char type[CARD_WORD_MAX + 1], struct err *e) MUST_USE;

bool card_is_free(const struct card *c); /* it never had a price */
/* The price in force at wall second at_s, or NULL. type "" matches class rows. */
const struct card_price *card_price_at(const struct card *c, const char *class_name,
                                       const char *type, int64_t at_s);
const struct card_price *card_prices(const struct card *c, size_t *n);
const struct card_plan *card_plans(const struct card *c, size_t *n);
const struct card_level *card_levels(const struct card *c, size_t *n);
const struct card_level *card_find_level(const struct card *c, const char *name);
int64_t card_quota(const struct card *c);
const char *card_title(const struct card *c);
const char *card_tax_number(const struct card *c);
int64_t card_vat_bps(const struct card *c);

/* The members' file, "gpurun.members.v1". */
struct card_members;
int card_members_load(struct card_members **out, const char *path,
                      struct err *e) MUST_USE;
int card_members_save(const struct card_members *m, const char *path,
                      struct err *e) MUST_USE;
void card_members_free(struct card_members *m);
/* Replaces what the renter had. An empty level removes it. */
int card_members_set(struct card_members *m, const struct card *c,
                     const struct card_member *who, struct err *e) MUST_USE;
const struct card_member *card_members_all(const struct card_members *m, size_t *n);
/* The renter's level at that second, or NULL. */
const struct card_member *card_members_at(const struct card_members *m,
                                          const char *renter, int64_t at_s);

#endif

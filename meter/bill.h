#ifndef METER_BILL_H
#define METER_BILL_H

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "meter/calendar.h"
#include "meter/keeping.h"
#include "meter/receipt.h"

/*
 * A bill: a verified receipt as lines for people and programs. Free states are
 * lines of 0.00 with their reason; priced lines are differences of running floors,
 * device lines cut where a month begins (Asia/Shanghai); all lines sum to the charge.
 */
enum bill_kind {
    BILL_NONE = 0,
    BILL_FREE,    /* 0.00, `why` says why */
    BILL_SETUP,   /* set-up without a card */
    BILL_JOB,     /* the owner's price per job */
    BILL_DEVICE,  /* the devices, from ready on */
    BILL_WINDOW,  /* the billed part of the stop window */
    BILL_KEEPING, /* posted when the data goes (keeping.h) */
    BILL_KIND_COUNT
};
const char *bill_kind_name(enum bill_kind k);

struct bill_line {
    enum bill_kind kind;
    enum usage_state state;
    const char *why;                    /* English phrase (gettext key) or "" */
    char class_name[CARD_WORD_MAX + 1]; /* of the devices; "" where there is none */
    char type[CARD_WORD_MAX + 1];
    int64_t n_units;
    int64_t price_uyuan_per_h; /* per unit */
    int64_t seconds;
    int64_t ns;           /* free lines: the exact time; 0 else */
    int64_t from_wall_ns; /* labels */
    int64_t to_wall_ns;
    char month[CALENDAR_MONTH_MAX]; /* "2026-11": the month it belongs to */
    int64_t fen;
};

struct bill {
    struct bill_line *lines;
    size_t n_lines;
    int64_t total_fen;
    int64_t keep_hold_fen; /* still held for keeping */
    int64_t device_s;
    int64_t busy_bps; /* share of the device time it was busy; -1 unknown */
};

int bill_from_receipt(struct bill *b, const struct receipt *r, struct err *e) MUST_USE;
/*
 * The data has gone: what keeping it cost is a line of its own, behind the session's, and
 * of the total. ERR_DENIED: the line is not of that receipt.
 */
int bill_add_keeping(struct bill *b, const struct keeping *k, const struct receipt *r,
                     struct err *e) MUST_USE;
/* The same for who has no line, once the data's time is over: kept to its end. */
int bill_add_keeping_end(struct bill *b, const struct receipt *r, struct err *e) MUST_USE;
void bill_clear(struct bill *b);
/* What of a bill belongs to a month ("2026-11"; NULL: all of it), by its lines. */
struct bill_part {
    size_t n_lines; /* 0: nothing, not even time that is free */
    int64_t charge_fen;
    int64_t keeping_fen;
};
struct bill_part bill_part_of(const struct bill *b, const char *month);
/* The lines as a JSON array; amounts in fen, prices in micro-yuan, times in ns. */
void bill_json(struct json_writer *w, const struct bill *b);
/* One CSV row per line with a header row first (RFC 4180, LF). */
void bill_csv(struct buf *out, const struct bill *b, const char *job);

#endif

#ifndef RUNNER_CLI_BILL_H
#define RUNNER_CLI_BILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "meter/bill.h"
#include "meter/calendar.h"
#include "meter/receipt.h"
#include "meter/reservation.h"
#include "meter/stopwatch.h"
#include "runner/cli/cli.h"
#include "runner/client/config.h"
#include "runner/client/jobs.h"

/* Kept receipts as bills: of one job, of all, by day or month; text, JSON, CSV, SVG. */

struct bill_options {
    const char *month;
    const char *by; /* "job", "day", "month"; NULL: job */
    const char *output;
    bool csv;
    bool excel;
    bool plot;
    bool verify;
    bool all;
};

/* A verified receipt, its bill, and what is on record here of the job. */
struct bill_entry {
    struct receipt *receipt;
    bool right; /* while they are loaded */
    struct bill bill;
    struct job_record record; /* empty where none is kept */
    bool disputed;            /* by the clock here: */
    struct stopwatch_dispute dispute;
};

/* What a reservation cost, or brought back (fen < 0), at one moment. */
struct bill_front {
    char id[GRANT_ID_MAX + 1];
    struct sign_public host;
    enum order_act act;
    char class_name[CARD_WORD_MAX + 1];
    char type[CARD_WORD_MAX + 1];
    int64_t n_devices;
    int64_t wall_ns;
    char month[CALENDAR_MONTH_MAX];
    int64_t fen;
};

struct bill_entries {
    struct bill_entry *v;
    size_t n;
    struct bill_front *front; /* paid in front; not of one job's bill */
    size_t n_front;
    struct strings refused; /* jobs whose receipts are not right: sums lack them */
    struct strings waiting; /* and those (bill_waiting_find) */
};

/*
 * Every receipt kept here, verified, in order of time. bill_entries_free in any case.
 * afresh: with each signature computed again, whatever is remembered (client/verified.h).
 * Where some are not right (refused) it fails with the first, and each other is told;
 * then the entries are those that are.
 */
int bill_entries_all(const struct cli *c, struct bill_entries *l, bool afresh,
                     struct err *e) MUST_USE;
void bill_entries_free(struct bill_entries *l);
/* month NULL: all. */
int64_t bill_month_fen(const struct bill_entry *en, const char *month);
bool bill_touches_month(const struct bill_entry *en, const char *month);

/* ---- bill_view.c ---- */

/* Who a statement is for, and the tax in it (the settings bill-title, …). */
struct bill_paper {
    const char *title; /* "" none */
    const char *tax_number;
    int64_t vat_bps;
    int64_t net_fen;
    int64_t tax_fen;
};
int bill_paper_of(struct bill_paper *p, const struct config *cfg, int64_t total_fen,
                  struct err *e) MUST_USE;
/* As lines of text; the last says what it is not. */
void bill_paper_text(const struct bill_paper *p, struct buf *out);

void bill_one_text(const struct bill_entry *en, const struct bill_options *o,
                   struct buf *out);
void bill_all_text(const struct bill_entries *l, const struct bill_options *o,
                   struct buf *out);
/* paper NULL: of one job, without a statement around it. */
void bill_view_json(const struct bill_entries *l, const struct bill_options *o,
                    const struct bill_paper *paper, struct buf *out);
int64_t bill_sum(const struct bill_entries *l, const char *month);
/* That the sum lacks some, in one line; nothing where it does not. */
void bill_lacks_text(const struct bill_entries *l, struct buf *out);
/* The members complete, refused and waiting. */
void bill_lacks_json(const struct bill_entries *l, struct json_writer *j);
/* And as rows of --csv, without a sum. */
void bill_lacks_csv(const struct bill_entries *l, struct buf *out);
void bill_view_csv(const struct bill_entries *l, const struct bill_options *o,
                   struct buf *out);

/* ---- bill_period.c: sums of days and months ---- */

struct bill_period {
    char name[CALENDAR_MONTH_MAX]; /* "2026-11-28" or "2026-11" */
    int64_t fen;
    int64_t device_s;
    size_t n_jobs;
};
struct bill_periods {
    struct bill_period *v; /* in order of time */
    size_t n;
};
/*
 * Spending by day or month of Asia/Shanghai. A line that runs over midnight is divided
 * by the time on either side with running floors, so the days of a line sum to it.
 */
void bill_periods_of(struct bill_periods *out, const struct bill_entries *l,
                     const char *month, bool by_day);
void bill_periods_free(struct bill_periods *p);
void bill_periods_text(const struct bill_periods *p, bool by_day, struct buf *out);
void bill_periods_json(const struct bill_periods *p, const struct bill_entries *l,
                       bool by_day, const char *month, struct buf *out);
void bill_periods_csv(const struct bill_periods *p, const struct bill_entries *l,
                      bool by_day, struct buf *out);

/* ---- bill_plot.c: spending per day and per job, as bars ---- */

void bill_plot_text(const struct bill_entries *l, const char *month, struct buf *out);
void bill_plot_svg(const struct bill_entries *l, const char *month, struct buf *out);

/* ---- bill_front.c: reservations ---- */

struct table;
struct booked_list;
/* What was paid and came back, of the reservations in the list. */
void bill_front_take(struct bill_entries *l, const struct booked_list *booked);
/* Of all that are kept here. ERR_CORRUPT: one is wrong, and a sum that lacks one is no
 * sum. */
int bill_front_all(const struct cli *c, struct bill_entries *l, struct err *e) MUST_USE;
bool bill_front_in(const struct bill_front *f, const char *month);
/* Was anything paid for that reservation, or given back, in that month? */
bool bill_front_has(const struct bill_entries *l, const char *id, const char *month);
int64_t bill_front_sum(const struct bill_entries *l, const char *month);
void bill_front_rows(const struct bill_entries *l, const char *month, struct table *t);
void bill_front_json(const struct bill_entries *l, const char *month,
                     struct json_writer *j);
void bill_front_csv(const struct bill_entries *l, const char *month, struct buf *out);
/* --verify of one. *taken false: what is none, nothing was looked at. */
int bill_front_verify(const struct cli *c, const char *what, bool *taken,
                      struct err *e) MUST_USE;

/* ---- bill_waiting.c: what no bill has yet ---- */

/* The jobs with a price, of that month or before, whose receipts are not here: they still
 * run, or nobody has asked for them here since they ended. */
int bill_waiting_find(const struct cli *c, struct bill_entries *l, const char *month,
                      struct err *e) MUST_USE;
/* How many, in one line; nothing where there is none. */
void bill_waiting_text(const struct bill_entries *l, struct buf *out);
/* The same as a remark, for forms that have no place for it. */
void bill_waiting_say(const struct cli *c, const struct bill_entries *l);

/* ---- bill_dispute.c: what the clock here says of the seconds ---- */

/* False: nothing is kept that speaks against it. */
bool bill_dispute_of(const struct home *home, const struct receipt *r,
                     struct stopwatch_dispute *d);
void bill_dispute_text(const struct stopwatch_dispute *d, struct buf *out);
/* Of how many of the entries in that month something is in dispute, in one line. */
void bill_disputes_text(const struct bill_entries *l, const char *month, struct buf *out);
/* The members countersigned_s, acknowledged_s, dispute (d NULL: nil). */
void bill_dispute_json(const struct receipt *r, const struct stopwatch_dispute *d,
                       struct json_writer *j);

/* ---- bill_verify.c ---- */

/* The pinned key of the host a job ran on, where the host is still known. */
bool bill_pinned_key(const struct home *home, const char *host, struct sign_public *key);
int bill_verify_one(const struct cli *c, const char *what, bool check_all,
                    struct err *e) MUST_USE;
int bill_verify_all(struct cli *c, struct err *e) MUST_USE;

#endif

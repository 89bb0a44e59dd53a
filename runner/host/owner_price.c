#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/columns.h"
#include "base/file.h"
#include "base/lang.h"
#include "meter/card.h"
#include "meter/money.h"
#include "meter/reserve.h"
#include "runner/host/agent.h"
#include "runner/host/commands.h"
#include "runner/host/owner_json.h"

#define NS_PER_S ((int64_t)1000000000)

static const char *
unit_text(enum card_unit u)
{
    switch (u) {
    case CARD_UNIT_HOUR:
        return N_("per unit-hour");
    case CARD_UNIT_GB_DAY:
        return N_("per GB-day");
    case CARD_UNIT_JOB:
        return N_("per job");
    case CARD_UNIT_NONE:
    case CARD_UNIT_COUNT:
        break;
    }
    return "";
}

/* In force now, and not withdrawn. */
static bool
is_asked(const struct card_price *p, int64_t now_s)
{
    return p->from_s <= now_s && now_s < p->to_s && p->price_uyuan != CARD_WITHDRAWN;
}

static bool
is_sold(const struct card_plan *p, int64_t now_s)
{
    return p->from_s <= now_s && now_s < p->to_s;
}

static void
print_plans(const struct card *card, struct columns *c, int64_t now_s)
{
    size_t n;
    const struct card_plan *p = card_plans(card, &n);

    for (size_t i = 0; i < n; i++) {
        char yuan[MONEY_TEXT_MAX];
        char since[CLOCK_TEXT_MAX] = "";
        char *unit;

        if (!is_sold(&p[i], now_s)) {
            continue;
        }
        unit =
            p[i].refund_fee_bps == 0
                ? xasprintf(_("per %s"), err_words(p[i].unit))
                : xasprintf(_("per %s (refunds less %lld.%02lld %%)"),
                            err_words(p[i].unit), (long long)(p[i].refund_fee_bps / 100),
                            (long long)(p[i].refund_fee_bps % 100));
        money_format_fen(p[i].price_fen, yuan);
        if (p[i].from_s != CARD_ALWAYS) {
            clock_format_local(p[i].from_s * NS_PER_S, since);
        }
        columns_add(c, p[i].class_name);
        columns_add(c, p[i].type);
        columns_add(c, yuan);
        columns_add(c, unit);
        columns_add(c, since);
        free(unit);
    }
}

static void
print_card(const struct card *card)
{
    static const char *const titles[] = {N_("CLASS"), N_("TYPE"), N_("YUAN"), "",
                                         N_("SINCE")};
    int64_t now_s = clock_wall_ns() / NS_PER_S;
    size_t n;
    const struct card_price *p = card_prices(card, &n);
    struct columns *c;
    size_t n_asked = 0;

    if (card_is_free(card)) {
        (void)printf(_("no prices: everything here is free of charge\n"));
        return;
    }
    for (size_t i = 0; i < n; i++) {
        n_asked += is_asked(&p[i], now_s);
    }
    if (n_asked == 0) {
        (void)printf(_("every price was withdrawn: nothing here is offered\n"));
        return;
    }
    c = columns_new(5, titles);
    for (size_t i = 0; i < n; i++) {
        char yuan[MONEY_TEXT_MAX];
        char since[CLOCK_TEXT_MAX] = "";

        if (!is_asked(&p[i], now_s)) {
            continue;
        }
        money_format_uyuan(p[i].price_uyuan, yuan);
        if (p[i].from_s != CARD_ALWAYS) {
            clock_format_local(p[i].from_s * NS_PER_S, since);
        }
        columns_add(c, p[i].class_name);
        columns_add(c, p[i].type);
        columns_add(c, yuan);
        columns_add(c, unit_text(p[i].unit)[0] != '\0' ? err_words(unit_text(p[i].unit))
                                                       : "");
        columns_add(c, since);
    }
    print_plans(card, c, now_s);
    columns_print_free(c);
}

static void
json_plans(const struct card *card, struct json_writer *j, int64_t now_s)
{
    size_t n;
    const struct card_plan *p = card_plans(card, &n);

    json_key(j, "plans");
    json_arr(j);
    for (size_t i = 0; i < n; i++) {
        if (is_sold(&p[i], now_s)) {
            json_obj(j);
            json_kstr(j, "class", p[i].class_name);
            json_kstr(j, "type", p[i].type);
            json_kstr(j, "unit", p[i].unit);
            json_kint(j, "price_fen", p[i].price_fen);
            json_kint(j, "refund_fee_bps", p[i].refund_fee_bps);
            json_obj_end(j);
        }
    }
    json_arr_end(j);
}

static int
print_json(const struct card *card, struct err *e)
{
    int64_t now_s = clock_wall_ns() / NS_PER_S;
    struct buf b = BUF_INIT;
    struct json_writer j = json_to(&b);
    size_t n;
    const struct card_price *p = card_prices(card, &n);

    json_obj(&j);
    json_kbool(&j, "free", card_is_free(card));
    json_key(&j, "prices");
    json_arr(&j);
    for (size_t i = 0; i < n; i++) {
        if (!is_asked(&p[i], now_s)) {
            continue;
        }
        json_obj(&j);
        json_kstr(&j, "class", p[i].class_name);
        json_kstr(&j, "type", p[i].type);
        json_kstr(&j, "unit", unit_text(p[i].unit));
        json_kint(&j, "price_uyuan", p[i].price_uyuan);
        json_ktime(&j, "since", p[i].from_s == CARD_ALWAYS ? 0 : p[i].from_s * NS_PER_S);
        json_obj_end(&j);
    }
    json_arr_end(&j);
    json_plans(card, &j, now_s);
    json_obj_end(&j);
    return program_print_json(&b, e);
}

/* ---- plans: "4090/day=30" ---- */

/* Class, type and unit of a plan's word, which ends at `end`. */
static int
parse_plan(const char *word, const char *slash, const char *end, struct card_plan *p,
           struct err *e)
{
    static const struct {
        const char *word;
        enum reserve_unit unit;
    } units[] = {
        {"day", RESERVE_DAY},
        {"week", RESERVE_WEEK},
        {"month", RESERVE_MONTH},
        {"year", RESERVE_YEAR},
    };
    size_t len = (size_t)(end - slash - 1);

    if (card_parse_type(word, (size_t)(slash - word), p->class_name, p->type, e) != 0) {
        return -1;
    }
    if (p->type[0] == '\0') {
        return err_set(e, ERR_INVALID,
                       "only devices can be reserved: '%s' is shared by all",
                       p->class_name);
    }
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strlen(units[i].word) == len && memcmp(units[i].word, slash + 1, len) == 0) {
            (void)strcpy(p->unit, reserve_unit_name(units[i].unit));
            return 0;
        }
    }
    return err_set(e, ERR_INVALID,
                   "a plan is for a day, week, month or year, like 4090/day=30");
}

static int
set_plan(struct card *card, const char *word, int64_t fee_bps, int64_t now_s,
         struct err *e)
{
    struct card_plan p = {
        .from_s = now_s, .to_s = CARD_FOREVER, .refund_fee_bps = fee_bps};
    const char *slash = strchr(word, '/');
    const char *eq = strchr(word, '=');

    if (eq == NULL || eq < slash) {
        return err_set(e, ERR_INVALID, "a plan is written TYPE/day=YUAN");
    }
    if (parse_plan(word, slash, eq, &p, e) != 0 ||
        money_parse_fen(eq + 1, strlen(eq + 1), &p.price_fen, e) != 0) {
        return -1;
    }
    if (card_price_at(card, p.class_name, p.type, now_s) == NULL) {
        return err_set(e, ERR_NOT_FOUND,
                       "set a price per hour of %s first: refunds are reckoned by it",
                       p.type);
    }
    return card_set_plan(card, &p, e);
}

/* It ends now: those who bought it keep what they have. */
static int
end_plan(struct card *card, const char *word, int64_t now_s, struct err *e)
{
    struct card_plan p;
    size_t n;
    const struct card_plan *all = card_plans(card, &n);

    memset(&p, 0, sizeof p);
    if (parse_plan(word, strchr(word, '/'), word + strlen(word), &p, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        if (strcmp(all[i].class_name, p.class_name) == 0 &&
            strcmp(all[i].type, p.type) == 0 && strcmp(all[i].unit, p.unit) == 0 &&
            all[i].to_s > now_s) {
            p = all[i];
            p.to_s = now_s;
            p.from_s = p.from_s < now_s ? p.from_s : now_s - 1;
            return card_set_plan(card, &p, e);
        }
    }
    return err_set(e, ERR_NOT_FOUND, "there is no plan %s (see `gpurun-agent price ls`)",
                   word);
}

static int
change(struct card *card, const struct command_options *o, int argc, char **argv,
       struct err *e)
{
    bool sets = strcmp(argv[0], "set") == 0;
    int64_t now_s = clock_wall_ns() / NS_PER_S;
    int64_t fee_bps = 0;

    if (o->refund_fee != NULL &&
        (money_parse_fen(o->refund_fee, strlen(o->refund_fee), &fee_bps, e) != 0)) {
        return err_wrap(e, "--refund-fee, in per cent");
    }
    for (int i = 1; i < argc; i++) {
        bool plan = strchr(argv[i], '/') != NULL;
        int rc = sets && plan ? set_plan(card, argv[i], fee_bps, now_s, e)
                 : sets       ? card_set(card, argv[i], now_s, e)
                 : plan       ? end_plan(card, argv[i], now_s, e)
                              : card_unset(card, argv[i], now_s, e);

        if (rc != 0) {
            return -1;
        }
    }
    return 0;
}

int
owner_price(const struct command_options *o, int argc, char **argv, struct err *e)
{
    struct agent *a = NULL;
    struct card *card = NULL;
    char *path = NULL;
    int lock = -1;
    bool writes = strcmp(argv[0], "set") == 0 || strcmp(argv[0], "rm") == 0;
    int rc = -1;

    if (!(writes && argc > 1) && !(strcmp(argv[0], "ls") == 0 && argc == 1)) {
        return err_set(
            e, ERR_INVALID,
            "it is `price ls`, `price set TYPE=YUAN...` or `price rm TYPE...`; of plans "
            "TYPE/day=YUAN, TYPE/week, TYPE/month, TYPE/year");
    }
    if (agent_open(&a, e) != 0) {
        return -1;
    }
    path = agent_path(a, "card");
    if (writes) {
        char *lock_path = agent_path(a, "card.lock");

        rc = file_lock(lock_path, true, true, &lock, e);
        free(lock_path);
        if (rc != 0) {
            goto out;
        }
        rc = -1;
    }
    if (card_load(&card, path, e) != 0 ||
        (writes &&
         (change(card, o, argc, argv, e) != 0 || card_save(card, path, e) != 0))) {
        goto out;
    }
    if (o->json) {
        rc = print_json(card, e);
    } else {
        print_card(card);
        rc = 0;
    }

out:
    (void)fd_close(&lock);
    card_free(card);
    free(path);
    agent_close(a);
    return rc;
}

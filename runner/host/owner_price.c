#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/columns.h"
#include "base/file.h"
#include "meter/card.h"
#include "meter/money.h"
#include "runner/host/agent.h"
#include "runner/host/commands.h"
#include "runner/host/owner_json.h"

#define NS_PER_S ((int64_t)1000000000)

static const char *
unit_text(enum card_unit u)
{
    switch (u) {
    case CARD_UNIT_HOUR:
        return "per unit-hour";
    case CARD_UNIT_GB_DAY:
        return "per GB-day";
    case CARD_UNIT_JOB:
        return "per job";
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

static void
print_card(const struct card *card)
{
    static const char *const titles[] = {"CLASS", "TYPE", "YUAN", "", "SINCE"};
    int64_t now_s = clock_wall_ns() / NS_PER_S;
    size_t n;
    const struct card_price *p = card_prices(card, &n);
    struct columns *c;
    size_t n_asked = 0;

    if (card_is_free(card)) {
        (void)printf("no prices: everything here is free of charge\n");
        return;
    }
    for (size_t i = 0; i < n; i++) {
        n_asked += is_asked(&p[i], now_s);
    }
    if (n_asked == 0) {
        (void)printf("every price was withdrawn: nothing here is offered\n");
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
        columns_add(c, unit_text(p[i].unit));
        columns_add(c, since);
    }
    columns_print_free(c);
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
    json_obj_end(&j);
    return program_print_json(&b, e);
}

static int
change(struct card *card, const char *what, int argc, char **argv, struct err *e)
{
    int64_t now_s = clock_wall_ns() / NS_PER_S;

    for (int i = 0; i < argc; i++) {
        int rc = strcmp(what, "set") == 0 ? card_set(card, argv[i], now_s, e)
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
            "it is `price ls`, `price set TYPE=YUAN...` or `price rm TYPE...`");
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
        (writes && (change(card, argv[0], argc - 1, argv + 1, e) != 0 ||
                    card_save(card, path, e) != 0))) {
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

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/columns.h"
#include "base/file.h"
#include "base/lang.h"
#include "meter/card.h"
#include "meter/money.h"
#include "runner/host/agent.h"
#include "runner/host/commands.h"
#include "runner/host/owner_json.h"

#define NS_PER_S ((int64_t)1000000000)

/* The owner's card and who has which level, under the card's lock when they are changed.
 */
struct books {
    struct agent *agent;
    struct card *card;
    struct card_members *members;
    char *card_path;
    char *members_path;
    int lock;
};

static int
books_open(struct books *b, bool writes, struct err *e)
{
    char *lock_path;
    int rc = 0;

    memset(b, 0, sizeof *b);
    b->lock = -1;
    if (agent_open(&b->agent, e) != 0) {
        return -1;
    }
    b->card_path = agent_path(b->agent, "card");
    b->members_path = agent_path(b->agent, "members");
    if (writes) {
        lock_path = agent_path(b->agent, "card.lock");
        rc = file_lock(lock_path, true, true, &b->lock, e);
        free(lock_path);
    }
    return rc == 0 && card_load(&b->card, b->card_path, e) == 0
               ? card_members_load(&b->members, b->members_path, e)
               : -1;
}

static void
books_close(struct books *b)
{
    (void)fd_close(&b->lock);
    card_free(b->card);
    card_members_free(b->members);
    free(b->card_path);
    free(b->members_path);
    agent_close(b->agent);
}

/* ---- showing ---- */

static void
percent_text(int64_t bps, char out[MONEY_TEXT_MAX])
{
    money_format_fen(bps, out); /* per cent with two decimals are hundredths, too */
}

static const char *
date_text(int64_t s, int64_t open, char out[CLOCK_TEXT_MAX])
{
    out[0] = '\0';
    if (s != open) {
        clock_format_local(s * NS_PER_S, out);
    }
    return out;
}

static void
print_text(const struct books *b)
{
    static const char *const level_titles[] = {N_("LEVEL"), N_("PAYS %")};
    static const char *const member_titles[] = {N_("RENTER"), N_("LEVEL"), N_("FROM"),
                                                N_("TO")};
    struct columns *c = columns_new(2, level_titles);
    char text[CLOCK_TEXT_MAX > MONEY_TEXT_MAX ? CLOCK_TEXT_MAX : MONEY_TEXT_MAX];
    size_t n;
    const struct card_level *l = card_levels(b->card, &n);
    const struct card_member *m;

    for (size_t i = 0; i < n; i++) {
        percent_text(l[i].bps, text);
        columns_add(c, l[i].name);
        columns_add(c, text);
    }
    columns_print_free(c);
    c = columns_new(4, member_titles);
    m = card_members_all(b->members, &n);
    for (size_t i = 0; i < n; i++) {
        columns_add(c, m[i].renter);
        columns_add(c, m[i].level);
        columns_add(c, date_text(m[i].from_s, CARD_ALWAYS, text));
        columns_add(c, date_text(m[i].to_s, CARD_FOREVER, text));
    }
    columns_print_free(c);
}

static int
print_json(const struct books *b, struct err *e)
{
    struct buf out = BUF_INIT;
    struct json_writer j = json_to(&out);
    size_t n;
    const struct card_level *l = card_levels(b->card, &n);
    const struct card_member *m;

    json_obj(&j);
    json_key(&j, "levels");
    json_arr(&j);
    for (size_t i = 0; i < n; i++) {
        json_obj(&j);
        json_kstr(&j, "level", l[i].name);
        json_kint(&j, "bps", l[i].bps);
        json_obj_end(&j);
    }
    json_arr_end(&j);
    json_key(&j, "members");
    json_arr(&j);
    m = card_members_all(b->members, &n);
    for (size_t i = 0; i < n; i++) {
        json_obj(&j);
        json_kstr(&j, "renter", m[i].renter);
        json_kstr(&j, "level", m[i].level);
        json_ktime(&j, "from", m[i].from_s == CARD_ALWAYS ? 0 : m[i].from_s * NS_PER_S);
        json_ktime(&j, "to", m[i].to_s == CARD_FOREVER ? 0 : m[i].to_s * NS_PER_S);
        json_obj_end(&j);
    }
    json_arr_end(&j);
    json_obj_end(&j);
    return program_print_json(&out, e);
}

/* ---- changing ---- */

/* "student=80", "member=95.5": what of the price a level pays, in per cent. */
static int
set_level(struct books *b, const char *word, struct err *e)
{
    const char *eq = strchr(word, '=');
    char *name;
    int64_t bps;
    int rc;

    if (eq == NULL || money_parse_fen(eq + 1, strlen(eq + 1), &bps, e) != 0) {
        return err_set(e, ERR_INVALID,
                       "a level is NAME=PERCENT, what of the price it pays: student=80");
    }
    name = xasprintf("%.*s", (int)(eq - word), word);
    rc = card_set_level(b->card, name, bps, e);
    free(name);
    return rc == 0 ? card_save(b->card, b->card_path, e) : -1;
}

static int
moment_or(const char *text, bool ahead, int64_t open, int64_t *s, struct err *e)
{
    int64_t wall_ns;

    *s = open;
    if (text == NULL) {
        return 0;
    }
    if (clock_parse_moment(text, ahead, &wall_ns, e) != 0) {
        return -1;
    }
    *s = wall_ns / NS_PER_S;
    return 0;
}

static int
set_member(struct books *b, const struct command_options *o, const char *renter,
           const char *level, struct err *e)
{
    struct card_member who;
    struct renter *r = NULL;
    int rc = -1;

    memset(&who, 0, sizeof who);
    if (strlen(level) > CARD_WORD_MAX) {
        return err_set(e, ERR_INVALID,
                       "there is no such level (see `gpurun-agent member ls`)");
    }
    if (moment_or(o->from, true, CARD_ALWAYS, &who.from_s, e) != 0) {
        return err_wrap(e, "--from");
    }
    if (moment_or(o->to, true, CARD_FOREVER, &who.to_s, e) != 0) {
        return err_wrap(e, "--to");
    }
    if (owner_find_renter(b->agent, renter, &r, e) != 0) {
        return -1;
    }
    /* Their offer is made before we know who logged in: only a forced command tells. */
    if (!r->confined) {
        err_set(e, ERR_DENIED,
                "renter %s logs in as yourself: levels are for renters let in by "
                "`gpurun-agent allow`",
                r->id);
        goto out;
    }
    (void)strcpy(who.renter, r->id);
    (void)strcpy(who.level, level);
    if (card_members_set(b->members, b->card, &who, e) == 0) {
        rc = card_members_save(b->members, b->members_path, e);
    }

out:
    renter_close(r);
    return rc;
}

int
owner_member(const struct command_options *o, int argc, char **argv, struct err *e)
{
    bool shows = strcmp(argv[0], "ls") == 0 && argc == 1;
    bool levels = strcmp(argv[0], "level") == 0 && argc == 2;
    bool sets = strcmp(argv[0], "set") == 0 && argc == 3;
    bool removes = strcmp(argv[0], "rm") == 0 && argc == 2;
    struct books b;
    int rc = -1;

    if (!(shows || levels || sets || removes) ||
        (!sets && (o->from != NULL || o->to != NULL))) {
        return err_set(e, ERR_INVALID,
                       "it is `member ls`, `member level NAME=PERCENT`, `member set "
                       "RENTER LEVEL [--from T] [--to T]` or `member rm RENTER`");
    }
    if (books_open(&b, !shows, e) == 0) {
        rc = shows     ? 0
             : levels  ? set_level(&b, argv[1], e)
             : removes ? set_member(&b, o, argv[1], "", e)
                       : set_member(&b, o, argv[1], argv[2], e);
    }
    if (rc == 0) {
        if (o->json) {
            rc = print_json(&b, e);
        } else {
            print_text(&b);
        }
    }
    books_close(&b);
    return rc;
}

/* Operations of shares, tax and double entries. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "meter/refuse.h"
#include "meter/share.h"
#include "tests/tools/vectors_ops/call.h"

static int
op_prorata(struct call *c)
{
    size_t n;
    int64_t *weights = call_ints(c, "weights_fen", &n);
    int64_t *parts = call_alloc(c, n, sizeof *parts);
    int64_t amount = call_int(c, "amount_fen");

    if (c->bad || share_prorata(amount, weights, n, parts, &c->e) != 0) {
        return -1;
    }
    call_put_ints(c, "parts_fen", parts, n);
    return 0;
}

static int
op_split(struct call *c)
{
    int64_t charge = call_int(c, "charge_fen");
    int64_t bps = call_int(c, "fee_bps");
    int64_t platform = 0;
    int64_t owner = 0;

    if (c->bad || share_split(charge, bps, &platform, &owner, &c->e) != 0) {
        return -1;
    }
    json_kint(&c->out, "platform_fen", platform);
    json_kint(&c->out, "owner_fen", owner);
    return 0;
}

static int
op_split_lines(struct call *c)
{
    size_t n;
    int64_t *lines = call_ints(c, "lines_fen", &n);
    int64_t *to_platform = call_alloc(c, n, sizeof *to_platform);
    int64_t *to_owner = call_alloc(c, n, sizeof *to_owner);
    int64_t bps = call_int(c, "fee_bps");
    int64_t platform = 0;
    int64_t owner = 0;

    if (c->bad || share_split_lines(lines, n, bps, to_platform, to_owner, &platform,
                                    &owner, &c->e) != 0) {
        return -1;
    }
    call_put_ints(c, "platform_lines", to_platform, n);
    call_put_ints(c, "owner_lines", to_owner, n);
    json_kint(&c->out, "platform_fen", platform);
    json_kint(&c->out, "owner_fen", owner);
    return 0;
}

static int
check_funder(struct call *c)
{
    if (call_has(c, "voucher_funder") &&
        strcmp(call_str(c, "voucher_funder"), "platform") != 0) {
        return refuse(&c->e, REFUSE_UNKNOWN, "only the platform funds vouchers");
    }
    return 0;
}

static int
op_split_voucher(struct call *c)
{
    int64_t charge = call_int(c, "charge_fen");
    int64_t bps = call_int(c, "fee_bps");
    int64_t voucher = call_int_or(c, "voucher_fen", 0);
    int64_t owner = 0;
    int64_t fee = 0;
    int64_t cash = 0;

    if (c->bad || check_funder(c) != 0 ||
        share_split_voucher(charge, bps, voucher, &owner, &fee, &cash, &c->e) != 0) {
        return -1;
    }
    json_kint(&c->out, "owner_fen", owner);
    json_kint(&c->out, "platform_fee_fen", fee);
    json_kint(&c->out, "platform_voucher_cost_fen", voucher);
    json_kint(&c->out, "renter_cash_fen", cash);
    return 0;
}

static int
op_vat_included(struct call *c)
{
    int64_t gross = call_int(c, "gross_fen");
    int64_t rate = call_int(c, "rate_bps");
    int64_t net = 0;
    int64_t tax = 0;

    if (c->bad || share_vat(gross, rate, &net, &tax, &c->e) != 0) {
        return -1;
    }
    json_kint(&c->out, "net_fen", net);
    json_kint(&c->out, "tax_fen", tax);
    return 0;
}

static int
op_vat_invoice(struct call *c)
{
    size_t n;
    int64_t *lines = call_ints(c, "lines_gross_fen", &n);
    int64_t rate = call_int(c, "rate_bps");
    int64_t net = 0;
    int64_t tax = 0;

    if (c->bad || share_vat_invoice(lines, n, rate, &net, &tax, &c->e) != 0) {
        return -1;
    }
    json_kint(&c->out, "net_fen", net);
    json_kint(&c->out, "tax_fen", tax);
    return 0;
}

static void
put_account(struct call *c, const char *key, enum share_account a, const char *session)
{
    char *name =
        xasprintf("%s%s%s", share_account_name(a), a == SHARE_CLEARING ? ":" : "",
                  a == SHARE_CLEARING ? session : "");

    json_kstr(&c->out, key, name);
    free(name);
}

static int
op_postings(struct call *c)
{
    struct share_posting p[SHARE_POSTINGS_MAX];
    const char *session = call_str(c, "session");
    int64_t bps = call_int_or(c, "fee_bps", 0);
    size_t n = 0;
    int rc;

    if (call_has(c, "prior_charge_fen")) {
        rc = share_post_correction(call_int(c, "prior_charge_fen"),
                                   call_int(c, "overcharge_fen"), bps, p, &n, &c->e);
    } else {
        rc = check_funder(c) != 0 ? -1
                                  : share_post_session(call_int(c, "charge_fen"),
                                                       call_int_or(c, "voucher_fen", 0),
                                                       bps, p, &n, &c->e);
    }
    if (rc != 0 || c->bad) {
        return -1;
    }
    json_key(&c->out, "postings");
    json_arr(&c->out);
    for (size_t i = 0; i < n; i++) {
        json_obj(&c->out);
        put_account(c, "dr", p[i].dr, session);
        put_account(c, "cr", p[i].cr, session);
        json_kint(&c->out, "fen", p[i].fen);
        json_obj_end(&c->out);
    }
    json_arr_end(&c->out);
    json_kint(&c->out, "sum_dr_minus_cr", share_balance(p, n, SHARE_NONE));
    json_kint(&c->out, "clearing_balance", share_balance(p, n, SHARE_CLEARING));
    return 0;
}

const struct op ops_share[] = {
    {"prorata", op_prorata},           {"split", op_split},
    {"split_lines", op_split_lines},   {"split_voucher", op_split_voucher},
    {"vat_included", op_vat_included}, {"vat_invoice", op_vat_invoice},
    {"postings", op_postings},         {NULL, NULL},
};

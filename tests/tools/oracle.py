#!/usr/bin/python3
"""usage: oracle.py SEED N > FILE: N random billing vectors, answered by another method.

Everything here is written from the rules, in whole numbers of any size and in fractions,
sharing nothing with meter/: an answer that both give is hardly wrong in both. Numbers are
drawn at the edges (0, 1, the largest) as often as in between.
"""
import datetime
import hashlib
import json
import random
import sys
from fractions import Fraction
from math import ceil, floor

D = 3600 * 10000
MAX = 2**63 - 1
BPS = 10000
TZ = datetime.timezone(datetime.timedelta(hours=8))
R = random.Random()


class Refused(Exception):
    pass


def n(top):
    """0 ... top: edges, small, any."""
    k = R.randrange(8)
    if k == 0:
        return 0
    if k == 1:
        return min(1, top)
    if k == 2:
        return top
    return min(top, R.randrange(1 << R.randrange(1, top.bit_length() + 1))) if top else 0


def need(ok, name="range"):
    if not ok:
        raise Refused(name)


def exact(f):
    return str(f.numerator) if f.denominator == 1 else "%d/%d" % (f.numerator, f.denominator)


def half_up(f):
    return floor(f + Fraction(1, 2))


# ---- price and charge ----

def eff(price, bps):
    need(price >= 0 and 0 <= bps <= BPS)
    need(price * bps % BPS == 0, "inexact_price")
    return price * bps // BPS


def cost(segments):
    return sum(eff(s["price_uyh"], s.get("discount_bps", BPS)) * s.get("gpus", 1) * s["seconds"]
               for s in segments)


def charge(c, least=1):
    fen = c // D
    fen = max(fen, least) if c > 0 else fen
    need(fen <= MAX)
    return fen


def segment(bad=True):
    s = {"price_uyh": n(10**12) // 100 * 100, "seconds": n(10**9)}
    if R.randrange(3):
        s["gpus"] = n(1000)
    if R.randrange(3) == 0:
        s["discount_bps"] = R.choice([0, 100, 5000, 9500, 10000])
    if bad and R.randrange(40) == 0:
        s["discount_bps"] = R.choice([-1, 10001, 9999])
    return s


def segments(most=5, bad=True):
    return [segment(bad) for _ in range(R.randrange(most))]


def op_eff_price():
    i = {"price_uyh": R.choice([n(MAX), n(10**9) * 100, -1 - n(10)]),
         "discount_bps": R.choice([n(BPS), 9500, 5000, -1, BPS + 1])}
    return i, lambda: {"eff_uyh": eff(i["price_uyh"], i["discount_bps"])}


def op_charge():
    i = {"segments": segments()}
    if R.randrange(2):
        i["min_fen"] = n(100)

    def f():
        c = cost(i["segments"])
        return {"charge_fen": charge(c, i.get("min_fen", 1)), "exact_fen": exact(Fraction(c, D)),
                "fits_int64_numerator": c <= MAX}
    return i, f


def op_sum_sessions():
    i = {"sessions": segments(), "min_fen": n(3)}
    return i, lambda: {"total_fen": sum(charge(cost([s]), i["min_fen"]) for s in i["sessions"])}


def lines_of(segs, cuts, least):
    total = charge(cost(segs), least)
    end = sum(s["seconds"] for s in segs)

    def upto(t):
        c = 0
        for s in segs:
            step = min(t, s["seconds"])
            c += eff(s["price_uyh"], s.get("discount_bps", BPS)) * s.get("gpus", 1) * step
            t -= step
        return c // D
    out, before = [], 0
    for t in sorted({c for c in cuts if 0 < c < end}):
        out.append(upto(t) - before)
        before = upto(t)
    return out + [total - before], total


def op_lines():
    segs = segments()
    end = sum(s["seconds"] for s in segs)
    i = {"segments": segs, "cuts_s": [n(end + 5) - R.randrange(3) for _ in range(R.randrange(6))],
         "min_fen": n(2)}

    def f():
        lines, total = lines_of(segs, i["cuts_s"], i["min_fen"])
        return {"lines_fen": lines, "total_fen": total}
    return i, f


def moment(most=10**10):
    at = datetime.datetime.fromtimestamp(R.choice([R.randrange(most), n(most)]), TZ)
    if R.randrange(3) == 0:  # near a cut
        at = at.replace(day=1, hour=0, minute=0, second=0) + datetime.timedelta(seconds=R.randrange(-2, 3))
    if R.randrange(6) == 0:
        at = at.replace(year=R.choice([1972, 2000, 2024, 2028, 2100]), month=2, day=28)
    offset = R.choice([480, 480, 480, 0, -300, 330, 765])
    return at.astimezone(datetime.timezone(datetime.timedelta(minutes=offset)))


def text(t):
    return t.isoformat()


def unix(t):
    return int(t.timestamp())


def span(most_s):
    a = moment()
    return a, a + datetime.timedelta(seconds=n(most_s))


def pieces(a, b, step):
    cuts, at = [], unix(a)
    while at < unix(b):
        local = at + 8 * 3600
        nxt = min(unix(b), at + step - local % step)
        cuts.append(nxt - at)
        at = nxt
    return cuts


def op_windows():
    a, b = span(10**6)
    i = {"start": text(a), "end": text(b), "step_s": R.choice([3600, 86400, 900, 43200, 7, 0, -1, 172800]),
         "tz": "Asia/Shanghai"}

    def f():
        need(i["step_s"] > 0 and 86400 % i["step_s"] == 0)
        return {"seconds": pieces(a, b, i["step_s"])}
    return i, f


def op_charge_windows():
    a, b = span(10**6)
    i = {"start": text(a), "end": text(b), "step_s": R.choice([3600, 86400, 60 * 60 * 6]), "tz": "Asia/Shanghai",
         "price_uyh": n(10**10)}
    return i, lambda: {"window_seconds": pieces(a, b, i["step_s"]),
                       "charge_fen": charge(i["price_uyh"] * (unix(b) - unix(a)))}


def month_cuts(a, b):
    out, at = [], a.astimezone(TZ)
    while True:
        at = (at.replace(day=1, hour=0, minute=0, second=0) + datetime.timedelta(days=32)).replace(day=1)
        if unix(at) >= unix(b):
            return out
        out.append(unix(at) - unix(a))


def op_month_lines():
    a, b = span(10**8)
    whole = unix(b) - unix(a)
    first = n(whole)
    segs = [dict(segment(), seconds=first), dict(segment(), seconds=whole - first)]
    i = {"start": text(a), "end": text(b), "tz": "Asia/Shanghai", "segments": segs}

    def f():
        cuts = month_cuts(a, b)
        lines, total = lines_of(segs, cuts, 1)
        return {"cuts_s": cuts, "lines_fen": lines, "total_fen": total}
    return i, f


def op_late_line():
    i = {"session_segments": segments(), "posted_before_close_fen": n(10**9)}
    return i, lambda: {"adjustment_fen": charge(cost(i["session_segments"])) - i["posted_before_close_fen"]}


def op_invert():
    i = {"charge_fen": n(10**6), "price_uyh": 1 + n(10**9)}

    def f():
        fen, p = i["charge_fen"], i["price_uyh"]

        def paid(s):
            return charge(p * s)
        guess = fen * D // p
        hits = [s for s in range(max(0, guess - 3), guess + 4) if paid(s) == fen]
        if not hits:
            # The stretch of one charge is long where the price is low: its ends by halves.
            need(False)
        lo, hi = hits[0], hits[-1]
        while lo > 0 and paid(lo - 1) == fen:
            step = 1
            while lo - step >= 0 and paid(lo - step) == fen:
                step *= 2
            lo -= step // 2
        while paid(hi + 1) == fen:
            step = 1
            while paid(hi + step) == fen:
                step *= 2
            hi += step // 2
        return {"seconds_min": lo, "seconds_max": hi}
    return i, f


def op_round_modes():
    x = Fraction(R.choice([-1, 1]) * n(10**15), 1 + n(10**6))
    if R.randrange(3) == 0:
        x = Fraction(R.randrange(-9, 10), 2)
    return {"exact_fen": exact(x)}, lambda: {"floor": floor(x), "half_up": half_up(x), "ceil": ceil(x)}


# ---- time ----

def op_elapsed():
    s = []
    for _ in range(R.randrange(5)):
        a = n(10**15)
        s.append({"boot_id": R.choice("ab"), "mono_start_ns": a, "mono_end_ns": a + n(10**13) - (R.randrange(30) == 0)})

    def f():
        need(all(x["mono_end_ns"] >= x["mono_start_ns"] for x in s), "clock_went_back")
        return {"billable_s": sum(x["mono_end_ns"] - x["mono_start_ns"] for x in s) // 10**9}
    return {"mono_segments": s, "realtime_labels": []}, f


def op_referee():
    i = {"host_s": n(10**6), "tol_s": n(10), "tol_ppm": n(1000)}
    i["platform_s"] = max(0, i["host_s"] + R.randrange(-12, 13))

    def f():
        off = abs(i["host_s"] - i["platform_s"])
        flagged = Fraction(off) > i["tol_s"] + Fraction(i["tol_ppm"] * i["platform_s"], 10**6)
        return {"billable_s": min(i["host_s"], i["platform_s"]) if flagged else i["host_s"], "flagged": flagged}
    return i, f


def op_heartbeats():
    beats = []
    cum = 0
    for seq in range(R.randrange(6)):
        cum += n(100)
        beats.append({"seq": seq, "cum_s": cum})
    beats += [dict(R.choice(beats)) for _ in range(R.randrange(3)) if beats]
    if beats and R.randrange(6) == 0:
        R.choice(beats)["cum_s"] += R.choice([-1, 1])
    R.shuffle(beats)
    i = {"heartbeats": beats}
    if R.randrange(2):
        i["lease_until_s"] = n(300)

    def f():
        by = {}
        for b in beats:
            need(by.setdefault(b["seq"], b["cum_s"]) == b["cum_s"], "conflicting_heartbeat")
        order = [by[k] for k in sorted(by)]
        need(order == sorted(order), "counter_went_back")
        last = order[-1] if order else 0
        return {"billable_s": min(last, i.get("lease_until_s", MAX))}
    return i, f


def op_evidence():
    i = {k: n(1000) for k in ("host_cum_s", "platform_ack_s", "client_cosigned_s", "lease_until_s")}
    return i, lambda: {"billable_s": min(i["host_cum_s"], max(i["platform_ack_s"], i["client_cosigned_s"],
                                                              i["lease_until_s"]))}


def op_union():
    v = [[a, a + R.randrange(-2, 40)] for a in (R.randrange(100) for _ in range(R.randrange(8)))]
    return {"intervals": v}, lambda: {"billable_s": len({t for a, b in v for t in range(a, b)})}


BOOKS = {"provisioning": "provisioning", "stopping": "stopping", "released": "released",
         "suspended": "host_suspended", "snap": "platform_snapshot"}
EVENTS = ["ready", "nocard_ready", "stop", "exit", "budget_stop", "preempt", "pause_release", "resume_begin",
          "pause_hold", "resume_hold", "suspend", "unsuspend", "snap_begin", "snap_end", "host_lost", "end",
          "provision_failed"]


def op_lifecycle():
    """Second by second; orders of events as a session can have them."""
    events, t, state = [], 0, "provisioning"
    follow = {"provisioning": ["ready", "ready", "nocard_ready", "provision_failed", "host_lost", "end"],
              "running": ["stop", "exit", "budget_stop", "preempt", "pause_release", "pause_hold", "resume_hold",
                          "suspend", "snap_begin", "host_lost", "end"],
              "nocard": ["ready", "stop", "exit", "end", "host_lost", "pause_hold"],
              "suspended": ["unsuspend", "preempt", "stop", "host_lost"],
              "snap": ["snap_end", "preempt", "stop", "host_lost"],
              "stopping": ["resume_begin", "end", "host_lost"],
              "released": ["resume_begin", "end"]}
    to = {"ready": "running", "nocard_ready": "nocard", "stop": "stopping", "exit": "stopping",
          "budget_stop": "stopping", "preempt": "stopping", "pause_release": "released",
          "resume_begin": "provisioning", "suspend": "suspended", "unsuspend": "running", "snap_end": "running",
          "host_lost": "ended", "end": "ended", "provision_failed": "ended"}
    for _ in range(R.randrange(1, 12)):
        if state == "ended":
            break
        t += R.choice([0, 1, n(30), n(100), 59, 60, 61])
        ev = R.choice(follow[state])
        e = {"t": t, "ev": ev}
        if ev == "snap_begin":
            e["by"] = R.choice(["owner", "platform", "renter"])
            state = state if e["by"] == "renter" else "snap"
        elif ev == "snap_end":
            e["by"] = R.choice(["owner", "platform"])
        if ev == "host_lost":
            e["last_hb"] = max(0, t - R.choice([0, 1, n(200), -5]))
        state = to.get(ev, state)
        events.append(e)
    i = {"events": events, "gpu_price_uyh": n(10**9), "nocard_price_uyh": n(10**8), "free_preempt_s": n(100)}

    def f():
        booked, now, st, run = {}, 0, "provisioning", 0
        for e in events:
            for second in range(now, e["t"]):
                key = {"running": "gpu", "nocard": "nocard"}.get(st) or BOOKS[st]
                if e["ev"] == "host_lost" and st in ("running", "nocard") and second >= e["last_hb"]:
                    key = "after_last_heartbeat"
                booked[key] = booked.get(key, 0) + 1
                run += key == "gpu"
            now = e["t"]
            if e["ev"] == "ready":
                run = 0
            if e["ev"] == "preempt" and run < i["free_preempt_s"]:
                booked["gpu"] = booked.get("gpu", 0) - run
                booked["preempted_early"] = booked.get("preempted_early", 0) + run
                run = 0
            if e["ev"] == "snap_begin":
                st = "snap" if e["by"] != "renter" else st
            else:
                st = to.get(e["ev"], st)
        gpu, nocard = booked.pop("gpu", 0), booked.pop("nocard", 0)
        return {"gpu_s": gpu, "nocard_s": nocard, "free": {k: v for k, v in booked.items() if v},
                "charge_fen": charge(gpu * i["gpu_price_uyh"] + nocard * i["nocard_price_uyh"])}
    return i, f


# ---- requests that come twice ----

def op_idempotent_charge():
    reqs = [{"key": R.choice("abc"), "fen": n(1000)} for _ in range(R.randrange(8))]

    def f():
        first = {}
        for q in reqs:
            first.setdefault(q["key"], q["fen"])
        return {"billed_fen": sum(first.values())}
    return {"requests": reqs}, f


def op_start_twice():
    reqs = [{"key": R.choice("ab"), "body": R.choice(["x", "x", "y"]), "t": k} for k in range(R.randrange(6))]
    i = {"requests": reqs, "stop_t": 10 + n(10**5), "price_uyh": n(10**9)}

    def f():
        seen, bad, fen = {}, None, 0
        for k, q in enumerate(reqs):
            if q["key"] not in seen:
                seen[q["key"]] = q["body"]
                fen += charge(i["price_uyh"] * (i["stop_t"] - q["t"]))
            elif seen[q["key"]] != q["body"] and bad is None:
                bad = k + 1
        out = {"sessions": len(seen), "charge_fen": fen}
        if bad:
            out.update(error="idempotency_key_mismatch", error_on=bad)
        return out
    return i, f


def op_stop_twice():
    i = {"stops_t": sorted(n(10**6) for _ in range(R.randrange(1, 5))), "price_uyh": n(10**9)}
    return i, lambda: {"billable_s": i["stops_t"][0], "charge_fen": charge(i["stops_t"][0] * i["price_uyh"])}


def op_cumulative_payment():
    i = {"total_due": [n(1000) for _ in range(R.randrange(6))], "paid_before": n(500)}

    def f():
        paid, out = i["paid_before"], []
        for due in i["total_due"]:
            out.append(max(0, due - paid))
            paid += out[-1]
        return {"payments": out, "total_paid": paid}
    return i, f


# ---- wallet ----

def buckets():
    out = []
    for k in range(R.randrange(7)):
        b = {"id": R.choice("abc") + str(k), "type": R.choice(["voucher", "voucher", "gift", "cash"]),
             "balance": n(500)}
        if R.randrange(3):
            b["expires"] = R.choice(["2026-01-31", "2026-02-28", "2027-01-01"])
        if b["type"] == "voucher" and R.randrange(2):
            b["min_spend"] = n(600)
        out.append(b)
    return out


def voucher_order(total, bs):
    usable = [b for b in bs if b["type"] == "voucher" and b.get("min_spend", 0) <= total]
    return sorted(usable, key=lambda b: (b.get("expires", "~"), -min(b["balance"], total), b["balance"], b["id"]))


def take(total, bs):
    gifts = sorted((b for b in bs if b["type"] == "gift"), key=lambda b: (b.get("expires", "~"), b["id"]))
    left, taken = total, []
    for b in voucher_order(total, bs) + gifts + [b for b in bs if b["type"] == "cash"]:
        fen = min(left, b["balance"])
        if fen:
            taken.append({"bucket": b["id"], "fen": fen})
        left -= fen
    return taken, left


def op_deduct():
    i = {"charge_fen": n(1500), "buckets": buckets()}

    def f():
        taken, left = take(i["charge_fen"], i["buckets"])
        return {"taken": taken, "unpaid_fen": left}
    return i, f


def op_voucher_order():
    i = {"charge_fen": n(1500), "buckets": buckets()}
    return i, lambda: {"order": [b["id"] for b in voucher_order(i["charge_fen"], i["buckets"])],
                       "taken": take(i["charge_fen"], i["buckets"])[0]}


def op_refund_back():
    taken = [{"bucket": "b%d" % k, "fen": 1 + n(300)} for k in range(R.randrange(5))]
    i = {"refund_fen": n(1000), "taken": taken, "expired": R.sample(["b0", "b1", "b2", "b9"], R.randrange(3))}

    def f():
        left, out, lost = i["refund_fen"], [], 0
        for x in reversed(taken):
            fen = min(left, x["fen"])
            left -= fen
            if x["bucket"] in i["expired"]:
                lost += fen
            elif fen:
                out.append({"bucket": x["bucket"], "fen": fen})
        return {"returned": out, "forfeited_fen": lost}
    return i, f


def op_topup():
    i = {"arrears_fen": n(1000), "topup_fen": n(1000)}

    def f():
        c = min(i["arrears_fen"], i["topup_fen"])
        return {"arrears_fen": i["arrears_fen"] - c, "cash_fen": i["topup_fen"] - c,
                "lines_fen": [-c, i["topup_fen"] - c]}
    return i, f


def op_prorata():
    i = {"amount_fen": n(10**12), "weights_fen": [n(10**9) for _ in range(R.randrange(1, 6))]}
    i["weights_fen"][0] += 1

    def f():
        total = sum(i["weights_fen"])
        shares = [Fraction(i["amount_fen"] * w, total) for w in i["weights_fen"]]
        parts = [floor(s) for s in shares]
        order = sorted(range(len(parts)), key=lambda k: (-(shares[k] - parts[k]), k))
        for k in order[:i["amount_fen"] - sum(parts)]:
            parts[k] += 1
        return {"parts_fen": parts}
    return i, f


def op_max_seconds():
    i = {"budget_fen": n(10**15), "price_uyh": 1 + n(10**12), "gpus": 1 + n(64)}

    def f():
        s = i["budget_fen"] * D // (i["price_uyh"] * i["gpus"])
        need(s <= MAX)
        return {"seconds": s, "charge_fen": charge(s * i["price_uyh"] * i["gpus"])}
    return (i, f) if i["budget_fen"] * D // (i["price_uyh"] * i["gpus"]) <= MAX else op_max_seconds()


def op_runway():
    i = {"available_fen": n(10**9), "burn_uyh": 1 + n(10**12)}
    return i, lambda: {"seconds": i["available_fen"] * D // i["burn_uyh"]}


def op_alerts():
    i = {"budget_fen": n(10**9), "price_uyh": 1 + n(10**10), "levels_pct": [50, 80, 100, n(200)]}

    def f():
        last = i["budget_fen"] * D // i["price_uyh"]
        return {"fire_at_s": [min(last, ceil(Fraction(i["budget_fen"] * level * D, 100 * i["price_uyh"])))
                              for level in i["levels_pct"]]}
    return i, f


def op_hold_check():
    i = {k: n(1000) for k in ("credits_posted", "debits_posted", "debits_pending", "new_pending")}

    def f():
        a = i["credits_posted"] - i["debits_posted"] - i["debits_pending"]
        return {"accepted": i["new_pending"] <= a, "available": a}
    return i, f


def op_hold_post():
    i = {"hold_fen": n(1000), "post_fen": n(1000)}

    def f():
        need(i["post_fen"] <= i["hold_fen"], "exceeds_pending")
        return {"posted_fen": i["post_fen"], "released_fen": i["hold_fen"] - i["post_fen"]}
    return i, f


def op_lease_sim():
    jobs = [{"id": "j%d" % k, "price_uyh": 10**6 + n(10**9), "gpus": 1 + n(7), "start": n(500)}
            for k in range(R.randrange(1, 4))]
    i = {"balance_fen": n(1000), "lease_s": 20 + n(400), "jobs": jobs}

    def f():
        balance, leases, first, last = i["balance_fen"], 0, 0, 0
        st = {j["id"]: {"wake": j["start"], "posted": 0, "hold": 0} for j in jobs}
        done = {}
        while len(done) < len(jobs):
            j = min((j for j in jobs if j["id"] not in done), key=lambda j: st[j["id"]]["wake"])
            s = st[j["id"]]
            ran = s["wake"] - j["start"]
            rate = j["price_uyh"] * j["gpus"]
            balance -= rate * ran // D - s["posted"]
            s["posted"], s["hold"] = rate * ran // D, 0
            avail = balance - sum(x["hold"] for x in st.values())

            def hold(k):
                return -(-rate * (ran + k) // D) - s["posted"]  # a ceil
            lo, hi = 0, i["lease_s"]
            while lo < hi:  # hold() never falls
                mid = (lo + hi + 1) // 2
                lo, hi = (mid, hi) if hold(mid) <= avail else (lo, mid - 1)
            if lo == 0:
                fen = charge(rate * ran)
                balance -= fen - s["posted"]
                done[j["id"]] = {"stop_s": ran, "charge_fen": fen}
                continue
            first = hold(lo) if leases == 0 else first
            leases, last = leases + 1, lo
            s["hold"] = hold(lo)
            s["wake"] += lo
        return {"jobs": done, "balance_fen": balance, "leases": leases, "first_hold_fen": first, "last_lease_s": last}
    return i, f


# ---- reservations ----

UNITS = {"day": 86400, "week": 604800, "month30": 2592000, "year365": 31536000}


def op_reservation():
    a = moment()
    i = {"unit": R.choice(list(UNITS)), "n": n(20), "price_fen_per_unit": n(10**7), "start": text(a)}

    def f():
        s = UNITS[i["unit"]] * i["n"]
        return {"charge_fen": i["n"] * i["price_fen_per_unit"], "seconds": s,
                "end": text(a + datetime.timedelta(seconds=s))}
    return i, f


def op_reservation_end():
    i = {"reserved_s": n(10**6), "reserved_price_fen": n(10**7), "on_expiry": R.choice(["stop", "payg"]),
         "payg_uyh": n(10**9)}
    i["run_s"] = i["reserved_s"] + n(10**5)

    def f():
        if i["on_expiry"] == "stop":
            return {"charge_fen": i["reserved_price_fen"], "billed_s": i["reserved_s"],
                    "stopped_at_s": i["reserved_s"]}
        over = charge((i["run_s"] - i["reserved_s"]) * i["payg_uyh"])
        return {"lines_fen": [i["reserved_price_fen"], over], "charge_fen": i["reserved_price_fen"] + over}
    return i, f


def op_reservation_unused():
    i = {"price_fen": n(10**7), "ran_s": n(10**4), "reserved_s": n(10**5)}
    return i, lambda: {"charge_fen": i["price_fen"]}


def op_switch_to_reservation():
    i = {"payg_uyh": n(10**9), "payg_seconds": n(10**6), "reservation_fen": n(10**7)}

    def f():
        a = charge(i["payg_uyh"] * i["payg_seconds"])
        return {"lines_fen": [a, i["reservation_fen"]], "total_fen": a + i["reservation_fen"]}
    return i, f


def op_refund():
    i = {"paid_fen": n(10**7), "payg_uyh": n(10**9), "gpus": 1 + n(7), "used_s": n(10**6), "fee_bps": n(BPS)}

    def f():
        fee = ceil(Fraction(i["paid_fen"] * i["fee_bps"], BPS)) if i["used_s"] else 0
        return {"refund_fen": max(0, i["paid_fen"] - i["payg_uyh"] * i["gpus"] * i["used_s"] // D - fee)}
    return i, f


def op_refund_sla():
    i = {"paid_fen": n(10**7), "total_s": 1 + n(10**7)}
    i["used_s"] = n(i["total_s"])
    return i, lambda: {"refund_fen": i["paid_fen"] * (i["total_s"] - i["used_s"]) // i["total_s"]}


def op_renew():
    i = {k: n(10**10) for k in ("old_end", "now", "period_s")}
    return i, lambda: {"new_end": max(i["old_end"], i["now"]) + i["period_s"]}


def change(key):
    i = {"old_fen": n(10**7), "new_fen": n(10**7), "period_s": 1 + n(10**7)}
    i["remaining_s"] = n(i["period_s"])
    up = i["new_fen"] - i["old_fen"]
    up = up if key == "charge_fen" else -up
    return i, lambda: {key: up * i["remaining_s"] // i["period_s"]}


def op_upgrade():
    return change("charge_fen")


def op_downgrade():
    return change("refund_fen")


# ---- storage, shares, tax ----

def op_storage():
    i = {"price_uy_per_gb_day": n(10**7), "gb": n(10**6), "seconds": n(10**8), "min_fen": n(1)}
    return i, lambda: {"charge_fen": keep([i], i)}


def keep(segs, i):
    c = sum(i["price_uy_per_gb_day"] * s["gb"] * s["seconds"] for s in segs)
    fen = c // (86400 * 10000)
    return max(fen, i.get("min_fen", 0)) if c else fen


def op_storage_segments():
    i = {"price_uy_per_gb_day": n(10**7), "segments": [{"gb": n(10**5), "seconds": n(10**7)}
                                                       for _ in range(R.randrange(5))]}
    return i, lambda: {"charge_fen": keep(i["segments"], i)}


def op_retention():
    a = moment()
    i = {"stopped_at": text(a), "days": n(400)}
    return i, lambda: {"release_at": text(a + datetime.timedelta(days=i["days"]))}


def fee(c, bps):
    return c * bps // BPS


def op_split():
    i = {"charge_fen": n(10**15), "fee_bps": n(BPS)}
    return i, lambda: {"platform_fen": fee(*i.values()), "owner_fen": i["charge_fen"] - fee(*i.values())}


def op_split_lines():
    i = {"lines_fen": [n(10**9) for _ in range(R.randrange(6))], "fee_bps": n(BPS)}

    def f():
        total, p, o = 0, [0], [0]
        for x in i["lines_fen"]:
            total += x
            p.append(fee(total, i["fee_bps"]))
            o.append(total - p[-1])
        return {"platform_lines": [b - a for a, b in zip(p, p[1:])], "platform_fen": p[-1],
                "owner_lines": [b - a for a, b in zip(o, o[1:])], "owner_fen": o[-1]}
    return i, f


def op_split_voucher():
    i = {"charge_fen": n(10**9), "fee_bps": n(BPS), "voucher_funder": "platform"}
    i["voucher_fen"] = n(i["charge_fen"])

    def f():
        p = fee(i["charge_fen"], i["fee_bps"])
        return {"owner_fen": i["charge_fen"] - p, "platform_fee_fen": p,
                "platform_voucher_cost_fen": i["voucher_fen"],
                "renter_cash_fen": i["charge_fen"] - i["voucher_fen"]}
    return i, f


def vat(gross, rate):
    net = half_up(Fraction(gross * BPS, BPS + rate))
    return {"net_fen": net, "tax_fen": gross - net}


def op_vat_included():
    i = {"gross_fen": n(10**15), "rate_bps": R.choice([0, 100, 300, 600, 1300, n(BPS)])}
    return i, lambda: vat(i["gross_fen"], i["rate_bps"])


def op_vat_invoice():
    i = {"lines_gross_fen": [n(10**9) for _ in range(R.randrange(6))], "rate_bps": 600}
    return i, lambda: vat(sum(i["lines_gross_fen"]), 600)


def op_postings():
    c = n(10**9)
    i = {"session": "s" * R.choice([1, 20, 300]), "fee_bps": n(BPS)}
    if R.randrange(2):
        i.update(charge_fen=c, voucher_fen=n(c), voucher_funder="platform")
    else:
        i.update(prior_charge_fen=c, overcharge_fen=n(c))
    clearing = "clearing:" + i["session"]

    def f():
        if "charge_fen" in i:
            p = fee(c, i["fee_bps"])
            rows = [("renter:voucher", clearing, i["voucher_fen"]), ("renter:cash", clearing, c - i["voucher_fen"]),
                    (clearing, "platform:fee", p), (clearing, "owner:payable", c - p)]
        else:
            was, now = fee(c, i["fee_bps"]), fee(c - i["overcharge_fen"], i["fee_bps"])
            rows = [("owner:payable", clearing, i["overcharge_fen"] - (was - now)),
                    ("platform:fee", clearing, was - now), (clearing, "renter:cash", i["overcharge_fen"])]
        return {"postings": [{"dr": d, "cr": k, "fen": fen} for d, k, fen in rows if fen],
                "sum_dr_minus_cr": 0, "clearing_balance": 0}
    return i, f


# ---- text and hashes ----

def op_parse():
    t = R.choice([str(n(10**17)), "%d.%d" % (n(10**17), n(9)), "%d.%02d" % (n(10**17), n(99)),
                  "92233720368547758.0%d" % R.randrange(10), "9" * R.randrange(1, 40),
                  "".join(R.choice("0123456789.,-+ eE٣\0") for _ in range(R.randrange(6)))])

    def f():
        whole, dot, frac = t.partition(".")
        digits = set("0123456789")
        need(whole and set(whole) <= digits and (not dot or (frac and set(frac) <= digits)), "syntax")
        need(len(whole) == 1 or whole[0] != "0", "leading_zero")
        need(len(frac) <= 2, "precision")
        fen = int(whole) * 100 + int(frac.ljust(2, "0"))
        need(fen <= MAX)
        return {"fen": fen}
    return {"text": t}, f


def op_format():
    fen = R.choice([-1, 1]) * n(MAX) - R.randrange(2)

    def f():
        a = abs(fen)
        return {"text": "%s%d.%02d" % ("-" if fen < 0 else "", a // 100, a % 100)}
    return {"fen": fen}, f


def sha(b):
    return hashlib.sha256(b).hexdigest()


def records():
    out, prev = [], "0" * 64
    for k in range(R.randrange(6)):
        out.append("v1\nseq=%d\nprev=%s\ncum_s=%d\nnote=%s\n" % (k + 1, prev, n(99), R.choice(["", "é", "=", "\0"])))
        prev = sha(out[-1].encode())
    return out


def op_chain():
    r = records() or ["v1\n"]
    h = [sha(x.encode()) for x in r]
    return {"records": r}, lambda: {"sha256": h, "head": h[-1]}


def op_chain_verify():
    r = records()
    if len(r) > 1 and R.randrange(2):
        k = R.randrange(len(r) - 1)
        r[k] = r[k].replace("cum_s=", "cum_s=1")
        return {"records": r}, lambda: {"valid": False, "first_bad_seq": k + 2}
    return {"records": r}, lambda: {"valid": True}


def merkle(v):
    if not v:
        return hashlib.sha256(b"").digest()
    if len(v) == 1:
        return hashlib.sha256(b"\0" + v[0]).digest()
    k = 1
    while k * 2 < len(v):
        k *= 2
    return hashlib.sha256(b"\1" + merkle(v[:k]) + merkle(v[k:])).digest()


def op_merkle_root():
    v = [bytes(R.randrange(256) for _ in range(R.randrange(4))) for _ in range(R.randrange(20))]

    def f():
        return {"root_hex": merkle(v).hex(),
                "roots_hex_for_n_1_to_8": [merkle(v[:k]).hex() for k in range(1, min(8, len(v)) + 1)]}
    if R.randrange(2):
        return {"leaves_hex": [x.hex() for x in v]}, f
    texts = ["".join(R.choice("aé中\n") for _ in range(R.randrange(3))) for _ in v]
    v[:] = [x.encode() for x in texts]
    return {"leaves_utf8": texts}, f


def main():
    seed, count = int(sys.argv[1]), int(sys.argv[2])
    R.seed(seed)
    ops = sorted(k for k in globals() if k.startswith("op_"))
    vectors = []
    for k in range(count):
        name = ops[k % len(ops)]
        inputs, answer = globals()[name]()
        try:
            expect = answer()
        except Refused as e:
            expect = {"error": str(e)}
        vectors.append({"id": "R%d" % k, "op": name[3:], "input": inputs, "expect": expect})
    sys.stdout.write(json.dumps({"schema": "gpurun.meter.vectors.v1", "units": {}, "vectors": vectors}))


main()

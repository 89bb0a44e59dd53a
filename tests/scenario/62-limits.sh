#!/bin/bash
# Limits hold with no client alive: cost, time, idleness; never a fen above the cap, whatever the job
# does with its stop window; `extend` moves them while the job runs, and not after.
# needs: pipe
# limit: 240
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
. "$(dirname "$0")/jobs.sh"

mkdir -p "$work/p"
cd "$work/p"
expect 0 gpurun -q host show local
owner price set cpu=360 >/dev/null # 10 fen a second

# started NAME WORD...: run in the background until it runs, then kill the client.
started() {
    local name=$1
    shift
    client_bg "$work/bg.out" "$work/bg.err" -q --name "$name" "$@" </dev/null
    await 30 "$name runs" is "$name" state running
    kill -KILL "$bg"
    wait "$bg" 2>/dev/null || true
}

note "five jobs, their clients killed at once"
started cost --max-cost 0.35 -- sleep 600
started deaf --max-cost 0.35 --window 2s -- sh -c 'trap "" TERM; while :; do sleep 0.1; done'
started time --max-time 3 -- sleep 600
started idle --idle 2 -- sleep 600
started fine --max-cost 100 -- sh -c 'sleep 2; exit 6'
for job in cost deaf time idle fine; do
    await 60 "$job ends" settled "$job"
done

check() { # JOB STATUS REASON MIN_FEN MAX_FEN
    expect "$2" gpurun -q wait "$1"
    is "$1" reason "$3" || fail "$1: reason $(field "$1" reason)"
    local fen
    fen=$(receipt "$1" charge_fen)
    [ "$fen" = "$(field "$1" charge_fen)" ] || fail "$1: receipt $fen, record $(field "$1" charge_fen)"
    [ "$fen" -ge "$4" ] && [ "$fen" -le "$5" ] || fail "$1: $fen fen, not $4 to $5"
}
# The stop comes in the last whole second that fits: 3 s of 0.35, never the fourth.
check cost 104 cost 30 30
check deaf 104 cost 30 30
is deaf signal 9 || fail "deaf: signal $(field deaf signal)"
check time 104 time 30 30
check idle 104 idle 20 10000
check fine 6 exited 20 30

note "the bill has the seconds until the stop order, and the free lines with their reasons"
expect 0 gpurun --json bill deaf
/usr/bin/python3 - "$work/out" <<'PY' || fail "lines"
import json, sys
b = json.load(open(sys.argv[1]))
assert sum(l["fen"] for l in b["lines"]) == b["charge_fen"] == 30, b
assert b["device_s"] == 3, b
stop = [l for l in b["lines"] if l["state"] == "stopping"]
assert len(stop) == 1 and stop[0]["fen"] == 0 and stop[0]["ns"] >= 1_900_000_000 and stop[0]["why"], stop
PY

note "extend: a higher cap and a later end, while it runs"
s=$((4 + 2 * ${SLOW:-1})) # for `extend` to come in time; a second costs 10 fen
yuan() { printf '%d.%02d' $(($1 / 100)) $(($1 % 100)); }
gpurun -q -d --name longer --max-cost "$(yuan $((s * 10 + 5)))" --max-time 600 -- sleep 600 >"$work/id"
await 30 "it runs" is longer state running
expect 0 gpurun -q extend longer --max-cost "$(yuan $((s * 10 + 25)))"
[ "$(field longer cap_fen)" = $((s * 10 + 25)) ] || fail "cap $(field longer cap_fen)"
expect 100 gpurun -q extend longer --max-cost 0.10
has 'raise' "$work/err"
[ "$(field longer cap_fen)" = $((s * 10 + 25)) ] || fail "cap $(field longer cap_fen)"
await 60 "it ends" settled longer
check longer 104 cost $((s * 10 + 20)) $((s * 10 + 20))

gpurun -q -d --name later --max-time $s -- sh -c "sleep $((s + 3)); exit 8" >"$work/id"
await 30 "it runs" is later state running
expect 0 gpurun -q extend later --max-time 300 --max-cost 10
await 60 "it ends" settled later
check later 8 exited $((s * 10 + 30)) $((s * 10 + 60))

note "extend of what is being stopped, or has ended, is refused and changes nothing"
gpurun -q -d --name ending --window 600s --max-time 3 -- sh -c 'trap "" TERM; while :; do sleep 0.1; done' >"$work/id"
await 30 "its time is over" is ending state stopping
run gpurun -q extend ending --max-time 600 --max-cost 100
[ "$rc" = 101 ] || [ "$rc" = 100 ] || fail "extend while stopping: $rc"
has 'stop' "$work/err"
expect 104 gpurun -q stop --now ending
for words in "extend ending --max-time 600" "extend ending --max-cost 0.01" "port ending 80"; do
    # shellcheck disable=SC2086
    expect 100 gpurun -q $words
    has 'is not running' "$work/err"
done
is ending reason time || fail "reason $(field ending reason)"

note "a window beyond the free minute is reserved from the cap, and refused where it does not fit"
run gpurun -q --max-cost 0.30 --window 120s --name reserve -- sleep 600
[ "$rc" = 100 ] || fail "a cap below its landing reserve: $rc"
has 'max-cost' "$work/err"

note "the cap holds for cores together, to the fen"
run gpurun -q --cpu 2 --max-cost 0.55 --name two -- sleep 600
[ "$rc" = 104 ] || [ "$(nproc)" -lt 2 ] || fail "two cores: $rc"
[ "$(nproc)" -lt 2 ] || check two 104 cost 40 40

note "a job that ends before its first second costs nothing, one of a second at least a fen"
owner price set cpu=0.01 >/dev/null
expect 0 gpurun -q --name blink -- true
[ "$(receipt blink charge_fen)" = 0 ] || fail "costs $(receipt blink charge_fen)"
expect 0 gpurun -q --name second -- sleep 1.2
[ "$(receipt second charge_fen)" = 1 ] || fail "costs $(receipt second charge_fen)"

[ -z "$(leftovers)" ] || fail "left over: $(leftovers)"

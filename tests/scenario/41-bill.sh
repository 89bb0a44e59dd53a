#!/bin/bash
# From the owner's price to a bill that both sides can check: plan, run, stop at the cap
# with nobody there, bill, --verify, earnings; and what must be refused.
# needs: pipe
# limit: 300
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
agent_home=$client/gpurun/local
agent() { as_client GPURUN_AGENT_HOME="$agent_home" "$BUILD/bin/gpurun-agent" "$@"; }
as_client() {
    local extra=()
    while [[ ${1:-} == GPURUN_AGENT_HOME=* ]]; do
        extra+=("$1")
        shift
    done
    env -i PATH="$PATH" HOME="$client" GPURUN_HOME="$client/gpurun" LC_ALL=C.UTF-8 TZ=UTC "${extra[@]}" "$@"
}
mkdir "$work/proj"
cd "$work/proj"
cat >busy.py <<'PY'
import sys, time
print("up", flush=True)
time.sleep(float(sys.argv[1]))
PY

note "the owner's price, and prices that are none"
expect 0 gpurun -q host show local
for bad in cpu=1.0000001 cpu=-1 cpu=1e3 cpu= cpu=01 cpu=1,5 =1 cpu disk=0.0000001 cpu=9223372036854775807; do
    expect 1 agent price set "$bad"
    [ ! -s "$work/out" ] && [ "$(wc -l <"$work/err")" = 1 ] || fail "price $bad: not one line of refusal"
    [ ! -e "$agent_home/card" ] || fail "price $bad left a card"
done
expect 0 agent price set cpu=36 disk=0.01
expect 1 agent price set cpu=72 4090=1.0000001
expect 0 agent price ls
has "36.00"
hasnt "72"
hasnt 4090

note "the plan: price, cap and what is reserved"
expect 0 gpurun --json plan busy.py 3
[ "$(json 'd["price_uyuan_per_h"], d["own_estimate"]')" = "(36000000, False)" ] || fail "the plan's price"
# Price x 24 h, and the reserve; can_run is what is left of the cap.
[ "$(json 'd["cap_fen"] >= 86400 and d["can_run_s"] == 86400')" = True ] || fail "cap: $(json d)"
expect 0 gpurun --json plan --max-cost 0.10 busy.py 3
[ "$(json 'd["cap_fen"], d["can_run_s"]')" = "(10, 9)" ] || fail "a cap of 10 fen runs $(json 'd["can_run_s"]') s"
expect 100 gpurun plan --max-cost 0.01 busy.py 3
has "(0.02 yuan)" "$work/err"
has "less than what one second, stopping and keeping" "$work/err"

note "a run, its bill, and both sides' sums"
expect 0 gpurun --name short busy.py 2
expect 0 gpurun --json bill short
fen=$(json 'd["charge_fen"]')
[ "$fen" -ge 2 ] && [ "$fen" -le 30 ] || fail "2 s at 1 fen a second cost $fen fen"
[ "$(json 'd["charge_fen"] == d["device_s"] == sum(l["fen"] for l in d["lines"])')" = True ] || fail "the sum: $(json d)"
[ "$(json 'sorted({l["kind"] for l in d["lines"] if l["fen"] > 0})')" = "['device']" ] || fail "what is billed"
[ "$(json 'all(l["why"] for l in d["lines"] if l["kind"] == "free")')" = True ] || fail "a free line without its reason"
expect 0 gpurun bill short
has "shipping"
has "your data is made safe"
expect 0 gpurun bill --csv short
[ "$(awk -F, 'NR > 1 { s += $10 } END { print s }' "$work/out")" = "$fen" ] || fail "the CSV's sum"
expect 0 agent earnings --csv
[ "$(awk -F, 'NR == 2 { print $8 }' "$work/out")" = "$(printf '%d.%02d' $((fen / 100)) $((fen % 100)))" ] || fail "owner and renter differ"

note "a time limit that the default cap pays for to the second is a time limit"
expect 104 gpurun --name timed --max-time 2s busy.py 600
[ "$(job_field timed reason)" = time ] || fail "ended by $(job_field timed reason)"
expect 0 gpurun --json bill timed
[ "$(json 'd["charge_fen"]')" = 2 ] || fail "2 s cost $(json 'd["charge_fen"]') fen"

note "the cap, with no client alive: the stop comes in time, the bill stays below"
for cap in 3 4 7; do
    client_bg "$work/o$cap" "$work/e" run --name "cap$cap" --max-cost "0.0$cap" busy.py 600 </dev/null
    await 60 "the job is up" grep -q up "$work/o$cap"
    kill -KILL "$bg"
    wait "$bg" 2>/dev/null || true
    await 60 "the end by the cap" job_is "cap$cap" ended
    [ "$(job_field "cap$cap" reason)" = cost ] || fail "ended by $(job_field "cap$cap" reason)"
    expect 104 gpurun -q wait "cap$cap"
    expect 0 gpurun --json bill "cap$cap"
    [ "$(json 'd["charge_fen"] + d["keep_hold_fen"] <= d["cap_fen"] == '$cap)" = True ] || fail "above the cap: $(json d)"
    # What keeping may cost is held, and the stop was no earlier than that needs.
    [ "$(json 'd["charge_fen"], d["keep_hold_fen"]')" = "($((cap - 1)), 1)" ] || fail "cap $cap: $(json d)"
    snap=$(json 'd["snapshot"]')
    expect 0 gpurun snap get "$snap" -o "$work/back$cap"
    cmp busy.py "$work/back$cap/busy.py" || fail "the snapshot lacks what was shipped"
done

note "a window longer than the free minute is reserved in front"
expect 0 gpurun --json plan --max-cost 1.00 --window 90s busy.py 3
[ "$(json 'd["can_run_s"]')" = 69 ] || fail "100 fen, 30 billed, 1 kept: $(json 'd["can_run_s"]')"

note "what a job writes is reserved while it runs: keeping it stays covered"
cat >fill.py <<'PY'
import os, time
with open("data", "wb") as f:
    f.write(os.urandom(1200000))
print("up", flush=True)
time.sleep(600)
PY
expect 0 agent price set disk=1000
expect 104 gpurun --name fill --max-cost 18.20 fill.py
expect 0 agent price set disk=0.01
expect 0 gpurun --json bill fill
# 1.2 MB at 1000 yuan per GB and day for 15 days are 18 yuan, and code and log lie beside it.
[ "$(json '1800 <= d["keep_hold_fen"] and d["charge_fen"] + d["keep_hold_fen"] <= 1820')" = True ] ||
    fail "not covered: $(json d)"
rm fill.py

note "extend is a new grant: the job goes on"
# A fen is a second: as many as `extend` may take, more where what watches makes all slow.
cap=$((10 + 4 * ${SLOW:-1}))
client_bg "$work/o" "$work/e" run --name ext --max-cost "$(printf '0.%02d' $cap)" busy.py $((cap + 6)) </dev/null
await 60 "the job is up" grep -q up "$work/o"
expect 0 gpurun extend ext --max-cost 0.90
wait "$bg" || fail "exit status $? of an extended job: $(cat "$work/e")"
expect 0 gpurun --json bill ext
[ "$(json 'd["cap_fen"] == 90 and d["charge_fen"] >= '$((cap + 6)))" = True ] || fail "extended: $(json d)"

note "a receipt that the host cannot read is not refused: it is fetched later"
client_bg "$work/bg.out" "$work/bg.err" --name unread --max-cost 1 -- sh -c "until [ -e $work/go ]; do sleep 0.1; done"
await 30 "it runs" job_is unread running
dir=$(echo "$agent_home"/renters/*/jobs/"$(job_field unread id)")
mv "$dir/usage" "$dir/aside"
mkdir "$dir/usage"
: >"$work/go"
await 30 "the client to end" gone "$bg"
has "the bill of job j" "$work/bg.err"
has "did not come: " "$work/bg.err"
has '`gpurun bill unread` fetches it' "$work/bg.err"
hasnt "is refused" "$work/bg.err"
expect 100 gpurun bill --verify unread
rmdir "$dir/usage"
mv "$dir/aside" "$dir/usage"
expect 0 gpurun bill unread
expect 0 gpurun bill --verify unread

note "a job of another laptop: its receipt is fetched, and verified"
rm "$client/gpurun/jobs/${dir##*/}" "$client/gpurun/receipts/${dir##*/}"
expect 100 gpurun bill --verify "${dir##*/}"
expect 0 gpurun bill "${dir##*/}"
expect 0 gpurun bill --verify "${dir##*/}"
has "signed by the pinned key of host 'local'"

note "--verify: a job, a file, all of them; any changed byte is refused and named"
expect 0 gpurun bill --verify short
has "right"
id=$(job_field short id)
cp "$client/gpurun/receipts/$id" "$work/receipt"
expect 0 gpurun bill --verify "$work/receipt"
has "pinned key of host 'local'"
expect 0 gpurun bill --verify --all
[ "$(grep -c right "$work/out")" = 8 ] || fail "not all eight"
size=$(stat -c %s "$work/receipt")
for at in 0 5 25 $((size / 3)) $((size / 2)) $((size - 200)) $((size - 1)); do
    /usr/bin/python3 - "$work/receipt" "$work/changed" "$at" <<'PY'
import sys
b = bytearray(open(sys.argv[1], "rb").read())
b[int(sys.argv[3])] ^= 1
open(sys.argv[2], "wb").write(b)
PY
    expect 101 gpurun bill --verify "$work/changed"
    [ ! -s "$work/out" ] || fail "byte $at: something on stdout"
    has "record " "$work/err"
done
head -c $((size - 50)) "$work/receipt" >"$work/changed"
expect 101 gpurun bill --verify "$work/changed"
head -c 4096 /dev/urandom >"$work/changed"
expect 101 gpurun bill --verify "$work/changed"
: >"$work/changed"
expect 101 gpurun bill --verify "$work/changed"
expect 100 gpurun bill --verify "$work/nosuch"

note "a receipt of another host, or of another job, is not this job's"
other=$work/other
mkdir "$other"
elsewhere() { env -i PATH="$PATH" HOME="$other" GPURUN_HOME="$other/gpurun" LC_ALL=C.UTF-8 TZ=UTC "$BUILD/bin/gpurun" "$@"; }
expect 0 elsewhere -q host show local
expect 0 env -i PATH="$PATH" HOME="$other" GPURUN_AGENT_HOME="$other/gpurun/local" "$BUILD/bin/gpurun-agent" price set cpu=36
expect 0 elsewhere -q busy.py 0
foreign=$(echo "$other"/gpurun/receipts/*)
expect 0 gpurun bill --verify "$foreign"
has "no host is pinned here"
cp "$client/gpurun/receipts/$id" "$work/mine"
cp "$foreign" "$client/gpurun/receipts/$id"
expect 101 gpurun bill --verify short
expect 101 gpurun bill short
: >"$client/gpurun/receipts/$id"
for what in 'bill short' bill audit; do
    expect 101 gpurun $what
    has "a usage journal without a receipt" "$work/err"
done
cp "$client/gpurun/receipts/$(job_field ext id)" "$client/gpurun/receipts/$id"
expect 101 gpurun bill --verify short
cp "$work/mine" "$client/gpurun/receipts/$id"
expect 0 gpurun bill --verify short

note "a host that signs with another key than the pinned one is not dealt with"
cp "$agent_home/key" "$work/key"
cp "$other/gpurun/local/key" "$agent_home/key"
expect 101 gpurun busy.py 0
has "another key than the one pinned" "$work/err"
expect 101 gpurun plan busy.py 0
cp "$work/key" "$agent_home/key"
expect 0 gpurun plan busy.py 0

note "an offer that another host signed is not published as one's own"
cp "$other/gpurun/local/offers/current-any" "$agent_home/offers/current-any"
expect 0 gpurun --json plan busy.py 0
[ "$(json 'd["price_uyuan_per_h"]')" = 36000000 ] || fail "a foreign offer counts"

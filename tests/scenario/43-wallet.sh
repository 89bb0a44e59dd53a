#!/bin/bash
# A budget of one's own: holds, settlements by receipts, the end by balance, and that the
# same top-up counts once.
# needs: pipe
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
agent_home=$client/gpurun/local
funds() { # BALANCE HELD
    expect 0 gpurun --json wallet
    [ "$(json 'd["balance_fen"], d["held_fen"], d["free_fen"]')" = "($1, $2, $(($1 - $2)))" ] ||
        fail "the wallet has $(json 'd["balance_fen"], d["held_fen"], d["free_fen"]'), not $1 and $2 held"
}
mkdir "$work/proj"
cd "$work/proj"
cat >busy.py <<'PY'
import sys, time
print("up", flush=True)
time.sleep(float(sys.argv[1]))
PY
expect 0 gpurun -q host show local
expect 0 env -i PATH="$PATH" HOME="$client" GPURUN_AGENT_HOME="$agent_home" "$BUILD/bin/gpurun-agent" price set cpu=36

note "no wallet: nothing is held, and looking makes none"
expect 0 gpurun wallet
has "no wallet"
expect 0 gpurun --json wallet log
[ "$(cat "$work/out")" = "[]" ] || fail "a log of nothing: $(cat "$work/out")"
expect 0 gpurun -q --max-cost 5 busy.py 0
[ ! -e "$client/gpurun/ledger" ] || fail "a ledger was made"

note "top-ups, and what is none"
for bad in 1.005 -1 0 0.00 x 1e3 99999999999999999999; do
    expect 100 gpurun wallet topup -- "$bad"
done
expect 100 gpurun wallet topup
expect 100 gpurun wallet frobnicate
expect 100 gpurun wallet --ref x
[ ! -e "$client/gpurun/ledger" ] || fail "a refused top-up made a ledger"
expect 100 gpurun wallet topup 92233720368547758.07 # an amount, but none that a ledger takes
expect 0 gpurun wallet
has "no wallet"
expect 0 gpurun plan --max-cost 5 busy.py 0
expect 0 gpurun wallet topup 10.50 --ref invoice-7
expect 0 gpurun --json wallet topup 10.50 --ref invoice-7
[ "$(json 'd["repeated"], d["balance_fen"]')" = "(True, 1050)" ] || fail "counted twice: $(cat "$work/out")"
expect 100 gpurun wallet topup 10.51 --ref invoice-7
has 'was used for something else' "$work/err"
funds 1050 0

note "a run holds its cap, and its receipt frees the rest"
client_bg "$work/o1" "$work/e1" run --name one --max-cost 8 -- \
    sh -c 'echo up; sleep 1; until [ -e "$1" ]; do sleep 0.1; done' sh "$work/enough" </dev/null
await 60 "the job is up" grep -q up "$work/o1"
expect 0 gpurun --json wallet
[ "$(json 'd["held_fen"], d["free_fen"], d["holds"][0]["name"]')" = "(800, 250, 'one')" ] || fail "$(cat "$work/out")"
expect 101 gpurun -q --max-cost 2.51 busy.py 0
has "2.50 yuan free" "$work/err"
expect 0 gpurun -q --max-cost 2.50 busy.py 0
touch "$work/enough"
wait "$bg" || fail "status $?"
expect 0 gpurun --json bill
spent=$(json 'sum(b["charge_fen"] for b in d["bills"] if b["cap_fen"] != 500)')
funds $((1050 - spent)) 0

note "a client that is killed: the hold stays, and the receipt settles it later"
left=$((1050 - spent))
client_bg "$work/o2" "$work/e2" run --name two --max-cost 4 busy.py 2 </dev/null
await 60 "the job is up" grep -q up "$work/o2"
kill -KILL "$bg"
wait "$bg" 2>/dev/null || true
await 60 "the end" job_is two ended
funds $left 400
expect 0 gpurun --json bill two
charge=$(json 'd["charge_fen"]')
funds $((left - charge)) 0
left=$((left - charge))

note "without a cap it may take what there is, and ends by balance"
expect 0 gpurun --json plan busy.py 600
[ "$(json 'd["cap_fen"]')" = "$left" ] || fail "cap $(json 'd["cap_fen"]') instead of all $left"
# Leave 5 fen free: another lease holds the rest.
client_bg "$work/o3" "$work/e3" run --name three --max-cost "$(printf '%d.%02d' $(((left - 5) / 100)) $(((left - 5) % 100)))" busy.py 600 </dev/null
await 60 "the job is up" grep -q up "$work/o3"
expect 104 gpurun --name four busy.py 600
expect 0 gpurun --json bill four
[ "$(json 'd["reason"], d["charge_fen"] + d["keep_hold_fen"] <= 5')" = "('balance', True)" ] || fail "$(cat "$work/out")"
expect 0 gpurun extend three --max-time 48h
has "only, which is what the cap pays" "$work/err"
expect 0 gpurun extend three --max-time 49h # a second one follows the first, not the grant
expect 101 gpurun extend three --max-cost 100
has "gpurun wallet topup" "$work/err"
expect 100 gpurun extend three --max-time 1000d
has "is out of range" "$work/err"
expect 143 gpurun -q stop three
wait "$bg" 2>/dev/null || true
await 60 "its end" job_is three ended
expect 0 gpurun bill three

note "killed between the hold and the submit: the hold is given back, and nothing else is"
expect 0 gpurun --json wallet
held=$(json 'd["held_fen"]')
run as_client LD_PRELOAD="$BUILD/tests/libs/dieat.so" DIE_AT=rename:/jobs/j:2 \
    ASAN_OPTIONS=verify_asan_link_order=0 "$BUILD/bin/gpurun" run --name orphan --max-cost 0.03 busy.py 0
[ "$rc" = 137 ] || fail "not killed there: $rc"
exec 8<"$client/gpurun/ledger.runs"
flock -s 8
expect 0 gpurun --json wallet
[ "$(json 'd["held_fen"]')" = $((held + 3)) ] || fail "not held, or given back beside a run that may be it"
exec 8<&-
expect 0 gpurun --json wallet
[ "$(json 'd["held_fen"]')" = "$held" ] || fail "still held: $(cat "$work/out")"
[ "$(job_state orphan)" = "" ] || fail "the host knows it"

note "a job that cannot start leaves nothing held; the log tells all of it"
expect 0 gpurun --json wallet
[ "$(json 'd["held_fen"]')" = 0 ] || fail "still held: $(cat "$work/out")"
free=$(json 'd["free_fen"]')
expect 102 gpurun --max-cost 0.02 --name bad -- ./nosuch-program
expect 0 gpurun --json wallet log
[ "$(json 'sum(x["balance_change_fen"] for x in d)')" = "$free" ] || fail "the log does not add up"
[ "$(json 'sum(x["held_change_fen"] for x in d)')" = 0 ] || fail "the holds do not add up"

note "the audit finds all of it right, and names what is not"
expect 0 gpurun audit
has "agree to the fen"
expect 0 gpurun --json audit
[ "$(json 'd["right"], d["wallet"], d["sessions"] >= 5, d["ns"]["running"] > 0')" = "(True, True, True, True)" ] || fail "$(cat "$work/out")"
cp "$client/gpurun/ledger" "$work/ledger"
/usr/bin/python3 - "$client/gpurun/ledger" <<'PY'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("UPDATE lease SET charge = charge + 1 WHERE charge > 0 AND state = 3")
db.commit()
PY
expect 101 gpurun audit
has "WRONG: job"
cp "$work/ledger" "$client/gpurun/ledger"
/usr/bin/python3 - "$client/gpurun/ledger" <<'PY'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("DROP TRIGGER entry_stays")
db.execute("UPDATE entry SET wall_ns = wall_ns + 1 WHERE n = 3")
db.commit()
PY
expect 101 gpurun audit
has "WRONG: the ledger: entry 3"
cp "$work/ledger" "$client/gpurun/ledger"
expect 0 gpurun audit

note "a ledger that is newer, or none, is refused and left alone"
cp "$client/gpurun/ledger" "$work/ledger"
/usr/bin/python3 -c 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute("PRAGMA user_version = 99")' "$client/gpurun/ledger"
sum=$(sha256sum <"$client/gpurun/ledger")
expect 101 gpurun wallet
expect 101 gpurun -q --max-cost 0.02 busy.py 0
[ "$(sha256sum <"$client/gpurun/ledger")" = "$sum" ] || fail "it was changed"
cp "$work/ledger" "$client/gpurun/ledger"
expect 0 gpurun wallet

#!/bin/bash
# A host whose clocks run fast: its records agree with each other and are signed, so its bill is
# right by itself. The renter's own clock says that so many seconds cannot have passed: none of them
# is countersigned, and what is in dispute is told, by a client that was there all along and by one
# that comes later. A host that counts true is never accused.
# limit: 180
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
. "$(dirname "$0")/clocks.sh"

client_key
for h in fast true; do
    timed_host $h
    expect 0 gpurun -q host add $h "127.0.0.1:${port[$h]}"
    expect 0 owner_of $h price set cpu=36
done
expect 0 gpurun -q wallet topup 1000
mkdir "$work/p"
cd "$work/p"
# It says something all the time, so that its supervisor is awake when a record is due.
echo 'while [ ! -e "$1" ]; do echo up; sleep 0.05; done' >job.sh
# The true host's wall clock may say what it likes.
step true 86400 wall
speed fast 8
began=$SECONDS
client_bg "$work/true.out" "$work/true.err" --host true --name true --max-cost 20 job.sh "$work/stop" </dev/null
true_pid=$bg
client_bg "$work/fast.out" "$work/fast.err" --host fast --name fast --max-cost 50 job.sh "$work/stop" </dev/null
fast_pid=$bg
# Nobody follows this one.
expect 0 gpurun -q -d --host fast --name alone --max-cost 50 job.sh "$work/stop"

note "while it runs: told once, seen by ps, and not countersigned"
await 90 "the word of the fast clock" grep -q 'not countersigned' "$work/fast.err"
expect 0 gpurun ps
[ "$(grep -c 'not countersigned' "$work/err")" = 1 ] || fail "ps: $(cat "$work/err")"
has "host 'fast' counts" "$work/err"
expect 0 gpurun --json ps
json '[(j["name"], j["dispute"] and j["dispute"]["host_s"] > j["dispute"]["passed_s"] + 30) for j in sorted(d["jobs"], key=lambda j: j["name"])]' >"$work/got"
has "[('alone', None), ('fast', True), ('true', None)]" "$work/got"
fast=$(json '[j["id"] for j in d["jobs"] if j["name"] == "fast"][0]')
journal=$(echo "$work"/fast/agent/renters/*/jobs/"$fast"/usage)
grep -qaF kind=checkpoint "$journal" || fail "the host has signed nothing yet"
! grep -qaF by=renter "$journal" || fail "it was countersigned"
: >"$work/stop"
wait "$fast_pid" || fail "fast: $(cat "$work/fast.err")"
wait "$true_pid" || fail "true: $(cat "$work/true.err")"
[ "$(grep -c 'not countersigned' "$work/fast.err")" = 1 ] || fail "said once: $(cat "$work/fast.err")"
hasnt 'not countersigned' "$work/true.err"

note "the bill is right by the host's records, and what is in dispute is on it"
disputed() { # JOB
    expect 0 gpurun bill --verify "$1" --all
    has 'right'
    has 'in dispute: '
    expect 0 gpurun --json bill --verify "$1"
    is 'd["dispute"]["dispute_fen"] > 0 and d["dispute"]["owed_fen"] == d["charge_fen"]' True
    expect 0 gpurun bill "$1"
    has 'in dispute: '
    has 'owed all the same'
    expect 0 gpurun --json bill "$1"
    # A fen a second: what is not in dispute is what passed here, and no more than that.
    is 'd["charge_fen"] - d["dispute"]["dispute_fen"] == d["dispute"]["passed_s"]' True
    is "d['dispute']['host_s'] == d['device_s'] > d['dispute']['passed_s'] + 30 and d['dispute']['passed_s'] <= $((SECONDS - began + 1))" True
    is 'd["countersigned_s"]' 0
    is 'sum(l["fen"] for l in d["lines"]) == d["charge_fen"]' True
}
disputed fast
expect 0 gpurun --json wait alone
is 'd["dispute"]["host_s"] > 0' True
disputed alone
expect 0 gpurun bill true
hasnt 'in dispute'
expect 0 gpurun --json bill true
is 'd["dispute"]' None
expect 0 gpurun bill
has 'of 2 jobs'
expect 0 gpurun audit
[ "$(ls "$client/gpurun/evidence" | wc -l)" = 2 ] || fail "kept: $(ls "$client/gpurun/evidence")"

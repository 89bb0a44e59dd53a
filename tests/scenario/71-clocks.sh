#!/bin/bash
# Clocks that do what they should not, under a job that runs: the host's wall clock is set on and
# back by an hour and by a day, the host sleeps, the whole host side stands still for more than 30 s,
# the machine starts anew. No second is billed twice, none that is not proved, and no fen is made.
# limit: 240
# repeats
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
. "$(dirname "$0")/clocks.sh"

json() { # FILE EXPRESSION over d
    /usr/bin/python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$1" "$2"
}
mkdir -p "$work/p"
cd "$work/p"
# job.py FILE SECONDS: until so long after FILE is there; its time by the kernel's own clock,
# last on stderr, whatever it was told of it
cat >job.py <<'PY'
import os, sys, time
began = time.monotonic()
print("up", flush=True)
sys.stderr.write("here\n")
sys.stderr.flush()
while not os.path.exists(sys.argv[1]):
    time.sleep(0.05)
time.sleep(float(sys.argv[2]))
sys.stderr.write("took %.3f\n" % (time.monotonic() - began))
PY
client_key
hosts="on-hour back-hour on-day back-day slept stood boots limit"
for h in $hosts; do
    timed_host "$h"
    expect 0 gpurun -q host add "$h" "127.0.0.1:${port[$h]}"
    expect 0 owner_of "$h" price set cpu=36
done
expect 0 gpurun -q wallet topup 1000

declare -A runner=()
begin() { # HOST WORD...
    client_bg "$work/$1.out" "$work/$1.err" --host "$1" --name "$1" --max-cost 5 "${@:2}" </dev/null
    runner[$1]=$bg
}
up() { grep -q up "$work/$1.out" && grep -q here "$work/$1.err"; }
up_at=$SECONDS
for h in on-hour back-hour on-day back-day slept stood boots; do
    begin "$h" -- /usr/bin/python3 job.py "$work/stepped" 4
done
# By a clock that does not move, twenty seconds are twenty.
begin limit --max-time 20s -- sh -c 'echo up; echo here >&2; sleep 600'
for h in $hosts; do
    await 60 "the job on $h" up "$h"
done

note "everything of one host is stopped"
# The supervisor is its own child or init's; the client and the sshd stay awake.
all_of() {
    local p
    for p in $(with_environment "$work/$1/agent"); do
        tree "$p"
    done | sort -un
}
frozen=$(all_of stood)
[ "$(echo "$frozen" | wc -l)" -ge 3 ] || fail "the host side of one job is more than: $frozen"
# shellcheck disable=SC2086
kill -STOP $frozen
stood_at=$SECONDS

note "the wall clocks are set, one host sleeps for 100 s, one starts anew"
step on-hour 3600 wall
step back-hour -3600 wall
step on-day 86400 wall
step back-day -86400 wall
step limit -3600 wall
step slept 100 wall boot
doomed=$(all_of boots)
# A record of what ran until then.
stop boots KILL
# shellcheck disable=SC2086
kill -KILL $doomed 2>/dev/null || true
up_s=$((SECONDS - up_at + 1))
new_boot boots
# What was written in the last second is gone from one stream, though the client has it.
: >"$(jobs_of boots)/log/out.00000000000000000000"
# Ten seconds after the machine started.
step boots "-$(awk '{ printf "%d", $1 - 10 }' /proc/uptime)" mono boot
sshd_again() { # HOST on the same port
    local h=$1
    "$sshd_program" -D -e -f "$work/$h/sshd_config" 2>"$work/$h/log" &
    pid[$h]=$!
    await 20 "the sshd of $h" sshd_listens "$work/$h"
}
sshd_again boots
: >"$work/stepped"

ended() { gone "${runner[$1]}"; }
status() { # HOST: how its client ended
    await 90 "the client of $1" ended "$1"
    rc=0
    wait "${runner[$1]}" || rc=$?
}
charged() { # HOST: what its receipt says, verified
    expect 0 gpurun -q bill --verify "$1" --all
    expect 0 gpurun --json bill "$1"
    cp "$work/out" "$work/$1.bill"
    [ "$(json "$work/out" 'd["charge_fen"] == sum(l["fen"] for l in d["lines"]) and d["charge_fen"] + d["keep_hold_fen"] <= 500')" = True ] ||
        fail "$1: $(cat "$work/out")"
}
free_s() { # HOST STATE: seconds on its bill
    json "$work/$1.bill" "sum(l['ns'] for l in d['lines'] if l['kind'] == 'free' and l['state'] == '$2') / 1e9"
}
right() { # HOST LOW: charged for what it took, and that from LOW on
    local took
    took=$(sed -n 's/^took //p' "$work/$1.err")
    /usr/bin/python3 -c 'import json, sys
fen, took, low = json.load(open(sys.argv[1]))["charge_fen"], float(sys.argv[2]), int(sys.argv[3])
assert low <= fen <= took + 4, (fen, took)' "$work/$1.bill" "$took" "$2" || fail "$1: charged for other than $took s"
}

note "a step of the wall clock is on no bill"
for h in on-hour back-hour on-day back-day; do
    status "$h"
    [ "$rc" = 0 ] || fail "$h: status $rc: $(cat "$work/$h.err")"
    charged "$h"
    right "$h" 4
    for s in fault lost suspended; do
        [ "$(free_s "$h" $s)" = 0.0 ] || [ "$(free_s "$h" $s)" = 0 ] || fail "$h: $s: $(cat "$work/$h.bill")"
    done
done
status limit
[ "$rc" = 104 ] || fail "the time limit: status $rc: $(cat "$work/limit.err")"
charged limit
fen=$(json "$work/limit.bill" 'd["charge_fen"]')
[ "$fen" -ge 19 ] && [ "$fen" -le 21 ] || fail "twenty seconds by a wall clock that went back cost $fen"

note "sleep is free, and told"
status slept
[ "$rc" = 0 ] || fail "slept: status $rc: $(cat "$work/slept.err")"
charged slept
right slept 4
/usr/bin/python3 -c 'import sys; assert 99 <= float(sys.argv[1]) <= 101, sys.argv' "$(free_s slept suspended)" || fail "slept: $(cat "$work/slept.bill")"

note "a new boot: lost, billed to the last record, and the client ends though it has more than the host"
status boots
[ "$rc" = 105 ] || fail "boots: status $rc: $(cat "$work/boots.err")"
charged boots
[ "$(json "$work/boots.bill" "d['charge_fen'] <= $up_s and d['reason'] == 'lost'")" = True ] || fail "up for $up_s s at most: $(cat "$work/boots.bill")"
grep -qaF "boot=$(cat "$work/boots.boot")" "$(jobs_of boots)/usage" || fail "the journal does not tell of the new boot"

note "what stood still for more than 30 s is a fault of the host, and free"
sleep $((32 - (SECONDS - stood_at) > 0 ? 32 - (SECONDS - stood_at) : 0))
# shellcheck disable=SC2086
kill -CONT $frozen
stood_s=$((SECONDS - stood_at))
status stood
[ "$rc" = 0 ] || fail "stood: status $rc: $(cat "$work/stood.err")"
charged stood
/usr/bin/python3 - "$work/stood.bill" "$(free_s stood fault)" "$stood_s" "$(sed -n 's/^took //p' "$work/stood.err")" <<'PY' || fail "stood: $(cat "$work/stood.bill")"
import json, sys
fen = json.load(open(sys.argv[1]))["charge_fen"]
fault, stood, took = (float(a) for a in sys.argv[2:])
# The gap is from the record before, of ten seconds ago at most.
assert stood - 1 <= fault <= stood + 12, (fault, stood)
assert fen <= took - fault + 4, (fen, took, fault)
PY

note "both sides' books: balanced, the same fen, and the gaps have names"
expect 0 gpurun --json wallet
[ "$(json "$work/out" 'd["held_fen"], d["holds"]')" = "(0, [])" ] || fail "$(cat "$work/out")"
spent=$((100000 - $(json "$work/out" 'd["balance_fen"]')))
expect 0 gpurun --json bill
[ "$(json "$work/out" 'd["total_fen"]')" = $spent ] || fail "the wallet lost $spent: $(cat "$work/out")"
[ "$(json "$work/out" 'any(b["dispute"] for b in d["bills"])')" = False ] || fail "accused of a clock that is true: $(cat "$work/out")"
expect 0 gpurun audit
earned=0
for h in $hosts; do
    expect 0 owner_of "$h" audit --json
    cp "$work/out" "$work/$h.audit"
    [ "$(json "$work/out" 'd["right"], len(d["sessions"])')" = "(True, 1)" ] || fail "$h: $(cat "$work/out")"
    [ "$(json "$work/out" 'd["charge_fen"]')" = "$(json "$work/$h.bill" 'd["charge_fen"]')" ] || fail "$h: the owner has $(cat "$work/out")"
    earned=$((earned + $(json "$work/out" 'd["earned_fen"]')))
done
[ $earned = $spent ] || fail "the owners have $earned, the renter spent $spent"
[ "$(json "$work/stood.audit" 'd["ns"]["fault"] > 30 * 10**9')" = True ] || fail "$(cat "$work/stood.audit")"
[ "$(json "$work/slept.audit" 'd["ns"]["suspended"] > 99 * 10**9')" = True ] || fail "$(cat "$work/slept.audit")"

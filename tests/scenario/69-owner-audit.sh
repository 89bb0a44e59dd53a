#!/bin/bash
# The owner's side: every second of a device in one state, every fen in the owner's own ledger, which
# the renter's agrees with, also after kills and a new boot; and what does not agree is named.
# needs: pipe root
# threads
# limit: 240
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
. "$(dirname "$0")/jobs.sh"

mkdir -p "$work/p" "$work/nv"
cd "$work/p"
cp "$BUILD/tests/libs/nvml.so" "$work/nv/libnvidia-ml.so.1"
cat >"$work/nv/libnvidia-ml.so.1.conf" <<'CONF'
driver 550.54.14
cuda 12040
device NVIDIA GeForce RTX 4090|GPU-dddddddd-0000-4000-8000-000000000001|25757220864|00000000:01:00.0|40|1
CONF
cat /proc/sys/kernel/random/boot_id >"$work/boot"
spawn machine unshare -m bash -ec '
    mount -t tmpfs none /usr/local
    mount -t tmpfs none /run/lock
    mkdir -p /usr/local/nvidia/lib64
    mount --bind "$1/nv" /usr/local/nvidia/lib64
    mount --bind "$1/boot" /proc/sys/kernel/random/boot_id
    : >"$1/machine.ready"
    exec sleep 1000' - "$work"
await 20 "the machine" test -e "$work/machine.ready"
gpurun() { as_client nsenter -t "${pid[machine]}" -m --wd="$PWD" "$BUILD/bin/gpurun" "$@"; }
owner() { as_client env GPURUN_AGENT_HOME="$agent_home" nsenter -t "${pid[machine]}" -m "$BUILD/bin/gpurun-agent" "$@"; }
# json FILE EXPRESSION over d
json() { /usr/bin/python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$1" "$2"; }
# gpu EXPRESSION over g, the device of the owner's audit in $work/out
gpu() { json "$work/out" "[($1) for g in d['devices'] if not g['shared']][0]"; }

# agree: both audits are right and have the same sessions for the same money.
agree() {
    expect 0 gpurun --json audit
    cp "$work/out" "$work/renter.json"
    expect 0 gpurun --json bill
    cp "$work/out" "$work/bill.json"
    expect 0 owner audit --json
    /usr/bin/python3 - "$work/out" "$work/renter.json" "$work/bill.json" <<'PY' || fail "the two sides do not agree"
import json, sys
owner, renter, bill = (json.load(open(f)) for f in sys.argv[1:])
assert owner["right"] and renter["right"], (owner["problems"], renter["problems"])
ended = [s for s in owner["sessions"] if not s["open"]]
assert owner["charge_fen"] == renter["charge_fen"] == bill["total_fen"] == sum(s["charge_fen"] for s in ended), (owner["charge_fen"], renter["charge_fen"], bill["total_fen"])
assert owner["earned_fen"] == owner["charge_fen"] + owner["keeping_fen"]
mine = {b["job"]: b["charge_fen"] for b in bill["bills"]}
theirs = {s["job"]: s["charge_fen"] for s in ended}
assert mine == theirs, (mine, theirs)
assert owner["ns"] == renter["ns"] or any(s["open"] for s in owner["sessions"]), (owner["ns"], renter["ns"])
for g in owner["devices"]:
    parts = g["sold_ns"] + sum(g["free_ns"].values()) + g["fault_ns"] + g["idle_ns"] + g["unobserved_ns"]
    assert parts == g["ns"], g
    if not g["shared"]:
        assert g["ns"] == g["to_ns"] - g["from_ns"], g
    assert not any(p["is"] == "overlap" for p in g["gaps"]), g
PY
}

note "nothing sold yet: free, and seen twice"
expect 0 gpurun -q host show local
expect 0 owner price set 4090=360 cpu=36 disk=1
expect 0 gpurun -q wallet topup 1000
expect 0 owner audit
has "agree to the fen"
expect 0 owner audit --json
[ "$(gpu 'g["sold_ns"], g["unobserved_ns"], g["fault_ns"]')" = "(0, 0, 0)" ] || fail "$(cat "$work/out")"

note "sold, and idle between looks"
expect 0 gpurun -q --gpu 4090 --name one --max-cost 20 -- sleep 2
expect 0 owner tick
expect 0 gpurun -q --gpu 4090 --name two --max-cost 20 -- sleep 1
expect 3 gpurun -q --name cores --max-cost 20 -- sh -c 'sleep 1; exit 3'
agree
[ "$(gpu 'g["sold_ns"] >= 3 * 10**9 and g["idle_ns"] > 0 and g["unobserved_ns"] == 0')" = True ] || fail "$(cat "$work/out")"
[ "$(receipt one charge_fen)" -ge 20 ] || fail "two seconds at ten fen"

note "one that goes on is there, too"
gpurun -q -d --gpu 4090 --name goes --max-cost 20 -- sleep 600 >"$work/id"
await 30 "it runs" is goes state running
agree
[ "$(json "$work/out" 'sum(s["open"] for s in d["sessions"])')" = 1 ] || fail "it is not listed as going on"
expect 0 owner audit
has "1 go on"

note "killed supervisors and jobs: lost, and both sides have the same"
s=$(supervisor goes)
sleep 1.2
kill -KILL "$s"
await 20 "the supervisor is gone" gone "$s"
run gpurun -q wait goes
[ "$rc" = 105 ] || fail "a lost job: $rc"
gpurun -q -d --gpu 4090 --name shot --max-cost 20 -- sleep 600 >"$work/id"
await 30 "it runs" is shot state running
kill -KILL "$(processes shot | head -n 1)"
run gpurun -q wait shot
[ "$rc" = 137 ] || fail "a killed job: $rc"
agree
[ "$(json "$work/out" '[s["lost"] for s in d["sessions"] if s["lost"]]')" = "[True]" ] || fail "which were lost: $(cat "$work/out")"

note "a new boot: what was between the two is unobserved"
gpurun -q -d --gpu 4090 --name boots --max-cost 20 -- sleep 600 >"$work/id"
await 30 "it runs" is boots state running
s=$(supervisor boots)
g=$(guard boots)
kill -KILL "$s"
await 20 "the supervisor is gone" gone "$s"
await 20 "its guard, too" gone "$g"
echo 11111111-2222-4333-8444-555555555555 >"$work/boot"
sleep 1.1
run gpurun -q wait boots
[ "$rc" = 105 ] || fail "lost with its boot: $rc"
agree
[ "$(gpu '[p["is"] for p in g["gaps"] if p["is"] == "unobserved"] != []')" = True ] || fail "no gap between boots: $(cat "$work/out")"
expect 0 owner audit
has "unobserved for"

note "keeping, once the data went: both sides have the same"
expect 0 owner price set disk=1000000
expect 0 gpurun -q wallet topup 100000
expect 0 gpurun -q --name heavy --max-cost 50000 -- sh -c 'head -c 2000000 /dev/urandom >data; sleep 1'
agree
expect 0 gpurun --json wallet
held=$(json "$work/out" 'd["held_fen"]')
[ "$held" -gt 1000 ] || fail "held for it: $held"
sleep 1.1 # it costs by the second
expect 0 gpurun -q snap rm heavy
expect 0 gpurun --json bill heavy
kept=$(json "$work/out" 'sum(l["fen"] for l in d["lines"] if l["kind"] == "keeping")')
[ "$kept" -ge 1 ] && [ "$kept" -lt "$held" ] || fail "kept for $kept fen"
expect 0 owner audit --json
[ "$(json "$work/out" 'd["right"], d["keeping_fen"], d["earned_fen"] - d["charge_fen"]')" = "(True, $kept, $kept)" ] || fail "the owner has $(cat "$work/out")"
expect 0 gpurun --json audit
[ "$(json "$work/out" 'd["right"]')" = True ] || fail "the renter's: $(cat "$work/out")"

note "by month: the months' sums are the sum"
month=$(TZ=Asia/Shanghai date +%Y-%m)
expect 0 owner audit --json
all=$(json "$work/out" 'd["charge_fen"]')
expect 0 owner audit --json --month "$month"
[ "$(json "$work/out" 'd["charge_fen"]')" = "$all" ] || [ "$(TZ=Asia/Shanghai date +%d)" = 01 ] || fail "this month"
expect 0 owner audit --json --month 1999-01
[ "$(json "$work/out" 'd["charge_fen"], len(d["sessions"])')" = "(0, 0)" ] || fail "of another month"
[ "$(gpu 'g["ns"]')" = 0 ] || fail "time of another month"
expect 1 owner audit --month 2026-13
expect 1 owner audit --month november

note "what does not agree is named: a record, a journal, a ledger"
d=$(record one)
cp "$d/state" "$work/state.kept"
sed -i 's/^charge_fen=.*/charge_fen=1/' "$d/state"
expect 1 owner audit
has "WRONG: job $(basename "$d"): its record says 1 fen, its receipt"
cp "$work/state.kept" "$d/state"
cp "$d/usage" "$work/usage.kept"
printf x | dd of="$d/usage" bs=1 seek=2000 conv=notrunc status=none
expect 1 owner audit
has "WRONG: job $(basename "$d"): its journal: record"
# With the money of it in the ledger all the same.
has "WRONG: the ledger has"
cp "$work/usage.kept" "$d/usage"
expect 0 owner audit
cp "$agent_home/ledger" "$work/ledger.kept"
/usr/bin/python3 - "$agent_home/ledger" <<'PY'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
for (name,) in list(db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")):
    db.execute(f"DROP TRIGGER {name}")
db.execute("UPDATE entry SET posts = posts || posts WHERE n = 1")
db.commit()
PY
expect 1 owner audit
has "WRONG: the ledger: entry"
cp "$work/ledger.kept" "$agent_home/ledger"
expect 0 owner audit

note "a supervisor that was killed when the receipt was written, before the record was: nothing lost"
d=$(record two)
cp "$d/state" "$work/state.kept"
# As it stood then: snapshot taken, no charge yet, and marked as not final.
sed -i 's/^state=ended/state=snapshotting/; /^charge_fen=/d' "$d/state"
marks=$(dirname "$(dirname "$d")")/active
[ -d "$marks" ] || marks=$(find "$(dirname "$(dirname "$d")")" -maxdepth 1 -type d -name '*active*' | head -n 1)
: >"$marks/$(basename "$d")"
expect 0 owner tick
grep -q "^charge_fen=$(sed -n 's/^charge_fen=//p' "$work/state.kept")$" "$d/state" || fail "the charge did not come back: $(cat "$d/state")"
expect 0 owner audit

note "a rate card with a gap is refused by everything, and left alone"
cp "$agent_home/card" "$work/card.kept"
printf 'gpurun.card.v1\nprice=gpu 4090 hour 1880000 - 1795435200\nprice=gpu 4090 hour 1890000 1795435300 -\n' >"$agent_home/card"
cp "$agent_home/card" "$work/card.gap"
expect 1 owner price ls
has "leave a gap" "$work/err"
expect 1 owner price set 4090=2
same "$work/card.gap" "$agent_home/card" "the card with a gap"
run gpurun -q --gpu 4090 -- true
[ "$rc" = 100 ] || [ "$rc" = 101 ] || fail "a run by a card with a gap: $rc"
same "$work/card.gap" "$agent_home/card" "the card with a gap"
cp "$work/card.kept" "$agent_home/card"
expect 0 owner price ls

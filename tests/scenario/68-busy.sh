#!/bin/bash
# The bill says how much of the time paid for the device was busy: cores by the time the job's
# processes had, a GPU by what its driver says, and nothing where nobody can tell.
# needs: pipe root
# limit: 180
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
. "$(dirname "$0")/jobs.sh"

mkdir -p "$work/p" "$work/nv"
cd "$work/p"
busy() { gpurun --json bill "$1" | /usr/bin/python3 -c 'import json, sys; b = json.load(sys.stdin); b = b["bills"][0] if "bills" in b else b; print(b["busy_bps"])'; }
# between LOW HIGH JOB
between() {
    local n
    n=$(busy "$3")
    [ "$n" -ge "$1" ] && [ "$n" -le "$2" ] || fail "$3 was busy $n of 10000, not $1 to $2"
}

note "cores: one that works, one that sleeps, children, two paid for and one used"
# By its own processor time, not by the clock: other work on this machine makes it wait.
spin='import resource, sys, time
while sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) < float(sys.argv[1]): pass
time.sleep(float(sys.argv[2]))'
expect 0 gpurun -q --name rests -- sleep 3
between 0 1500 rests
# used SECONDS JOB: it had so much of a core; what it waited for is in the time paid for, not busy.
used() {
    local ns want
    ns=$(sed -n 's/.*running:\([0-9]*\).*/\1/p' "$(record "$2")/usage" | tail -n 1)
    want=$(($1 * 10000 * 1000000000 / ns))
    between $((want * 90 / 100)) $((want * 115 / 100 + 100)) "$2"
}
expect 0 gpurun -q --name works -- /usr/bin/python3 -c "$spin" 3 0
used 3 works
expect 0 gpurun -q --name child -- sh -c '"$@" & "$@"; wait' sh /usr/bin/python3 -c "$spin" 1 1
used 2 child
if [ "$(nproc)" -ge 2 ]; then
    expect 0 gpurun -q --cpu 2 --name half -- /usr/bin/python3 -c "$spin" 2 0
    used 1 half # of two cores
fi
expect 0 gpurun bill works
has "the device was busy"

note "a GPU by its driver; the mean of two; one that does not tell is unknown"
cp "$BUILD/tests/libs/nvml.so" "$work/nv/libnvidia-ml.so.1"
cat >"$work/nv/libnvidia-ml.so.1.conf" <<'CONF'
driver 550.54.14
cuda 12040
device NVIDIA GeForce RTX 4090|GPU-cccccccc-0000-4000-8000-000000000001|25757220864|00000000:01:00.0|40|1
device NVIDIA GeForce RTX 4090|GPU-cccccccc-0000-4000-8000-000000000002|25757220864|00000000:02:00.0|90|1
CONF
nv_machine
gpurun() { as_client nsenter -t "${pid[machine]}" -m --wd="$PWD" "$BUILD/bin/gpurun" "$@"; }
rm -f "$agent_home/devices/probe"
# It is asked a second after the begin, and says what it does all along.
until_told() { # NAME WORD...
    local name=$1 id
    shift
    gpurun -q -d --name "$name" "$@" -- sleep 600 >"$work/id"
    id=$(cat "$work/id")
    await 60 "the journal of $name tells" grep -q 'busy=[1-9]' "$(record "$id")/usage"
    gpurun -q stop --now "$name" >/dev/null 2>&1 || true
    gpurun -q wait "$name" >/dev/null 2>&1 || true
}
until_told two --gpu 4090:2
between 6300 6500 two
sed -i 's/|40|1$/|-1|1/; s/|90|1$/|-1|1/' "$work/nv/libnvidia-ml.so.1.conf"
rm -f "$agent_home/devices/probe"
expect 0 gpurun -q --gpu 4090 --name silent -- sleep 3
[ "$(busy silent)" = -1 ] || fail "a card that does not tell was busy $(busy silent)"
expect 0 gpurun bill silent
hasnt "the device was busy"

note "the receipts hold, and no process is left"
for j in rests works child two silent; do
    expect 0 gpurun bill --verify "$j" --all
done

#!/bin/bash
# A job that went over to time paid in front costs again when that time is over, and no fen
# more than its cap; one that began in it ends with it, its client dead: by a host's clock that
# is set on by a day.
# needs: root
# limit: 180
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
. "$(dirname "$0")/clocks.sh"
costs() { # FEN: at least so much by now, in $cost
    gpurun --json ps >"$work/out" || return 1
    cost=$(json '[j["cost_fen"] for j in d["jobs"] if j["name"] == "payg"][0]')
    [ "$cost" -ge "$1" ]
}

client_key
device() { # HOST N: a host with the Nth device
    timed_host "$1"
    mkdir -p "$work/$1/agent/devices.d"
    chmod 700 "$work/$1/agent"
    : >"/dev/shm/delta$2-$$"
    printf 'gpurun.class.v1\n\nclass=asic\nvendor=delta\ndetect=nodes\nnode=/dev/shm/delta%s-%s\ntype=delta\n' "$2" $$ \
        >"$work/$1/agent/devices.d/delta.conf"
    expect 0 owner_of "$1" price set asic:delta=3600 disk=0
    expect 0 owner_of "$1" price set asic:delta/day=30
}
at_end() { rm -f /dev/shm/delta[12]-$$ /run/lock/gpurun-devices/delta-delta[12]-$$.lock; }
device far 1
expect 0 gpurun -q host add far "127.0.0.1:${port[far]}"
expect 0 gpurun -q wallet topup 200
mkdir -p "$work/p"
cd "$work/p"

note "over to a day paid in front: nothing more is due by the hour"
client_bg "$work/o" "$work/e" run --device asic:delta --max-cost 100 --name payg -- sh -c 'echo up; sleep 600' </dev/null
await 60 "the job is up" grep -q up "$work/o"
await 60 "a second was paid by the hour" costs 100
expect 0 gpurun -q --json reserve switch payg --day
id=$(json 'd["id"]')
costs 1 || fail "no cost"
before=$cost
expect 0 gpurun -q --json reserve switch payg --day
is 'd["id"], len(d["events"])' "('$id', 1)"
expect 0 gpurun -q --json reserve switch payg --day --dry-run
is 'd["id"]' "$id"
expect 0 gpurun --json reserve show "$id"
is 'd["state"]' active
{ costs 1 && [ "$cost" = "$before" ]; } || fail "it costs $cost after $before"

note "a day on: it costs again, and its receipt proves which second cost what"
step far 86400 wall
await 60 "it costs again" costs $((before + 200))
run gpurun -q stop --now payg
wait "$bg" || true
expect 0 gpurun --json bill payg
charge=$(json 'd["charge_fen"]')
{ [ "$charge" -ge $((before + 200)) ] && [ "$charge" -le 10000 ]; } || fail "$charge fen"
is '[(l["fen"], l["ns"] > 0) for l in d["lines"] if l["state"] == "reserved"]' "[(0, True)]"
is 'd["device_s"] * 100' "$charge"
expect 0 gpurun bill --verify payg
expect 0 gpurun --json wallet
is 'd["balance_fen"], d["held_fen"]' "($((20000 - 3000 - charge)), 0)"
expect 0 gpurun --json audit
is 'd["right"], d["charge_fen"], d["reserved_fen"]' "(True, $charge, 3000)"
expect 0 owner_of far audit --json
is 'd["right"], d["charge_fen"], d["reserved_fen"]' "(True, $charge, 3000)"

note "one that began in time paid in front ends with that time, with no client alive"
device night 2
expect 0 gpurun -q host add night "127.0.0.1:${port[night]}"
expect 0 gpurun -q reserve --host night --device asic:delta --day
step night 20 # so less is left of it than the day that a run has by itself
client_bg "$work/o" "$work/e" run --host night --device asic:delta --name leased -- sh -c 'echo up; sleep 600' </dev/null
await 60 "the job is up" grep -q up "$work/o"
kill -KILL "$bg"
wait "$bg" 2>/dev/null || true
# As if the machine slept for a day: the lease went on, and no second of it was run.
step night 86400 wall boot
expect 104 gpurun -q wait leased
expect 0 gpurun --json ps -a
is '[j["reason"] for j in d["jobs"] if j["name"] == "leased"]' "['lease']"
expect 0 gpurun bill --verify leased
expect 0 gpurun --json bill leased
is 'd["charge_fen"]' 0

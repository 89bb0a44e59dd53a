#!/bin/bash
# Devices paid in front: two renters over a real sshd, a budget each. The owner's card has a
# price for a day; who buys has the device alone, runs on it at nothing more, and every fen of
# it is what the host signed.
# needs: root
# limit: 180
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
owner() { env -i PATH="$PATH" HOME="$work/far/home" LC_ALL=C.UTF-8 TZ=UTC "$BUILD/bin/gpurun-agent" "$@"; }
renter() { # NAME: become it
    client=$work/$1
    mkdir -p "$work/p-$1"
    cd "$work/p-$1"
    [ ! -d "$client/.ssh" ] || return 0
    mkdir -p "$client/.ssh"
    chmod 700 "$client" "$client/.ssh"
    client_key
    expect 0 owner allow "$client/.ssh/id_ed25519.pub" --name "$1"
    cp "$work/far/home/.ssh/authorized_keys" "$work/far/authorized_keys"
    know far
    expect 0 gpurun -q host add far "127.0.0.1:${port[far]}"
    expect 0 gpurun -q wallet topup 100
}
funds() { # BALANCE HELD
    expect 0 gpurun --json wallet
    is 'd["balance_fen"], d["held_fen"]' "($1, $2)"
}

# Two devices of one kind; their names are locks that all on this machine share.
sshd far
mkdir -p "$work/far/home/.local/share/gpurun-agent/devices.d"
chmod 700 "$work/far/home/.local/share/gpurun-agent"
: >"/dev/shm/acme1-$$"
: >"/dev/shm/acme2-$$"
at_end() { rm -f /dev/shm/acme[12]-$$ /run/lock/gpurun-devices/acme-acme[12]-$$.lock; }
cat >"$work/far/home/.local/share/gpurun-agent/devices.d/acme.conf" <<CONF
gpurun.class.v1

class=asic
vendor=acme
detect=nodes
node=/dev/shm/acme[12]-$$
type=x1
CONF
expect 0 owner devices
has x1

note "prices in front: what is none"
expect 1 owner price set asic:x1/day=30
has "price per hour" "$work/err"
expect 0 owner price set asic:x1=3.60 cpu=0.36 disk=0
for bad in asic:x1/day asic:x1/day=1.005 asic:x1/day=-1 asic:x1/hour=3 cpu/day=5 asic:x1/=3; do
    expect 1 owner price set "$bad"
done
expect 1 owner price set asic:x1/day=30 --refund-fee 100.01
expect 1 owner price rm asic:x1/day
expect 0 owner price ls --json
is 'd["plans"]' '[]'
expect 0 owner price set asic:x1/day=30 asic:x1/week=180 --refund-fee 10 --json
is '[(p["unit"], p["price_fen"], p["refund_fee_bps"]) for p in d["plans"]]' "[('day', 3000, 1000), ('week', 18000, 1000)]"

note "orders that are none: nothing is ordered, nothing is held"
renter ann
expect 100 gpurun -q reserve
expect 100 gpurun -q reserve --device asic:x1
expect 100 gpurun -q reserve --device asic:x1 --day --week
expect 100 gpurun -q reserve --device asic:x1 --day 0
expect 100 gpurun -q reserve --device asic:x1 --day x
expect 100 gpurun -q reserve --device asic:x1 --day 1001
expect 100 gpurun -q reserve --device asic:x1 --day 1 2
expect 100 gpurun -q reserve --device asic:x1:3 --day
expect 100 gpurun -q reserve --device asic:x2 --day
expect 100 gpurun -q reserve --device asic:x1 --month
expect 100 gpurun -q reserve --device asic:x1 --year
expect 100 gpurun -q reserve --device cpu:any:1 --day
expect 100 gpurun -q reserve 4090 --day
expect 100 gpurun -q reserve --device asic:x1 --day --host nowhere
expect 100 gpurun -q reserve ls x
expect 100 gpurun -q reserve show v0000000000000
expect 101 gpurun -q reserve --device asic:x1 --day 4
has "wallet has 100.00 yuan free" "$work/err"
has "gpurun wallet topup" "$work/err"
expect 0 gpurun --json reserve ls
is 'd["reservations"]' '[]'
funds 10000 0

note "one is bought: paid now, the device is held"
expect 0 gpurun --json reserve --device asic:x1 --day --dry-run
is 'd["fen"], d["host"]' "(3000, 'far')"
expect 0 gpurun reserve --device asic:x1 --day
id=$(cat "$work/out")
bought_s=$SECONDS
has "paid now" "$work/err"
funds 7000 0
expect 0 gpurun --json reserve show "$id"
is 'd["state"], d["paid_fen"], d["count"], d["unit"], d["host"]' "('active', 3000, 1, 'day', 'far')"
uuid=$(json 'd["devices"][0]')
expect 0 gpurun --json host show far
is '[x["state"] for x in d["devices"] if x["uuid"] == "'"$uuid"'"]' "['reserved']"
expect 0 owner devices
has reserved

note "its renter's runs use it first, at nothing more"
expect 0 gpurun --json plan --device asic:x1 -- true
is 'd["reservation"], d["price_uyuan_per_h"], d["cap_fen"] < 100' "('$id', 0, True)"
mkfifo "$work/enough"
exec 7<>"$work/enough"
client_bg "$work/o1" "$work/e1" run --device asic:x1 --name inside -- sh -c 'echo up; sleep 1; read -r _' <"$work/enough"
await 60 "the job is up" grep -q up "$work/o1"
expect 0 gpurun --json host show far
is 'sorted(x["state"] for x in d["devices"] if x["class"] == "asic")' "['busy', 'free']"
echo >&7
wait "$bg" || fail "status $?: $(cat "$work/e1")"
expect 0 gpurun --json bill inside
is 'd["charge_fen"], [l["why"] for l in d["lines"] if l["kind"] == "device"]' "(0, ['reserved: paid in front'])"
expect 0 gpurun bill --verify inside
expect 0 gpurun bill inside
has "reserved: paid in front"
funds 7000 0

note "nobody else gets it: one is left for all others"
renter bob
expect 0 gpurun --json plan --device asic:x1 -- true
is 'd["reservation"], d["price_uyuan_per_h"]' "(None, 3600000)"
expect 100 gpurun -q plan --device asic:x1:2 -- true
has "1 of 2 free" "$work/err"
expect 100 gpurun -q reserve --device asic:x1:2 --day
has "is free to be reserved" "$work/err"
funds 10000 0
client_bg "$work/o2" "$work/e2" run --device asic:x1 --max-cost 2 -- sh -c 'echo up; sleep 1; read -r _' <"$work/enough"
await 60 "bob's job is up" grep -q up "$work/o2"
expect 100 gpurun -q run --device asic:x1 -- true
echo >&7
wait "$bg" || fail "status $?: $(cat "$work/e2")"
expect 100 gpurun -q reserve refund "$id"
renter ann
expect 0 gpurun -q run --device asic:x1 -- true

note "a damaged file hides no sound reservation, and costs nothing unsaid; its host is asked again"
kept=$client/gpurun/reservations
echo junk >"$kept/v000000000zzz"
expect 0 gpurun --json plan --device asic:x1 -- true
is 'd["reservation"]' "$id"
expect 101 gpurun --json reserve ls
is '[r["id"] for r in d["reservations"]]' "['$id']"
has "v000000000zzz" "$work/err"
expect 101 gpurun --json audit
is 'd["right"], "v000000000zzz" in d["problems"][0]' "(False, True)"
expect 101 gpurun bill
expect 100 gpurun -q reserve forget v00000000zzzz
expect 100 gpurun -q reserve forget "$id"
has "sound" "$work/err"
expect 100 gpurun -q reserve forget
expect 0 gpurun -q reserve forget v000000000zzz
[ -s "$kept/v000000000zzz.damaged" ] || fail "it was not set aside"
expect 0 gpurun --json reserve ls
expect 0 gpurun --json plan --device asic:x1 -- true
is 'd["reservation"]' "$id"
expect 0 gpurun --json audit --month 2001-01
is 'd["right"], d["reservations"], d["reserved_fen"]' "(True, 0, 0)"
cp "$kept/$id" "$work/sound"
truncate -s -1 "$kept/$id"
for how in plan run; do
    expect 101 gpurun -q "$how" --device asic:x1 -- true
    has "reserve ls" "$work/err"
    has "reserve forget" "$work/err"
done
expect 0 gpurun -q plan --device cpu:any:1 -- true
expect 0 gpurun --json reserve ls
is '[r["state"] for r in d["reservations"]]' "['active']"
cmp "$work/sound" "$kept/$id"
expect 0 gpurun --json plan --device asic:x1 -- true
is 'd["reservation"]' "$id"

# Until it is given back it is sold, whether or not somebody runs.
sold_long() { [ $((SECONDS - bought_s)) -ge 6 ]; }
await 10 "five seconds of it to pass" sold_long

note "renewed, then given back: each fen where it came from"
expect 0 gpurun -q --json reserve renew "$id"
is 'd["paid_fen"], len(d["events"])' '(6000, 2)'
funds 4000 0
expect 0 gpurun -q --json reserve refund "$id" --dry-run
expect 0 gpurun -q --json reserve refund "$id"
is 'd["state"]' given_back
# a tenth of what was paid, and what the seconds would have cost on demand
paid=$(json 'd["paid_fen"]')
back=$((6000 - paid))
{ [ "$back" -le 5400 ] && [ "$back" -gt 5300 ]; } || fail "$back fen came back"
funds $((4000 + back)) 0
expect 101 gpurun -q reserve refund "$id"
expect 101 gpurun -q reserve renew "$id"
expect 0 gpurun --json host show far
is 'sorted(x["state"] for x in d["devices"] if x["class"] == "asic")' "['free', 'free']"
expect 0 gpurun --json plan --device asic:x1:2 -- true
is 'd["reservation"]' None
expect 0 gpurun --json reserve ls
is '[(r["id"], r["state"]) for r in d["reservations"]]' "[('$id', 'given_back')]"

note "renter and owner prove it: the device's time was sold, and every fen is somewhere"
expect 0 gpurun --json audit
is 'd["right"], d["reservations"], d["reserved_fen"]' "(True, 1, $paid)"
expect 0 gpurun --json bill
is '[(r["act"], r["fen"]) for r in d["reservations"]]' "[('buy', 3000), ('renew', 3000), ('refund', -$back)]"
is 'd["total_fen"]' "$paid"
expect 0 gpurun --json bill --by day
is 'd["total_fen"]' "$paid"
expect 0 gpurun --json bill --month 2001-01
is 'd["reservations"], d["total_fen"]' "([], 0)"
expect 0 gpurun bill
has given
expect 0 gpurun bill --csv
has "$id,"
expect 0 gpurun bill --verify "$id"
has "right"
expect 0 gpurun --json bill --verify "$id"
is 'd["reservation"], d["verified"], d["host"], d["paid_fen"]' "('$id', True, 'far', $paid)"
cp "$client/gpurun/reservations/$id" "$work/chain"
expect 0 gpurun bill --verify "$work/chain"
sed -i 's/act=renew/act=change/' "$work/chain"
expect 101 gpurun bill --verify "$work/chain"
has "event 2 of the reservation" "$work/err"
expect 0 owner audit --json
is 'd["right"], d["reservations"], d["reserved_fen"]' "(True, 1, $paid)"
is 'd["earned_fen"] == d["charge_fen"] + d["reserved_fen"] + d["keeping_fen"]' True
is '[x["sold_ns"] > 5e9 and "reserved" in [g["is"] for g in x["gaps"]] for x in d["devices"] if x["uuid"] == "'"$uuid"'"]' '[True]'
expect 0 owner earnings --json
is '[(r["id"], r["name"], r["paid_fen"]) for r in d["reservations"]]' "[('$id', 'ann', $paid)]"
expect 0 owner earnings --csv
has ",$id,"
expect 0 owner tick
expect 0 owner audit

note "a job that pays by the hour goes over to time paid in front, and goes on"
client_bg "$work/o3" "$work/e3" run --device asic:x1 --max-cost 5 --name payg -- sh -c 'echo up; sleep 600' </dev/null
await 60 "the job is up" grep -q up "$work/o3"
costs() { # what payg has cost so far, in $cost
    gpurun --json ps >"$work/out" || return 1
    cost=$(json '[j["cost_fen"] for j in d["jobs"] if j["name"] == "payg"][0]')
    [ "$cost" -ge 1 ]
}
await 60 "a second was paid by the hour" costs
expect 0 gpurun --json wallet
free=$(json 'd["free_fen"]')
held=$(json 'd["held_fen"]')
expect 100 gpurun -q reserve switch payg
expect 100 gpurun -q reserve switch inside --day
expect 0 gpurun --json reserve switch payg --day --dry-run
is 'd["fen"], d["act"]' "(3000, 'buy')"
expect 0 gpurun --json reserve switch payg --day
is 'd["state"], d["count"]' "('active', 1)"
third=$(json 'd["id"]')
has "runs on reservation $third" "$work/err"
expect 0 gpurun --json reserve switch payg --day # again: nothing is bought
expect 0 gpurun --json wallet
is 'd["free_fen"], d["held_fen"]' "($((free - 3000)), $held)"
expect 101 gpurun -q reserve refund "$third"
costs || fail "it costs nothing any more"
gone $bg && fail "the job is gone: $(cat "$work/e3")"
run gpurun -q stop --now payg
wait "$bg" || true
expect 0 gpurun --json bill payg
is 'd["charge_fen"]' "$cost"
is '[(l["fen"], l["why"], l["ns"] > 0) for l in d["lines"] if l["state"] == "reserved"]' "[(0, 'reserved: paid in front', True)]"
expect 0 gpurun bill --verify payg
expect 0 gpurun --json audit
is 'd["right"], d["reserved_fen"], d["ns"]["reserved"] > 0' "(True, $((paid + 3000)), True)"
expect 0 owner audit --json
is 'd["right"], d["reserved_fen"]' "(True, $((paid + 3000)))"
expect 0 gpurun --json plan --device asic:x1 -- true
is 'd["reservation"]' "$third"

note "on this machine, where nothing has run yet: its agent is known from then on"
renter bob
expect 0 gpurun -q host show local
here=$client/gpurun/local
mkdir -m 700 "$here/devices.d"
cp "$work/far/home/.local/share/gpurun-agent/devices.d/acme.conf" "$here/devices.d"
expect 0 env -i PATH="$PATH" HOME="$client" GPURUN_AGENT_HOME="$here" "$BUILD/bin/gpurun-agent" price set asic:x1=3.60 asic:x1/day=30
expect 0 gpurun -q --json reserve --device asic:x1 --day --host local
is 'd["host"], d["state"]' "('local', 'active')"
expect 0 gpurun -q --json reserve refund "$(json 'd["id"]')"
is 'd["state"]' given_back

[ -z "$(leftovers)" ] || [ -n "${pid[far]}" ] || fail "left over: $(leftovers)"

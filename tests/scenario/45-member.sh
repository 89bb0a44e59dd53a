#!/bin/bash
# Levels: the owner gives one to a renter for a time; offer, plan and bill are at its price,
# and what does not come out whole is refused.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
owner() { env -i PATH="$PATH" HOME="$work/far/home" TZ=UTC "$BUILD/bin/gpurun-agent" "$@"; }
mkdir "$work/proj"
cd "$work/proj"
printf 'import sys, time\ntime.sleep(float(sys.argv[1]))\n' >busy.py
client_key
sshd far
know far
expect 0 owner price set cpu=360
expect 0 owner allow "$client/.ssh/id_ed25519.pub" --name alice --json
renter=$(json 'd["id"]')
cp "$work/far/home/.ssh/authorized_keys" "$work/far/authorized_keys"
expect 0 gpurun -q host add far "127.0.0.1:${port[far]}"
expect 0 gpurun -q --host far busy.py 0

note "levels and members that are none"
for bad in student student= =80 student=101 student=-1 student=80.001 'st udent=80'; do
    expect 1 owner member level "$bad"
done
expect 1 owner member set "$renter" student
expect 1 owner member set nobody student
expect 0 gpurun -q --host local busy.py 0
expect 0 env -i HOME="$client" GPURUN_AGENT_HOME="$client/gpurun/local" "$BUILD/bin/gpurun-agent" renters --json
own=$(json '(d["renters"] if isinstance(d, dict) else d)[0]["id"]')
expect 0 env -i HOME="$client" GPURUN_AGENT_HOME="$client/gpurun/local" "$BUILD/bin/gpurun-agent" member level student=80
expect 1 env -i HOME="$client" GPURUN_AGENT_HOME="$client/gpurun/local" "$BUILD/bin/gpurun-agent" member set "$own" student
has "logs in as yourself" "$work/err"
expect 1 owner member frobnicate
[ ! -e "$client/gpurun/local/members" ] || fail "a refused member is on file"

note "a level for a time: plan, run and bill at its price"
expect 0 owner member level student=80
expect 0 owner member level odd=33.33
expect 1 owner price set cpu=0.000001
has "is no whole number of micro-yuan" "$work/err"
hasnt "inexact_price" "$work/err"
expect 0 owner member set alice student --to 30d
expect 0 owner member ls --json
[ "$(json 'sorted((x["level"], x["bps"]) for x in d["levels"]), d["members"][0]["renter"]')" = "([('odd', 3333), ('student', 8000)], '$renter')" ] ||
    fail "$(cat "$work/out")"
expect 0 gpurun --json plan --host far busy.py 1
[ "$(json 'd["price_uyuan_per_h"], d["level"], d["level_bps"]')" = "(288000000, 'student', 8000)" ] || fail "$(cat "$work/out")"
expect 0 gpurun plan --host far busy.py 1
has "student: 80.00 %"
expect 0 gpurun -q --name cheap --host far busy.py 2
expect 0 gpurun --json bill cheap
[ "$(json 'd["level"], d["charge_fen"] == d["device_s"] * 8')" = "('student', True)" ] || fail "$(cat "$work/out")"
expect 0 gpurun bill cheap
has "student"
expect 0 gpurun bill --verify cheap

note "over, not yet begun, or taken back: the full price"
expect 0 owner member set "$renter" student --from 30d
expect 0 gpurun --json plan --host far busy.py 1
[ "$(json 'd["price_uyuan_per_h"], d["level"]')" = "(360000000, None)" ] || fail "before it begins: $(cat "$work/out")"
expect 0 owner member set "$renter" student
expect 0 gpurun --json plan --host far busy.py 1
[ "$(json 'd["price_uyuan_per_h"]')" = 288000000 ] || fail "set again"
expect 0 owner member rm "$renter"
expect 0 gpurun --json plan --host far busy.py 1
[ "$(json 'd["price_uyuan_per_h"]')" = 360000000 ] || fail "taken back"

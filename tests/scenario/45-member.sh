#!/bin/bash
# Levels: the owner gives one to a renter for a time; offer, plan and bill are at its price,
# and what does not come out whole is refused.
# needs: pipe
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
owner() { env -i PATH="$PATH" HOME="$client" TZ=UTC GPURUN_AGENT_HOME="$client/gpurun/local" "$BUILD/bin/gpurun-agent" "$@"; }
json() { # EXPRESSION over d, from $work/out
    /usr/bin/python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$work/out" "$1"
}
mkdir "$work/proj"
cd "$work/proj"
printf 'import sys, time\ntime.sleep(float(sys.argv[1]))\n' >busy.py
expect 0 gpurun -q busy.py 0
expect 0 owner price set cpu=360
expect 0 owner renters --json
renter=$(json '(d["renters"] if isinstance(d, dict) else d)[0]["id"]')

note "levels and members that are none"
for bad in student student= =80 student=101 student=-1 student=80.001 'st udent=80'; do
    expect 1 owner member level "$bad"
done
expect 1 owner member set "$renter" student
expect 1 owner member set nobody student
expect 1 owner member frobnicate
[ ! -e "$client/gpurun/local/members" ] || fail "a refused member is on file"

note "a level for a time: plan, run and bill at its price"
expect 0 owner member level student=80
expect 0 owner member level odd=33.33
expect 1 owner price set cpu=0.000001
has "inexact_price" "$work/err"
expect 0 owner member set "$renter" student --to 30d
expect 0 owner member ls --json
[ "$(json 'sorted((x["level"], x["bps"]) for x in d["levels"]), d["members"][0]["renter"]')" = "([('odd', 3333), ('student', 8000)], '$renter')" ] ||
    fail "$(cat "$work/out")"
expect 0 gpurun --json plan busy.py 1
[ "$(json 'd["price_uyuan_per_h"], d["level"], d["level_bps"]')" = "(288000000, 'student', 8000)" ] || fail "$(cat "$work/out")"
expect 0 gpurun plan busy.py 1
has "student: 80.00 %"
expect 0 gpurun -q --name cheap busy.py 2
expect 0 gpurun --json bill cheap
[ "$(json 'd["level"], d["charge_fen"] == d["device_s"] * 8')" = "('student', True)" ] || fail "$(cat "$work/out")"
expect 0 gpurun bill cheap
has "student"
expect 0 gpurun bill --verify cheap

note "over, not yet begun, or taken back: the full price"
expect 0 owner member set "$renter" student --from 30d
expect 0 gpurun --json plan busy.py 1
[ "$(json 'd["price_uyuan_per_h"], d["level"]')" = "(360000000, None)" ] || fail "before it begins: $(cat "$work/out")"
expect 0 owner member set "$renter" student
expect 0 gpurun --json plan busy.py 1
[ "$(json 'd["price_uyuan_per_h"]')" = 288000000 ] || fail "set again"
expect 0 owner member rm "$renter"
expect 0 gpurun --json plan busy.py 1
[ "$(json 'd["price_uyuan_per_h"]')" = 360000000 ] || fail "taken back"

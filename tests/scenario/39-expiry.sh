#!/bin/bash
# --notify-host, three days and one day before what a job left is given up: by the next agent that is
# started or by tick, with no client alive, once for each; not of what is kept longer or was removed,
# not after a restart again, not by a clock that jumped; also of a job whose supervisor died, of a
# snapshot on the way that is the last of its job, and not of one that a resumed job carried on.
# limit: 180
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
. "$(dirname "$0")/clocks.sh"

mkdir -p "$work/p"
cd "$work/p"
told=$work/told
: >"$told"
# shellcheck disable=SC2016
tell='echo "$GPURUN_EVENT $GPURUN_NAME $GPURUN_STATE $GPURUN_EXPIRES $GPURUN_SNAPSHOT $MINE" >>'"$told"
count() { [ "$(grep -c -- "^$1 " "$told")" = "$2" ] || fail "'$1' not $2 times: $(cat "$told")"; }
is_told() { grep -q -- "^$1 " "$told"; }
days() { step h "$(/usr/bin/python3 -c "print(int($1 * 86400))")" "${@:2}"; }
of() { echo "$work"/h/agent/renters/*/jobs/"$(job_field "$1" id)"; }
marks() { find "$work"/h/agent/renters/*/expiring -name 'j*' | wc -l; }
# These, of what is done now and then when somebody comes, were done just now.
looked() {
    local m now
    now=$(/usr/bin/python3 -c '
import struct, sys, time
print(time.time() + struct.unpack("3q", open(sys.argv[1], "rb").read(24))[0] / 1e9)' "$work/h.clock")
    for m in "$@"; do
        touch -d "@$now" "$(echo "$work"/h/agent/renters/*)/$m"
    done
}
tick() {
    expect 0 owner_of h tick --json
    is 'd["told"]' "$1"
}

client_key
timed_host h
expect 0 gpurun -q host add h "127.0.0.1:${port[h]}"
for n in stays goes kept removed; do
    [ $n = stays ] && set -- || set -- --env MINE=mine --notify-host "$tell"
    expect 0 gpurun -q --host h --name $n "$@" -- sh -c 'echo x >file'
done
# One that leaves nothing but what was taken on the way, and one that another goes on from.
expect 0 gpurun -q -d --host h --name way --notify-host "$tell" -- sh -c 'echo x >file; sleep 600'
await 60 "way runs" job_is way running
expect 0 gpurun -q snap take way --name by-hand
expect 137 gpurun -q stop --now --no-snapshot way
expect 0 gpurun -q --host h --name before --notify-host "$tell" -- sh -c 'echo x >file'
expect 0 gpurun -q resume before --host h --name after --notify-host "$tell" -- sh -c 'echo y >>file'
# Its supervisor dies: who finds it is who will tell of its data, too.
expect 0 gpurun -q -d --host h --name died --notify-host "$tell" -- sh -c 'echo x >file; sleep 600'
await 60 "died runs" job_is died running
kill -KILL "$(sed -n 's/^pid=//p' "$(of died)/state")"
found_lost() {
    owner_of h tick
    is_told 'lost died'
}
await 60 "it is found lost" found_lost
await 30 "the end is told" is_told 'ended removed'
[ "$(marks)" = 7 ] || fail "$(marks) are watched instead of 7"

note "nothing is told before its time, nor by tick that comes early"
days 11.9
tick 0
looked upkeep notices
expect 0 gpurun -q snap keep kept --days 40
expect 0 gpurun -q snap rm removed

note "three days before: told by the next agent that is started, and not again by anybody"
days 0.5
looked upkeep # what is done daily is not due: it is the short look that tells
# Nothing is asked there but who it is; it sees to what is due all the same.
expect 0 gpurun -q host show h
await 60 "three days" is_told 'expires-3d goes ended'
await 60 "three days" is_told 'expires-3d died lost'
await 60 "three days" is_told 'expires-3d way ended'
await 60 "three days" is_told 'expires-3d after ended'
by_hand=$(snap_row by-hand | cut -d' ' -f1)
grep -q "^expires-3d way .* $by_hand \$" "$told" || fail "not of the snapshot on the way, $by_hand"
looked upkeep notices
snap=$(sed -n 's/^snapshot=//p' "$(of goes)/state")
ends=$(sed -n 's/^expires_wall_ns=//p' "$(of goes)/state")
at=$(date -u -d "@$((ends / 1000000000))" +%Y-%m-%dT%H:%M:%S)
grep -qE "^expires-3d goes ended $at\S* $snap mine\$" "$told" || fail "without its facts: $(cat "$told")"
tick 0
new_boot h
tick 0

note "a clock that jumps tells nothing"
days 1.8 wall
tick 0
days -1.8 wall
tick 0

note "one day before, by tick"
days 1.1
tick 0
days 0.6
tick 4
await 60 "one day" is_told 'expires-1d goes ended'
await 60 "one day" is_told 'expires-1d died lost'

note "kept five days more: its new end is told of in its time"
looked upkeep notices
expect 0 gpurun -q snap keep goes --days 20
tick 0
days 3.2
tick 1
twice() { [ "$(grep -c "^$1 goes " "$told")" = 2 ]; }
await 60 "three days before the new end" twice expires-3d
days 2
tick 1
await 60 "one day before the new end" twice expires-1d

note "what is over is not told of any more"
days 1
tick 0
looked upkeep notices
expect 0 gpurun snap show goes
has gone
tick 0
[ "$(marks)" = 1 ] || fail "$(marks) are watched instead of 1"
count 'expires-3d goes' 2
count 'expires-1d goes' 2
count 'expires-3d died' 1
count 'expires-1d died' 1
for n in way after; do
    count "expires-3d $n" 1
    count "expires-1d $n" 1
done
for n in stays kept removed before; do
    count "expires-3d $n" 0
    count "expires-1d $n" 0
done

#!/bin/bash
# A host that parks itself, over a real sshd with a card of its own: with no client alive, not while a
# program that no job started computes on the card; told to the --notify-host of the last job, before it
# and when it fails, once; shown by host show there and by status on it.
# needs: root
# repeats
# limit: 240
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"

mkdir -p "$work/p" "$work/nv"
cd "$work/p"
parked=$work/parked told=$work/told
: >"$parked"
: >"$told"

cp "$BUILD/tests/libs/nvml.so" "$work/nv/libnvidia-ml.so.1"
: >"$work/nv/libnvidia-ml.so.1.conf"
nv_machine
card() { # COMPUTING PROCESSES
    cat >"$work/nv/conf.new" <<CONF
driver 550.54.14
cuda 12040
device NVIDIA GeForce RTX 4090|GPU-aaaaaaaa-0000-4000-8000-000000000001|25757220864|00000000:01:00.0|0|$1
CONF
    cat "$work/nv/conf.new" >"$work/nv/libnvidia-ml.so.1.conf"
}
card 0
cat >"$work/sshd-inside" <<EOT
#!/bin/sh
exec nsenter -t ${pid[machine]} -m $sshd_program "\$@"
EOT
chmod +x "$work/sshd-inside"
sshd_program=$work/sshd-inside
client_key
sshd h
authorize h
know h
on_host() { # as the login user there
    nsenter -t "${pid[machine]}" -m env -i PATH="$PATH" HOME="$work/h/home" LC_ALL=C.UTF-8 TZ=UTC "$BUILD/bin/gpurun-agent" "$@"
}
phase() { gpurun --json host show h | /usr/bin/python3 -c 'import json, sys; p = json.load(sys.stdin)["park"] or {}; print(p.get("phase"), p.get("why") or "")'; }
phase_is() { [[ $(phase) == $1* ]]; }
times() { [ "$(wc -l <"$parked")" = "$1" ]; }
is_told() { grep -q -- "^$1" "$told"; }
# shellcheck disable=SC2016
tell='echo "$GPURUN_EVENT $GPURUN_NAME $GPURUN_STATE $MINE $GPURUN_DETAIL" >>'"$told"

note "not asked for, nothing is shown"
expect 0 gpurun -q host add h "127.0.0.1:${port[h]}"
expect 0 on_host status
hasnt parking

note "over ssh: after the last job, with nobody connected, and told first"
expect 0 gpurun -q --gpu 4090 --name early --notify-host "$tell" -- true
expect 0 gpurun -q -d --gpu 4090 --wait 1m --name a --env MINE=mine --notify-host "$tell" -- sh -c 'while [ ! -e "$1" ]; do sleep 0.1; done' sh "$work/go"
expect 0 gpurun -q host park h "cat $told >>$parked" --park-after 2s
await 60 "it waits" phase_is waiting
expect 0 on_host status
has "parking     'cat $told"
has "after 00:00:02 of nothing to do: waiting"
expect 0 on_host status --json
is 'd["park"]["phase"]' waiting
is 'd["park"]["after_s"]' 2
[ ! -s "$parked" ] || fail "parked under a job"
touch "$work/go"
await 60 "parked" test -s "$parked"
# What was told before the command ran is what it found: of the job that ended last.
grep -q '^parking a ended mine' "$parked" || fail "not told before: $(cat "$parked")"
await 60 "told so" phase_is parked
expect 0 on_host status
has "of nothing to do: parked, 20"
[ "$(grep -c ^parking "$told")" = 1 ] || fail "told more than once: $(cat "$told")"

note "not while somebody computes on the card without gpurun"
card 2
expect 0 gpurun -q host park h "echo again >>$parked" --park-after 1s
: >"$parked"
expect 0 gpurun -q -d --cpu 1 --name b -- true
await 60 "held" phase_is held
expect 0 gpurun -q host show h
expect 0 gpurun host park h
has "in use by 2 processes that no job started"
expect 0 on_host status
has "held: device GPU-aaaaaaaa-0000-4000-8000-000000000001 is in use by 2 processes"
times 0 || fail "parked under somebody's program"
card 0
await 90 "parked when that is over" times 1

note "what fails is told once, with its reason"
expect 0 gpurun -q host park h "echo failed >>$parked; echo no such instance; exit 3" --park-after 1s
await 60 "the failure is told" is_told 'park-failed a ended mine exit status 3: no such instance'
await 60 "it is seen" phase_is failed
expect 0 on_host status --json
is 'd["park"]["phase"]' failed
is 'd["park"]["why"]' "exit status 3: no such instance"
[ "$(grep -c '^park-failed' "$told")" = 1 ] || fail "told more than once: $(cat "$told")"

note "not any more; who only forgets the host is told that it goes on"
expect 0 gpurun host rm h
has "'h' is forgotten here and is parked as before, 00:00:01 after the last job" "$work/err"
has 'gpurun host park h none' "$work/err"
expect 0 gpurun -q host add h "127.0.0.1:${port[h]}"
expect 0 gpurun -q host park h none
expect 0 gpurun host rm h
[ ! -s "$work/err" ] || fail "said of a host that is not parked: $(cat "$work/err")"
expect 0 on_host status --json
is 'd["park"]' None

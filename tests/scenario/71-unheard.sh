#!/bin/bash
# A lease that its host knows nothing of (it never heard of the job, or lost all of it): the
# host signs that nothing begins under it, and what is held is free. Not while it runs.
# needs: root
# limit: 120
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
owner() { env -i PATH="$PATH" HOME="$work/far/home" TZ=UTC "$BUILD/bin/gpurun-agent" "$@"; }
held() {
    expect 0 gpurun --json wallet
    [ "$(json 'd["held_fen"]')" = "$1" ] || fail "held $(json 'd["held_fen"]'), not $1"
}
mkdir "$work/p"
cd "$work/p"
client_key
sshd far
authorize far
know far
expect 0 owner price set cpu=3.60
expect 0 gpurun -q host add far "127.0.0.1:${port[far]}"
expect 0 gpurun -q wallet topup 10

note "while the host knows the job, its money stays held"
expect 0 gpurun -q -d --name away --max-cost 5 -- sleep 600
id=$(cat "$work/out")
held 500
run gpurun -q bill away
[ "$rc" != 0 ] || fail "a bill of a job that runs"
held 500

note "the host has lost all of it: it signs that, and never begins it again"
dir=$(echo "$work"/far/home/.local/share/gpurun-agent/renters/*/jobs/"$id")
supervisor=$(sed -n 's/^pid=//p' "$dir/state")
kill -KILL "$supervisor"
await 20 "the supervisor is gone" gone "$supervisor"
await_none 20 'sleep 600'
mv "$dir" "$work/lost"
run gpurun -q bill away
[ "$rc" = 101 ] || [ "$rc" = 100 ] || fail "status $rc"
has "is free again" "$work/err"
held 0
ls "$work"/far/home/.local/share/gpurun-agent/renters/*/declined/l* >/dev/null || fail "nothing was signed"
run gpurun -q bill away
[ "$rc" != 0 ] || fail "a bill of nothing"
held 0

#!/bin/bash
# Checkpoints while a job runs: countersigned by the client, acknowledged by the operator's book, and
# both are in the chain that the receipt proves.
# needs: root
# limit: 240
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
sshd op -- "AuthorizedKeysFile $work/op/home/.ssh/authorized_keys"
mkdir -p "$work/op/home/.ssh"
book() { env -i PATH="$PATH" HOME="$work/op/home" LC_ALL=C.UTF-8 TZ=UTC "$BUILD/bin/gpurun-book" "$@"; }
owner() { env -i PATH="$PATH" HOME="$work/h1/home" LC_ALL=C.UTF-8 TZ=UTC "$BUILD/bin/gpurun-agent" "$@"; }
client_key
sshd h1
know op
know h1
authorize h1
expect 0 owner price set cpu=36
expect 0 gpurun -q host add h1 "127.0.0.1:${port[h1]}"
expect 0 book key
expect 0 owner book allow "$(cat "$work/out")"
expect 0 owner book ls --json
expect 0 book host add h1 "$(json 'd["host_key"]')"
expect 0 book allow "$client/.ssh/id_ed25519.pub" --name ann
expect 0 book deposit ann 10
expect 0 gpurun wallet use "127.0.0.1:${port[op]}"
mkdir "$work/proj"
cd "$work/proj"
echo 'echo up; while [ ! -e stop ]; do sleep 0.2; done' >wait.sh
client_bg "$work/o" "$work/e" run --host h1 --name one --max-cost 6 wait.sh </dev/null
await 60 "the job is up" grep -q up "$work/o"
journal=$(echo "$work"/h1/home/.local/share/gpurun-agent/renters/*/jobs/*/usage)
[ -f "$journal" ] || fail "no journal: $journal"
await 150 "the renter's countersignature in the host's chain" grep -qaF 'by=renter' "$journal"
await 60 "the book's acknowledgement in the host's chain" grep -qaF 'by=book' "$journal"
[ -n "$(ls "$work/op/home/.local/share/gpurun-book/acks")" ] || fail "the book keeps no acknowledgement"
job=$(basename "$(dirname "$journal")")
expect 143 gpurun -q stop one
wait "$bg" 2>/dev/null || true
expect 0 gpurun --json bill --verify one
expect 0 gpurun bill --verify one --all
grep -qaF 'by=book' "$client/gpurun/receipts/$job" || fail "not in the receipt"
expect 0 book audit

#!/bin/bash
# How much a renter and a job may keep: looked at before anything is sent and while a job runs;
# who is over it is named, and so are the largest things; nothing is lost by it.
# needs: pipe
# threads
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
use pipe
home=$client/gpurun/local
agent() { as_client env GPURUN_AGENT_HOME="$home" "$BUILD/bin/gpurun-agent" "$@"; }

# What a job writes comes at once, however slowly it is made: sizes are looked at meanwhile.
arrive() { # BYTES PATH: the words for a shell; two may be at it, with one process id in walls of their own
    echo "made=\$(mktemp '$work/made.XXXXXX') && head -c $1 /dev/urandom >\"\$made\" && mv \"\$made\" $2"
}
mkdir "$work/p"
cd "$work/p"
echo x >x
expect 0 gpurun -q --name first -- sh -c 'head -c 3000000 /dev/urandom >three'
renter=$(basename "$(echo "$home"/renters/*)")
expect 0 agent quota
has "$renter"
has ' first 3.0 MB'
for bad in 0 many 3x; do
    run agent quota "$renter" "$bad"
    [ "$rc" = 1 ] || fail "a quota of '$bad': $rc"
done
run agent quota nosuch 5M
[ "$rc" = 1 ] && has nosuch "$work/err" || fail "a renter that is not there"

note "a job that makes it too much is ended in order, and its data is kept"
expect 0 agent quota "$renter" 5MB
expect 104 gpurun --name second -- sh -c "mkdir d; echo small >d/small; $(arrive 3000000 d/big); sleep 1000"
has 'would keep' "$work/err"
has 'may here 5.0 MB' "$work/err"
has 'd/big 3.0 MB' "$work/err"
[ "$(job_field second reason)" = disk ] || fail "reason $(job_field second reason)"
[ "$(job_field second snapshot_state)" = whole ] || fail "no snapshot"
expect 0 gpurun -q snap get second d/small -o "$work/small"
[ "$(cat "$work/small")" = small ] || fail "its data"

note "nothing more is sent, and it is said who keeps what"
head -c 100000 /dev/urandom >new
expect 101 gpurun -q -- true
has "renter $renter keeps" "$work/err"
has 'may keep 5.0 MB' "$work/err"
has ' second 3.0 MB' "$work/err"
has ' first 3.0 MB' "$work/err"
expect 101 gpurun snap take .
has 'snap rm' "$work/err"
note "until there is room"
expect 0 gpurun snap rm first
stuck=$home/renters/$renter/data/$(printf '%064d' 0).lock
as_client mkdir -p "$stuck" # where a file is looked for
expect 101 gpurun gc
has 'freed, but not all was done' "$work/err"
expect 1 agent gc --json
/usr/bin/python3 -c 'import json, sys; json.load(open(sys.argv[1]))["freed_bytes"]' "$work/out" || fail "no sums"
rm -r "$stuck"
expect 0 gpurun -q -- true
head -c 3000000 /dev/urandom >new
expect 101 gpurun -q -- true
note "nor by a client that could write the store itself"
head -c 3000000 /dev/urandom >other
expect 101 gpurun snap take .
note "and before a tree that was read is sent"
no_holds() { [ -z "$(find "$home"/renters/*/holds -name 'q*')" ]; }
for _ in 1 2 3 4 5; do # where the host is slower to answer than the tree to be read
    await 20 "the last upload to be given up" no_holds
    expect 0 gpurun gc # what had come of it
    expect 101 gpurun snap take .
    has "renter $renter keeps" "$work/err"
    ! grep -q 'would have to be kept' "$work/err" || break
done
has 'would have to be kept' "$work/err"
has "renter $renter keeps" "$work/err"
rm new other
expect 0 agent quota "$renter" none
expect 0 gpurun -q -- sh -c 'head -c 3000000 /dev/urandom >three'

note "one job alone"
expect 0 agent quota "$renter" --job 1MB --json
/usr/bin/python3 - "$work/out" "$renter" <<'PY'
import json, sys
q, = json.load(open(sys.argv[1]))["quotas"]
assert q["renter"] == sys.argv[2] and q["quota_bytes"] is None and q["job_quota_bytes"] == 1000000, q
assert q["copies_bytes"] > 2900000, q
assert q["used_bytes"] > 5000000 and q["largest"][0]["bytes"] > 2900000, q
PY
expect 104 gpurun --name greedy -- sh -c "mkdir '$work/many'; for i in 1 2 3 4 5 6 7 8 9 10 11 12; do head -c \$((100000 + i * 100)) /dev/urandom >'$work/many/f'\$i; done; mv '$work/many' many; sleep 1000"
has 'its directory holds 1.2 MB, and a job may here 1.0 MB' "$work/err"
has 'many/f12 ' "$work/err"
hasnt 'many/f1 ' "$work/err"
expect 0 gpurun -q -- sh -c 'head -c 500000 /dev/urandom >half'

note "what a set-up makes counts to its job while it is made, and nothing of it stays"
expect 104 gpurun --name prepared --setup "$(arrive 3000000 '"$GPURUN_SETUP_DIR/big"'); sleep 1000" -- true
has 'its directory and set-up hold 3.0 MB, and a job may here 1.0 MB' "$work/err"
has 'set-up: big 3.0 MB' "$work/err"
[ -z "$(find "$home"/renters/*/setup -name big)" ] || fail "what it made is still there"
expect 0 agent quota "$renter" --job none

note "two jobs at once do not each take the whole rest"
expect 0 gpurun gc
expect 0 agent quota --json
used=$(json 'd["quotas"][0]["used_bytes"] - d["quotas"][0]["copies_bytes"]') # which go where a job needs the room
expect 0 agent quota "$renter" $((used + 10000000))
write="$(arrive 6000000 six); until [ -e '$work/enough' ]; do sleep 0.1; done"
expect 0 gpurun -q --name twin1 -d -- sh -c "$write"
expect 0 gpurun -q --name twin2 -d -- sh -c "$write"
over() { [ "$(job_field twin1 reason)" = disk ] || [ "$(job_field twin2 reason)" = disk ]; }
await 60 "one of them to be ended" over
touch "$work/enough"
# The other, too, where what the first left came into the store before it was let go.
for twin in twin1 twin2; do
    [ "$(job_field $twin reason)" = disk ] || continue
    run gpurun wait $twin
    [ "$rc" = 104 ] || fail "status $rc of $twin"
    has 'its renter would keep' "$work/err"
    cat "$work/err" >>"$work/said"
    [ "$(job_field $twin snapshot_state)" = whole ] || fail "its data is lost"
done
has 'other jobs and uploads 6.0 MB' "$work/said"
run gpurun -q wait twin1
run gpurun -q wait twin2
await 20 "nothing to be spoken for any more" no_holds
expect 0 agent quota "$renter" none

note "what lies there twice counts too, and goes before a job does"
mkdir "$work/set"
head -c 5000000 /dev/urandom >"$work/set/five"
expect 0 gpurun -q data put five "$work/set"
expect 0 gpurun -q --data five -- sh -c '[ -s five/five ]'
expect 0 agent quota --json
[ "$(json 'd["quotas"][0]["copies_bytes"]')" -gt 4900000 ] || fail "it does not count: $(cat "$work/out")"
expect 0 agent quota "$renter" $(($(json 'd["quotas"][0]["used_bytes"]') + 2000000))
expect 0 gpurun -q -- sh -c 'until [ -z "$(find '"$home"'/renters/*/data -name five)" ]; do sleep 0.1; done'
expect 0 agent quota --json
[ "$(json 'd["quotas"][0]["copies_bytes"]')" -lt 1000000 ] || fail "it did not go: $(cat "$work/out")"
note "but the files of a set that a job uses are no reason to end it"
expect 0 agent quota "$renter" none
expect 0 gpurun -q --data five -- true
mkdir "$work/other"
head -c 5000000 /dev/urandom >"$work/other/six"
expect 0 gpurun -q data put six "$work/other"
expect 0 agent quota --json
expect 0 agent quota "$renter" $(($(json 'd["quotas"][0]["used_bytes"]') + 2000000))
expect 0 gpurun -q --data six -- sh -c 'until [ -z "$(find '"$home"'/renters/*/data -name five)" ]; do sleep 0.1; done; [ -s six/six ]'
expect 0 agent quota "$renter" none

note "a cache counts while a job runs; before anything comes in it makes room"
expect 0 agent quota --json
used=$(json 'd["quotas"][0]["used_bytes"]')
expect 0 agent quota "$renter" $((used + 4000000))
expect 104 gpurun --name fetches -- sh -c 'mkdir -p "$HF_HOME/hub/m"; '"$(arrive 6000000 '"$HF_HOME/hub/m/blob"'); sleep 1000"
has 'its renter would keep' "$work/err"
has 'cache: huggingface/hub/m/blob 6.0 MB' "$work/err"
expect 0 agent quota
has 'cache 6.0 MB'
expect 0 gpurun -q -- sh -c 'ls -A "$HF_HOME/hub"'
[ ! -s "$work/out" ] || fail "the cache made no room: $(cat "$work/out")"
expect 0 agent quota --json
[ "$(json 'd["quotas"][0]["cache_bytes"] < 100000')" = True ] || fail "the cache: $(cat "$work/out")"

#!/bin/bash
# What the jobs of a batch leave is copied as it is for single runs, beside the jobs that still run,
# and --out brings every job's files, though one session serves them all.
# limit: 240
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
client_key
new_host h1
new_host h2
expect 0 gpurun -q host add h1 "127.0.0.1:${port[h1]}"

mkdir "$work/p"
cd "$work/p"
# shellcheck disable=SC2016
echo 'mkdir -p out; echo "$GPURUN_ARRAY_INDEX" >"out/$GPURUN_ARRAY_INDEX"; echo more >left' >job.sh

note "--out of each job, over the one session of all"
expect 0 timeout 120 env -i PATH="$PATH" HOME="$client" GPURUN_HOME="$client/gpurun" "$BUILD/bin/gpurun" run --array 1-6 --name a --host h1 --out out job.sh
[ "$(cat out/* | tr '\n' ' ')" = "1 2 3 4 5 6 " ] || fail "--out brought $(ls out)"
snap_row a-6 | grep -qF 'h1 + laptop' || fail "no copy: $(snap_row a-6)"

note "copies are made while the rest runs, on the laptop or where --mirror says"
expect 0 gpurun -q host add h2 "127.0.0.1:${port[h2]}" --mirror h1
expect 0 gpurun run --json --array 1-4 --name b --host h2 job.sh
[ "$(/usr/bin/python3 -c '
import json, sys
print([j["mirror"] for j in json.load(open(sys.argv[1]))["jobs"]])' "$work/out")" = "['h1', 'h1', 'h1', 'h1']" ] || fail "copies: $(cat "$work/out")"
snap_row b-3 | grep -qF 'h2 + h1' || snap_row b-3 | grep -qF 'h1 + h2' || fail "no copy: $(snap_row b-3)"
expect 0 gpurun run --array 1-2 --name c --host h1 -- true
has 'data: 2 snapshots, 0 of them with a copy elsewhere'
cp job.sh slow.sh
mkfifo "$work/gate"
# shellcheck disable=SC2016
echo '[ "$GPURUN_ARRAY_INDEX" = 1 ] || { read -r go <'"$work/gate"'; echo "$go"; }' >>slow.sh
client_bg "$work/c.out" "$work/c.err" run --array 1-2 --name d --host h1 --cpu 1 slow.sh </dev/null
copied_early() { snap_row d-1 | grep -qF 'h1 + laptop'; }
await 60 "a copy of what ended, with the other one running" copied_early
[ "$(job_state d-2)" != ended ] || fail "the other one has ended"
await 60 "the other one to run" job_is d-2 running
echo go >"$work/gate"
rc=0
wait "$bg" || rc=$?
[ $rc = 0 ] || fail "exit $rc: $(cat "$work/c.err")"
has 'data: 2 snapshots, 2 of them with a copy elsewhere' "$work/c.out"

note "what they keep on the way is copied while they run, each job's; the end's copy takes its place"
mkfifo "$work/gate.1" "$work/gate.2"
# shellcheck disable=SC2016
echo 'echo "$GPURUN_ARRAY_INDEX" >"so-far"; read -r go <'"$work"'/gate."$GPURUN_ARRAY_INDEX"; echo "$go" >left' >gated.sh
client_bg "$work/c.out" "$work/c.err" run --array 1-2 --name k --snap-every 1 --host h2 --cpu 1 gated.sh </dev/null
copies_on() { # JOB HOST: how many of its snapshots have a copy there
    gpurun --json snap ls >"$work/ls"
    /usr/bin/python3 -c '
import json, sys
print(sum(s["name"] == sys.argv[1] and sys.argv[2] in s["copies"] for s in json.load(sys.stdin)["snapshots"]))' "$1" "$2" <"$work/ls"
}
live_copy() { [ "$(copies_on "$1" h1)" -ge 1 ]; }
for i in 1 2; do
    await 60 "a copy of what k-$i has so far" live_copy "k-$i"
    job_is "k-$i" running || fail "it is over: $(job_state "k-$i")"
done
for i in 1 2; do
    echo go >"$work/gate.$i"
done
rc=0
wait "$bg" || rc=$?
[ $rc = 0 ] || fail "exit $rc: $(cat "$work/c.err")"
has 'data: 2 snapshots, 2 of them with a copy elsewhere' "$work/c.out"
for i in 1 2; do
    [ "$(copies_on "k-$i" h1)" = 1 ] || fail "$(copies_on "k-$i" h1) copies of k-$i: $(cat "$work/ls")"
done

note "where the other host is gone, jobs are as good, and it is said"
stop h1
expect 0 gpurun run --array 1-2 --name e --host h2 job.sh
[ "$(grep -c 'no copy of the data on h1' "$work/err")" = 2 ] || fail "not said"
has 'data: 2 snapshots, 0 of them with a copy elsewhere'

note "a host that is back gets what it has missed"
client_bg "$work/c.out" "$work/c.err" run --array 1-2 --name f --host h2 --cpu 1 slow.sh </dev/null
await 60 "one to end" job_is f-1 ended
await 60 "that the copy waits" grep -qF 'copies to h1 wait until it can be reached' "$work/c.err"
sshd h1
f_copied() { snap_row f-1 | grep -qF 'h1 + h2' || snap_row f-1 | grep -qF 'h2 + h1'; }
await 90 "the copy to the host that is back, with the other one running" f_copied
[ "$(job_state f-2)" != ended ] || fail "the other one has ended"
await 60 "the other one to run" job_is f-2 running
echo go >"$work/gate"
rc=0
wait "$bg" || rc=$?
[ $rc = 0 ] || fail "exit $rc: $(cat "$work/c.err")"
has 'data: 2 snapshots, 2 of them with a copy elsewhere' "$work/c.out"
hasnt 'no copy' "$work/c.err"

note "one that takes the connection and says nothing holds up no job; what has no copy is named"
stop h1
spawn h1 "$(tool relay)" "${port[h1]}" 1 --silent
client_bg "$work/c.out" "$work/c.err" run --array 1-4 --name g --host h2 --cpu 1 job.sh </dev/null
await 60 "all to end" grep -qF '4 of 4: ' "$work/c.err"
hasnt 'copies to h1 wait' "$work/c.err"
stop h1
rc=0
wait "$bg" || rc=$?
[ $rc = 0 ] || fail "exit $rc: $(cat "$work/c.err")"
for i in 1 2 3 4; do
    has "g-$i: no copy of the data on h1" "$work/c.err"
done

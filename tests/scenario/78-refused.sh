#!/bin/bash
# A disk that refuses the usage journal while a job runs and at its end: the job is over, not billed
# wrongly and not lost; it is tried again ever more seldom and told once, here and there; once the disk
# takes it, the end, the bill and the reason are as they were.
# limit: 180
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"

mkdir -p "$work/p"
cd "$work/p"
refuse=$work/refuse
client_key
sshd h -- "ForceCommand env LD_PRELOAD=$BUILD/tests/libs/refuse.so REFUSE=/usage:$refuse GPURUN_AGENT_HOME=$work/h/agent $BUILD/lib/gpurun/agent/$arch/gpurun-agent.dyn serve"
authorize h
know h
expect 0 gpurun -q host add h "127.0.0.1:${port[h]}"
log() { cat "$work"/h/agent/renters/*/jobs/*/supervisor.log; }
client_bg "$work/a.out" "$work/a.err" --host h --name a -- sh -c 'echo up; while [ ! -e "$1" ]; do sleep 0.1; done; exit 3' sh "$work/go" </dev/null
await 60 "it runs" grep -q up "$work/a.out"

note "while it runs: told once, however often it is tried"
: >"$refuse"
tries() { [ "$(wc -l <"$refuse")" -ge "$1" ]; }
await 60 "three tries" tries 3
[ "$(log | grep -c 'usage journal: ')" = 1 ] || fail "said more than once: $(log)"
alive $bg || fail "the job went with its journal"

note "at the end: who looks is told why it is not over, once, and the tries come ever more seldom"
touch "$work/go"
await 60 "the client is told" grep -q 'its bill cannot be written yet' "$work/a.err"
expect 0 gpurun --json ps -a
is '[j["state"] for j in d["jobs"]]' "['snapshotting']"
n=$(wc -l <"$refuse")
await 120 "three more tries" tries $((n + 3))
mapfile -t at < <(tail -n +"$n" "$refuse")
first=$((at[1] - at[0])) last=$((at[3] - at[2]))
[ $last -ge $((first + 1000)) ] || fail "tried after $first ms first and after $last ms last: ${at[*]}"
[ "$(log | grep -c 'usage journal: ')" = 1 ] || fail "said more than once: $(log)"
[ "$(grep -c 'cannot be written yet' "$work/a.err")" = 1 ] || fail "told more than once: $(cat "$work/a.err")"

note "once the disk takes it all is as it should be"
rm "$refuse"
rc=0
wait $bg || rc=$?
[ $rc = 3 ] || fail "the job's code is 3, not $rc: $(cat "$work/a.err")"
[ "$(log | grep -c 'usage journal: written again')" = 1 ] || fail "not said: $(log)"
expect 0 gpurun --json ps -a
is '[(j["state"], j["reason"]) for j in d["jobs"]]' "[('ended', 'exited')]"
! grep -q '^detail=' "$work"/h/agent/renters/*/jobs/*/state || fail "the end tells of the disk: $(cat "$work"/h/agent/renters/*/jobs/*/state)"
expect 0 gpurun bill --verify a

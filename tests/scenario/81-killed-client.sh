#!/bin/bash
# The client dies by SIGKILL at any moment of its life: nothing was started, or the job runs
# exactly once, and attach goes on at the exact byte behind what the dead one has shown.
# limit: 300
# repeats
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"

KILLS=${KILLS:-6} # per transport
mkdir -p "$work/p" "$work/runs"
cd "$work/p"
head -c 300000 /dev/urandom >ballast # so that shipping takes a while
cat >job.py <<'PY'
# job.py RUNS: says in RUNS that it ran; output for about a second
import os, sys, time
open(os.path.join(sys.argv[1], os.environ["CASE"] + "." + str(os.getpid())), "w").close()
for i in range(60):
    sys.stdout.write("line %d %s\n" % (i, "y" * (i * 7 % 50)))
    sys.stdout.flush()
    time.sleep(0.01)
sys.stdout.write("no newline")
sys.exit(5)
PY
/usr/bin/python3 - >"$work/want" <<'PY'
import sys
for i in range(60):
    sys.stdout.write("line %d %s\n" % (i, "y" * (i * 7 % 50)))
sys.stdout.write("no newline")
PY
ended() { job_is "$1" ended; }
# When to kill: spread over the time that a whole run takes here and now.
whole_ms() {
    local began
    began=$(date +%s%3N)
    expect 5 gpurun -q --host "$H" --env CASE=whole -- /usr/bin/python3 job.py "$work/runs"
    echo $(($(date +%s%3N) - began))
}
after_ms() { /usr/bin/python3 -c 'import sys, time; time.sleep(float(sys.argv[1]) / 1000)' "$1"; }

for t in $(transports); do
    use "$t"
    whole=$(whole_ms)
    note "$t: a whole run takes $whole ms"
    none=0 some=0
    for i in $(seq 1 "$KILLS"); do
        c=$t-$i
        echo "$c" >ballast.$t # something to ship, each time
        client_bg "$work/o1" "$work/e1" -q --host "$H" --name "$c" --env CASE="$c" -- \
            /usr/bin/python3 job.py "$work/runs" </dev/null
        p=$bg
        # The first ones, where most happens at once, closer together.
        after_ms $((whole * i * i / KILLS / KILLS + RANDOM % 30))
        kill -KILL $p 2>/dev/null || true
        rc=0
        wait $p 2>/dev/null || rc=$?
        if [ "$(job_state "$c")" = "" ]; then
            none=$((none + 1))
            [ ! -s "$work/o1" ] || fail "$c: output of a job that nobody knows"
            continue
        fi
        some=$((some + 1))
        if [ $rc = 137 ]; then
            expect 5 gpurun -q attach "$c"
        else
            [ $rc = 5 ] || fail "$c: status $rc: $(cat "$work/e1")"
            : >"$work/out"
        fi
        cat "$work/o1" "$work/out" >"$work/o"
        same "$work/o" "$work/want" "$c: what both clients saw"
        expect 5 gpurun -q logs -f "$c"
        same "$work/out" "$work/want" "$c: its log"
        expect 0 gpurun -q bill --verify "$c"
    done
    note "$t: $none never began, $some ran"
    [ $some -gt 0 ] || fail "no job was ever begun"
done

note "each job that is known ran once, and no other ran"
# Those whose client died early may be on their way yet.
busy() { ps_json | /usr/bin/python3 -c 'import json, sys; sys.exit(0 if any(j["state"] not in ("ended",) for j in json.load(sys.stdin)["jobs"]) else 1)'; }
idle() { ! busy; }
await 60 "all jobs to end" idle
for t in $(transports); do
    for i in $(seq 1 "$KILLS"); do
        ran=$(find "$work/runs" -name "$t-$i.*" | wc -l)
        known=$([ "$(job_state "$t-$i")" = "" ] && echo 0 || echo 1)
        [ "$ran" = "$known" ] || fail "$t-$i ran $ran times and is known $known times"
    done
done
await_none 120 gpurun-agent

#!/bin/bash
# A client is a viewer: killed, detached, or cut off, the job goes on, and attach and
# logs -f continue at the exact byte.
# needs: pipe
# threads
# limit: 300
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"

mkdir -p "$work/p"
cd "$work/p"
cat >count.py <<'PY'
import os, sys, time
for i in range(int(sys.argv[1])):
    while i in (75, 150) and len(sys.argv) > 2 and not os.path.exists("%s.%d" % (sys.argv[2], i // 75)):
        time.sleep(0.02)
    sys.stdout.write("line %d %s\n" % (i, "x" * (i % 60)))
    sys.stdout.flush()
    sys.stderr.write("e%d\n" % i)
    time.sleep(0.02)
sys.exit(7)
PY
lines=200
/usr/bin/python3 - "$lines" >"$work/want" <<'PY'
import sys
for i in range(int(sys.argv[1])):
    print("line %d %s" % (i, "x" * (i % 60)))
PY
grew() { [ "$(stat -c %s "$1")" -gt "$2" ]; }

for t in $(transports); do
    use "$t"
    note "$t: the client is killed twice; the pieces are the whole"
    client_bg "$work/o1" "$work/e1" -q --host "$H" --name "kill-$t" -- /usr/bin/python3 count.py $lines "$work/killed-$t" </dev/null
    p=$bg
    await 20 "output" grew "$work/o1" 300
    kill -9 $p
    touch "$work/killed-$t.1"
    wait $p 2>/dev/null || true
    client_bg "$work/o2" "$work/e2" -q attach "kill-$t" </dev/null
    p=$bg
    await 20 "more output" grew "$work/o2" 300
    kill -9 $p
    touch "$work/killed-$t.2"
    wait $p 2>/dev/null || true
    expect 7 gpurun -q attach "kill-$t"
    cat "$work/o1" "$work/o2" "$work/out" >"$work/o"
    same "$work/o" "$work/want" "what three clients saw"
    expect 0 gpurun -q logs --stdout "kill-$t"
    same "$work/out" "$work/want" "the whole log"
    expect 7 gpurun -q logs -f --stdout "kill-$t"
    same "$work/out" "$work/want" "the whole log, followed"
    expect 0 gpurun -q logs -n 3 --stdout "kill-$t"
    tail -n 3 "$work/want" | cmp - "$work/out" || fail "the last three lines are $(cat "$work/out")"

    note "$t: SIGTERM and SIGHUP detach with 143 and 129"
    for s in TERM:143 HUP:129; do
        client_bg "$work/o1" "$work/e1" --host "$H" --name "det-$t-${s%:*}" -- /usr/bin/python3 count.py 100000 </dev/null
        p=$bg
        await 20 "output" grew "$work/o1" 100
        kill "-${s%:*}" $p
        rc=0
        wait $p || rc=$?
        [ $rc = "${s#*:}" ] || fail "status $rc instead of ${s#*:}: $(cat "$work/e1")"
        has 'gpurun attach' "$work/e1"
        job_is "det-$t-${s%:*}" running || fail "the job is $(job_state "det-$t-${s%:*}")"
        expect 143 gpurun -q stop "det-$t-${s%:*}"
    done

    note "$t: -d prints the id and returns; wait gives its status"
    expect 0 gpurun -q -d --host "$H" -- sh -c 'sleep 0.3; exit 9'
    id=$(cat "$work/out")
    expect 9 gpurun -q wait "$id"
    expect 9 gpurun --json wait "$id"
    has '"exit_code":9'
done

note "stdin: only a real end of file is one"
use pipe
mkfifo "$work/in"
exec 8<>"$work/in"
client_bg "$work/o1" "$work/e1" -q --name stdin -- sh -c 'cat; echo END' <"$work/in"
p=$bg
echo one >&8
await 20 "the first line" grep -q one "$work/o1"
kill -9 $p
wait $p 2>/dev/null || true
exec 8>&-

job_is stdin running || fail "a killed client ended the job's stdin"
printf 'two\n' | gpurun -q attach stdin >"$work/o2" || fail "attach: $?"
printf 'two\nEND\n' | cmp - "$work/o2" || fail "attach saw $(cat "$work/o2")"

#!/bin/bash
# Every end of a job is told apart: in gpurun's exit status, in the host's record, in the
# snapshot and in the receipt; signals 1 to 15 to the number.
# needs: pipe
# limit: 300
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
. "$(dirname "$0")/jobs.sh"

mkdir -p "$work/p"
cd "$work/p"

# end JOB STATUS REASON CODE SIGNAL: gpurun's status, and what the record, `wait --json` and the receipt say.
end() {
    local job=$1 status=$2 reason=$3 code=$4 signal=$5
    cp "$work/err" "$work/said"
    [ "$rc" = "$status" ] || fail "$job: gpurun exits with $rc instead of $status"
    is "$job" state ended || fail "$job: state $(field "$job" state)"
    is "$job" reason "$reason" || fail "$job: reason $(field "$job" reason) instead of $reason"
    [ "$(field "$job" exit_code)/$(field "$job" signal)" = "$code/$signal" ] ||
        fail "$job: exit $(field "$job" exit_code), signal $(field "$job" signal) instead of $code/$signal"
    [ "$(receipt "$job" reason)" = "$reason" ] || fail "$job: the receipt says $(receipt "$job" reason)"
    [ ! -e "$agent_home"/renters/*/active/"$(basename "$(record "$job")")" ] || fail "$job: still marked as active"
    run gpurun --json wait "$job"
    [ "$rc" = "$status" ] || fail "$job: wait exits with $rc instead of $status"
    /usr/bin/python3 - "$work/out" "$status" "$reason" "$code" "$signal" <<'PY' || fail "$job: wait --json"
import json, sys
j = json.load(open(sys.argv[1]))
status, reason, code, signal = sys.argv[2:]
assert j["gpurun_exit"] == int(status), j
assert j["reason"] == reason, j
assert j["exit_code"] == (int(code) if code else None), j
assert j["signal"] == (int(signal) if signal else None), j
PY
}
bg_end() { rc=0; wait "$1" || rc=$?; }

note "the last of the exit codes" # 69-many runs them all in a build that nothing watches
run gpurun -q --name c255 -- sh -c "exit 255"
end c255 255 exited 255 ''

signals=$(seq 1 15)
[ "${SLOW:-1}" = 1 ] || signals="2 9 11" # a build that watches all is slow, and treats them alike
note "signals 1 to 15"
for s in $signals; do
    run gpurun -q --name "s$s" -- sh -c "kill -$s \$\$"
    end "s$s" $((128 + s)) signalled '' "$s"
done

note "an exit code that looks like a signal's is an exit code"
run gpurun -q --name like -- sh -c 'exit 137'
end like 137 exited 137 ''

note "failed to start"
run gpurun -q --name failed -- /no/such/program
end failed 102 failed '' ''
has /no/such/program "$work/said"
printf '#!/no/interpreter\n' >script
chmod +x script
run gpurun -q --name noexec -- ./script
end noexec 102 failed '' ''
mkdir sub
run gpurun -q --name nodir -- ./sub
end nodir 102 failed '' ''

note "stopped by the renter: the job's real status"
gpurun -q -d --name stopped -- sh -c 'trap "exit 7" TERM; while :; do sleep 0.05; done' >"$work/id"
await 20 "it runs" is stopped state running
run gpurun -q stop stopped
end stopped 7 stopped 7 ''
gpurun -q -d --name killed -- sh -c 'trap "" TERM; while :; do sleep 0.05; done' >"$work/id"
await 20 "it runs" is killed state running
run gpurun -q stop --now killed
end killed 137 stopped '' 9

note "time"
run gpurun -q --max-time 1 --name time -- sleep 600
end time 104 time '' 15
has time "$work/said"

note "a limit is 104 even if the job then exits 0"
run gpurun -q --max-time 3 --name time0 -- sh -c 'trap "exit 0" TERM; while :; do sleep 0.05; done'
end time0 104 time 0 ''

note "idle, and not idle"
run gpurun -q --idle 2 --name idle -- sleep 600
end idle 104 idle '' 15
run gpurun -q --idle 2 --max-time 5 --name busy -- sh -c 'while :; do :; done'
end busy 104 time '' 15

note "memory"
cat >eat.py <<'PY'
import sys, time
b = bytearray(int(sys.argv[1]) << 20)
for i in range(0, len(b), 4096):
    b[i] = 1
print("had it", flush=True)
time.sleep(600)
PY
run gpurun -q --mem 64M --name memory -- /usr/bin/python3 eat.py 200
hasnt 'had it'
end memory 104 memory '' 9
has 'out of memory' "$work/said"
run gpurun -q --mem 64M --name memory-child -- sh -c '/usr/bin/python3 eat.py 200; exit $?'
[ "$(field memory-child reason)" = memory ] || fail "a child's end: $(field memory-child reason)"
[ "$rc" = 104 ] || fail "status $rc"

note "the owner takes the machine back"
gpurun -q --name owner -- sleep 600 2>"$work/err" &
p=$!
await 20 "it runs" is owner state running
kill -TERM "$(supervisor owner)"
bg_end $p
end owner 102 owner '' 15
has owner "$work/said"

note "a fault of the host: the guard is killed"
gpurun -q --name fault -- sh -c 'sleep 601 & sleep 602' 2>"$work/err" &
p=$!
await 20 "it runs" is fault state running
await 20 "all of it" some_marked 601
kill -KILL "$(guard fault)"
bg_end $p
end fault 102 fault '' ''
has 'guard' "$work/said"
none_marked 601 || fail "a process outlived the guard"
none_marked 602 || fail "a process outlived the guard"

note "cost"
owner price set cpu=360 >/dev/null
run gpurun -q --max-cost 0.15 --name cost -- sleep 600
end cost 104 cost '' 15
[ "$(receipt cost charge_fen)" = 10 ] || fail "costs $(receipt cost charge_fen) fen"

note "lease and balance: the ends that an operator's book sets"
drive=$(tool agentdrive)
for why in lease balance; do
    words=(--max-time 1 --cap 1000 --end-why lease)
    [ $why = lease ] || words=(--max-time 600 --cap 15 --cap-why balance)
    rc=0
    as_client env GPURUN_AGENT_HOME="$agent_home" "$drive" "${words[@]}" "$BUILD/bin/gpurun-agent" run -- sleep 600 \
        2>"$work/err" || rc=$?
    job=$(sed -n 's/^job: //p' "$work/err")
    [ "$rc" = 104 ] || fail "$why: status $rc"
    is "$job" reason $why || fail "$why: reason $(field "$job" reason)"
    is "$job" state ended || fail "$why: state $(field "$job" state)"
done

note "each end has its data in a snapshot, but where nothing ever ran"
for job in c255 s9 stopped killed time idle memory owner fault cost; do
    is "$job" snapshot_state whole || fail "$job: snapshot $(field "$job" snapshot_state) $(field "$job" snapshot_why)"
done
is failed snapshot '' || fail "a snapshot of nothing"

[ -z "$(leftovers)" ] || fail "left over: $(leftovers)"

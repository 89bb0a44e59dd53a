#!/bin/bash
# --park: a command that a host runs by itself once no job is left and all data is kept, with no
# client alive; put off by jobs and transfers, taken up again after its timer was killed; what it
# failed with is told; who may set it.
# needs: pipe
# limit: 180
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
. "$(dirname "$0")/jobs.sh"

mkdir -p "$work/p"
cd "$work/p"
parked=$work/parked
timer() { # pids of the timer; its command line stays when it detaches
    local p
    for p in $(with_environment "HOME=$client"); do
        if [[ $(tr '\0' ' ' <"/proc/$p/cmdline" 2>/dev/null) == "gpurun-agent park-timer " ]]; then
            echo "$p"
        fi
    done
}
one_timer() { [ "$(timer | wc -l)" = 1 ]; }
no_timer() { [ -z "$(timer)" ]; }
phase() { gpurun --json host park local | /usr/bin/python3 -c 'import json, sys; print((json.load(sys.stdin)["park"] or {}).get("phase"))'; }
phase_is() { [ "$(phase)" = "$1" ]; }
times() { [ "$(wc -l <"$parked" 2>/dev/null || echo 0)" = "$1" ]; }

note "nothing is parked that nobody asked for"
expect 0 gpurun host park local
has "local is not parked by itself"
no_timer || fail "a timer nobody asked for"

note "bad input changes nothing"
expect 100 gpurun host park local ''
expect 100 gpurun host park local true --park-after 0s
expect 100 gpurun host park local true --park-after soon
expect 100 gpurun host park local true --park-after 31d
expect 100 gpurun host park local --park-after 10m
expect 100 gpurun host park nowhere true
expect 100 gpurun host park local "$(head -c 5000 /dev/zero | tr '\0' x)"
expect 100 gpurun host add other 127.0.0.1:1 --park-after 10m
expect 100 gpurun host add other 127.0.0.1:1 --park '' --park-after 10m
expect 0 gpurun host park local
has "local is not parked by itself"

note "a job puts it off; it comes once no job is left, with nobody connected, and once only"
expect 0 gpurun -q -d --name a -- sh -c 'while [ ! -e "$1" ]; do sleep 0.1; done' sh "$work/go"
expect 0 gpurun host park local "echo \"\$GPURUN_EVENT \$HOME\" >>$parked" --park-after 2s
has "local is parked 00:00:02 after its last job"
await 30 "one timer" one_timer
await 30 "it waits for the job" phase_is waiting
expect 0 gpurun plan -- true
has "00:00:02 after the last job"
expect 0 gpurun ps
has "local is parked 00:00:02 after its last job" "$work/err"
[ ! -e "$parked" ] || fail "parked under a running job"
touch "$work/go"
await 60 "parked" times 1
settled a || fail "parked before the job had ended"
is a snapshot_state whole || fail "parked before its data was kept: $(cat "$(record a)/state")"
has "park $client" "$parked"
await 30 "told so" phase_is parked
expect 0 gpurun --json ps
/usr/bin/python3 - "$work/out" <<'PY'
import json, sys
p = json.load(open(sys.argv[1]))["parking"]
assert [x["host"] for x in p] == ["local"], p
assert p[0]["park"]["phase"] == "parked" and p[0]["park"]["after_s"] == 2 and p[0]["park"]["at_ns"] > 0, p
PY
kill "$(timer)"
await 30 "the timer is gone" no_timer
owner tick
await 30 "back after a tick" one_timer
phase_is parked || fail "a timer that came back does not know that it has parked: $(phase)"
times 1 || fail "parked twice: $(cat "$parked")"

note "after another job, once more; the timer was killed meanwhile, and contact brings it back"
# Killed under a job, when it is sure not to be in the middle of parking.
expect 0 gpurun -q -d --name b -- sh -c 'while [ ! -e "$1" ]; do sleep 0.1; done' sh "$work/go-b"
await 30 "it waits for the job" phase_is waiting
kill "$(timer)"
await 30 "the timer is gone" no_timer
expect 0 gpurun -q ps
await 30 "back after a contact" one_timer
touch "$work/go-b"
await 60 "parked again" times 2
await 30 "it has parked" phase_is parked

note "data on its way puts it off"
head -c 1000 /dev/urandom >file
mkfifo "$work/slow"
spawn hold env GPURUN_AGENT_HOME="$agent_home" /usr/bin/python3 -c '
import fcntl, os, struct, sys
fd = os.open(os.environ["GPURUN_AGENT_HOME"] + "/park.hold", os.O_RDWR)
fcntl.fcntl(fd, 37, struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, 0, 0, 0)) # F_OFD_SETLK
print("held", flush=True)
open(sys.argv[1]).read()' "$work/slow"
await 30 "held off" grep -q held "$work/hold.log"
expect 0 gpurun host park local "echo again >>$parked" --park-after 2s
await 30 "it waits" phase_is waiting
before=$(wc -l <"$parked")
sleep 4 # twice its time: nothing may come of it, so there is nothing to wait for
[ "$(wc -l <"$parked")" = "$before" ] || fail "parked while data was on its way"
echo done >"$work/slow"
await 60 "parked after it" grep -q again "$parked"

note "while the command runs no job is taken; after that it is"
expect 0 gpurun host park local "touch $work/begun; while [ ! -e $work/enough ]; do sleep 0.1; done" --park-after 1s
await 60 "the command runs" test -e "$work/begun"
phase_is running || fail "phase $(phase) while the command runs"
expect 100 gpurun -q --host local -- true
has "is being parked" "$work/err"
# The data may be refused before the job is asked for: it goes out while it is still read.
mkdir "$work/many"
(cd "$work/many" && seq 5000 | xargs touch)
expect 100 gpurun -q --host local --dir "$work/many" -- true
has "is being parked" "$work/err"
touch "$work/enough"
await 60 "it has parked" phase_is parked
expect 0 gpurun -q --host local -- true

note "a command that fails is told, and tried again after another job"
expect 0 gpurun host park local "echo failed >>$parked; echo 'no such instance' >&2; exit 3" --park-after 1s
await 60 "the failure is seen" phase_is failed
expect 0 gpurun -q ps
expect 0 gpurun ps
has "exit status 3: no such instance" "$work/err"
expect 0 gpurun plan -- true
has "last time that did not work: exit status 3"
[ "$(grep -c failed "$parked")" = 1 ] || fail "tried again at once"

note "what is printed nowhere has changed all the same"
rc=0
gpurun host park local "echo >>$parked" --park-after 1h >/dev/full 2>"$work/err" || rc=$?
[ "$rc" = 102 ] || fail "exit status $rc: $(cat "$work/err")"

note "not any more"
expect 0 gpurun host park local none
has "local is not parked by itself"
await 30 "the timer leaves" no_timer

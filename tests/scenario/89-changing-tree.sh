#!/bin/bash
# A directory that changes while it is sent: the error names what did it, and the same run goes once
# nothing writes there. A batch reads it anew, three times at most, and its jobs never wait for ever.
# limit: 240
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
. "$(dirname "$0")/jobs.sh"

mkdir -p "$work/p"
cd "$work/p"
changed() { echo "'$1' changed while it was being sent: run it again, or leave it out (.gpurunignore)"; }
# No job of that name, and nothing is held for one.
nothing_of() {
    [ "$(job_state "$1")" = "" ] || fail "$1 is $(job_state "$1")"
    expect 0 gpurun --json wallet
    [ "$(json 'd["held_fen"]')" = 0 ] || fail "something is held: $(cat "$work/out")"
}

expect 0 gpurun -q wallet topup 100
note "a run: another tree after a cut, since a log goes on"
use libssh
port[cut]=$(free_port)
spawn cut "$(tool relay)" "${port[cut]}" "${port[$H]}" --cut-after 8000000
await 10 "the relay" grep -q ready "$work/cut.log"
echo "[127.0.0.1]:${port[cut]} $(cut -d' ' -f1,2 "$work/$H/host_key.pub")" >>"$client/.ssh/known_hosts"
expect 0 gpurun -q host add cut "127.0.0.1:${port[cut]}"
head -c 12000000 /dev/urandom >big
echo 0 >log.txt
spawn writer bash -c 'for ((i = 0; ; i++)); do echo $i >log.txt; sleep 0.02; done'
expect 101 gpurun --host cut --name cut-off --max-time 5m -- true
has "$(changed log.txt)" "$work/err"
stop writer
nothing_of cut-off
expect 0 gpurun -q --host cut --max-time 5m -- true
stop cut
expect 0 gpurun -q host rm cut

# More than is kept in memory until somebody takes it: the end of it is read twice.
use pipe
owner price set cpu=3.6 >/dev/null
head -c 72000000 /dev/urandom >big
cat >scribble.py <<'END'
# Other bytes all over it, all the time: no piece of it is what it was.
import os, sys, time
fd = os.open("big", os.O_WRONLY)
while True:
    for at in range(0, 72000000, 16384):
        os.pwrite(fd, os.urandom(16), at)
    open(sys.argv[1], "w").close()
    time.sleep(0.02)
END

note "a batch: three times is enough, for both that wait for it"
spawn writer /usr/bin/python3 scribble.py "$work/scribbled"
await 10 "the writer" test -e "$work/scribbled"
expect 101 gpurun run --host local --array 1-2 --name no -- true
has "$(changed big); it is read again (2 of 3)" "$work/err"
has "$(changed big); it is read again (3 of 3)" "$work/err"
hasnt "of 4)" "$work/err"
[ "$(grep -c "read 3 times, and each time: $(changed big)" "$work/err")" = 2 ] || fail "not both jobs say why"
nothing_of no-1
nothing_of no-2

note "a batch: once it keeps still, all of it runs"
client_bg "$work/out" "$work/err" run --json --host local --array 1-2 --name yes -- sh -c 'sha256sum <big'
await 60 "it is read again" grep -qF "it is read again" "$work/err"
stop writer
code=0
wait "$bg" || code=$?
[ "$code" = 0 ] || fail "exit $code"
[ "$(json '[j["exit"] for j in d["jobs"]]')" = '[0, 0]' ] || fail "not both: $(cat "$work/out")"
# What they saw may have been read while the last of it was written: but both saw the same.
expect 0 gpurun -q logs yes-1
seen=$(cat "$work/out")
expect 0 gpurun -q logs yes-2
[ "$(cat "$work/out")" = "$seen" ] || fail "the two saw different bytes"
expect 0 gpurun -q --host local -- sh -c 'sha256sum <big'
[ "$(cat "$work/out")" = "$(sha256sum <big)" ] || fail "a run after that saw other bytes"

#!/bin/bash
# What a job of a batch brings back over a link that stands still: the others end and start meanwhile,
# and what was to come comes once it moves again; also after the batch was told to go.
# limit: 180
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
use libssh
unset GPURUN_SSH

mkdir -p "$work/p"
cd "$work/p"
port[slow]=$(free_port)
# A rate, so that there is a middle of it.
spawn slow "$(tool relay)" "${port[slow]}" "${port[$H]}" --rate 400
await 10 "the relay" grep -q ready "$work/slow.log"
echo "[127.0.0.1]:${port[slow]} $(cut -d' ' -f1,2 "$work/$H/host_key.pub")" >>"$client/.ssh/known_hosts"
expect 0 gpurun -q host add slow "127.0.0.1:${port[slow]}" --mirror none
cat >jobs <<END
--host slow --name far --out result -- sh -c 'mkdir result; head -c 3000000 /dev/urandom >result/big; sha256sum <result/big >result/sum'
--host local --cpu $(nproc) --name first -- sh -c 'until [ -e $work/go ]; do sleep 0.1; done'
--host local --cpu $(nproc) --name next -- true
--host local --cpu $(nproc) --name last --out none -- sh -c 'echo it >none'
END
client_bg "$work/out" "$work/err" run --batch jobs
coming() { compgen -G "$client/gpurun/tmp/store.*"; }
await 90 "it is on its way" coming
kill -USR1 "${pid[slow]}" # nothing moves
: >"$work/go"
is_here() { [ -s none ]; }
await 25 "the last of the others has ended and is here" is_here
[ -e result/sum ] && fail "the link did not stand still"
kill -USR2 "${pid[slow]}"
code=0
wait "$bg" || code=$?
[ "$code" = 0 ] || fail "exit $code"
[ "$(sha256sum <result/big)" = "$(cat result/sum)" ] || fail "other bytes came back"

note "told to go while it is on its way: the end is known, and the rest can be fetched"
rm -r result
echo "--host slow --name away --out result -- sh -c 'mkdir result; head -c 3000000 /dev/urandom >result/big; exit 3'" >jobs
client_bg "$work/out2" "$work/err2" run --batch jobs
await 90 "it is on its way" coming
kill -USR1 "${pid[slow]}"
kill -TERM "$bg"
code=0
wait "$bg" || code=$?
[ "$code" = 143 ] || fail "exit $code"
has "away has ended, and what it left is not here yet" "$work/err2"
has "detached; 0 jobs go on" "$work/err2"
[ -e result ] && fail "the link did not stand still"
# Its host does not answer: those whose end is not known here are listed as unknown.
stop slow
expect 0 gpurun --json ps
is 'd["silent_hosts"], [x for x in d["jobs"] if x["name"] == "away"]' "('slow', [])"
spawn slow "$(tool relay)" "${port[slow]}" "${port[$H]}"
await 10 "the relay" grep -q ready "$work/slow.log"
expect 3 gpurun wait away
[ "$(stat -c %s result/big)" = 3000000 ] || fail "the rest did not come"
rm -r result
expect 3 gpurun wait away
[ ! -e result ] || fail "it was brought twice"

#!/bin/bash
# resume, --from and --out: on the same host, and on another one through the client.
# limit: 240
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
use libssh
unset GPURUN_SSH
[ "$H" = hlib ] || fail "not hlib"

mkdir -p "$work/p/data"
cd "$work/p"
echo one >data/one
cat >train.sh <<'SH2'
n=$(cat state 2>/dev/null || echo 0)
n=$((n + 1))
echo $n >state
echo "$n $*" >>history
mkdir -p result
echo "result $n" >result/best
head -c 2000000 /dev/zero | tr '\0' "$n" >result/weights
echo "run $n with $* and ${OPT:-no} option, secret $(echo "${TOKEN:-none}" | rev)"
exit $((n + 2))
SH2

note "resume on the same host: command, environment and data"
expect 3 gpurun -q --host local --name first --env OPT=some -- bash train.sh a "b c"
[ "$(cat "$work/out")" = "run 1 with a b c and some option, secret enon" ] || fail "first: $(cat "$work/out")"
expect 4 gpurun -q resume first
[ "$(cat "$work/out")" = "run 2 with a b c and some option, secret enon" ] || fail "resumed: $(cat "$work/out")"
expect 4 gpurun -q resume first --host local -- bash train.sh other
[ "$(cat "$work/out")" = "run 2 with other and some option, secret enon" ] || fail "another command: $(cat "$work/out")"

note "resume on another host, through the client"
expect 4 gpurun resume first --host hlib --name second
has 'goes from local to hlib first' "$work/err"
[ "$(cat "$work/out")" = "run 2 with a b c and some option, secret enon" ] || fail "elsewhere: $(cat "$work/out")"
expect 0 gpurun --json snap show second
grep -q '"host":"hlib"' "$work/out" || fail "the new snapshot is not on hlib"
expect 5 gpurun -q resume second --host local
[ "$(cat "$work/out")" = "run 3 with a b c and some option, secret enon" ] || fail "and back: $(cat "$work/out")"
rm -rf "$work/got"
expect 0 gpurun -q snap get second history -o "$work/got"
[ "$(cat "$work/got")" = "$(printf '1 a b c\n2 a b c')" ] || fail "history: $(cat "$work/got")"

note "secrets are asked for anew"
expect 3 as_client TOKEN=hush "$BUILD/bin/gpurun" -q --host local --name sec --secret TOKEN -- bash train.sh
[ "$(cat "$work/out")" = "run 1 with  and no option, secret hsuh" ] || fail "secret: $(cat "$work/out")"
expect 100 gpurun -q resume sec
has TOKEN "$work/err"
expect 4 as_client TOKEN=hush2 "$BUILD/bin/gpurun" -q resume sec
[ "$(cat "$work/out")" = "run 2 with  and no option, secret 2hsuh" ] || fail "secret: $(cat "$work/out")"
! grep -rqF hush "$client/gpurun" || fail "a secret is kept in $(grep -rlF hush "$client/gpurun")"

note "--with-code ships the folder over the data"
sed -i 's/^echo "run/echo "new code run/' train.sh
expect 4 gpurun -q resume first --with-code
[ "$(cat "$work/out")" = "new code run 2 with a b c and some option, secret enon" ] || fail "with code: $(cat "$work/out")"
expect 4 gpurun -q resume first
[ "$(cat "$work/out")" = "run 2 with a b c and some option, secret enon" ] || fail "without code: $(cat "$work/out")"

note "--from: the snapshot's data, shipped files over it, on either host"
mkdir "$work/q"
cd "$work/q"
echo mine >mine
mkdir data
echo newer >data/one
for h in local hlib; do
    expect 0 gpurun -q --host $h --from first -- sh -c 'cat mine data/one state result/best; ls'
    [ "$(head -n 4 "$work/out")" = "$(printf 'mine\nnewer\n1\nresult 1')" ] || fail "--from on $h: $(cat "$work/out")"
    has train.sh
done
expect 100 gpurun -q --host local --from nosuch -- true
has nosuch "$work/err"
expect 0 gpurun snap take . --host hlib --name folder
expect 0 gpurun -q --host local --from folder -- cat mine
[ "$(cat "$work/out")" = mine ] || fail "--from a snapshot that was taken"
expect 100 gpurun -q resume folder
has "--from" "$work/err"
expect 100 gpurun -q resume nosuch
expect 100 gpurun -q resume first --host nosuch
expect 0 gpurun snap rm first
expect 100 gpurun -q resume first
has gone "$work/err"

note "--out: brought back at the end, whatever the exit code"
cd "$work/p"
for h in local hlib; do
    rm -rf result state
    expect 3 gpurun -q --host $h --out result --out state -- bash train.sh
    [ "$(cat result/best state)" = "$(printf 'result 1\n1')" ] || fail "--out on $h"
    [ "$(stat -c %s result/weights)" = 2000000 ] || fail "--out on $h: weights"
done
note "again: what the job made replaces what was brought before"
echo 5 >state
expect 8 gpurun -q --host local --out result --out state -- bash train.sh
[ "$(cat result/best state)" = "$(printf 'result 6\n6')" ] || fail "--out again: $(cat result/best state)"
note "nothing changed here since shipping is overwritten"
cat >slow.sh <<'SH2'
echo theirs >file
echo theirs >other
touch ready
until [ -e go ]; do sleep 0.05; done
SH2
echo shipped >file
echo shipped >other
client_bg "$work/o" "$work/e" --host local --name slow --out file --out other -- sh slow.sh </dev/null
p=$bg
await 30 "the job" gpurun -q cp slow:ready "$work/seen"
echo "changed here" >file
: >go-file
expect 0 gpurun cp go-file slow:go
rc=0
wait $p || rc=$?
[ "$(cat file)" = "changed here" ] || fail "a file changed here was overwritten"
[ "$(cat other)" = theirs ] || fail "a file not changed here did not come"
has "changed here since it was shipped" "$work/e"
[ "$(cat file.from-*)" = theirs ] || fail "the job's version is lost"
[ $rc = 0 ] || fail "status $rc"

note "hostile paths: through links, upwards, over folders"
mkdir -p "$work/outside"
echo safe >"$work/outside/victim"
ln -s "$work/outside" linked
rm -f file.from-*
expect 100 gpurun -q --host local --out ../x -- true
expect 100 gpurun -q --host local --out /etc/passwd -- true
expect 100 gpurun -q --host local --out . -- true
expect 102 gpurun -q --host local --out linked/victim -- sh -c 'rm linked; mkdir linked; echo evil >linked/victim'
has "'linked' leads through a symbolic link" "$work/err"
[ "$(cat "$work/outside/victim")" = safe ] || fail "--out wrote through a link"
expect 0 gpurun -q --host local --out made -- sh -c 'mkdir made; ln -s ../../outside made/up; ln -s /etc made/etc; mkfifo made/fifo; echo x >made/setuid; chmod 6755 made/setuid'
[ "$(readlink made/etc)" = /etc ] || fail "a link did not come as a link"
[ "$(stat -c %a made/setuid)" = 755 ] || fail "setuid came: $(stat -c %a made/setuid)"
expect 0 gpurun -q --host local --out made -- sh -c 'rm -rf made; mkdir -p made/up; echo evil >made/up/victim'
[ "$(cat "$work/outside/victim")" = safe ] || fail "--out wrote through a link it had brought"
expect 102 gpurun -q --host local --out nosuch -- true
has nosuch "$work/err"

#!/bin/bash
# Second copies where no client saw the end, or the copy failed: noted as due, made by whatever asks
# that host next, told while they are missing, forgotten when nothing is left to copy.
# limit: 300
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
client_key
new_host h1
new_host h2
expect 0 gpurun -q host add h1 "127.0.0.1:${port[h1]}"
# The host's own word, asked without its agent: nothing is paid by looking.
state() { cat "$work/h1/home/.local/share/gpurun-agent"/renters/*/jobs/"$1"/state 2>/dev/null; }
ended() { state "$1" | grep -q '^state=ended$'; }
due() { find "$client/gpurun/copies" -type f 2>/dev/null | wc -l; }
here() { compgen -G "$client/gpurun/local/renters/*/store/snaps/$1.manifest" >/dev/null; }
# Quick ones only, in a time that a busy machine may need for something else: then the next look has it.
copied() { gpurun -q ps >/dev/null && here "$(left_by "$1")"; }
left_by() { state "$1" | sed -n 's/^snapshot=//p'; }

mkdir "$work/p"
cd "$work/p"
detached() { # NAME SHELL-WORDS, run options in $opts
    # shellcheck disable=SC2086
    expect 0 gpurun -q --host h1 --name "$1" -d ${opts:-} -- sh -c "$2"
    id=$(cat "$work/out")
    await 60 "$1 to end" ended "$id"
}

note "a detached job: the next look at its host makes the copy"
detached one 'echo 1 >made'
[ "$(due)" = 1 ] || fail "$(due) are due"
! here "$(left_by "$id")" || fail "who copied it?"
await 60 "a copy" copied "$id"
[ "$(due)" = 0 ] || fail "$(due) are due"
expect 0 gpurun wait one
has ' on h1 + laptop, kept until' "$work/err"
for how in 'logs one2' 'wait one2' 'bill one2' 'snap ls'; do
    detached one2 'echo 2 >made; date +%N >when'
    # shellcheck disable=SC2086
    expect 0 gpurun -q $how
    here "$(left_by "$id")" || fail "no copy by $how"
done

note "of what is as it was shipped, was removed, or left nothing there is none, and none is due"
detached same true
same=$id
detached gone 'echo 3 >made'
gone=$id
[ "$(due)" = 2 ] || fail "$(due) are due"
expect 0 gpurun -q snap rm gone
expect 0 gpurun -q ps
[ "$(due)" = 0 ] || fail "$(due) are due"
! here "$(left_by "$same")" || fail "it was copied"
! here "$(left_by "$gone")" || fail "what was removed was copied"
run gpurun -q --host nosuch -d -- true
run gpurun -q --host h1 -d --cpu 100000 -- true
expect 0 gpurun -q ps
[ "$(due)" = 0 ] || fail "$(due) are due of what never ran"

note "a large one waits for whoever has time, and is told meanwhile"
detached large 'head -c 20000000 /dev/urandom >big'
expect 0 gpurun ps
has 'the data of large is only on h1; ' "$work/err"
! here "$(left_by "$id")" || fail "ps copied 20 MB"
expect 0 gpurun --json ps
is '[(x["name"], x["job"], x["host"], x["stored_bytes"] > 19000000) for x in d["copies_due"]]' "[('large', '$id', 'h1', True)]"
expect 0 gpurun --json snap ls
is 'len(d["copies_due"])' 1
expect 0 gpurun wait large
has ' on h1 + laptop, kept until' "$work/err"
expect 0 gpurun ps
hasnt 'only on h1' "$work/err"

note "a host that was away: the copy is made once it is back"
detached away 'echo 4 >made'
stop h1
expect 0 gpurun -q ps
[ "$(due)" = 1 ] || fail "$(due) are due"
expect 101 gpurun -q snap mirror away
expect 0 gpurun -q snap mirror
[ "$(due)" = 1 ] || fail "$(due) are due"
sshd h1
expect 0 gpurun -q snap mirror
[ "$(cat "$work/out")" = "$(left_by "$id")" ] || fail "snap mirror says $(cat "$work/out")"
here "$(left_by "$id")" || fail "no copy"
expect 0 gpurun -q snap mirror
[ ! -s "$work/out" ] || fail "twice: $(cat "$work/out")"
expect 100 gpurun -q snap mirror --host h2

note "snapshots taken by hand, of a job and of a folder"
mkfifo "$work/gate"
expect 0 gpurun -q --host h1 --name runs -d -- sh -c "echo 5 >made; read -r x <$work/gate"
runs=$(cat "$work/out")
await 60 "it to run" job_is runs running
expect 0 gpurun -q snap take runs
here "$(cat "$work/out")" || fail "no copy of the running job's"
mkdir "$work/f"
echo f >"$work/f/f"
expect 0 gpurun -q snap take "$work/f" --host h1
here "$(cat "$work/out")" || fail "no copy of the folder"
echo go >"$work/gate"
await 60 "it to end" ended "$runs"
expect 0 gpurun -q ps
[ "$(due)" = 0 ] || fail "$(due) are due"

note "--snap-every: of a job that runs, the last one; a later one takes its place"
opts='--snap-every 1' # and nobody watches
# shellcheck disable=SC2086
expect 0 gpurun -q --host h1 --name live -d $opts -- sh -c "echo 6 >made; read -r x <$work/gate; echo 7 >made"
live=$(cat "$work/out")
live_here() { gpurun -q ps; [ "$(gpurun --json snap ls | /usr/bin/python3 -c '
import json, sys
print(sum(s["job"] == sys.argv[1] and "local" in s["copies"] for s in json.load(sys.stdin)["snapshots"]))' "$live")" = 1 ]; }
await 60 "a copy of what it has so far" live_here
stop h1
expect 0 gpurun --json snap ls
so_far=$(json '[s["id"] for s in d["snapshots"] if s["job"] == "'"$live"'" and "local" in s["copies"]][0]')
expect 0 gpurun -q snap get "$so_far" made -o "$work/so-far"
sshd h1
[ "$(cat "$work/so-far")" = 6 ] || fail "it holds $(cat "$work/so-far")"
[ "$(due)" = 1 ] || fail "its end is no longer due"
note "what is replaced between the host's word of it and its reading, over a line as long as that, is no failure"
long=$(free_port)
spawn long "$(tool relay)" "$long" "${port[h1]}" --delay 600
await 10 "the relay" grep -q ready "$work/long.log"
echo "[127.0.0.1]:$long $(cut -d' ' -f1,2 "$work/h1/host_key.pub")" >>"$client/.ssh/known_hosts"
sed -i "s/^port=.*/port=$long/" "$client/gpurun/hosts/h1"
expect 0 gpurun ps
hasnt 'only on h1' "$work/err"
sed -i "s/^port=.*/port=${port[h1]}/" "$client/gpurun/hosts/h1"
stop long
echo go >"$work/gate"
await 60 "it to end" ended "$live"
await 60 "a copy of the end" copied "$live"
[ "$(due)" = 0 ] || fail "$(due) are due"
live_here || fail "copies of what was replaced are left"
opts=''

note "and whoever watches it copies that meanwhile, beside its output"
client_bg "$work/c.out" "$work/c.err" --host h1 --name watched --snap-every 1 -- sh -c "echo 6 >made; seq 100000; read -r x <$work/gate; seq 100000; echo 7 >made" </dev/null
watched_here() { live=$(basename "$(grep -l '^name=watched$' "$client/gpurun/jobs"/j*)") && grep -q "^job=$live\$" "$client"/gpurun/local/renters/*/store/snaps/*.manifest; }
await 60 "a copy of what it has so far" watched_here
job_is watched running || fail "it is over: $(job_state watched)"
echo go >"$work/gate"
rc=0
wait "$bg" || rc=$?
[ "$rc" = 0 ] || fail "exit $rc: $(cat "$work/c.err")"
{ seq 100000; seq 100000; } | cmp - "$work/c.out" || fail "its output"
has ' on h1 + laptop, kept until' "$work/c.err"
live_here || fail "copies of what was replaced are left"
[ "$(due)" = 0 ] || fail "$(due) are due"

note "a client that is killed between the end and the copy"
expect 0 gpurun -q host add h2 "127.0.0.1:${port[h2]}"
expect 0 gpurun -q host add far "127.0.0.1:${port[h1]}" --mirror h2
on_h2() { compgen -G "$work/h2/home/.local/share/gpurun-agent/renters/*/store/snaps/$1.manifest" >/dev/null; }
silence() { stop h2; spawn h2 "$(tool relay)" "${port[h2]}" 1 --silent; await 10 "the relay" grep -q ready "$work/h2.log"; }
speak() { stop h2; sshd h2; }
silence
client_bg "$work/c.out" "$work/c.err" --host far --name killed -- sh -c 'echo 8 >made' </dev/null
id=
killed_ended() { id=$(basename "$(grep -l '^name=killed$' "$client/gpurun/jobs"/j*)") && ended "$id"; }
await 60 "it to end" killed_ended
end_known() { grep -q '^exit_code=0$' "$client/gpurun/jobs/$id"; }
await 60 "the client to know" end_known
kill -KILL "$bg"
wait "$bg" || true
[ "$(due)" -ge 1 ] || fail "nothing is due"
note "the copy fails: said, told again by what looks at that host, not tried at every look"
run gpurun wait killed
[ "$rc" = 0 ] || fail "status $rc"
has 'no copy of the data on h2' "$work/err"
has 'gpurun snap mirror' "$work/err"
expect 0 gpurun ps
has 'the data of killed is only on far' "$work/err"
expect 0 gpurun --json ps
is '[(x["name"], x["n_failed"], x["error"]) for x in d["copies_due"]]' "[('killed', 1, 'link')]"
expect 101 gpurun -q snap mirror
has '1 copy is due still: the data of killed is only on far' "$work/err"
speak
expect 0 gpurun wait killed
has ' on far + h2, kept until' "$work/err"
on_h2 "$(left_by "$id")" || fail "no copy on h2"
[ "$(due)" = 0 ] || fail "$(due) are due"

note "a batch that was told to go before what it left was copied"
silence
client_bg "$work/c.out" "$work/c.err" run --array 1-1 --name told --host far --out out -- sh -c 'mkdir out; echo 9 >out/made' </dev/null
brought() { [ -s out/made ]; }
await 60 "what it brings" brought
told_known() { id=$(basename "$(grep -l '^name=told-1$' "$client/gpurun/jobs"/j*)") && grep -q '^exit_code=0$' "$client/gpurun/jobs/$id"; }
await 60 "its end" told_known
kill -TERM "$bg"
rc=0
wait "$bg" || rc=$?
[ "$rc" = 143 ] || fail "exit $rc: $(cat "$work/c.err")"
[ "$(due)" = 1 ] || fail "$(due) are due"
speak
expect 0 gpurun wait told-1
has ' on far + h2, kept until' "$work/err"
on_h2 "$(left_by "$id")" || fail "no copy on h2"
[ "$(due)" = 0 ] || fail "$(due) are due"

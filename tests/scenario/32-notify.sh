#!/bin/bash
# --notify here and --notify-host there: once for each thing worth telling, with the facts in
# variables, with no client alive, and for a job whose supervisor died. --snap-every.
# needs: pipe
# limit: 180
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
. "$(dirname "$0")/jobs.sh"

mkdir -p "$work/p"
cd "$work/p"
told=$work/told
cat >"$work/tell" <<'EOT'
#!/bin/sh
echo "this is no output of the job"
echo "$1 $GPURUN_EVENT $GPURUN_NAME $GPURUN_STATE $GPURUN_REASON $GPURUN_EXIT $GPURUN_COST $GPURUN_CAP" >>"$2"
EOT
chmod +x "$work/tell"
line() { grep -qF -- "$1" "$told"; }
count() { [ "$(grep -cF -- "$1" "$told")" = "$2" ] || fail "'$1' not $2 times: $(cat "$told")"; }

note "the end, here and there; stdout is the job's alone"
expect 3 gpurun --name a --notify "$work/tell here $told" --notify-host "$work/tell there $told" -- sh -c 'echo out; exit 3'
[ "$(cat "$work/out")" = out ] || fail "stdout: $(cat "$work/out")"
await 30 "told here" line "here ended a ended exited 3"
await 30 "told there" line "there ended a ended exited 3"
count "ended a" 2

note "a command that hangs is ended after a minute with all it started, as is seen below"
gpurun --name hang --notify "sleep 1000 & echo \$! >$work/hanging; sleep 1000; true" -- true 2>"$work/hang.err"
await 30 "it hangs" test -s "$work/hanging"
hanging=$(cat "$work/hanging")
kill -0 "$hanging" || fail "it does not hang"

note "one that takes long holds nobody up who waits for the end of our output"
began=$SECONDS
[ "$(gpurun -q --name long --notify "sleep 50" -- echo hi 2>/dev/null)" = hi ] || fail "not its output"
[ $((SECONDS - began)) -lt 45 ] || fail "held for $((SECONDS - began)) s"

note "one that fails is told of: here before the prompt, there in the job's record"
expect 0 gpurun --name bad --notify "no-such-$$" --notify-host "exit 7" -- true
has "--notify (ended) failed: 'no-such-$$' ended with exit code 127" "$work/err"
await 30 "put down there" grep -qF -- "--notify-host (ended) failed: 'exit 7' ended with exit code 7" "$(record bad)/supervisor.log"
expect 0 gpurun -q --notify "exit 3" -- true
[ ! -s "$work/err" ] || fail "-q speaks: $(cat "$work/err")"

note "the end of its data, by snap ls: at three days and at one, each once, of the end it has"
expect 0 gpurun -q snap ls
count "expires" 0
for days in 3 1; do
    expect 0 gpurun -q snap keep a --days $days
    expect 0 gpurun -q snap ls
    await 30 "told of $days" line "here expires-${days}d a ended exited 3"
    expect 0 gpurun -q snap ls
done
expect 0 gpurun -q snap keep a --days 15
expect 0 gpurun -q snap ls
expect 0 gpurun -q snap keep a --days 2
expect 0 gpurun -q snap ls
again() { [ "$(grep -c "here expires-3d a" "$told")" = 2 ]; }
await 30 "a new end has moments of its own" again
count "here expires-3d a" 2
count "here expires-1d a" 1

note "a job that cannot start"
expect 102 gpurun --name b --notify-host "$work/tell there $told" -- /no/such/program
await 30 "told of the failure" line "there failed b ended failed 102"

note "whoever tells, and of whatever: it is run with --env, and with the secrets while they are known"
# shellcheck disable=SC2016
with_env='echo "there $GPURUN_EVENT $GPURUN_NAME ${MINE:-none} ${KEY:-none}" >>'"$told"
env_run() { expect "$1" as_client KEY=secret "$BUILD/bin/gpurun" -q --env MINE=mine --secret KEY --notify-host "$with_env" "${@:2}"; }
env_run 0 --name e0 -- true
await 30 "told of the end" line "there ended e0 mine secret"
env_run 102 --name e1 --venv /no/such/venv -- true
await 30 "told of the failure" line "there failed e1 mine secret"
expect 102 as_client TMPDIR=/no/such KEY=secret "$BUILD/bin/gpurun" -q --name e2 --env MINE=mine --secret KEY --notify-host "$with_env" -- true
await 30 "told of a failure before there was an environment" line "there failed e2 mine secret"

note "half, four fifths and all of the cap, each once, with nobody connected"
owner price set cpu=3600 >/dev/null
expect 0 gpurun -q -d --name c --max-cost 12 --notify-host "$work/tell there $told" -- sleep 600
await 100 "told of its end" line "there ended c"
count "cost-50 c" 1
await 30 "told of four fifths" line "there cost-80 c"
count "cost-80 c" 1
count "cost-100 c" 1
grep -q 'there ended c ended cost 104 1[012]\...\? 12.00' "$told" || fail "the end by cost: $(cat "$told")"
note "who looks once, or ends it, is told nothing of its cap"
expect 0 gpurun -q -d --name c2 --max-cost 12 --notify-host "$work/tell there $told" -- sleep 600
await 60 "half of it" line "there cost-50 c2"
expect 0 gpurun logs c2
hasnt 'of the cap' "$work/err"
expect 137 gpurun stop --now c2
hasnt 'of the cap' "$work/err"
owner price set cpu=0 >/dev/null

note "ten minutes before a limit; not for what never had them"
expect 0 gpurun -q -d --name d --max-time 604s --notify-host "$work/tell there $told" -- sleep 600
expect 0 gpurun -q -d --name d2 --max-time 590s --notify-host "$work/tell there $told" -- sleep 600
await 60 "told of the limit" line "there limit d running"
expect 137 gpurun -q stop --now d
expect 137 gpurun -q stop --now d2
await 30 "told of the stop" line "there ended d2 ended stopped"
count "limit d" 1

note "who attaches goes on telling: what was told is not told again; a second one tells nothing"
client_bg "$work/o1" "$work/e1" --name g --max-time 604s --notify "$work/tell here $told" -- sleep 600 </dev/null
await 60 "told of the limit" line "here limit g running"
has 'gpurun extend' "$work/e1"
kill -9 "$bg"
wait "$bg" 2>/dev/null || true
client_bg "$work/o1" "$work/e1" attach g </dev/null
first=$bg
seen=$client/gpurun/jobs/$(basename "$(record g)").seen
# Looked at, not tried: who attaches just then would find it taken, and leave it to the other.
is_watched() { grep -q " FLOCK .*:$(stat -c %i "$seen") " /proc/locks; }
await 30 "it is watched" is_watched
client_bg "$work/o2" "$work/e2" attach g </dev/null
expect 137 gpurun -q stop --now g
wait "$first" "$bg" 2>/dev/null || true
await 30 "told of the end" line "here ended g ended stopped"
expect 137 gpurun attach g
count "limit g" 1
count "ended g" 1

note "a batch that lives tells for its jobs, whoever is attached; of one that is gone who attaches goes on"
echo "--name i --max-time 604s --notify '$work/tell here $told' -- sh -c 'echo out; sleep 600'" >jobs.txt
client_bg "$work/o1" "$work/e1" run --batch jobs.txt </dev/null
batch=$bg
await 60 "i runs" is i state running
client_bg "$work/o2" "$work/e2" attach i </dev/null
first=$bg
await 60 "told of the limit" line "here limit i running"
await 30 "its output is seen" grep -q out "$work/o2"
await 30 "it is said, too" grep -qF "gpurun extend" "$work/e2"
kill -9 "$batch" "$first"
wait "$batch" "$first" 2>/dev/null || true
client_bg "$work/o3" "$work/e3" attach i </dev/null
seen=$client/gpurun/jobs/$(basename "$(record i)").seen
await 30 "it is watched" is_watched
expect 137 gpurun -q stop --now i
wait "$bg" 2>/dev/null || true
await 30 "told of the end" line "here ended i ended stopped"
count "limit i" 1
count "ended i" 1
[ ! -s "$work/o3" ] || fail "its output once more: $(cat "$work/o3")"

note "a job whose supervisor dies is told of by who finds it"
expect 0 as_client KEY=secret "$BUILD/bin/gpurun" -q -d --name e --notify-host "$work/tell there $told; $with_env" --env MINE=mine --secret KEY -- sleep 600
await 60 "e runs" is e state running
kill -KILL "$(supervisor e)"
found_lost() { # not before its guard has gone, too
    owner tick
    settled "$1"
}
await 60 "e is found lost" found_lost e
await 30 "told of the loss" line "there lost e lost"
await 30 "with --env, and without the secret" line "there lost e mine none"
count "lost e lost" 1

note "--snap-every: the newest on the way is kept, and goes when the end is kept whole"
kept() { gpurun --json snap ls 2>/dev/null | /usr/bin/python3 -c '
import json, sys
print(sum(1 for s in json.load(sys.stdin)["snapshots"] if s["job"] == sys.argv[1]))' "$(basename "$(record f)")"; }
has_kept() { [ "$(kept)" = "$1" ]; }
marks() { grep -c 'snapshot on the way: s' "$(record f)/supervisor.log"; }
many_marks() { [ "$(marks)" -ge 2 ]; }
expect 0 gpurun -q -d --name f --snap-every 1s -- sh -c 'echo kept >file; sleep 600'
await 60 "snapshots on the way" many_marks
kill -KILL "$(supervisor f)"
await 60 "f is found lost" found_lost f
expect 105 gpurun -q wait f
expect 0 gpurun -q -d --name f2 --snap-every 1s -- sh -c 'echo kept >file; sleep 600'
f2_marks() { [ "$(grep -c 'snapshot on the way: s' "$(record f2)/supervisor.log")" -ge 2 ]; }
await 60 "snapshots on the way" f2_marks
expect 137 gpurun -q stop --now f2
id=$(basename "$(record f2)")
gpurun --json snap ls >"$work/out"
[ "$(grep -o "\"job\":\"$id\"" "$work/out" | wc -l)" = 1 ] || fail "f2 keeps $(grep -o "\"job\":\"$id\"" "$work/out" | wc -l) snapshots"

note "one that is not whole drops no whole one, and what snap keep was said of stays"
# Of f3, by the host's word: "N whole N partial NEWEST"
of_f3() { gpurun --json snap ls | /usr/bin/python3 -c '
import json, sys
l = [s for s in json.load(sys.stdin)["snapshots"] if s["job"] == sys.argv[1]]
n = sum(1 for s in l if s["partial"])
print(len(l) - n, "whole", n, "partial", l[0]["id"] if l else "none")' "$(basename "$(record f3)")"; }
has_f3() { [[ "$(of_f3)" = $1 ]]; }
others() { has_f3 "$1" && ! has_f3 "* $newest"; }
touch "$work/busy"
expect 0 gpurun -q -d --name f3 --snap-every 1s -- sh -c "echo kept >file
    while [ -e $work/busy ]; do sleep 0.1; done
    until [ -e $work/busy ]; do echo x >file; done
    sleep 600"
await 60 "a whole one" has_f3 "1 whole 0 partial *"
rm "$work/busy"
await 60 "one that is not" has_f3 "1 whole 1 partial *"
newest=$(of_f3)
newest=${newest##* }
await 60 "another that is not" others "1 whole 1 partial *"
touch "$work/busy"
await 60 "a whole one" has_f3 "1 whole 0 partial *"
keep_newest() { newest=$(of_f3) && newest=${newest##* } && gpurun -q snap keep "$newest" --days 40 >"$work/kept"; }
await 60 "it to be kept" keep_newest # before the next one takes its place
await 60 "a later one" others "2 whole 0 partial *"
expect 137 gpurun -q stop --now f3
has_f3 "2 whole 0 partial *" || fail "f3 keeps $(of_f3)"
expect 0 gpurun --json snap show "$newest"
has '"kept":true'

note "bad input"
expect 100 gpurun --notify '' -- true
expect 100 gpurun --notify-host '' -- true
expect 100 gpurun -d --notify id -- true
expect 100 gpurun --snap-every 0s -- true
expect 100 gpurun --snap-every soon -- true

note "the command that hung"
ended() { ! kill -0 "$hanging" 2>/dev/null; }
await 90 "what hung has ended" ended
await 30 "told of" grep -qF "took more than 60 s and was ended" "$work/hang.err"

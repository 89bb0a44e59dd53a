#!/bin/bash
# Half, four fifths and all of the cap: told once each, to the terminal and to --notify, and the end.
# needs: pipe
# limit: 240
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
mkdir "$work/proj"
cd "$work/proj"
echo 'echo up; sleep 300' >wait.sh
expect 0 gpurun -q host show local
expect 0 env -i PATH="$PATH" HOME="$client" GPURUN_AGENT_HOME="$client/gpurun/local" "$BUILD/bin/gpurun-agent" price set cpu=36
# A fen a second: the ticks, every 10 s, fall into each of the levels of 45.
# shellcheck disable=SC2016
tell='echo "$GPURUN_EVENT $GPURUN_NAME $((GPURUN_COST_FEN * 100 / GPURUN_CAP_FEN)) $GPURUN_REASON" >>'"$work/told; echo loud"
expect 104 gpurun --name one --max-cost 0.45 --notify "$tell" wait.sh
[ "$(cat "$work/out")" = up ] || fail "stdout is the job's alone: $(cat "$work/out")"
has "50 % of the cap" "$work/err"
has "80 % of the cap" "$work/err"
has loud "$work/err"
await 20 "the end is told" grep -q '^ended one' "$work/told"
for level in 50 80; do
    [ "$(grep -c "^cost-$level one" "$work/told")" = 1 ] || fail "$level: $(cat "$work/told")"
    set -- $(grep "^cost-$level one" "$work/told")
    [ "$3" -ge "$level" ] || fail "$level too early: $(cat "$work/told")"
done
[ "$(grep -c '^ended one' "$work/told")" = 1 ] || fail "$(cat "$work/told")"
grep -q '^ended one .* cost$' "$work/told" || fail "without its reason: $(cat "$work/told")"

note "a command that fails, or is none, harms nothing"
expect 0 gpurun -q --notify 'exit 3' -- true
expect 0 gpurun -q --notify /nonexistent -- true

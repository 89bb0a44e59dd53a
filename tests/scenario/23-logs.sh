#!/bin/bash
# Parts of a log: the last lines, lines since a moment, lines that match, and when each
# was written, while the job runs and after it.
# needs: pipe
. "$(dirname "$0")/lib.sh"

mkdir -p "$work/p"
cd "$work/p"
stamp='^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8}\.[0-9]{3} \+0000 '

note "lines are chosen from the end, by a pattern, and by stream"
expect 0 gpurun -q run --name five -- sh -c 'for i in 1 2 3 4 5; do echo "out $i"; echo "err $i" >&2; done; printf unfinished'
for n in 1 2 3 6 7; do
    expect 0 gpurun logs --stdout -n $n five
    { printf 'out %d\n' 1 2 3 4 5 && printf unfinished; } | tail -n $n | cmp - "$work/out" || fail "-n $n"
done
expect 0 gpurun logs --grep '[24]$' five
printf 'out %d\n' 2 4 | cmp - "$work/out" || fail "stdout of --grep"
printf 'err %d\n' 2 4 | cmp - "$work/err" || fail "stderr of --grep"
expect 0 gpurun logs --stdout --grep '^unf' five
printf unfinished | cmp - "$work/out" || fail "a line without its end"
expect 0 gpurun logs --stdout -n 3 --grep 5 five
echo "out 5" | cmp - "$work/out" || fail "-n is counted before --grep"
expect 0 gpurun logs --grep 'no such thing' five
[ ! -s "$work/out" ] && [ ! -s "$work/err" ] || fail "something was shown"

note "read as one, no stream goes on in the other's unfinished line; each by itself is as it was"
for _ in 1 2 3 4 5; do
    gpurun logs -n 2 five >"$work/both" 2>&1
    [ "$(LC_ALL=C sort "$work/both" | tr '\n' ,)" = "err 4,err 5,out 5,unfinished," ] || fail "mixed: $(cat "$work/both")"
done
expect 0 gpurun logs -n 1 five
printf unfinished | cmp - "$work/out" || fail "stdout alone"
expect 0 gpurun -q run --name endless -- sh -c 'head -c 2500000 /dev/zero | tr "\0" x'
gpurun logs endless >"$work/both" 2>&1
head -c 2500000 /dev/zero | tr '\0' x | cmp - "$work/both" || fail "a line longer than a MiB"

note "bytes that are no text pass unharmed"
expect 0 gpurun -q run --name odd -- printf 'a\0b\n\377\376\n\nend\n'
expect 0 gpurun logs --grep '' odd
printf 'a\0b\n\377\376\n\nend\n' | cmp - "$work/out" || fail "not the same bytes"
expect 0 gpurun logs --grep 'b$' odd
printf 'a\0b\n' | cmp - "$work/out" || fail "a line with a NUL"

note "lines come with the time they were written"
expect 0 gpurun logs --timestamps --stdout five
[ "$(grep -cE "${stamp}(out [1-5]|unfinished)\$" "$work/out")" = 6 ] || fail "six lines with times"
sed -E "s/$stamp//" "$work/out" >"$work/bare"
expect 0 gpurun logs --stdout five
cmp "$work/bare" "$work/out" || fail "and nothing else was changed"

note "a line that was written just now has its time, too"
mkfifo "$work/say"
# shellcheck disable=SC2016
expect 0 gpurun -q run -d --name fresh -- sh -c 'exec <"$1"; while read -r line; do echo "$line"; echo "$line" >&2; done' sh "$work/say"
exec 7>"$work/say"
shows() { [ "$(gpurun logs fresh 2>&1 | grep -cx "$1")" = 2 ]; }
for i in 1 2 3; do
    echo "line $i" >&7
    await 30 "the line" shows "line $i"
    expect 0 gpurun logs --timestamps fresh
    [ "$(grep -cE "${stamp}line [1-3]\$" "$work/out")" = "$i" ] || fail "out, line $i without its time: $(cat "$work/out")"
    [ "$(grep -cE "${stamp}line [1-3]\$" "$work/err")" = "$i" ] || fail "err, line $i without its time: $(cat "$work/err")"
done
exec 7>&-

note "a running job's lines, as they come, and since when"
mkfifo "$work/go0" "$work/go1" "$work/go2"
cat >steps.py <<PY
import time
for i in range(3):
    open("$work/go%d" % i).read()
    print("step", i, flush=True)
PY
expect 0 gpurun -q run -d --name steps -- /usr/bin/python3 steps.py
gpurun logs -f --timestamps --grep step steps >"$work/live" 2>&1 &
live=$!
count() { [ "$(grep -c "step [0-9]" "$work/live")" = "$1" ]; }
echo go >"$work/go0"
await 30 "the first step" count 1
between=$(date -u +%Y-%m-%dT%H:%M:%S.%NZ)
echo go >"$work/go1"
await 30 "the second step" count 2
echo go >"$work/go2"
await 30 "the third step" count 3
rc=0
wait $live || rc=$?
[ $rc = 0 ] || fail "logs -f ended with $rc"
[ "$(grep -cE "${stamp}step [0-2]\$" "$work/live")" = 3 ] || fail "three steps with times: $(cat "$work/live")"
expect 0 gpurun logs --since "$between" steps
printf 'step %d\n' 1 2 | cmp - "$work/out" || fail "since $between"
expect 0 gpurun logs --since 1h steps
printf 'step %d\n' 0 1 2 | cmp - "$work/out" || fail "since an hour"
expect 0 gpurun logs --since "$(date -u -d '+1 hour' +%Y-%m-%dT%H:%M:%SZ)" steps
[ ! -s "$work/out" ] || fail "nothing was written in the future"
has "is still to come" "$work/err"
expect 0 gpurun -q logs --since "$(date -u -d '+1 hour' +%Y-%m-%dT%H:%M:%SZ)" steps
[ ! -s "$work/err" ] || fail "-q speaks"

note "-n 0: nothing of what is there, and what comes then"
expect 0 gpurun logs -n 0 five
[ ! -s "$work/out" ] && [ ! -s "$work/err" ] || fail "something was shown"
# shellcheck disable=SC2016
expect 0 gpurun -q run -d --name later -- sh -c 'echo before; echo before >&2; until [ -e "$1" ]; do echo later; echo later >&2; sleep 0.1; done' sh "$work/enough"
was() { gpurun logs later 2>&1 | grep -qx before; }
await 30 "its first line" was
gpurun logs -n 0 -f later >"$work/live" 2>"$work/live.err" &
live=$!
await 30 "a later line" grep -qx later "$work/live"
await 30 "a later line of stderr" grep -qx later "$work/live.err"
touch "$work/enough"
rc=0
wait $live || rc=$?
[ $rc = 0 ] || fail "logs -n 0 -f ended with $rc"
hasnt before "$work/live"
hasnt before "$work/live.err"

note "what cannot be meant is refused"
expect 100 gpurun logs --grep '(' five
has "no regular expression" "$work/err"
expect 100 gpurun logs --since yesterday five
has "is no time" "$work/err"
expect 100 gpurun logs -n -1 five

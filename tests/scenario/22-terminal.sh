#!/bin/bash
# What only a terminal has: the question before a run above ask-above, a job's and a command's terminal
# of its own, a debugger in it.
# limit: 300
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
. "$(dirname "$0")/jobs.sh"

mkdir -p "$work/p"
cd "$work/p"
typed() { # [WAIT TYPE]... -- WORD...: gpurun at a terminal
    local script=()
    while [ "$1" != -- ]; do
        script+=("$1")
        shift
    done
    shift
    as_client TERM=xterm "$(tool pty_run)" "${script[@]}" -- "$BUILD/bin/gpurun" "$@"
}
expect 0 owner price set cpu=36

note "above ask-above a run asks; no is no, and nothing was started"
expect 101 typed 'It may cost up to ¥' n -- --max-time 2h -- true
has "Run it? [Y/n]"
has "not started, as you wished"
[ "$(ps_json | /usr/bin/python3 -c 'import json, sys; print(len(json.load(sys.stdin)["jobs"]))')" = 0 ] || fail "something was started"
expect 101 typed 'It may cost up to ¥' '^D' -- --max-time 2h -- true
run typed 'It may cost up to ¥' '^C' -- --max-time 2h -- true
[ "$rc" = 130 ] || fail "exit status $rc after ^C at the question"
expect 101 typed 'They may cost up to ¥' n -- run --array 1-2 --max-time 1h -- true
[ "$(ps_json | /usr/bin/python3 -c 'import json, sys; print(len(json.load(sys.stdin)["jobs"]))')" = 0 ] || fail "something was started"
note "yes, and return alone, are yes; another word is asked again"
expect 3 typed 'It may cost up to ¥' y -- --max-time 2h -- sh -c 'exit 3'
expect 3 typed 'It may cost up to ¥' '' -- --max-time 2h -- sh -c 'exit 3'
expect 3 typed 'It may cost up to ¥' perhaps '[Y/n]' yes -- --max-time 2h -- sh -c 'exit 3'
note "not below it, not with -y, not where the setting is higher, not off a terminal, and -q does not say yes"
not_asked() {
    run "$@"
    [ "$rc" = 3 ] || fail "exit status $rc: $*"
    hasnt "may cost up to"
}
not_asked typed -- --max-time 1h -- sh -c 'exit 3'
not_asked typed -- --max-time 2h --max-cost 49 -- sh -c 'exit 3'
not_asked typed -- -y --max-time 2h -- sh -c 'exit 3'
not_asked gpurun --max-time 2h -- sh -c 'exit 3'
expect 101 typed 'It may cost up to ¥' n -- -q --max-time 2h -- true
expect 0 gpurun config ask-above 1000
not_asked typed -- --max-time 2h -- sh -c 'exit 3'
expect 0 gpurun config ask-above 0
expect 101 typed 'It may cost up to ¥' n -- --max-time 1 -- true
expect 0 gpurun config ask-above 50

cat >debug.py <<'PY'
def f(x):
    y = x * 2
    breakpoint()
    return y
print("result", f(20))
PY
for t in $(transports); do
    use "$t"
    note "$t: a debugger at the job's terminal"
    expect 0 typed '(Pdb) ' 'p "y is", y' "('y is', 40)" 'y = 41' '(Pdb) ' c -- -q -y -t --host "$H" debug.py
    has "result 41"
    expect 1 typed '(Pdb) ' q -- -q -y -t --host "$H" debug.py
    has BdbQuit
    # ^C interrupts what is run there, and leads into the debugger; the job goes on.
    printf 'import time\nprint("runs", flush=True)\nn = 0\nwhile n < 100:\n    time.sleep(0.1)\n    n += 1\nprint("end", n)\n' >loop.py
    expect 0 typed '(Pdb) ' c 'runs' '^C' '(Pdb) ' 'n = 100' '(Pdb) ' c 'end' '' '(Pdb) ' q -- -q -y -t --host "$H" -- python3 -m pdb loop.py
    has "end 10"

    note "$t: exec -t: a terminal of its own in the job's environment, its size, ^C, and the code"
    rm -f "$work/enough-$t"
    # shellcheck disable=SC2016
    expect 0 gpurun -q -y -d --host "$H" --name "bg-$t" --env MARK=there -- sh -c 'until [ -e "$1" ]; do sleep 0.1; done' sh "$work/enough-$t"
    await 30 "the job" job_is "bg-$t" running
    # shellcheck disable=SC2016
    expect 7 typed '$ ' 'stty size; tty; echo $MARK $((40 + 2))' 'there 42' "sh -c 'echo st\"\"arted; exec sleep 1000'" started '^C' '$ ' 'exit 7' -- exec -t "bg-$t" -- env PS1='$ ' sh -i
    has "/dev/pts/"
    ! grep -q '^0 0' "$work/out" || fail "the terminal has no size"
    job_is "bg-$t" running || fail "the job is $(job_state "bg-$t")"
    expect 0 typed '>>> ' 'import os; print(os.isatty(0), os.environ["MARK"])' 'True there' 'exit()' -- exec -t "bg-$t" -- /usr/bin/python3 -i
    touch "$work/enough-$t"
    expect 0 gpurun -q wait "bg-$t"
done

note "what takes long shows how much is done, at what rate, and how long it may yet take"
# By a client whose clocks run fast: a second is over in the time that 200 MB take.
. "$(dirname "$0")/clocks.sh"
timed client
speed client 50
mkdir "$work/long"
head -c 200000000 /dev/urandom >"$work/long/f"
expect 0 gpurun -q snap take "$work/long" --name long
watched() { # WORD...: gpurun by these clocks at a terminal; what its line has shown, a row each, is in $work/shown
    # shellcheck disable=SC2046
    expect 0 as_client TERM=xterm "$(tool pty_run)" -- env $(clock_env client) GPURUN_TEST_SPEED=50 "$BUILD/bin/gpurun" "$@"
    tr '\r' '\n' <"$work/out" >"$work/shown"
}
size='[0-9.]+ [kMG]?B'
told() { grep -qE "$1: $size of $size, $size/s, ETA [0-9:]+\$" "$work/shown" || fail "no progress: $(cat "$work/shown")"; }
watched fsck
told 'local: reading what is kept'
watched snap verify long
told 'local: reading files'
watched snap get long -o "$work/back"
told 'writing'
cmp "$work/long/f" "$work/back/f"
use ssh
watched snap mirror long --host "$H"
grep -qE "copying: $size of at most $size, $size/s, ETA" "$work/shown" || fail "no progress of the copy: $(cat "$work/shown")"
watched fsck --host "$H"
told "$H: reading what is kept"
watched -q fsck
! grep -q ETA "$work/shown" || fail "in spite of -q: $(cat "$work/shown")"

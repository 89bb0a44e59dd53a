#!/bin/bash
# How a client can be told to go, or be left without what it needs: ^C once and twice, also
# while the link is gone, SIGHUP and SIGTERM, a closed stdout, a full disk, no stdin, a
# terminal. Each with its exit code; the job is harmed by none of it but the second ^C.
# limit: 240
# repeats
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"

mkdir -p "$work/p"
cd "$work/p"
cat >sig.py <<'PY'
# Counts the SIGINTs it gets; goes at SIGTERM.
import signal, time
n = 0
def got(s, f):
    global n
    n += 1
    print("int %d" % n, flush=True)
signal.signal(signal.SIGINT, got)
print("up", flush=True)
while True:
    time.sleep(0.1)
PY
says() { grep -q "$2" "$1"; }
begin_sig() { # NAME WORD...
    local name=$1
    shift
    client_bg "$work/o" "$work/e" "$@" --name "$name" -- /usr/bin/python3 sig.py </dev/null
    await 30 "the job is up" says "$work/o" up
}
# interrupt PID: ^C, which has been taken when this returns: two at the same moment would be one.
interrupt() {
    pending() { [ $((0x$(awk '/^ShdPnd/ { print $2 }' "/proc/$1/status") & 2)) != 0 ]; }
    taken() { ! pending "$1"; }
    kill -INT "$1"
    await 5 "the signal to be taken" taken "$1"
}
a_second() { /usr/bin/python3 -c 'import time; time.sleep(1.1)'; } # ^C after that is a first one again

for t in $(transports); do
    use "$t"
    note "$t: ^C is the job's, a second one a second later too; two at once stop it"
    begin_sig "int-$t" --host "$H"
    p=$bg
    kill -INT $p
    await 20 "the first" says "$work/o" 'int 1'
    a_second
    kill -INT $p
    await 20 "the second" says "$work/o" 'int 2'
    a_second
    kill -INT $p
    await 20 "the third" says "$work/o" 'int 3'
    a_second
    interrupt $p
    interrupt $p
    rc=0
    wait $p || rc=$?
    [ $rc = 143 ] || fail "status $rc: $(cat "$work/e")"
    has "stopping the job" "$work/e"
    [ "$(grep -c int "$work/o")" -le 4 ] || fail "$(cat "$work/o")"
    [ "$(job_field "int-$t" reason)" = stopped ] || fail "reason $(job_field "int-$t" reason)"

    note "$t: a full disk for stdout: 102, the job goes on, and nothing is lost"
    rc=0
    as_client "$BUILD/bin/gpurun" -q --host "$H" --name "full-$t" -- sh -c 'echo x; sleep 0.5; echo y; exit 3' >/dev/full 2>"$work/err" </dev/null || rc=$?
    [ $rc = 102 ] || fail "status $rc"
    has "No space left on device" "$work/err"
    has "gpurun attach full-$t" "$work/err"
    expect 3 gpurun -q attach "full-$t"
    [ "$(cat "$work/out")" = $'x\ny' ] || fail "attach saw $(cat "$work/out")"

    note "$t: a stderr that takes nothing harms nothing"
    rc=0
    as_client "$BUILD/bin/gpurun" --host "$H" -- sh -c 'echo x; echo z >&2; exit 4' >"$work/o" 2>/dev/full </dev/null || rc=$?
    [ $rc = 4 ] && [ "$(cat "$work/o")" = x ] || fail "status $rc: $(cat "$work/o")"

    note "$t: no stdin at all is an end of file"
    rc=0
    as_client "$BUILD/bin/gpurun" -q --host "$H" -- sh -c 'cat; echo END' >"$work/o" 2>"$work/err" <&- || rc=$?
    [ $rc = 0 ] && [ "$(cat "$work/o")" = END ] || fail "status $rc: $(cat "$work/o" "$work/err")"

    note "$t: a terminal that goes away"
    cat >"$work/hangup.sh" <<'SH'
mkfifo "$4"
exec 9<>"$4" # an input that does not end
"$1" -q --host "$2" --name "hup-$3" <"$4" -- sh -c 'echo here; read -r x; echo "got $x"' &
p=$!
i=0
until [ "$("$1" -q logs "hup-$3" 2>/dev/null)" = here ]; do
    i=$((i + 1)); [ $i -lt 200 ] || exit 1; sleep 0.1
done
kill -HUP $p
rc=0
wait $p || rc=$?
echo "hup $rc"
SH
    expect 0 as_client sh "$work/hangup.sh" "$BUILD/bin/gpurun" "$H" "$t" "$work/hup.$t"
    has "hup 129"
    job_is "hup-$t" running || fail "the job is $(job_state "hup-$t")"
    printf 'words\n' | gpurun -q attach "hup-$t" >"$work/o" || fail "attach: $?"
    [ "$(cat "$work/o")" = "got words" ] || fail "attach saw $(cat "$work/o")"

    note "$t: a terminal for the job: its size, one stream, ^C typed is its own"
    # shellcheck disable=SC2016
    expect 7 as_client "$(tool pty_run)" "ready" "^C" "again" "ok" -- "$BUILD/bin/gpurun" -q -t --host "$H" -- \
        sh -c 'trap "echo again" INT; stty size; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo ready; read -r x || read -r x; echo "typed $x"; exit 7'
    has "typed ok"
    ! grep -q '^0 0' "$work/out" || fail "the job's terminal has no size"
done

note "^C while the link is gone: told once it is back, each once"
use libssh
port[cold]=$(free_port)
spawn cold "$(tool relay)" "${port[cold]}" "${port[$H]}"
await 5 "the relay" grep -q ready "$work/cold.log"
echo "[127.0.0.1]:${port[cold]} $(cut -d' ' -f1,2 "$work/$H/host_key.pub")" >>"$client/.ssh/known_hosts"
expect 0 gpurun -q host add cold "127.0.0.1:${port[cold]}"
cut_cold() { # and thaw it
    local before
    before=$(grep -c '^passed' "$work/cold.log")
    over() { [ "$(grep -c '^passed' "$work/cold.log")" -gt "$before" ]; }
    kill -HUP "${pid[cold]}"
    await 10 "the connection is cut" over
    kill -USR2 "${pid[cold]}"
}
freeze_cold() { # nothing passes
    local before
    before=$(grep -c '^frozen' "$work/cold.log" || :)
    stands() { [ "$(grep -c '^frozen' "$work/cold.log")" -gt "$before" ]; }
    kill -USR1 "${pid[cold]}"
    await 10 "the line to stand still" stands
}
begin_sig cold --host cold
p=$bg
freeze_cold
kill -INT $p
a_second
cut_cold # what was on its way is lost
await 60 "the link to be back" says "$work/e" "is back"
await 20 "the interrupt" says "$work/o" 'int 1'
a_second
[ "$(grep -c int "$work/o")" = 1 ] || fail "$(cat "$work/o")"
note "and a stop: the second ^C"
freeze_cold
interrupt $p
interrupt $p
stopping() { says "$work/e" 'stopping the job'; }
await 10 "it says that it stops" stopping
cut_cold
rc=0
wait $p || rc=$?
[ $rc = 143 ] || fail "status $rc: $(cat "$work/e")"

#!/bin/bash
# Every exit status and signal is gpurun's own, and the output beside it: with EVERY=1 (make soak) on every
# transport. Without, libssh and the ssh binary take turns, and the pipe has every fifteenth: 69-many runs
# them all there.
# needs: pipe
# limit: 900
# repeats
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"

mkdir -p "$work/p"
cd "$work/p"
for t in $(transports); do
    use "$t"
    first=0 step=1
    if [ -z "${EVERY:-}" ]; then
        case $t in
        pipe) step=$((${SLOW:-1} > 1 ? 51 : 15)) ;;
        libssh) step=2 ;;
        ssh) first=1 step=2 ;;
        esac
    fi
    note "$t: exit statuses, from $first to 255 by steps of $step"
    for ((c = first; c <= 255; c += step)); do
        run gpurun -q --host "$H" -- sh -c "printf 'code $c'; printf e$c >&2; exit $c"
        [ "$rc" = "$c" ] || fail "$t: exit status $rc instead of $c"
        [ "$(cat "$work/out")/$(cat "$work/err")" = "code $c/e$c" ] || fail "$t: output of $c"
    done

    note "$t: signals 1 to 15"
    for ((s = 1; s <= 15; s++)); do
        run gpurun -q --host "$H" -- /usr/bin/python3 -c "
import os, signal
if $s != 9:
    signal.signal($s, signal.SIG_DFL)
os.write(1, b'until $s')
os.kill(os.getpid(), $s)"
        [ "$rc" = $((128 + s)) ] || fail "$t: exit status $rc for signal $s"
        [ "$(cat "$work/out")" = "until $s" ] || fail "$t: output before signal $s"
    done
done

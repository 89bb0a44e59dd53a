#!/bin/bash
# Every exit code and signal, byte for byte, on every transport.
# limit: 3600
. "$(dirname "$0")/../scenario/lib.sh"
. "$(dirname "$0")/../scenario/hosts.sh"

mkdir -p "$work/p"
cd "$work/p"
for t in $(transports); do
    use "$t"
    for c in $(seq 0 255); do
        run gpurun -q --host "$H" -- sh -c "printf 'code $c'; printf e$c >&2; exit $c"
        [ "$rc" = "$c" ] || fail "$t: exit status $rc instead of $c"
        [ "$(cat "$work/out")/$(cat "$work/err")" = "code $c/e$c" ] || fail "$t: output of $c"
    done
    for s in $(seq 1 15); do
        run gpurun -q --host "$H" -- sh -c "kill -$s \$\$"
        [ "$rc" = $((128 + s)) ] || fail "$t: exit status $rc for signal $s"
    done
done

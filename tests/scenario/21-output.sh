#!/bin/bash
# The job's stdout and stderr are gpurun's, byte for byte, on every transport.
# needs: pipe
# threads
# limit: 400
# repeats
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"

mkdir -p "$work/p"
cd "$work/p"
# Under a sanitizer (TRANSPORTS=pipe) an eighth of it: there every byte is looked at.
BIG_BYTES=${BIG_BYTES:-1073741824}
[ "${TRANSPORTS:-}" != pipe ] || BIG_BYTES=134217728

/usr/bin/python3 -c 'import sys; sys.stdout.buffer.write(bytes(range(256)) * 300 + b"no newline at the end")' >binary

for t in $(transports); do
    use "$t"
    note "$t: both streams apart, binary, without a last newline"
    rc=0
    gpurun -q --host "$H" -- sh -c 'cat; printf "err\0r" >&2' <binary >"$work/o" 2>"$work/e" || rc=$?
    [ $rc = 0 ] || fail "status $rc: $(cat "$work/e")"
    same binary "$work/o" "stdout"
    printf 'err\0r' | cmp - "$work/e" || fail "stderr: $(cat "$work/e")"

    note "$t: nothing at all, and an empty stdin is its end"
    expect 0 gpurun -q --host "$H" -- cat
    [ ! -s "$work/out" ] && [ ! -s "$work/err" ] || fail "something came out of nothing"

    note "$t: gpurun's own words are on stderr, behind its name, and silenced by -q"
    expect 0 gpurun --host "$H" -- sh -c 'echo out'
    [ "$(cat "$work/out")" = out ] || fail "stdout is $(cat "$work/out")"
    [ "$(grep -vc '^gpurun: ' "$work/err")" = 0 ] || fail "words without a name"
    has 'ended: exited 0' "$work/err"

    note "$t: stdout closed by its reader detaches with 141, and the job goes on"
    rc=0
    (gpurun -q --host "$H" --name "closed-$t" -- sh -c 'while :; do echo y; sleep 0.01; done' || echo $? >"$work/rc141") | head -n 1 >/dev/null
    [ "$(cat "$work/rc141")" = 141 ] || fail "status $(cat "$work/rc141") instead of 141"
    job_is "closed-$t" running || fail "the job is $(job_state "closed-$t")"
    expect 137 gpurun -q stop --now "closed-$t"
done

use pipe
note "a script that cannot be run is 102 when the host finds out"
expect 102 gpurun -q -- /no/such/program
has '/no/such/program' "$work/err"

head -c "$BIG_BYTES" /dev/zero | tr '\0' x | sha256sum >"$work/want"
for t in $(transports); do
    use "$t"
    note "$t: $BIG_BYTES bytes of output"
    gpurun -q --host "$H" -- sh -c "head -c $BIG_BYTES /dev/zero | tr '\0' 'x'" | sha256sum >"$work/sum"
    same "$work/sum" "$work/want" "the big output"
done

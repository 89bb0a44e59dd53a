#!/bin/bash
# Control and logs are never behind bulk data: while a large directory goes up, what is asked
# on the same connection is answered as if it were idle, also where the line is slow and
# everything on the way would gladly hold seconds of data.
# limit: 240
# repeats
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"

FAST_BYTES=${FAST_BYTES:-300000000}
# The slowest call of all says, beside other tests, how long a busy machine let a process wait: there all
# calls but one in a hundred are looked at; every one in `make soak`.
SLOWEST=${SLOWEST:-p99_ms}
SLOW_BYTES=60000000
mkdir -p "$work/fast" "$work/slow" "$work/inst/bin"
cp "$(tool bulk_latency)" "$work/inst/bin/" # it looks for agents beside itself
cp -r "$BUILD/lib" "$work/inst/"
head -c "$FAST_BYTES" /dev/urandom >"$work/fast/big"
head -c $SLOW_BYTES /dev/urandom >"$work/slow/big"
get() { sed -n "s/.*\b$1=\([0-9]*\).*/\1/p" "$work/out"; }
# measure HOST DIR BYTES P50_MS SLOWEST_MS
measure() {
    expect 0 as_client "$work/inst/bin/bulk_latency" "$1" "$2"
    note "$(cat "$work/out")"
    [ "$(get sent)" -ge "$3" ] || fail "only $(get sent) bytes were sent"
    [ "$(get calls)" -ge 10 ] || fail "only $(get calls) calls during the transfer"
    [ "$(get p50_ms)" -le "$4" ] || fail "half of the calls took more than $4 ms: $(cat "$work/out")"
    [ "$(get "$SLOWEST")" -le "$5" ] || fail "calls took more than $5 ms: $(cat "$work/out")"
}
for t in $(transports); do
    use "$t"
    rm -rf "$work/$H/home/.local/share/gpurun-agent/renters" "$client/gpurun/local/renters"
    expect 0 gpurun -q host show "$H"
    note "$t: $FAST_BYTES bytes as fast as they go"
    measure "$H" "$work/fast" "$FAST_BYTES" 250 3000
    [ "$t" != pipe ] || continue
    # 80 Mbit/s, 40 ms there and back, 4 MiB of buffers: 420 ms and more, if one let them fill.
    note "$t: over a slow line"
    port[slow]=$(free_port)
    spawn slow "$(tool relay)" "${port[slow]}" "${port[$H]}" --rate 10000 --delay 20
    await 5 "the relay" grep -q ready "$work/slow.log"
    know "$H" # under the relay's port
    echo "[127.0.0.1]:${port[slow]} $(cut -d' ' -f1,2 "$work/$H/host_key.pub")" >>"$client/.ssh/known_hosts"
    expect 0 gpurun -q host add slow "127.0.0.1:${port[slow]}"
    measure slow "$work/slow" $SLOW_BYTES 300 3000
    expect 0 gpurun -q host rm slow
    stop slow
done

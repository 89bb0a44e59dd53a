#!/bin/bash
# The link is cut while a large directory is shipped: the same run goes on by itself, sends
# only the rest, and the job sees every byte. The same for a client that died meanwhile.
# limit: 240
# repeats
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"

BYTES=64000000
CUT_BYTES=24000000
mkdir -p "$work/p"
cd "$work/p"
head -c $BYTES /dev/urandom >big
sum=$(sha256sum <big)
relay() { # NAME OPTION...: in front of $H, sets ${port[NAME]}
    local name=$1
    shift
    port[$name]=$(free_port)
    spawn "$name" "$(tool relay)" "${port[$name]}" "${port[$H]}" "$@"
    await 5 "relay $name" grep -q ready "$work/$name.log"
    echo "[127.0.0.1]:${port[$name]} $(cut -d' ' -f1,2 "$work/$H/host_key.pub")" >>"$client/.ssh/known_hosts"
}
passed() { awk '$1 == "passed" { n += $2 } END { print n + 0 }' "$work/$1.log"; }
last_passed() { sed -n 's/^passed //p' "$work/$1.log" | tail -n 1; }
connections() { [ "$(grep -c '^passed' "$work/$1.log")" -ge "$2" ]; }
for t in libssh ssh; do
    use $t
    relay cut --cut-after $CUT_BYTES
    expect 0 gpurun -q host add cut "127.0.0.1:${port[cut]}"
    note "$t: cut each $CUT_BYTES bytes of $BYTES"
    expect 0 gpurun --host cut --max-time 10m -- sh -c 'sha256sum <big'
    [ "$(cat "$work/out")" = "$sum" ] || fail "the job saw other bytes"
    has "is back" "$work/err"
    await 20 "the last connection to be over" connections cut $((1 + BYTES / CUT_BYTES + 1))
    note "$t: $(passed cut) bytes went over the line"
    [ "$(passed cut)" -lt $((BYTES * 135 / 100)) ] || fail "$(passed cut) bytes for $BYTES"
    expect 0 gpurun -q host rm cut
    stop cut

    note "$t: the client is killed in the middle; the next one sends the rest"
    head -c $BYTES /dev/urandom >big
    sum=$(sha256sum <big)
    # 10 MB/s, so that there is a middle.
    relay slow --rate 10000
    expect 0 gpurun -q host add slow "127.0.0.1:${port[slow]}"
    store=$work/$H/home/.local/share/gpurun-agent
    stored() { du -sb "$store" | cut -f1; }
    before=$(stored)
    client_bg "$work/o" "$work/e" -q --host slow --name dead -- sh -c 'sha256sum <big' </dev/null
    p=$bg
    half_way() { [ "$(stored)" -gt $((before + BYTES / 2)) ]; }
    await 30 "half of it is there" half_way
    kill -USR1 "${pid[slow]}" # frozen
    [[ $(leftovers) =~ "gpurun-agent supervise" ]] || fail "no supervisor is ready for when all is there"
    kill -KILL $p
    wait $p 2>/dev/null || true
    kill -USR2 "${pid[slow]}"
    await_none 30 'gpurun-agent supervise' # it got no job, so it went, and its guard too
    expect 0 gpurun -q --host slow -- sh -c 'sha256sum <big'
    [ "$(cat "$work/out")" = "$sum" ] || fail "the job saw other bytes"
    await 20 "the last connection to be over" connections slow 3
    note "$t: $(last_passed slow) bytes were left to send"
    [ "$(last_passed slow)" -lt $((BYTES * 60 / 100)) ] || fail "$(last_passed slow) bytes for the rest of $BYTES"
    [ "$(job_state dead)" = "" ] || fail "a job that was never submitted is $(job_state dead)"
    expect 0 gpurun -q host rm slow
    stop slow
done

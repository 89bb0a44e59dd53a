#!/bin/bash
# An upload or a download that is cut goes on where it was, over both transports.
# limit: 240
# repeats
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"

relay() { # NAME TARGET_PORT OPTION...: sets ${port[NAME]}
    local name=$1 target=$2
    shift 2
    port[$name]=$(free_port)
    spawn "$name" "$(tool relay)" "${port[$name]}" "$target" "$@"
    await 10 "relay $name" grep -q ready "$work/$name.log"
}

mkdir "$work/p"
cd "$work/p"
head -c 12000000 /dev/urandom >big
mkdir small
for i in $(seq 300); do
    head -c 5000 /dev/urandom >"small/f$i"
done
want=$(find . -type f | LC_ALL=C sort | xargs sha256sum)
check='find . -type f | LC_ALL=C sort | xargs sha256sum'

for t in ${TRANSPORTS:-libssh ssh}; do
    use "$t"
    # Every connection through it ends after 4.5 MB from the client: no attempt carries all.
    relay "cut-$t" "${port[$H]}" --cut-after 4500000
    echo "[127.0.0.1]:${port[cut-$t]} $(cut -d' ' -f1,2 "$work/$H/host_key.pub")" >>"$client/.ssh/known_hosts"
    expect 0 gpurun -q host add "cut-$t" "127.0.0.1:${port[cut-$t]}"
    note "$t: a cut upload"
    began=$SECONDS
    expect 0 gpurun -v --host "cut-$t" -- sh -c "$check"
    [ "$(cat "$work/out")" = "$want" ] || fail "$t: another tree than was shipped"
    note "$t: took $((SECONDS - began)) s"
    n=$(grep -c 'Accepted publickey' "$work/$H/log")
    [ "$n" -ge 4 ] || fail "$t: only $n connections: nothing was cut"
    note "$t: and now it is there: nothing is sent"
    expect 0 gpurun -v --host "cut-$t" -- sh -c "$check"
    has 'shipped: 0 chunks sent, 40 bytes' "$work/err"

    note "$t: the client killed in the middle; what had arrived is not sent again"
    mkdir -p "$work/q-$t"
    cd "$work/q-$t"
    head -c 20000000 /dev/urandom >other
    relay "slow-$t" "${port[$H]}" --delay 20
    echo "[127.0.0.1]:${port[slow-$t]} $(cut -d' ' -f1,2 "$work/$H/host_key.pub")" >>"$client/.ssh/known_hosts"
    expect 0 gpurun -q host add "slow-$t" "127.0.0.1:${port[slow-$t]}"
    arrived() { # more of it than 4 MB lies in packs
        [ "$(du -cb "$work/$H"/home/.local/share/gpurun-agent/renters/*/store/packs | tail -n 1 | cut -f1)" -gt "$1" ]
    }
    have=$(du -cb "$work/$H"/home/.local/share/gpurun-agent/renters/*/store/packs | tail -n 1 | cut -f1)
    client_bg "$work/o" "$work/e" -q --host "slow-$t" -- true </dev/null
    p=$bg
    await 60 "the first megabytes" arrived $((have + 4000000))
    kill -9 $p
    wait $p 2>/dev/null || true
    served() { ! pgrep -f "$work/$H/home.*serve" >/dev/null; }
    await 30 "the server to end" served
    expect 0 gpurun -v --host "slow-$t" -- sha256sum other
    [ "$(cut -d' ' -f1 "$work/out")" = "$(sha256sum other | cut -d' ' -f1)" ] || fail "$t: not what was shipped"
    sent=$(sed -n 's/.* \([0-9]*\) bytes on the wire.*/\1/p' "$work/err")
    [ "$sent" -lt 17500000 ] || fail "$t: $sent bytes were sent again"
    note "$t: $sent of 20,000,000 bytes were left"
    cd "$work/p"

    note "$t: a cut download"
    expect 0 gpurun -q --host "$H" --name "make-$t" -- sh -c 'head -c 9000000 /dev/urandom >made; sha256sum <made'
    made=$(cat "$work/out")
    kill -HUP "${pid[slow-$t]}"
    client_bg "$work/o" "$work/e" -q snap get "make-$t" made -o "$work/made-$t" </dev/null
    p=$bg
    rc=0
    wait $p || rc=$?
    [ $rc = 0 ] || fail "$t: the download: $(cat "$work/e")"
    [ "$(sha256sum <"$work/made-$t")" = "$made" ] || fail "$t: the download differs"
done
[ -z "$(ls -A "$client/gpurun/tmp" 2>/dev/null)" ] || fail "left in tmp: $(ls "$client/gpurun/tmp")"

#!/bin/bash
# Agents on the host: one that is damaged under its own name is named, and how to mend it; an older one
# that has a job running stays beside the new one, and both are talked to. Shells that print,
# MaxSessions 1, RekeyLimit 1M: with the real client and a real job.
# limit: 200
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"

mkdir -p "$work/p"
cd "$work/p"
echo 'echo ran; exit 6' >job.sh
echo 'while :; do echo tick; sleep 0.1; done' >long.sh
# Another release of gpurun: the same client with an agent of another hash.
cp -r "$BUILD/bin" "$BUILD/lib" "$work/" 2>/dev/null || true
mkdir "$work/next"
cp -r "$BUILD/bin" "$BUILD/lib" "$work/next/"
rm -rf "$work/bin" "$work/lib"
printf 'another release' >>"$work/next/lib/gpurun/agent/$arch/gpurun-agent"
next() { as_client "$work/next/bin/gpurun" "$@"; }
says() { grep -q "$2" "$1"; }

for t in libssh ssh; do
    use $t
    bin=$work/$H/home/.local/share/gpurun-agent/bin
    ours=$(echo "$bin"/*/gpurun-agent)
    note "$t: an older agent runs a job; a newer client comes"
    client_bg "$work/o" "$work/e" -q --host "$H" --name "old-$t" -- sh long.sh </dev/null
    old=$bg
    await 30 "the old one's job" says "$work/o" tick
    expect 6 next -q --host "$H" -- sh job.sh
    has ran
    [ "$(find "$bin" -name gpurun-agent | wc -l)" = 2 ] || fail "not two agents: $(ls "$bin")"
    cmp -s "$ours" "$BUILD/lib/gpurun/agent/$arch/gpurun-agent" || fail "the old agent was touched"
    expect 0 next -q logs --stdout "old-$t"
    has tick
    expect 143 next -q stop "old-$t"
    rc=0
    wait $old || rc=$?
    [ $rc = 143 ] || fail "the old client: status $rc: $(cat "$work/e")"

    note "$t: an agent that was damaged on the host"
    # Cut short as by a disk that lost it: it has the name, but is not that.
    size=$(stat -c %s "$ours")
    rm "$ours"
    head -c $((size / 2)) "$BUILD/lib/gpurun/agent/$arch/gpurun-agent" >"$ours"
    chmod 700 "$ours"
    expect 101 gpurun -q --host "$H" -- sh job.sh
    has "remove ~/.local/share/gpurun-agent/bin/$(basename "$(dirname "$ours")")" "$work/err"
    rm -r "$(dirname "$ours")"
    expect 6 gpurun -q --host "$H" -- sh job.sh
    has ran
    cmp "$ours" "$BUILD/lib/gpurun/agent/$arch/gpurun-agent" || fail "it was not mended"
done

note "a shell that prints a megabyte, MaxSessions 1, RekeyLimit 1M"
sshd noisy -- "MaxSessions 1" "RekeyLimit 1M"
authorize noisy
know noisy
cat >"$work/noisy/home/.bashrc" <<'RC'
head -c 1000000 /dev/zero | tr '\0' '~'
echo on stderr >&2
RC
head -c 12000000 /dev/urandom >big
for t in libssh ssh; do
    use $t
    expect 0 gpurun -q host add "noisy-$t" "127.0.0.1:${port[noisy]}"
    expect 0 gpurun -q --host "noisy-$t" -- cat big
    same "$work/out" big "what came back"
done

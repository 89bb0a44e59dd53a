#!/bin/bash
# A link that is gone for longer than the lease lasts, to the host and to the operator's book: the
# host ends its jobs by time and by cost with nobody there and tells the book what they came to;
# when the link is back, the renter's bill, the owner's earnings and the book agree to the fen.
# needs: root
# repeats
# limit: 240
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
book() { env -i PATH="$PATH" HOME="$work/op/home" LC_ALL=C.UTF-8 TZ=UTC "$BUILD/bin/gpurun-book" "$@"; }
owner() { env -i PATH="$PATH" HOME="$work/far/home" LC_ALL=C.UTF-8 TZ=UTC GPURUN_SSH="$work/far/ssh" "$BUILD/bin/gpurun-agent" "$@"; }
mkdir -p "$work/far" "$work/op/home/.ssh" "$work/p"
cd "$work/p"
printf '#!/bin/sh\nexec ssh -F %s "$@"\n' "$work/far/ssh_config" >"$work/far/ssh"
chmod 755 "$work/far/ssh"
printf 'IdentityFile %s\nUserKnownHostsFile %s\n' "$work/far/login" "$work/far/known" >"$work/far/ssh_config"
ssh-keygen -q -t ed25519 -N '' -C far -f "$work/far/login"
sshd op -- "AuthorizedKeysFile $work/op/home/.ssh/authorized_keys"
sshd far -- "SetEnv HOME=$work/far/home GPURUN_SSH=$work/far/ssh"
echo "[127.0.0.1]:${port[op]} $(cut -d' ' -f1,2 "$work/op/host_key.pub")" >"$work/far/known"
client_key
authorize far
# The renter's way to both leads through relays; the host's to the book does not.
declare -A way=()
for s in op far; do
    way[$s]=$(free_port)
    spawn "way-$s" "$(tool relay)" "${way[$s]}" "${port[$s]}"
    await 20 "the relay" grep -q ready "$work/way-$s.log"
    echo "[127.0.0.1]:${way[$s]} $(cut -d' ' -f1,2 "$work/$s/host_key.pub")" >>"$client/.ssh/known_hosts"
done
link() { # SIGNAL
    kill -"$1" "${pid[way-op]}" "${pid[way-far]}"
}
expect 0 owner price set cpu=36 disk=10
expect 0 book key
expect 0 owner book allow "$(cat "$work/out")" --name acme
expect 0 owner book reach acme "127.0.0.1:${port[op]}"
expect 0 owner book ls --json
expect 0 book host add far "$(json 'd["host_key"]')" --ssh-key "$work/far/login.pub"
expect 0 book fee 10
expect 0 book allow "$client/.ssh/id_ed25519.pub" --name ann
expect 0 book deposit ann 100
expect 0 gpurun -q host add far "127.0.0.1:${way[far]}"
expect 0 gpurun -q wallet use "127.0.0.1:${way[op]}"
printf 'head -c 1000000 /dev/urandom >data; echo up; i=0; while :; do i=$((i + 1)); echo $i; sleep 0.5; done\n' >count.sh

note "two jobs are up: one ends by its time, one by its cap"
client_bg "$work/o1" "$work/e1" run --name timed --max-time 20s --max-cost 9 count.sh </dev/null
timed=$bg
client_bg "$work/o2" "$work/e2" run --name capped --max-cost 0.15 count.sh </dev/null
capped=$bg
await 60 "the first is up" grep -q up "$work/o1"
await 60 "the second is up" grep -q up "$work/o2"

note "the link is gone, and the leases end"
link USR1
jobs=$(echo "$work"/far/home/.local/share/gpurun-agent/renters/*/jobs)
ended() { [ "$(cat "$jobs"/*/state | grep -c '^state=ended')" = 2 ]; }
await 90 "the host to have ended both" ended
cat "$jobs"/*/state | grep '^reason=' | sort | tr '\n' ' ' >"$work/out"
has "reason=cost reason=time"
gone "$timed" && fail "the client of the first has gone: $(cat "$work/e1")"
gone "$capped" && fail "the client of the second has gone: $(cat "$work/e2")"
expect 0 owner earnings --json
is 'sorted(j["reason"] for j in d["jobs"])' "['cost', 'time']"
earned=$(json 'sum(j["charge_fen"] for j in d["jobs"])')
told() { book balance ann --json >"$work/out" && [ "$(json 'sum(h["for"] == "run" for h in d["holds"])')" = 0 ]; }
await 60 "the host to have told the book" told
[ "$(json 'd["balance_fen"]')" = $((10000 - earned)) ] || fail "the book has $(json 'd["balance_fen"]'), the host $earned"
expect 0 book audit --json
is 'd["charges_fen"]' "$earned"

note "the link is back: each client hears how its job ended, and all of its output"
link HUP
link USR2
rc=0
wait "$timed" || rc=$?
[ $rc = 104 ] || fail "status $rc of the first: $(cat "$work/e1")"
rc=0
wait "$capped" || rc=$?
[ $rc = 104 ] || fail "status $rc of the second: $(cat "$work/e2")"
for o in 1 2; do
    /usr/bin/python3 -c '
import sys
got = open(sys.argv[1]).read().split()
assert got == ["up"] + [str(i + 1) for i in range(len(got) - 1)] and len(got) > 8, got' "$work/o$o" || fail "output of job $o"
done
charges=0
for j in timed capped; do
    expect 0 gpurun --json bill $j
    charges=$((charges + $(json 'd["charge_fen"]')))
    expect 0 gpurun bill --verify $j --all
done
[ "$charges" = "$earned" ] || fail "the renter's bills come to $charges fen, the owner's to $earned"
expect 0 gpurun --json wallet
is 'd["balance_fen"]' $((10000 - earned))
expect 0 gpurun --json audit
is 'd["right"], d["charge_fen"]' "(True, $earned)"
expect 0 owner audit --json
is 'd["right"], d["charge_fen"]' "(True, $earned)"
expect 0 book audit --json
is 'd["right"], d["charges_fen"], d["owners_fen"] + d["fee_fen"] == d["charges_fen"]' "(True, $earned, True)"
note "$earned fen, by all three"

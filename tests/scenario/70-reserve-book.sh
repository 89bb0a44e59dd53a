#!/bin/bash
# Reservations paid by an operator's book: the fee, other devices for the rest of the time, what
# goes back to what paid, a client killed at any point of buying, a host that says no, and a
# book that is not there. The book, the owner and the renter agree to the fen.
# needs: root
# limit: 240
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
book() { env -i PATH="$PATH" HOME="$work/op/home" LC_ALL=C.UTF-8 TZ=UTC "$BUILD/bin/gpurun-book" "$@"; }
owner() { env -i PATH="$PATH" HOME="$work/far/home" LC_ALL=C.UTF-8 TZ=UTC "$BUILD/bin/gpurun-agent" "$@"; }
funds() { # BALANCE HELD
    expect 0 gpurun --json wallet
    is 'd["balance_fen"], d["held_fen"]' "($1, $2)"
}

sshd op -- "AuthorizedKeysFile $work/op/home/.ssh/authorized_keys"
mkdir -p "$work/op/home/.ssh"
sshd far
client_key
authorize far
know far
know op
rows=$work/far/home/.local/share/gpurun-agent/devices.d
mkdir -p "$rows"
chmod 700 "$work/far/home/.local/share/gpurun-agent"
: >"/dev/shm/beta1-$$"
: >"/dev/shm/beta2-$$"
: >"/dev/shm/gamma1-$$"
at_end() { rm -f /dev/shm/beta[12]-$$ /dev/shm/gamma1-$$ /run/lock/gpurun-devices/{beta-beta[12],gamma-gamma1}-$$.lock; }
for k in beta gamma; do
    printf 'gpurun.class.v1\n\nclass=asic\nvendor=%s\ndetect=nodes\nnode=/dev/shm/%s[12]-%s\ntype=%s\n' $k $k $$ $k >"$rows/$k.conf"
done
expect 0 owner price set asic:beta=3.60 asic:gamma=7.20
expect 0 owner price set asic:beta/day=24 asic:gamma/day=48
expect 0 book key
key=$(cat "$work/out")
expect 0 owner book allow "$key" --name acme
expect 0 owner book own no --json
expect 0 owner book ls --json
expect 0 book host add far "$(json 'd["host_key"]')"
expect 0 book fee 10
expect 0 gpurun -q host add far "127.0.0.1:${port[far]}"
expect 0 book allow "$client/.ssh/id_ed25519.pub" --name ann
expect 0 gpurun -q wallet use "127.0.0.1:${port[op]}"
expect 0 book deposit ann 100

note "bought out of the book: the owner is credited, less the fee"
expect 0 gpurun -q reserve --device asic:beta --day
id=$(cat "$work/out")
funds 7600 0
expect 0 book host ls --json
is 'd["hosts"][0]["due_fen"]' 2160
expect 0 gpurun --json wallet log
is '[x["kind"] for x in d][-2:]' "['hold', 'settle']"

note "a run of nothing is the book's as well, where the owner takes no other word"
expect 0 gpurun -q --name inside --device asic:beta -- true
expect 0 gpurun --json bill inside
is 'd["charge_fen"]' 0
expect 0 gpurun bill --verify inside
funds 7600 0

note "up for the rest of the time, and down again: the difference, both ways the same"
expect 0 gpurun -q --json reserve switch "$id" --device asic:gamma
is 'd["type"], len(d["devices"])' "('gamma', 1)"
up=$(json 'd["events"][1]["charge_fen"]')
{ [ "$up" -le 2400 ] && [ "$up" -gt 2390 ]; } || fail "up costs $up fen"
funds $((7600 - up)) 0
expect 0 gpurun --json plan --device asic:beta:2 -- true
is 'd["reservation"]' None
expect 0 gpurun --json plan --device asic:gamma -- true
is 'd["reservation"]' "$id"
expect 0 gpurun -q --json reserve switch "$id" --device asic:beta:2
is 'd["type"], len(d["devices"])' "('beta', 2)"
is '[e["charge_fen"] + e["refund_fen"] for e in d["events"]][2]' 0
expect 0 gpurun -q --json reserve switch "$id" --device asic:beta
down=$(json 'd["events"][3]["refund_fen"]')
{ [ "$down" -le "$up" ] && [ "$down" -gt $((up - 10)) ]; } || fail "down brings $down fen"
funds $((7600 - up + down)) 0

note "the host says no: nothing is held"
client_bg "$work/o1" "$work/e1" run --device asic:gamma --max-cost 5 --name busy -- sh -c 'echo up; sleep 600' </dev/null
await 60 "the job is up" grep -q up "$work/o1"
before=$(gpurun --json wallet | /usr/bin/python3 -c 'import json, sys; d = json.load(sys.stdin); print(d["balance_fen"], d["held_fen"])')
expect 100 gpurun -q reserve --device asic:gamma --day
expect 101 gpurun -q reserve switch "$id" --device asic:gamma
now=$(gpurun --json wallet | /usr/bin/python3 -c 'import json, sys; d = json.load(sys.stdin); print(d["balance_fen"], d["held_fen"])')
[ "$now" = "$before" ] || fail "held $now after a no, before $before"
run gpurun -q stop --now busy
wait "$bg" || true
expect 0 gpurun --json bill busy
all=$((10000 - $(json 'd["charge_fen"]'))) # what is not spent on runs
ls "$client/gpurun/reservations" >"$work/out"
hasnt .order
hasnt .tell

note "a client that is killed while it buys: bought once, or not at all"
renewing() {
    (exec nice -n 19 env -i PATH="$PATH" HOME="$client" GPURUN_HOME="$client/gpurun" LC_ALL=C.UTF-8 TZ=UTC \
        "$BUILD/bin/gpurun" -q reserve renew "$id") >/dev/null 2>&1 </dev/null &
    victim=$!
}
settled_once() { # what was left behind is brought to an end: no fen is held or lost
    expect 0 gpurun -q reserve ls
    ! ls "$client/gpurun/reservations" | grep -E '\.(order|tell)$' || fail "left behind"
    expect 0 gpurun --json reserve show "$id"
    paid=$(json 'd["paid_fen"]')
    expect 0 gpurun --json wallet
    is 'd["balance_fen"] + '"$paid, d[\"held_fen\"]" "($all, 0)"
}
left=0
for ms in 0 20 40 70 100; do # after the order was written down
    renewing
    until [ -e "$client/gpurun/reservations/$id.order" ] || gone $victim; do :; done
    [ $ms = 0 ] || sleep "$(printf '0.%03d' $ms)"
    kill -KILL $victim 2>/dev/null || true
    wait $victim 2>/dev/null || true
    [ ! -e "$client/gpurun/reservations/$id.order" ] || left=$((left + 1))
    settled_once
    echo "   killed $ms ms after the order: paid $paid"
    [ "$paid" -lt 7000 ] || break
done
[ $left -gt 0 ] || fail "no kill hit an order under way"

note "a book that is not there: nothing is ordered"
stop op
run gpurun -q reserve renew "$id"
[ "$rc" = 101 ] || fail "status $rc without a book"
sshd op -- "AuthorizedKeysFile $work/op/home/.ssh/authorized_keys"
expect 0 gpurun -q reserve ls

note "given back; all of it agrees"
expect 0 gpurun -q --json reserve refund "$id"
paid=$(json 'd["paid_fen"]')
funds $((all - paid)) 0
expect 0 gpurun --json audit
is 'd["right"], d["reserved_fen"]' "(True, $paid)"
expect 0 book audit --json
is 'd["right"], d["charges_fen"] >= '"$paid" '(True, True)'
is 'd["owners_fen"] + d["fee_fen"] == d["charges_fen"] and d["renters_fen"] + d["charges_fen"] == 10000' True
expect 0 owner audit --json
is 'd["right"], d["reserved_fen"]' "(True, $paid)"

note "broken by its owner: the job on it ends in order, the rest of the time goes back"
expect 0 gpurun -q reserve --device asic:gamma --day
second=$(cat "$work/out")
expect 2 owner reservation
expect 1 owner reservation break
expect 1 owner reservation break v000000000000
expect 1 owner reservation ls --dry-run
client_bg "$work/o2" "$work/e2" run --device asic:gamma --name held -- sh -c 'echo up; sleep 600' </dev/null
await 60 "the job is up" grep -q up "$work/o2"
expect 0 owner reservation ls
has "$second"
expect 0 owner reservation break "$second" --dry-run --json
is 'd["refund_fen"] > 4790, d["reservation"]["state"], d["stopped"]' "(True, 'active', [])"
expect 0 owner reservation break "$second" --json
due=$(json 'd["refund_fen"]')
is 'd["reservation"]["state"], len(d["stopped"]), d["reservation"]["paid_fen"]' "('broken', 1, $((4800 - due)))"
{ [ "$due" -gt 4790 ] && [ "$due" -le 4800 ]; } || fail "$due fen go back"
expect 1 owner reservation break "$second"
wait "$bg" && fail "the job went on"
expect 0 gpurun --json bill held
is 'd["charge_fen"], d["reason"]' "(0, 'owner')"
# The renter hears of it when it next asks that host, and its book with it.
expect 0 gpurun --json plan --device asic:gamma -- true
is 'd["reservation"], d["price_uyuan_per_h"]' "(None, 7200000)"
has "has broken reservation $second" "$work/err"
expect 0 gpurun --json plan --device asic:gamma -- true
hasnt "broken" "$work/err"
expect 0 gpurun --json reserve show "$second"
is 'd["state"], d["paid_fen"], d["events"][-1]["act"]' "('broken', $((4800 - due)), 'break')"
expect 101 gpurun -q reserve renew "$second"
expect 0 gpurun bill
has "broken by the owner"
funds $((all - paid - 4800 + due)) 0
paid=$((paid + 4800 - due))
expect 0 gpurun --json audit
is 'd["right"], d["reserved_fen"]' "(True, $paid)"
expect 0 book audit --json
is 'd["right"]' True
expect 0 owner audit --json
is 'd["right"], d["reserved_fen"]' "(True, $paid)"

note "another's chain, or a changed one, is not taken"
chain=$work/op/home/.local/share/gpurun-book/reservations/$id
[ -s "$chain" ] || fail "the book has no chain"
cmp "$chain" "$client/gpurun/reservations/$id"
cmp "$chain" "$work/far/home/.local/share/gpurun-agent/reservations/$id"
sed 's/act=refund/act=change/' "$chain" >"$chain.new"
mv "$chain.new" "$chain"
expect 1 book audit
has "$id" "$work/out"

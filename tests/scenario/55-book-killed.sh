#!/bin/bash
# An operator's book and its renter, killed at every write: what was acknowledged stands, nothing is
# held or paid twice, and the hold of a run that its host never heard of is given back.
# needs: root
# limit: 240
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
sshd op -- "AuthorizedKeysFile $work/op/home/.ssh/authorized_keys"
mkdir -p "$work/op/home/.ssh"
keys=$work/op/home/.ssh/authorized_keys
book() { env -i PATH="$PATH" HOME="$work/op/home" LC_ALL=C.UTF-8 TZ=UTC "$BUILD/bin/gpurun-book" "$@"; }
owner() { env -i PATH="$PATH" HOME="$work/h1/home" LC_ALL=C.UTF-8 TZ=UTC "$BUILD/bin/gpurun-agent" "$@"; }
client_key
sshd h1
know op
know h1
authorize h1
expect 0 gpurun -q host add h1 "127.0.0.1:${port[h1]}"
expect 0 book key
expect 0 owner book allow "$(cat "$work/out")"
expect 0 owner book own no
expect 0 owner price set cpu=36
expect 0 owner book ls --json
expect 0 book host add h1 "$(json 'd["host_key"]')"
expect 0 book allow "$client/.ssh/id_ed25519.pub" --name ann
expect 0 book deposit ann 20
expect 0 gpurun wallet use "127.0.0.1:${port[op]}"
cp "$keys" "$work/keys"
# The book is killed right before its N-th sync of anything of its own.
deadly() { sed "s#command=\"#command=\"env LD_PRELOAD=$BUILD/tests/libs/dieat.so ASAN_OPTIONS=verify_asan_link_order=0 DIE_AT=sync:gpurun-book:$1 #" "$work/keys" >"$keys"; }
alive_again() { cp "$work/keys" "$keys"; }
mkdir "$work/proj"
cd "$work/proj"
printf 'import sys, time\nprint("up", flush=True)\ntime.sleep(float(sys.argv[1]))\n' >busy.py
held() {
    expect 0 gpurun --json wallet
    json 'd["held_fen"]'
}

note "the renter is killed between the book's grant and the host: given back by the host's word"
run as_client LD_PRELOAD="$BUILD/tests/libs/dieat.so" DIE_AT=rename:/jobs/j:2 \
    ASAN_OPTIONS=verify_asan_link_order=0 "$BUILD/bin/gpurun" run --name orphan --host h1 --max-cost 3 busy.py 0
[ "$rc" = 137 ] || fail "not killed there: $rc: $(cat "$work/err")"
expect 0 book balance ann --json
is 'd["held_fen"]' 300
lease=$(json 'd["holds"][0]["lease"]')
stop h1
expect 0 gpurun wallet
has "job j" "$work/err"
expect 0 book balance ann --json
is 'd["held_fen"]' 300
sshd h1
[ "$(held)" = 0 ] || fail "still held"
[ -f "$work"/h1/home/.local/share/gpurun-agent/renters/*/declined/"$lease" ] || fail "the host has not declined it"
[ -z "$(ls "$client/gpurun/pending" | grep -v lock)" ] || fail "still pending"

note "the book is killed while it grants: nothing is begun, or all of it is"
reached=0
for n in 1 2 3 4 5 6 7; do
    deadly $n
    run gpurun -q --host h1 --max-cost 2 --name g$n busy.py 0
    alive_again
    case $rc in
    0) ;; # it was dead only behind its answer
    101) reached=$((reached + 1)); has "the book at" "$work/err" ;;
    *) fail "status $rc: $(cat "$work/err")" ;;
    esac
    [ "$(held)" = 0 ] || fail "held after a death at sync $n: $(cat "$work/out")"
done
[ $reached -ge 2 ] || fail "it was killed $reached times only"

note "the book is killed while it settles: once, sooner or later"
reached=0
for n in 1 2 3 4 5 6 7 8; do
    client_bg "$work/o$n" "$work/e$n" run --host h1 --max-cost 2 --name s$n busy.py 1 </dev/null
    await 60 "the job is up" grep -q up "$work/o$n"
    deadly $n
    wait "$bg" || fail "status $?: $(cat "$work/e$n")"
    alive_again
    ! grep -q 'cannot be reached' "$work/e$n" || reached=$((reached + 1))
    [ "$(held)" = 0 ] || fail "held after a death at sync $n: $(cat "$work/out")"
done
[ $reached -ge 3 ] || fail "it was killed $reached times only"
expect 0 gpurun --json bill
spent=$(json 'sum(b["charge_fen"] for b in d["bills"])')
runs=$(json 'len(d["bills"])')
expect 0 gpurun --json wallet
is 'd["balance_fen"], d["waiting"]' "($((2000 - spent)), 0)"
expect 0 book audit --json
is 'd["right"], d["charges_fen"], d["receipts"]' "(True, $spent, $runs)"
[ -z "$(ls "$work/op/home/.local/share/gpurun-book/incoming")" ] || note "left in incoming: $(ls "$work/op/home/.local/share/gpurun-book/incoming" | wc -l)"

#!/bin/bash
# An operator's book: two renters, two hosts, one book over a real sshd. Grants cover the whole cap
# and never more than there is; receipts pay the owners; what is forged, late, another's or under a
# used id is refused; a book that is not there is an error that names it.
# needs: root
# limit: 240
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"

# The operator's account, and two owners'.
sshd op -- "AuthorizedKeysFile $work/op/home/.ssh/authorized_keys"
mkdir -p "$work/op/home/.ssh"
book() { env -i PATH="$PATH" HOME="$work/op/home" LC_ALL=C.UTF-8 TZ=UTC "$BUILD/bin/gpurun-book" "$@"; }
owner() { # HOST WORD...
    local at=$1
    shift
    env -i PATH="$PATH" HOME="$work/$at/home" LC_ALL=C.UTF-8 TZ=UTC "$BUILD/bin/gpurun-agent" "$@"
}
renter() { # NAME: become it
    client=$work/$1
    [ -d "$client/.ssh" ] || { mkdir -p "$client/.ssh" "$work/p-$1"; chmod 700 "$client" "$client/.ssh"; client_key; }
    cd "$work/p-$1"
    printf 'import sys, time\nprint("up", flush=True)\ntime.sleep(float(sys.argv[1]))\n' >busy.py
}
funds() { # BALANCE HELD, of the renter at hand
    expect 0 gpurun --json wallet
    is 'd["balance_fen"], d["held_fen"], d["free_fen"]' "($1, $2, $(($1 - $2)))"
}

expect 0 book key
key=$(cat "$work/out")
for h in h1 h2; do
    sshd $h
    expect 0 owner $h price set cpu=36
    expect 0 owner $h book ls --json
    is 'd["own"], d["books"]' "(True, [])"
    host_key=$(json 'd["host_key"]')
    expect 0 book host add $h "$host_key" --json
    is 'len(d["hosts"])' "${h#h}"
done
expect 0 book fee 10
for r in ann bob; do
    renter $r
    know op
    expect 0 book allow "$client/.ssh/id_ed25519.pub" --name $r
    for h in h1 h2; do
        authorize $h
        know $h
        expect 0 gpurun -q host add $h "127.0.0.1:${port[$h]}"
    done
done

note "what is no account, key, amount or name"
expect 1 book allow "$work/ann/.ssh/id_ed25519" --name x
expect 1 book allow "$work/ann/.ssh/id_ed25519.pub" --name bob
note "a book that has as many accounts as it may takes no more, and goes on"
full() { env -i PATH="$PATH" HOME="$work/op/home" GPURUN_BOOK_HOME="$work/full" LC_ALL=C.UTF-8 "$BUILD/bin/gpurun-book" "$@"; }
cp "$work/op/home/.ssh/authorized_keys" "$work/keys-before"
expect 0 full allow "$work/ann/.ssh/id_ed25519.pub" --name ann
/usr/bin/python3 -c '
import sys
for i in range(99999):
    open("%s/%016x" % (sys.argv[1], i), "w").close()' "$work/full/accounts"
expect 0 full allow "$work/ann/.ssh/id_ed25519.pub" --name anna
expect 1 full allow "$work/bob/.ssh/id_ed25519.pub" --name bob
has 'accounts: a book keeps 100000 of them: another one, with a GPURUN_BOOK_HOME of its own, takes the next' "$work/err"
cp "$work/keys-before" "$work/op/home/.ssh/authorized_keys"
rm -r "$work/full"
for bad in 1.005 -1 0 x; do
    expect 1 book deposit ann -- "$bad"
done
expect 1 book deposit nobody 5
expect 1 book host add h3 nokey
expect 1 book fee 100.01
expect 1 owner h1 book allow nokey
expect 1 owner h1 book own maybe
expect 0 book balance ann --json
is 'd["balance_fen"]' 0

note "a renter names the book; its key is pinned"
renter ann
expect 0 gpurun wallet use "127.0.0.1:${port[op]}"
[ "$(cat "$work/out")" = "$key" ] || fail "another key"
funds 0 0
expect 101 gpurun wallet topup 5
expect 0 book deposit ann 10 --ref bank-1
expect 0 book deposit ann 10 --ref bank-1 --json
is 'd["repeated"]' True
expect 1 book deposit ann 11 --ref bank-1
grep -q "was used for something else\$" "$work/err" || fail "with a name for programs: $(cat "$work/err")"
expect 1 book deposit ann 11 --ref bank-1 --json
has idempotency_key_mismatch "$work/err"
expect 1 book statement ann --month 2026-13
grep -q 'a month looks like 2026-11$' "$work/err" || fail "with a name for programs: $(cat "$work/err")"
expect 1 book deposit bob 10 --ref bank-1
funds 1000 0

note "an owner that does not take it says so before anything is held"
expect 101 gpurun -q --host h1 --max-cost 1 busy.py 0
has "does not take grants of the book" "$work/err"
funds 1000 0
for h in h1 h2; do
    expect 0 owner $h book allow "$key" --name acme
    expect 0 owner $h book own no --json
    is 'd["own"], d["books"][0]["name"]' "(False, 'acme')"
done

note "a run: its cap is held, the receipt pays the owner and the fee, the rest is free"
client_bg "$work/o1" "$work/e1" run --host h1 --name one --max-cost 8 -- \
    sh -c 'echo up; sleep 1; until [ -e "$1" ]; do sleep 0.1; done' sh "$work/enough" </dev/null
await 60 "the job is up" grep -q up "$work/o1"
expect 0 gpurun --json wallet
is 'd["held_fen"], d["free_fen"], d["holds"][0]["name"]' "(800, 200, 'one')"
expect 101 gpurun -q --host h2 --max-cost 2.01 busy.py 0
has "free for you" "$work/err"
touch "$work/enough"
wait "$bg" || fail "status $?: $(cat "$work/e1")"
expect 0 gpurun --json bill one
charge=$(json 'd["charge_fen"]')
[ "$charge" -gt 0 ] || fail "it cost nothing"
funds $((1000 - charge)) 0
expect 0 book host ls --json
is '[h["due_fen"] for h in d["hosts"] if h["name"] == "h1"][0]' $((charge - charge / 10))
expect 0 gpurun --json bill --verify one
ledger=$work/op/home/.local/share/gpurun-book/ledger
lease=$(/usr/bin/python3 -c '
import sqlite3, sys
print(sqlite3.connect(sys.argv[1]).execute("SELECT lease FROM lease").fetchone()[0])' "$ledger")

note "the same receipt again changes nothing; one of another's book, or changed, is refused"
receipt=$work/op/home/.local/share/gpurun-book/receipts/$lease
cp "$receipt" "$work/receipt"
expect 0 book receive "$work/receipt" --json
is 'd["closed"][0]["repeated"], d["closed"][0]["charge_fen"]' "(True, $charge)"
/usr/bin/python3 - "$work/receipt" "$work/forged" <<'PY'
import sys
b = bytearray(open(sys.argv[1], "rb").read())
b[b.rindex(b"charge=") + 7] ^= 1
open(sys.argv[2], "wb").write(b)
PY
expect 1 book receive "$work/forged"
has "record" "$work/err"
mkdir "$work/other"
expect 0 env -i HOME="$work/other" "$BUILD/bin/gpurun-book" key
expect 1 env -i HOME="$work/other" "$BUILD/bin/gpurun-book" receive "$work/receipt"
funds $((1000 - charge)) 0

note "the other renter has an account of its own, and cannot spend this one's"
renter bob
expect 101 gpurun -q --host h1 --max-cost 1 busy.py 0
has "only grants of an operator's book" "$work/err"
expect 0 gpurun wallet use "127.0.0.1:${port[op]}"
funds 0 0
expect 101 gpurun -q --host h1 --max-cost 1 busy.py 0
expect 0 book deposit bob 3.50
funds 350 0
expect 0 gpurun -q --host h2 --max-cost 3.50 busy.py 0
expect 0 gpurun --json bill @last
bob=$((350 - $(json 'd["charge_fen"]')))
funds $bob 0

note "many at once: what is held never passes what there is"
renter ann
left=$((1000 - charge))
each=$((left / 2 - 1))
text=$((each / 100)).$(printf %02d $((each % 100)))
crowd=()
for i in 1 2 3 4; do
    (rc=0; gpurun -q --host h$((i % 2 + 1)) --name many$i --max-cost "$text" busy.py 3 >"$work/m$i" 2>&1 </dev/null || rc=$?; echo $rc >"$work/rc$i") &
    crowd+=($!)
done
wait "${crowd[@]}"
[ "$(cat "$work"/rc[1-4] | sort | tr '\n' ' ')" = "0 0 101 101 " ] || fail "statuses: $(cat "$work"/rc[1-4] | tr '\n' ' ') $(cat "$work"/m[1-4])"
/usr/bin/python3 - "$ledger" <<'PY' || fail "more was held than there was"
import sqlite3, sys
balance = {}
held = {}
for w, cash, h in sqlite3.connect(sys.argv[1]).execute("SELECT wallet, cash, held FROM entry ORDER BY n"):
    balance[w] = balance.get(w, 0) + cash
    held[w] = held.get(w, 0) + h
    assert 0 <= held[w] <= balance[w], (w, held[w], balance[w])
PY

note "extend: the book holds the rest, or says no"
expect 0 gpurun --json wallet
free=$(json 'd["free_fen"]')
client_bg "$work/o2" "$work/e2" run --host h1 --name two --max-cost 1 busy.py 600 </dev/null
await 60 "the job is up" grep -q up "$work/o2"
expect 0 gpurun extend two --max-cost 2
expect 0 gpurun --json wallet
is 'd["held_fen"]' 200
expect 0 gpurun extend two --max-cost 2.10
expect 101 gpurun extend two --max-cost 100
has "does not cover" "$work/err"
expect 143 gpurun -q stop two
wait "$bg" 2>/dev/null || true
expect 0 gpurun --json wallet
is 'd["held_fen"]' 0

note "no book there: an error that names it, nothing is begun; and the books agree"
stop op
expect 101 gpurun -q --host h1 --max-cost 1 busy.py 0
has "the book at 127.0.0.1:${port[op]} cannot be reached" "$work/err"
expect 101 gpurun --json wallet
sshd op -- "AuthorizedKeysFile $work/op/home/.ssh/authorized_keys"
expect 0 book audit --json
is 'd["right"], d["receipts"], d["charges_fen"] == d["owners_fen"] + d["fee_fen"]' "(True, 5, True)"
expect 0 book revoke bob
renter bob
expect 101 gpurun -q --host h1 --max-cost 0.50 busy.py 0
expect 0 book refund bob "$((bob / 100)).$(printf %02d $((bob % 100)))"
expect 1 book refund bob 0.01
expect 0 book audit
has "all of it agrees"

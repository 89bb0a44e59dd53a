#!/bin/bash
# Bad input to those who count money: a ledger of a newer program (the owner's, a book's), a receipt of
# another host, a journal of random bytes, amounts that are none. Each is refused with its words, and not
# a byte of any ledger or receipt is changed.
# needs: pipe
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
use pipe
mkdir "$work/p" "$work/op"
cd "$work/p"
home=$client/gpurun/local
kept=$work/op/.local/share/gpurun-book
owner() { env -i PATH="$PATH" HOME="$client" LC_ALL=C.UTF-8 GPURUN_AGENT_HOME="$home" "$BUILD/bin/gpurun-agent" "$@"; }
book() { env -i PATH="$PATH" HOME="$work/op" LC_ALL=C.UTF-8 "$BUILD/bin/gpurun-book" "$@"; }
set_version() { /usr/bin/python3 -c 'import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute("PRAGMA user_version = " + sys.argv[2])' "$1" "$2"; }
bytes() { (cd "$1" && find . -type f -not -name '*.lock' -exec sha256sum {} + | LC_ALL=C sort -k 2); }
# left_alone DIR CODE WORDS COMMAND...: that status and words, and every file of DIR as it was.
left_alone() {
    local dir=$1 code=$2 words=$3 before
    shift 3
    before=$(bytes "$dir")
    expect "$code" "$@"
    has "$words" "$work/err"
    [ "$(bytes "$dir")" = "$before" ] || fail "changed: $* $(diff <(echo "$before") <(bytes "$dir"))"
}
expect 0 gpurun -q host show local
expect 0 owner price set cpu=36
expect 0 gpurun -q wallet topup 10
expect 0 gpurun -q --max-cost 1 --name one -- sleep 1.1
expect 0 gpurun --json bill one
one=$(json 'd["job"]')
expect 0 owner audit
expect 0 owner earnings
cp "$work/out" "$work/earned"
ssh-keygen -q -t ed25519 -N '' -C ann -f "$work/ann"
expect 0 book key
expect 0 book allow "$work/ann.pub" --name ann
expect 0 book deposit ann 10
receipt=$client/gpurun/receipts/$one

note "an owner's ledger of a newer program"
[ -s "$home/ledger" ] || fail "the owner has no ledger"
cp "$home/ledger" "$work/ledger"
set_version "$home/ledger" 99
newer=$(sha256sum <"$home/ledger")
for word in audit tick; do
    expect 1 owner $word
    has "update this one" "$work/err"
    [ "$(sha256sum <"$home/ledger")" = "$newer" ] || fail "$word changed it"
    [ ! -e "$home/ledger-journal" ] || fail "$word began to write"
done
cp "$work/ledger" "$home/ledger"
expect 0 owner earnings
same "$work/out" "$work/earned" "what was earned"

note "a book's"
set_version "$kept/ledger" 99
left_alone "$kept" 1 "version 99" book balance ann
left_alone "$kept" 1 "version 99" book deposit ann 5
left_alone "$kept" 1 "version 99" book statement ann
left_alone "$kept" 1 "version 99" book audit
left_alone "$kept" 1 "version 99" book voucher add ann 1
set_version "$kept/ledger" "$(/usr/bin/python3 -c 'import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute("PRAGMA user_version").fetchone()[0])' "$work/ledger")"
expect 0 book balance ann --json
is 'd["balance_fen"]' 1000

note "amounts and prices that are none"
for bad in 1.005 -1 0 1e3 0.0000001; do
    left_alone "$kept" 1 "gpurun-book deposit: " book deposit ann -- "$bad"
done
for bad in cpu=-1 cpu=1.0000001 cpu=1e3; do
    left_alone "$home" 1 "gpurun-agent price: " owner price set -- "$bad"
done

note "a journal of random bytes, and one with random bytes in it"
head -c 5000 /dev/urandom >"$work/random"
{
    cat "$receipt"
    head -c 500 /dev/urandom
} >"$work/behind"
for f in random behind; do
    left_alone "$kept" 1 record book receive "$work/$f"
    left_alone "$client/gpurun/receipts" 101 record gpurun bill --verify "$work/$f"
done
cp "$receipt" "$work/true"
cp "$work/random" "$receipt"
left_alone "$client/gpurun/receipts" 101 "record 1: no frame begins here" gpurun bill --verify one
left_alone "$client/gpurun/receipts" 101 "$one" gpurun bill
expect 101 gpurun audit
cp "$work/true" "$receipt"

note "a receipt of another host, in the place of the true one"
mine=$client
client=$work/else
mkdir -p "$client"
expect 0 gpurun -q host show local
home=$client/gpurun/local
expect 0 owner price set cpu=36
expect 0 gpurun -q --max-cost 1 --name two -- sleep 1.1
expect 0 gpurun --json bill two
other=$client/gpurun/receipts/$(json 'd["job"]')
client=$mine
home=$client/gpurun/local
cp "$other" "$receipt"
expect 101 gpurun bill --verify one
expect 101 gpurun audit
cp "$work/true" "$receipt"
left_alone "$kept" 1 "another book's key" book receive "$other"
left_alone "$kept" 1 "another book's key" book receive "$receipt"
expect 0 gpurun bill --verify one --all
expect 0 gpurun audit
expect 0 owner audit
expect 0 book audit

note "a renter's own: a run that would be held in it says so once, and changes nothing of it"
expect 0 gpurun -q wallet topup 5
set_version "$client/gpurun/ledger" 99
newer=$(sha256sum <"$client/gpurun/ledger")
for n in 1 2; do
    run gpurun -q run --max-cost 1 --array 1-$n -- true
    [ "$rc" != 0 ] || fail "it ran without what holds its money"
    [ "$(cat "$work/out" "$work/err" | grep -c 'update this one')" = $n ] || fail "told not once a job: $(cat "$work/err")"
    [ "$(sha256sum <"$client/gpurun/ledger")" = "$newer" ] || fail "it was changed"
done
expect 101 gpurun -q run --max-cost 1 -- true
[ "$(grep -c 'update this one' "$work/err")" = 1 ] || fail "told not once: $(cat "$work/err")"

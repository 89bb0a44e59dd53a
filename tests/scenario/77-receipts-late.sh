#!/bin/bash
# Receipts and lines of keeping that come to an operator's book by hand: late, out of order, twice, in
# pieces, from several hands at once, another's among them. Its sums are those of the book that had them
# in their order from the renter's client.
# needs: root
# repeats
# limit: 180
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
book() { env -i PATH="$PATH" HOME="$work/op/home" LC_ALL=C.UTF-8 TZ=UTC "$BUILD/bin/gpurun-book" "$@"; }
copy() { env -i PATH="$PATH" HOME="$work/op/home" GPURUN_BOOK_HOME="$work/$1" LC_ALL=C.UTF-8 TZ=UTC "$BUILD/bin/gpurun-book" "${@:2}"; } # WHICH WORD...
owner() { env -i PATH="$PATH" HOME="$work/far/home" LC_ALL=C.UTF-8 TZ=UTC "$BUILD/bin/gpurun-agent" "$@"; }
sshd op -- "AuthorizedKeysFile $work/op/home/.ssh/authorized_keys"
mkdir -p "$work/op/home/.ssh" "$work/p"
cd "$work/p"
sshd far
client_key
authorize far
know far
know op
expect 0 owner price set cpu=36 job=0.013 disk=300
expect 0 book key
expect 0 owner book allow "$(cat "$work/out")"
expect 0 owner book ls --json
expect 0 book host add far "$(json 'd["host_key"]')"
expect 0 book fee 7.5
expect 0 gpurun -q host add far "127.0.0.1:${port[far]}"
expect 0 book allow "$client/.ssh/id_ed25519.pub" --name ann
expect 0 gpurun -q wallet use "127.0.0.1:${port[op]}"
expect 0 book deposit ann 100

note "four jobs with nobody there to settle them"
jobs=()
for i in 1 2 3 4; do
    expect 0 gpurun -q -d --name "j$i" --max-cost "$((4 + i))" -- sh -c "head -c ${i}00000 /dev/urandom >data; until [ -e $work/go$i ]; do sleep 0.1; done; sleep 1.$i"
    jobs+=("$(cat "$work/out")")
done
dirs=$(echo "$work"/far/home/.local/share/gpurun-agent/renters/*/jobs)
runs() { grep -q '^state=running' "$dirs/$1/state"; }
for j in "${jobs[@]}"; do
    await 60 "$j runs" runs "$j"
done
mkdir "$work/r"
cp "$dirs/${jobs[0]}/usage" "$work/r/early"
for i in 1 2 3 4; do
    : >"$work/go$i"
done
for i in 0 1 2 3; do
    await 60 "${jobs[i]} has ended" grep -q '^state=ended' "$dirs/${jobs[i]}/state"
    cp "$dirs/${jobs[i]}/usage" "$work/r/receipt-$((i + 1))"
done
for c in reverse twice shuffled; do
    cp -r "$work/op/home/.local/share/gpurun-book" "$work/$c"
done

note "in their order, by the client; then two let their data go"
for i in 1 2 3 4; do
    expect 0 gpurun -q bill "j$i"
done
for i in 1 3; do
    expect 0 gpurun -q snap rm "${jobs[i - 1]}"
    cp "$dirs/${jobs[i - 1]}/keeping" "$work/r/keeping-$i"
done
expect 0 book balance --json
cp "$work/out" "$work/sums"
expect 0 book balance ann --json
cp "$work/out" "$work/sums-ann"
is 'd["balance_fen"] < 10000, len(d["holds"]), d["held_fen"] > 0' '(True, 2, True)'
expect 0 book audit --json
cp "$work/out" "$work/audit"
cd "$work/r"
stands() { # WHICH: as the one in order, to the fen and the lease
    expect 0 copy "$1" balance --json
    same "$work/out" "$work/sums" "the sums of the book, $1"
    expect 0 copy "$1" balance ann --json
    same "$work/out" "$work/sums-ann" "the renter's sums, $1"
    expect 0 copy "$1" audit --json
    same "$work/out" "$work/audit" "the audit, $1"
}

note "before its end, cut off, and before its receipt: refused, and nothing moves"
expect 0 copy reverse balance --json
cp "$work/out" "$work/before"
head -c -100 receipt-1 >cut
cat receipt-1 receipt-2 >both
: >empty
for bad in early cut both empty keeping-1 keeping-3; do
    expect 1 copy reverse receive $bad
done
expect 0 copy reverse balance --json
same "$work/out" "$work/before" "the book after what it has refused"

note "backwards"
for f in receipt-4 receipt-3 keeping-3 receipt-2 receipt-1 keeping-1; do
    expect 0 copy reverse receive $f --json
    is 'd["closed"][0]["repeated"]' False
done
stands reverse

note "each twice and thrice"
expect 0 copy twice receive receipt-2 receipt-2 receipt-1 receipt-1 keeping-1 receipt-1 keeping-1 receipt-3 receipt-4 keeping-3 --json
is '[c["repeated"] for c in d["closed"]]' '[False, True, False, True, False, True, True, False, False, False]'
stands twice
expect 0 copy twice receive receipt-* keeping-* --json
is 'all(c["repeated"] for c in d["closed"])' True
stands twice

note "by three hands at once, and one that is refused in between"
hands=()
for order in "receipt-1 receipt-2 receipt-3 receipt-4" "receipt-4 receipt-3 receipt-2 receipt-1" "receipt-2 receipt-4 receipt-1 receipt-3"; do
    # shellcheck disable=SC2086
    (copy shuffled receive $order >/dev/null 2>"$work/hand-${order:8:1}") &
    hands+=($!)
done
expect 1 copy shuffled receive early
for p in "${hands[@]}"; do
    wait "$p" || fail "one of several hands: $(cat "$work"/hand-*)"
done
expect 0 copy shuffled receive keeping-3 keeping-1
stands shuffled

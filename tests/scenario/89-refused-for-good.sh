#!/bin/bash
# What an operator's book will never take its host says once, and sends no more until the owner wants
# it; what the book cannot take just now it sends again. And a lease that came to nothing is free by
# the host's word alone.
# needs: root
# limit: 180
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
book() { env -i PATH="$PATH" HOME="$work/op/home" LC_ALL=C.UTF-8 TZ=UTC "$BUILD/bin/gpurun-book" "$@"; }
owner() { env -i PATH="$PATH" HOME="$work/far/home" LC_ALL=C.UTF-8 TZ=UTC GPURUN_SSH="$work/far/ssh" "$BUILD/bin/gpurun-agent" "$@"; }
stands() { # BALANCE HELD: of ann, in the book, with nobody asking for her
    expect 0 book balance ann --json
    is 'd["balance_fen"], d["held_fen"]' "($1, $2)"
}
refused() { # N: things that the book is known to have refused
    expect 0 owner book ls --json
    is 'len(d["books"][0]["refused"])' "$1"
}
mkdir -p "$work/far" "$work/op/home/.ssh" "$work/p"
cd "$work/p"
printf '#!/bin/sh\nexec ssh -F %s "$@"\n' "$work/far/ssh_config" >"$work/far/ssh"
chmod 755 "$work/far/ssh"
printf 'IdentityFile %s\nUserKnownHostsFile %s\nGlobalKnownHostsFile /dev/null\n' "$work/far/login" "$work/far/known" >"$work/far/ssh_config"
ssh-keygen -q -t ed25519 -N '' -C far -f "$work/far/login"
sshd op -- "AuthorizedKeysFile $work/op/home/.ssh/authorized_keys"
sshd far -- "SetEnv HOME=$work/far/home GPURUN_SSH=$work/far/ssh"
client_key
authorize far
know far
know op
echo "[127.0.0.1]:${port[op]} $(cut -d' ' -f1,2 "$work/op/host_key.pub")" >"$work/far/known"
expect 0 owner price set cpu=36
expect 0 book key
expect 0 owner book allow "$(cat "$work/out")" --name acme
cp -r "$work/op/home/.local/share/gpurun-book" "$work/stranger"
expect 0 owner book reach acme "127.0.0.1:${port[op]}" --json
host_key=$(json 'd["host_key"]')
expect 0 book host add far "$host_key" --ssh-key "$work/far/login.pub"
expect 0 book allow "$client/.ssh/id_ed25519.pub" --name ann
expect 0 book deposit ann 100
expect 0 gpurun -q host add far "127.0.0.1:${port[far]}"
expect 0 gpurun -q wallet use "127.0.0.1:${port[op]}"
agent=$work/far/home/.local/share/gpurun-agent
kept=$work/op/home/.local/share/gpurun-book
jobdir() { echo "$agent"/renters/*/jobs/"$1"; }

note "a book that came back from an old copy knows nothing of a lease: told once, by whoever is asked first"
cp -r "$kept" "$work/old"
expect 0 gpurun -q -d --name one --max-cost 6 -- sh -c "sleep 1.1; until [ -e $work/go ]; do sleep 0.1; done"
one=$(cat "$work/out")
await 60 "it runs" grep -q '^state=running' "$(jobdir "$one")/state"
mv "$kept" "$work/new"
mv "$work/old" "$kept"
touch "$work/go"
is_noted() { grep -q '^what=receipt' "$agent"/told/*.no 2>/dev/null; }
await 90 "the host knows what the book will never take" is_noted
await_none 30 'gpurun-agent errands'
refused 1
is '[(r["what"], r["job"], r["code"]) for r in d["books"][0]["refused"]]' "[('receipt', '$one', 'not_found')]"
expect 1 owner tick --json
has "receipt of $one is refused for good: the book 'acme': this book has signed no grant" "$work/err"
has "book ls" "$work/err"
is 'd["refused"], d["booked"]' "(1, 0)"
expect 0 owner tick --json
is 'd["refused"], d["booked"]' "(0, 0)"
hasnt "refused" "$work/err"
expect 0 owner book ls
has "acme refuses the receipt of $one for good: " "$work/out"

note "her own client the same: said once, listed, and kept"
expect 0 gpurun bill one
has "the receipt of $one is refused for good, and is not sent again (\`gpurun wallet retry\` does): the book: " "$work/err"
expect 0 gpurun wallet
hasnt "refused for good" "$work/err"
has "refuses the receipt of $one for good: the book: " "$work/out"
expect 0 gpurun --json wallet
is '[(r["what"], r["job"], r["code"]) for r in d["refused"]], d["waiting"]' "([('receipt', '$one', 'not_found')], 0)"
expect 0 gpurun bill one
hasnt "refused for good" "$work/err"
[ -s "$client/gpurun/pending/$one" ] || fail "what the book holds for is forgotten"

note "the right book is back: nothing is sent until the owner says so, or the renter"
rm -r "$kept"
mv "$work/new" "$kept"
expect 0 gpurun --json wallet
is 'd["balance_fen"], d["held_fen"], len(d["refused"])' "(10000, 600, 1)"
expect 0 gpurun bill one
stands 10000 600
expect 0 owner book tell --json
is 'd["told"], d["refused"]' "(0, 0)"
expect 1 owner book retry nobody
expect 0 owner book retry acme
refused 0

note "what is wrong with the book itself may pass: it is tried each time"
mkdir "$kept/receipts.lock.dir"
mv "$kept/receipts.lock" "$work/lock" 2>/dev/null || true
mv "$kept/receipts.lock.dir" "$kept/receipts.lock"
for _ in 1 2; do
    expect 1 owner book tell
    hasnt "for good" "$work/err"
done
refused 0
rmdir "$kept/receipts.lock"
mv "$kept" "$work/new"
mv "$work/stranger" "$kept" # before it was told of this host: nobody is let in
expect 1 owner book tell
has "the book 'acme'" "$work/err"
hasnt "for good" "$work/err"
refused 0
rm -r "$kept"
mv "$work/new" "$kept"
stands 10000 600
expect 0 gpurun --json wallet retry
is 'd["balance_fen"] < 10000, d["held_fen"] < 600, d["refused"]' "(True, True, [])"
[ ! -e "$client/gpurun/pending/$one" ] || fail "the book has it, and it waits"
expect 0 owner book tell --json
is 'd["told"], d["refused"]' "(1, 0)"
charge=$(sed -n 's/^charge_fen=//p' "$(jobdir "$one")/state")
expect 0 book balance ann --json
held=$(json 'd["held_fen"]')
is 'd["balance_fen"], d["held_fen"] < 600' "($((10000 - charge)), True)"

cp -r "$kept" "$work/before"

note "a lease that came to nothing: its renter is never heard of again, and its money is free"
expect 0 gpurun -q -d --name away --max-cost 5 -- sleep 600
away=$(cat "$work/out")
stands $((10000 - charge)) $((held + 500))
dir=$(jobdir "$away")
supervisor=$(sed -n 's/^pid=//p' "$dir/state")
kill -KILL "$supervisor"
await 20 "the supervisor is gone" gone "$supervisor"
await_none 20 'sleep 600'
mv "$dir" "$work/lost"
# The host gives its word, but the book dies before it has that.
cp "$work/op/home/.ssh/authorized_keys" "$work/keys"
sed "s#command=\"#command=\"env LD_PRELOAD=$BUILD/tests/libs/dieat.so ASAN_OPTIONS=verify_asan_link_order=0 DIE_AT=sync:gpurun-book:1 #" "$work/keys" >"$work/op/home/.ssh/authorized_keys"
run gpurun -q bill away
[ "$rc" != 0 ] || fail "it was told"
cp "$work/keys" "$work/op/home/.ssh/authorized_keys"
ls "$agent"/renters/*/declined/l* >/dev/null || fail "the host has signed nothing"
stands $((10000 - charge)) $((held + 500))
rm -r "$client/gpurun" # never to come back
# A book that knows nothing of it may be another one: nobody's trouble, but not its last word either.
mv "$kept" "$work/new"
mv "$work/before" "$kept"
for _ in 1 2; do
    expect 0 owner book tell --json
    is 'd["told"], d["refused"]' "(0, 0)"
done
refused 0
expect 0 owner book ls
hasnt "for good" "$work/out"
rm -r "$kept"
mv "$work/new" "$kept"
expect 0 owner book tell --json
is 'd["told"]' 0
stands $((10000 - charge)) $((held + 500))
expect 0 owner book retry acme
expect 0 owner book tell --json
is 'd["told"], d["refused"]' "(1, 0)"
stands $((10000 - charge)) "$held"
expect 0 owner book tell --json
is 'd["told"]' 0
expect 0 book audit --json
is 'd["right"]' True

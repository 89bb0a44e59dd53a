#!/bin/bash
# A host may vanish: copies of snapshots here and on other hosts, and going on from them.
# limit: 240
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
client_key
new_host h1
new_host h2
expect 0 gpurun -q host add h1 "127.0.0.1:${port[h1]}"
expect 0 gpurun -q host add h2 "127.0.0.1:${port[h2]}" --mirror none
expect 100 gpurun -q host add h3 "127.0.0.1:${port[h2]}" --mirror nosuch
has nosuch "$work/err"
expect 100 gpurun -q host add h3 "127.0.0.1:${port[h2]}" --mirror h3

mkdir "$work/p"
cd "$work/p"
cat >train.py <<'PY'
import os, sys
n = int(open("state").read()) + 1 if os.path.exists("state") else 1
open("state", "w").write(str(n))
print("run", n, *sys.argv[1:], os.environ.get("OPT"))
PY

note "what a job wrote is here, too, when it ends; plan says so before"
expect 0 gpurun plan --host h1 train.py
has 'a copy on the laptop if it is below 100 MB'
expect 0 gpurun --host h1 --name one --env OPT=opt train.py a "b c"
has ' on h1 + laptop, kept until' "$work/err"
snap_row one | grep -qF 'h1 + laptop' || fail "snap ls: $(snap_row one)"
note "what is as it was shipped is here already"
expect 0 gpurun --host h1 --name same -- true
has 'as shipped, only on h1' "$work/err"
note "--mirror none: no copy, and that is said"
expect 0 gpurun plan --host h2 train.py
has 'only on h2'
expect 0 gpurun --host h2 --name alone train.py
has ' only on h2, kept until' "$work/err"
snap_row alone | grep -qF 'only on h2' || fail "snap ls: $(snap_row alone)"
expect 0 gpurun snap mirror alone
expect 0 gpurun snap mirror alone --host h1
snap_row alone | grep -qF 'h1 + h2 + laptop' || fail "snap ls: $(snap_row alone)"

note "large: not without being asked; --out asks"
big='head -c 110000000 /dev/urandom >big; echo small >small'
expect 0 gpurun --host h1 --name large -- sh -c "$big"
has ' only on h1, kept until' "$work/err"
expect 0 gpurun --host h1 --name wanted --out small -- sh -c "$big"
has ' on h1 + laptop, kept until' "$work/err"
[ "$(cat small)" = small ] || fail "--out"

note "from host to host nothing lands on a disk here"
find "$client/gpurun" -type f -size +1M | sort >"$work/before"
rm -rf "$client/gpurun/tmp"
touch "$client/gpurun/tmp" # whoever wants a scratch store fails
expect 0 gpurun -q snap mirror large --host h2
expect 0 gpurun -q --host h2 --from wanted --name moved -- sh -c 'wc -c <big'
[ "$(cat "$work/out")" = 110000000 ] || fail "moved: $(cat "$work/out")"
rm "$client/gpurun/tmp"
find "$client/gpurun" -type f -size +1M | sort | diff "$work/before" - || fail "it landed here"
snap_row large | grep -qF 'h1 + h2' || fail "snap ls: $(snap_row large)"

note "what does not fit there is refused before it is sent, and whose limit it is is said"
h2_agent() { as_client env GPURUN_AGENT_HOME="$work/h2/home/.local/share/gpurun-agent" "$BUILD/bin/gpurun-agent" "$@"; }
expect 0 gpurun --host h1 --name new -- sh -c "head -c 110000000 /dev/urandom >big2; echo small >small"
expect 0 h2_agent quota --json
is 'len(d["quotas"])' 1
renter=$(json 'd["quotas"][0]["renter"]')
used=$(json 'd["quotas"][0]["used_bytes"]')
expect 0 h2_agent quota "$renter" $((used + 50000000))
for how in 'snap mirror new' 'resume new'; do
    # shellcheck disable=SC2086
    expect 101 gpurun $how --host h2
    has 'h2: 110.0 MB at least would have to be kept, and 50.0 MB may be: renter' "$work/err"
    has 'gpurun snap rm' "$work/err"
done
expect 0 h2_agent gc
expect 0 h2_agent quota --json
[ "$(json 'd["quotas"][0]["used_bytes"]')" -le "$used" ] || fail "something of it went there"
expect 0 h2_agent quota "$renter" none

note "a copy that is damaged: the other one is read, and mends it"
damage() { # HOME OF AN AGENT: a byte of its newest large pack
    local pack
    pack=$(find "$1"/renters/*/store/packs -name '*.pack' -size +3M -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d' ' -f2-)
    /usr/bin/python3 - "$pack" <<'PY'
import os, sys
with open(sys.argv[1], "r+b") as f:
    f.seek(os.path.getsize(sys.argv[1]) // 2)
    b = f.read(1)
    f.seek(-1, 1)
    f.write(bytes([b[0] ^ 0x10]))
PY
}
h1_agent=$work/h1/home/.local/share/gpurun-agent
expect 0 gpurun --host h1 --name hurt -- sh -c 'head -c 5000000 /dev/urandom >five; sha256sum <five >sum; cat sum'
sum=$(cat "$work/out")
snap_row hurt | grep -qF 'h1 + laptop' || fail "snap ls: $(snap_row hurt)"
hurt=$(snap_row hurt | awk '{ print $1 }')
damage "$h1_agent"
other="going on with the copy on local (\`gpurun snap mirror $hurt --host h1\` mends the first)"
expect 0 gpurun snap get hurt -o "$work/got"
has "h1: damaged: 'five'" "$work/err"
has "$other" "$work/err"
[ "$(sha256sum <"$work/got/five")" = "$sum" ] || fail "snap get"
expect 0 gpurun snap export hurt -o "$work/hurt.tar"
has "$other" "$work/err"
[ "$(tar -xOf "$work/hurt.tar" --wildcards '*five' | sha256sum)" = "$sum" ] || fail "snap export"
expect 0 gpurun cp hurt:five "$work/five"
has "$other" "$work/err"
[ "$(sha256sum <"$work/five")" = "$sum" ] || fail "cp"
expect 0 gpurun resume hurt --host h2 -- sh -c 'sha256sum <five'
has "$other" "$work/err"
[ "$(cat "$work/out")" = "$sum" ] || fail "resume"
expect 0 gpurun snap mirror hurt --host h1
rm -rf "$work/got"
expect 0 gpurun snap get hurt -o "$work/got"
hasnt "going on" "$work/err"
[ "$(sha256sum <"$work/got/five")" = "$sum" ] || fail "it is not mended"
note "so it is where the damaged one lies here, and where two are"
expect 0 gpurun --host local --name here -- sh -c 'head -c 5000000 /dev/urandom >six; sha256sum <six'
sum=$(cat "$work/out")
expect 0 gpurun snap mirror here --host h1
damage "$client/gpurun/local"
expect 0 gpurun snap get here -o "$work/got-here"
has "going on with the copy on h1" "$work/err"
[ "$(sha256sum <"$work/got-here/six")" = "$sum" ] || fail "snap get of what is damaged here"
damage "$h1_agent"
expect 101 gpurun snap get here -o "$work/got-here2"
has "damaged: 'six'" "$work/err"
[ ! -e "$work/got-here2" ] || fail "it left something"

note "h1 vanishes: data, and going on, from the copies"
same=$(snap_row same | awk '{ print $1 }')
stop h1
rm -rf "$work/h1/home"
expect 0 gpurun snap get one state -o "$work/state"
[ "$(cat "$work/state")" = 1 ] || fail "the copy holds $(cat "$work/state")"
expect 0 gpurun resume one --host h2
[ "$(cat "$work/out")" = "run 2 a b c opt" ] || fail "resumed: $(cat "$work/out")"
has 'is on local, too' "$work/err"
expect 0 gpurun resume one --host local
[ "$(cat "$work/out")" = "run 2 a b c opt" ] || fail "resumed here: $(cat "$work/out")"
expect 0 gpurun -q resume large --host h2 -- sh -c 'cat small'
[ "$(cat "$work/out")" = small ] || fail "resumed from the copy on h2"
snap_row one | grep -qF laptop || fail "snap ls with h1 gone: $(snap_row one)"
note "of what only h1 may have its failure is told, not that there is none"
for what in same "$same" elsewhere; do
    expect 101 gpurun snap verify "$what"
    tail -n 1 "$work/err" | grep -qF "refuses the connection" || fail "$what: $(cat "$work/err")"
done

for how in logs wait stop bill; do
    expect 101 gpurun $how neverwas
    has 'not asked: h1)' "$work/err"
    has 'refuses the connection' "$work/err"
done

note "that a host is gone is said once"
for how in 'keep one --days 40' 'rm one'; do
    # shellcheck disable=SC2086
    expect 0 gpurun snap $how
    [ "$(grep -c '127.0.0.1' "$work/err")" = 1 ] || fail "snap $how: $(cat "$work/err")"
    has 'not asked: h1; a copy there stays as it was' "$work/err"
done

note "--mirror HOST: another host has the copies"
new_host h4
expect 0 gpurun -q host add h4 "127.0.0.1:${port[h4]}" --mirror h2
expect 0 gpurun plan --host h4 train.py
has 'a copy on h2'
expect 0 gpurun --host h4 --name far train.py
has ' on h4 + h2, kept until' "$work/err"
note "and where that one is gone, the run is as good, and says it"
stop h2
expect 101 gpurun snap mirror far --host h2
expect 0 gpurun --host h4 --name far2 train.py
has 'no copy of the data on h2' "$work/err"
has ' only on h4, kept until' "$work/err"

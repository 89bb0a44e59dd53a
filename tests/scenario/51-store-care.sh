#!/bin/bash
# gc, fsck and verify by command: what is not needed goes, what is damaged is named and
# repaired by the next ship, an index that is lost is made anew.
# needs: pipe
# limit: 180
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
use pipe
home=$client/gpurun/local
agent() { as_client env GPURUN_AGENT_HOME="$home" "$BUILD/bin/gpurun-agent" "$@"; }
packs() { du -cb "$home"/renters/*/store/packs | tail -n 1 | cut -f1; }
field() { /usr/bin/python3 -c '
import json, sys
v = json.load(open(sys.argv[1]))
for k in sys.argv[2].split("."):
    v = v[int(k)] if isinstance(v, list) else v[k]
print(v)' "$work/out" "$1"; }

mkdir "$work/p" "$work/keep"
cd "$work/p"
echo print >small
expect 0 gpurun -q --name one -- sh -c 'head -c 4000000 /dev/urandom >one'
expect 0 gpurun -q --name two -- sh -c 'head -c 4000000 /dev/urandom >two; sha256sum <two'
two=$(cat "$work/out")
mkdir "$work/taken"
head -c 4000000 /dev/urandom >"$work/taken/f"
expect 0 gpurun -q snap take "$work/taken" --name taken

note "gc takes nothing that a snapshot needs, and all that none needs"
before=$(packs)
expect 0 gpurun gc
[ "$(packs)" = "$before" ] || fail "gc took something that is needed"
expect 0 gpurun snap rm one
expect 100 gpurun snap mirror one
has "is gone" "$work/err"
expect 0 gpurun snap rm taken # whose shipping holds nothing any more
expect 0 as_client env LC_ALL=zh_CN.UTF-8 "$BUILD/bin/gpurun" gc --dry-run
has "没有归属"
hasnt "chunks"
expect 0 gpurun --json gc --dry-run
would=$(field hosts.0.freed_bytes)
[ "$would" -gt 7900000 ] || fail "--dry-run: $(cat "$work/out")"
expect 0 gpurun gc --dry-run
has "nothing was changed: "
has " keeps "
has " bytes) are claimed by none"
has " bytes may go"
has " bytes) would be deleted"
[ "$(packs)" = "$before" ] || fail "--dry-run changed something"
expect 0 gpurun --json gc
freed=$(field hosts.0.freed_bytes)
[ "$freed" -gt $((would - 100000)) ] && [ "$freed" -lt $((would + 100000)) ] ||
    fail "--dry-run said $would, and it was $freed"
[ "$(field hosts.0.host)" = local ] && [ "$(field hosts.0.freed_bytes)" -gt 7900000 ] || fail "gc: $(cat "$work/out")"
[ "$(packs)" -lt $((before - 7900000)) ] || fail "nothing was given back"
[ -z "$(find "$home"/renters/*/work -name one)" ] || fail "the directory of a removed snapshot stays"
expect 0 gpurun snap verify two
has sound
expect 0 gpurun -q snap get two two -o "$work/two"
[ "$(sha256sum <"$work/two")" = "$two" ] || fail "gc harmed a snapshot"
expect 0 gpurun -q snap take "$work/taken" --name taken
expect 0 gpurun snap verify taken
has sound
expect 0 agent gc --dry-run
expect 0 agent tick
expect 0 gpurun gc
has "nothing expires: this store has seen the clock for"
expect 0 agent fsck
expect 0 gpurun fsck
has sound
expect 100 gpurun gc --host nosuch
expect 100 gpurun snap verify nosuch

note "the index is lost: made anew from the packs, and equal, row by row"
rows() { # packs by name: their numbers are given anew
    sqlite3 "$(echo "$home"/renters/*/store/index.db)" 'SELECT hex(name), bytes, n, raw, stored FROM pack ORDER BY name;
        SELECT hex(id), hex(name), off, c.stored, c.raw, codec FROM chunk c JOIN pack ON no = c.pack ORDER BY id'
}
rows >"$work/rows"
[ "$(wc -l <"$work/rows")" -gt 20 ] || fail "an index of nothing: $(cat "$work/rows")"
rm "$home"/renters/*/store/index.db
expect 0 gpurun snap verify two
rows >"$work/rows-again"
cmp "$work/rows" "$work/rows-again" || fail "another index: $(diff "$work/rows" "$work/rows-again" | head -n 20)"
expect 0 gpurun --json fsck
[ "$(field hosts.0.sound)" = True ] || fail "fsck after the index was lost: $(cat "$work/out")"
: >"$(echo "$home"/renters/*/store/index.db)"
expect 0 gpurun snap verify two
echo "no database" >"$(echo "$home"/renters/*/store/index.db)"
run gpurun snap verify two
has '`gpurun fsck` makes it anew' "$work/err"
expect 0 gpurun fsck
expect 0 gpurun snap verify two
rows >"$work/rows-again"
cmp "$work/rows" "$work/rows-again" || fail "another index after fsck"

note "a byte turns: every file that needs it is named, by verify and by fsck"
mkdir -p folder
for i in 1 2 3 4; do
    head -c 1000000 /dev/urandom >"folder/f$i"
done
expect 0 gpurun snap take folder --name hurt
snap=$(cat "$work/out")
cp -a folder "$work/keep/"
# The same bytes by a name that is longer than an error may be.
long=$(printf '%0200d' 0)
long=$long/$long/$long
mkdir -p "deep/$long"
cp folder/* "deep/$long"
expect 0 gpurun snap take deep --name deep
deep=$(cat "$work/out")
# Somewhere in the pack that came with the folder.
pack=$(find "$home"/renters/*/store/packs -name '*.pack' -size +3M -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d' ' -f2-)
/usr/bin/python3 - "$pack" <<'PY'
import os, sys
with open(sys.argv[1], "r+b") as f:
    f.seek(os.path.getsize(sys.argv[1]) * 3 // 8) # within a file: its half is where two meet
    b = f.read(1)
    f.seek(-1, 1)
    f.write(bytes([b[0] ^ 0x10]))
PY
index=$(echo "$home"/renters/*/store/index.db)
cp -a "$index" "$work/index"
expect 101 gpurun -q snap get "$snap" -o "$work/got"
cp "$work/err" "$work/get-err"
cp -a "$work/index" "$index" # as if nobody had noticed
expect 101 gpurun fsck
cp "$work/out" "$work/fsck-out"
expect 101 as_client env LC_ALL=zh_CN.UTF-8 "$BUILD/bin/gpurun" fsck
has ": 内容已损坏"
grep -v "$long" "$work/out" >"$work/short" # too long to be told in other words
hasnt "damaged" "$work/short"
expect 101 as_client env LC_ALL=zh_CN.UTF-8 "$BUILD/bin/gpurun" --json fsck
has "its contents are damaged"
has 'DAMAGED' "$work/fsck-out"
has 'damage was found' "$work/err"
file=$(sed -n "s/^local: snapshot $snap: \\([^:]*\\):.*/\\1/p" "$work/fsck-out" | head -n 1)
[ -n "$file" ] || fail "fsck names no file of $snap: $(cat "$work/fsck-out")"
note "so it is by who meets the damage first, with what helps"
has "damaged: '$file' (\`gpurun snap ls\`" "$work/get-err"
has ": chunk " "$work/get-err"
has "snapshot $deep: $long/$file: its contents are damaged" "$work/fsck-out"
expect 101 gpurun snap verify "$snap"
has "$file"
expect 101 gpurun --json snap verify "$snap"
[ "$(field sound)" = False ] && [ "$(field files.0.name)" = "$file" ] || fail "verify: $(cat "$work/out")"
rm -rf "$work/got"
expect 101 gpurun -q snap get "$snap" -o "$work/got"
has "damaged: '$file' (\`gpurun snap ls\`" "$work/err"
[ ! -e "$work/got" ] || fail "a damaged snapshot left something"
expect 100 gpurun snap get "$snap" nosuch -o "$work/got"
has "'nosuch' is not in it" "$work/err"
hasnt "damaged" "$work/err"
note "every other file comes, one by one"
n=0
expect 0 gpurun --json snap files "$snap"
/usr/bin/python3 - "$work/out" >"$work/names" <<'PY'
import json, sys
for line in open(sys.argv[1]):
    e = json.loads(line)
    if e["type"] == "file":
        print(e["name"])
PY
while read -r name; do
    [ "$name" != "$file" ] || continue
    expect 0 gpurun -q snap get "$snap" "$name" -o "$work/got-$n"
    n=$((n + 1))
done <"$work/names"
note "the next ship of those bytes repairs it"
[ -e "$work/keep/folder/$file" ] || fail "the damage hit '$file' of $snap, not the folder"
expect 0 gpurun snap take folder --name again
expect 0 gpurun snap verify "$snap"
expect 0 gpurun fsck
rm -rf "$work/got"
expect 0 gpurun -q snap get "$snap" -o "$work/got"
diff -r "$work/keep/folder" "$work/got" || fail "repaired to something else"

note "more is damaged than one answer holds: each is named, and once"
mkdir wide
/usr/bin/python3 - <<'PY'
import os
fd = os.open("wide", os.O_RDONLY)
for depth in range(15):
    name = "%0255d" % depth
    os.mkdir(name, dir_fd=fd)
    fd = os.open(name, os.O_RDONLY, dir_fd=fd)
for i in range(6000):
    f = os.open("f%d" % i, os.O_WRONLY | os.O_CREAT, dir_fd=fd)
    os.write(f, os.urandom(400))
    os.close(f)
PY
touch "$work/before-wide"
expect 0 gpurun snap take wide --name wide
wide=$(cat "$work/out")
pack=$(find "$home"/renters/*/store/packs -name '*.pack' -size +1M -newer "$work/before-wide")
/usr/bin/python3 - "$pack" <<'PY'
import os, sys
with open(sys.argv[1], "r+b") as f:
    for at in range(4096, os.path.getsize(sys.argv[1]) * 5 // 8, 4096):
        f.seek(at)
        f.write(b"damage")
PY
expect 101 gpurun --json snap verify "$wide"
cp "$work/out" "$work/verify-out"
expect 101 gpurun fsck
/usr/bin/python3 - "$work/verify-out" "$work/out" "local: snapshot $wide: " <<'PY' || fail "not each is named once"
import json, sys
v = json.load(open(sys.argv[1]))
named = sorted(f["name"].rsplit("/", 1)[1] for f in v["files"])
lines = [l[len(sys.argv[3]):].split(":")[0] for l in open(sys.argv[2]) if l.startswith(sys.argv[3])]
assert v["damaged"] == len(named) == len(set(named)), (v["damaged"], len(named), len(set(named)))
assert sum(len(f["name"]) for f in v["files"]) > 8 << 20, len(named)
assert sorted(l.rsplit("/", 1)[1] for l in lines) == named, (len(lines), len(named))
PY
expect 0 gpurun snap take wide --name wide-again
expect 0 gpurun snap verify "$wide"

note "once a day the agent looks after its stores by itself, when somebody comes"
expect 0 gpurun snap rm again
expect 0 gpurun snap rm hurt
expect 0 gpurun snap rm deep
expect 0 gpurun snap rm "$wide"
expect 0 gpurun snap rm wide-again
before=$(packs)
expect 0 gpurun -q snap ls
[ "$(packs)" = "$before" ] || fail "it was not due yet"
rm "$home"/renters/*/store/clock
touch -d '2 days ago' "$home"/renters/*/upkeep
expect 0 gpurun -q snap ls
[ "$(find "$home"/renters/*/upkeep -newermt '1 hour ago' | wc -l)" = 1 ] || fail "nobody took it on"
looked_at_the_clock() { [ -s "$(echo "$home"/renters/*/store/clock)" ]; }
await 30 "expiry and gc" looked_at_the_clock
upkeep_is_over() { ! pgrep -f "gpurun-agent upkeep $(basename "$(echo "$home"/renters/*)")" >/dev/null; }
await 30 "its end" upkeep_is_over
expect 0 gpurun fsck

note "what expires soon is said, at three days and at one"
expect 0 gpurun snap keep two --days 3
expect 0 gpurun snap ls
has "expire within 3 days: 1, first" "$work/err"
has "snap keep" "$work/err"
expect 0 gpurun snap keep two --days 1
expect 0 gpurun snap ls
has "expire within a day: 1, first" "$work/err"
hasnt "3 days" "$work/err"
clock=$(echo "$home"/renters/*/store/clock)
boot=$(grep ^boot= "$clock")
sed -i 's/^boot=.*/boot=before/' "$clock"
expect 0 gpurun -q --name three -- true
grep -qx "$boot" "$clock" || fail "what sets an end has not noted the clock: $(cat "$clock")"
expect 0 gpurun snap keep three --days 2
expect 0 gpurun snap ls
has "within a day: 1, first" "$work/err"
has "and 1 more within 3 days" "$work/err"
expect 0 gpurun snap keep two --days 30
expect 0 gpurun snap keep three --days 30
expect 0 gpurun snap ls
hasnt "expire" "$work/err"

note "what has expired goes, but never by a clock that jumped, and that is said"
# The clock has run steadily for two days, so far as the store knows.
believed() {
    /usr/bin/python3 - "$clock" "$1" <<'PY'
import re, sys, time
text = open(sys.argv[1]).read()
wall = time.time_ns() - int(sys.argv[2])
boot = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
for key, v in ("wall_ns", wall), ("boot_ns", boot), ("steady_wall_ns", wall - 2 * 86400 * 10**9), ("doubt", 0):
    text = re.sub(r"(?m)^%s=.*$" % key, "%s=%d" % (key, v), text)
open(sys.argv[1], "w").write(text)
PY
}
expect 0 gpurun snap keep three --days 0
believed 1728000000000000 # ns: the wall clock has moved 20 days since, the machine has not
expect 0 gpurun snap ls
has "local: nothing expires: the clock jumped by 1728000 s" "$work/err"
expect 0 gpurun --json snap ls
/usr/bin/python3 -c 'import json, sys; assert "jumped" in json.load(sys.stdin)["clock_doubts"]' <"$work/out"
expect 0 gpurun gc
has "nothing expires: the clock jumped"
has "0 snapshots expired"
expect 0 gpurun -q snap get three -o "$work/three"
expect 0 gpurun gc
has "believed after a day"
expect 0 gpurun snap ls
has "nothing expires: the clock was set" "$work/err"
believed 0
expect 0 gpurun gc
has "1 snapshot expired"
expect 0 gpurun snap show three
has gone
expect 0 gpurun snap ls
hasnt "nothing expires" "$work/err"

note "a manifest that cannot be read is listed, and in the way of gc until it is given up"
expect 0 gpurun -q snap take "$work/taken"
id=$(cat "$work/out")
: >"$(echo "$home"/renters/*/store/snaps/"$id".manifest)"
expect 101 gpurun gc
expect 0 gpurun snap ls
grep -q "^$id .* damaged" "$work/out" || fail "it is not listed"
expect 101 gpurun snap show "$id"
has "snap rm $id" "$work/err"
expect 101 gpurun fsck
has "$id"
expect 0 gpurun snap rm "$id"
expect 0 gpurun snap ls
hasnt "$id"
expect 0 gpurun gc
expect 0 gpurun fsck
has "of snapshot $id, whose data was given up, no record is left: "
has sound
expect 0 agent fsck

note "a snapshot whose list of files is lost has lost them all, and what helps is said"
other() { as_client env GPURUN_HOME="$client/other" "$BUILD/bin/gpurun" "$@"; }
mkdir -p "$work/few/sub"
touch "$work/few/"{a,b} "$work/few/sub/c"
echo contents >"$work/few/b"
expect 0 other snap take "$work/few"
few=$(cat "$work/out")
packs=$(echo "$client"/other/local/renters/*/store/packs)
mv "$packs" "$work/packs-away"
mkdir -m 700 "$packs"
expect 101 other snap get few -o "$work/few-back"
has "damaged: the list of its files (\`gpurun snap ls\`" "$work/err"
expect 101 other fsck
has 'local: DAMAGED: 3 files of 1 snapshot'
expect 0 other -q snap take "$work/few"
expect 0 other fsck
expect 0 other -q snap get "$few" -o "$work/few-back"
diff -r "$work/few" "$work/few-back" || fail "mended to something else"
note "and one without a record is one"
: >"$packs/../snaps/$few.manifest"
expect 101 other fsck
has 'local: DAMAGED: 1 snapshot'
expect 101 other --json fsck
is 'd["hosts"][0]["snapshots_damaged"]' 1

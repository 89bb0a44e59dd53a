#!/bin/bash
# What differs between two snapshots, on one host and on two; what is said of one.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
use pipe

mkdir -p "$work/d/sub"
cd "$work/d"
for i in $(seq 100); do
    seq "$i" 600 >"f$i"
done
head -c 3000000 /dev/urandom >big
echo x >sub/x
expect 0 gpurun snap take . --name a
before=$(cat "$work/out")
cp -a "$work/d" "$work/before"
rm f1
# The same length and time as before: only the bytes tell.
touch -r f2 "$work/time"
tr 5 6 <f2 >"$work/new" && cat "$work/new" >f2
touch -r "$work/time" f2
touch f3
chmod 700 f4
echo more >>big
rm -r sub
echo file >sub
mkdir $'new\nline'
echo hi >$'new\nline/hi'
expect 0 gpurun snap take . --name b
after=$(cat "$work/out")

expected() {
    cat <<'WANT'
M big
D f1
M f2
m f4
A new\nline/
A new\nline/hi
T sub
D sub/x
2 added, 2 removed, 4 changed; 2 with another time only
WANT
}
short() { sed -E 's/^([ADMTm]) .*  /\1 /' "$work/out"; }
expect 0 gpurun snap diff a b
short | diff - <(expected) || fail "diff: $(cat "$work/out")"
expect 0 gpurun snap diff a a
[ "$(cat "$work/out")" = '0 added, 0 removed, 0 changed; 0 with another time only' ] || fail "of itself: $(cat "$work/out")"
expect 0 gpurun --json snap diff "$before" "$after"
cp "$work/out" "$work/json"
/usr/bin/python3 - "$work/json" "$before" "$after" <<'PY'
import json, sys
d = json.load(open(sys.argv[1]))
assert (d["before"], d["after"]) == tuple(sys.argv[2:4])
assert (d["added"], d["removed"], d["changed"], d["touched"], d["not_listed"]) == (2, 2, 4, 2, 0), d
by = {c["name"]: c for c in d["changes"]}
assert by["f2"]["what"] == ["contents"], by["f2"]
assert by["f4"]["what"] == ["mode"] and by["f4"]["after"]["mode"] == 0o700
assert by["sub"]["what"] == ["type"] and by["sub"]["before"]["type"] == "dir"
assert by["f1"]["after"] is None and by["new\nline/hi"]["before"] is None
assert by["big"]["before"]["bytes"] == 3000000 and by["big"]["after"]["bytes"] == 3000005
PY
expect 100 gpurun snap diff a nosuch
has nosuch "$work/err"
expect 100 gpurun snap diff a

note "on two hosts: the same answer"
use libssh
expect 0 gpurun snap export b -o "$work/b.tar"
expect 0 gpurun -q snap rm b
expect 0 gpurun snap import "$work/b.tar" --host "$H"
expect 0 gpurun snap ls
has "only on $H"
expect 0 gpurun --json snap diff a b
cmp "$work/out" "$work/json" || fail "another answer from two hosts: $(cat "$work/out")"
expect 0 gpurun snap import "$work/b.tar"
expect 0 gpurun snap ls
has "$H + laptop"
[ "$(grep -c "$after" "$work/out")" = 1 ] || fail "two rows of one snapshot"
expect 0 gpurun snap keep b --days 40
expect 0 gpurun --json snap ls
/usr/bin/python3 -c '
import json, sys
b = [s for s in json.load(sys.stdin)["snapshots"] if s["name"] == "b"]
assert len(b) == 1 and sorted(b[0]["copies"]) == sorted(["local", sys.argv[1]]), b' "$H" <"$work/out"
expect 0 gpurun snap rm b
expect 0 gpurun snap ls
hasnt "$after"

note "show: what the host has signed"
expect 3 gpurun -q --host local --name shown --env A=b -- sh -c 'mkdir k; echo out >k/o; exit 3'
expect 0 gpurun snap show shown
for word in 'exited 3' 'signed by' 'tree' 'expires' '(in 1' ; do
    has "$word"
done
expect 0 gpurun --json snap show shown
/usr/bin/python3 - "$work/out" <<'PY'
import json, sys
d = json.load(open(sys.argv[1]))
assert d["exit_code"] == 3 and len(d["tree"]) == 64 and len(d["signer"]) == 64, d
assert d["args"][0] == "sh" and d["others"] >= 2 and d["n_damaged"] == 0 and d["damaged"] == [], d
PY

#!/bin/bash
# snap take of a job that runs: files that change, grow, are replaced, come and go while they are
# read. What is kept is whole, or said to have changed; nothing else is harmed by it.
# needs: pipe
# threads
# limit: 180
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
. "$(dirname "$0")/jobs.sh"
use pipe

mkdir "$work/p"
cd "$work/p"
head -c 300000 /dev/urandom >still
cat >busy.py <<'PY'
import hashlib, os, sys, threading

go_on = lambda: not os.path.exists(sys.argv[1])
BLOCK = 4 << 20

def changing():  # in place: no reader sees one value but by luck
    fd = os.open("changing", os.O_RDWR | os.O_CREAT, 0o644)
    v = 0
    while go_on():
        v = v % 250 + 1
        os.pwrite(fd, bytes([v]) * BLOCK, 0)

def growing():
    with open("growing", "ab", buffering=0) as f:
        n = 0
        while go_on() and n < 8000000:
            f.write(b"".join(b"line %09d\n" % i for i in range(n, n + 500)))
            n += 500

def replaced():
    n = 0
    while go_on():
        n += 1
        body = (b"%d " % n) * (50000 if n % 2 else 5000) # in a group of its own, and not
        with open("replaced.new", "wb") as f:
            f.write(hashlib.sha256(body).hexdigest().encode() + body)
        os.rename("replaced.new", "replaced")

def vanishing():
    n = 0
    os.mkdir("coming")
    while go_on():
        n += 1
        for i in range(40):
            with open("coming/%d-%d" % (n, i), "w") as f:
                f.write("here\n" * 1000)
        for i in range(40):
            os.unlink("coming/%d-%d" % (n, i))

threads = [threading.Thread(target=t) for t in (changing, growing, replaced, vanishing)]
for t in threads:
    t.start()
open(sys.argv[1] + ".begun", "w").close()
for t in threads:
    t.join()
PY
expect 0 gpurun -q -d --name busy -- /usr/bin/python3 busy.py "$work/enough"
await 60 "it is at work" test -e "$work/enough.begun"
await 30 "its files are there" gpurun exec busy -- sh -c '[ -s replaced ] && [ -s growing ] && [ -s changing ]'

for i in 1 2 3 4 5 6; do
    note "live snapshot $i"
    expect 0 gpurun snap take busy
    snap=$(cat "$work/out")
    cp "$work/err" "$work/said"
    expect 0 gpurun snap verify "$snap"
    expect 0 gpurun -q snap get "$snap" -o "$work/got-$i"
    expect 0 gpurun snap show "$snap"
    cp "$work/out" "$work/show"
    expect 0 gpurun --json snap files "$snap"
    /usr/bin/python3 - "$work/out" "$work/got-$i" "$work/said" "$work/show" "$snap" <<'PY' || fail "not what may be kept"
import hashlib, itertools, json, os, sys
names, got, said, show, snap = sys.argv[1:]
files = {}
for line in open(names):
    e = json.loads(line)
    files[e["name"]] = e
read = lambda name: open(os.path.join(got, name), "rb").read()
for name in ("still", "growing", "replaced", "changing"):
    assert name in files, name
damaged = sorted(n for n, e in files.items() if e["damaged"])
assert all(n in ("changing", "growing", "replaced.new") or n.startswith("coming/") for n in damaged), damaged
assert read("still") == open("still", "rb").read()
whole = read("replaced")
assert hashlib.sha256(whole[64:]).hexdigest().encode() == whole[:64], "a replaced file is torn"
# At any one moment it is one value, or the next one up to where that write has come.
runs = [k for k, _ in itertools.groupby(read("changing"))]
moment = len(runs) == 1 or (len(runs) == 2 and runs[0] == runs[1] % 250 + 1)
assert moment or files["changing"]["damaged"], ("a changing file is torn, and nobody says so", runs[:8])
told = "gpurun snap show " + snap in open(said).read()
assert told == bool(damaged), (told, damaged)
for n in damaged[:1]:
    assert n in open(show).read(), n
for n, e in files.items(): # what is listed whole is there, and as long
    if e["type"] == "file" and not e["damaged"]:
        assert os.path.getsize(os.path.join(got, n)) == e["bytes"], n
PY
    /usr/bin/python3 -c 'import json, sys; sys.exit(not any(e["name"] == "changing" and e["damaged"] for e in map(json.loads, open(sys.argv[1]))))' \
        "$work/out" && changed=$snap
done
touch "$work/enough"
expect 0 gpurun wait busy
expect 0 gpurun -q snap get busy -o "$work/last"
note "what grew is a beginning of what it came to, and the end has no damage"
for i in 1 2 3 4 5 6; do
    cmp -n "$(stat -c %s "$work/got-$i/growing")" "$work/got-$i/growing" "$work/last/growing" ||
        fail "growing, of snapshot $i"
done
note "exported and imported elsewhere, a file that changed is what was kept of it, and said to have changed"
[ -n "${changed:-}" ] || fail "nothing changed while it was read"
expect 0 gpurun -q snap export "$changed" -o "$work/changed.tar"
elsewhere() { as_client env GPURUN_HOME="$client/other" "$BUILD/bin/gpurun" "$@"; }
expect 0 gpurun --json snap files "$changed"
cp "$work/out" "$work/files-here"
expect 0 gpurun -q snap get "$changed" -o "$work/changed"
expect 0 elsewhere snap import "$work/changed.tar"
expect 0 elsewhere --json snap files "$changed"
cmp "$work/files-here" "$work/out" || fail "another listing: $(diff "$work/files-here" "$work/out" | head -n 20)"
expect 0 elsewhere -q snap get "$changed" -o "$work/changed-back"
diff -r "$work/changed" "$work/changed-back" || fail "another content"
[ -s "$work/changed-back/changing" ] || fail "the file that changed did not come"
[ "$(ls "$work/last/coming")" = "" ] || fail "what had gone came back"
expect 0 gpurun --json snap show busy
[ "$(/usr/bin/python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["n_damaged"])' "$work/out")" = 0 ] ||
    fail "the end is partial: $(cat "$work/out")"

#!/bin/bash
# Snapshots as files: tar of the system reads them, and what is imported is what was exported,
# bit for bit, judged by rsync and mtree over a tree of everything that is hard to keep.
# needs: root
# limit: 180
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
use pipe

# Its fourteen libraries are loaded by exports and imports alone.
[ -n "${SAN:-}" ] || ! ldd "$BUILD/bin/gpurun" | grep -q libarchive || fail "every command loads libarchive"

mkdir -p "$work/from"
cd "$work/from"
/usr/bin/python3 - <<'PY'
import os, socket, struct
def put(name, data=b"x", mode=0o644, uid=0, gid=0):
    with open(name, "wb") as f:
        f.write(data)
    os.chown(name, uid, gid)
    os.chmod(name, mode)
os.makedirs("dir/locked")
put("plain")
put("empty", b"")
put("setuid", b"#!/bin/sh\n", 0o4755)
put("owned", b"of 1234", 0o640, 1234, 4321)
put("far", b"of somebody far", 0o600, 3_000_000_000, 4_000_000_000)
put("dir/locked/in")
put("big", os.urandom(3_000_000))
os.link("big", "dir/linked")
os.link("plain", "dir/plain-too")
os.symlink("/etc/shadow", "link")
os.symlink("x" * 4000, "long-link")
os.lchown("link", 1234, 4321)
os.mkfifo("fifo")
s = socket.socket(socket.AF_UNIX)
s.bind("sock")
for name, parts, size in (("hole", ((1 << 25, b"middle"),), 1 << 26), ("hole-end", ((0, b"begin"),), 1 << 26),
                          ("hole-all", (), 1 << 20), ("holes", tuple((k << 16, b"piece %d" % k) for k in range(1, 400)), 1 << 25)):
    with open(name, "wb") as f:
        f.truncate(size)
        for at, data in parts:
            f.seek(at)
            f.write(data)
for name in (b"n" * 255, b"new\nline", b"in\xffva\xc3lid", "gr\u00fc\u00df\u4e16".encode(), b" blank ", b"-dash", b"*", b"back\\slash", b'"', b"\x01\x1b[31m"):
    put(name, b"named " + name)
deep = "deep"
for k in range(40):
    deep += "/" + "d" * 60
os.makedirs(deep)
put(deep + "/down", b"far down")
os.mkdir("sticky")
os.chmod("sticky", 0o1777)
os.mkdir("many")
for k in range(3000):
    put("many/f%d" % k, b"%d" % k * (k % 50))
os.chown("dir", 99, 99)
for name in ("plain", "dir"):
    os.setxattr(name, "user.note", b"kept")
    os.setxattr(name, "user.bin", bytes(range(256)))
os.setxattr("plain", "user.empty", b"")
os.setxattr("setuid", "security.capability", struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0))
def acl(*entries):
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", t, p, w & 0xffffffff) for t, p, w in entries)
os.setxattr("owned", "system.posix_acl_access", acl((1, 6, -1), (2, 4, 1234), (4, 4, -1), (8, 6, 77), (0x10, 6, -1), (0x20, 4, -1)))
os.setxattr("sticky", "system.posix_acl_default", acl((1, 7, -1), (2, 5, 1234), (4, 5, -1), (0x10, 5, -1), (0x20, 0, -1)))
os.chmod("dir/locked", 0o500)
os.utime("plain", ns=(-1_000_000_001, -1_000_000_001))
os.utime("empty", ns=(123456789, 1_700_000_000_123456789))
os.utime("link", ns=(5, 7_000_000_007), follow_symlinks=False)
os.utime("dir", ns=(5, 5))
os.utime("sticky", ns=(5, 2_000_000_000_999999999))
PY
mknod null c 1 3 2>/dev/null && mknod loop b 7 200 2>/dev/null || note "no device nodes here"
cd "$work"

judge() { # DIR WHAT [EXCLUDE]: is it what was there?
    rsync -anHAXc --delete --numeric-ids --itemize-changes ${3:+--exclude="$3"} "$work/from/" "$1/" >"$work/rsync"
    [ ! -s "$work/rsync" ] || fail "$2: rsync sees a difference: $(head -c 2000 "$work/rsync")"
    mtree -c -k type,mode,uid,gid,size,time,link,nlink,sha256 -p "$1" | sed '/^#/d' >"$work/got.mtree"
    if [ -n "${3:-}" ]; then
        sed "/^ *$3 /d" "$work/want.mtree" | cmp -s - "$work/got.mtree" ||
            fail "$2: mtree: $(sed "/^ *$3 /d" "$work/want.mtree" | diff - "$work/got.mtree" | head -n 20)"
    else
        cmp -s "$work/want.mtree" "$work/got.mtree" || fail "$2: mtree: $(diff "$work/want.mtree" "$work/got.mtree" | head -n 20)"
    fi
}
mtree -c -k type,mode,uid,gid,size,time,link,nlink,sha256 -p "$work/from" | sed '/^#/d' >"$work/want.mtree"

expect 0 gpurun snap take "$work/from" --name all
id=$(cat "$work/out")
for kind in tar.zst tar; do
    expect 0 gpurun --json snap export all -o "$work/all.$kind"
    has "$id"
    has 'sock (a socket)' "$work/err"
    ls "$work"/*.part >/dev/null 2>&1 && fail "a part is left"
done
zstd -dcq "$work/all.tar.zst" | cmp - "$work/all.tar" || fail "the two kinds differ"
expect 100 gpurun snap export all -o "$work/all.tar"
has 'is there already' "$work/err"
expect 100 gpurun snap export all -o "$work/all.zip"
has 'NAME.tar.zst' "$work/err"
expect 100 gpurun snap export nosuch -o "$work/no.tar"
gpurun -q snap export all -o - 2>/dev/null >"$work/stdout.tar.zst"
cmp "$work/stdout.tar.zst" "$work/all.tar.zst" || fail "-o - is another archive"

note "^C, and what else ends it in order, leaves nothing behind"
mkdir "$work/large" "$work/cut"
head -c 150000000 /dev/urandom >"$work/large/data"
expect 0 gpurun -q snap take "$work/large"
is_writing() { compgen -G "$work/cut/.gpurun-*/*" >/dev/null || [ -e "$work/cut/large" ]; }
for signal in TERM HUP; do
    client_bg "$work/o" "$work/e" -q snap get large -o "$work/cut/large" </dev/null
    until is_writing; do :; done
    kill -"$signal" "$bg"
    rc=0
    wait "$bg" || rc=$?
    [ $rc = $((128 + $(kill -l "$signal"))) ] || fail "after SIG$signal: $rc, $(cat "$work/e")"
    [ -z "$(ls -A "$work/cut")" ] || fail "SIG$signal left $(ls -A "$work/cut")"
done
client_bg "$work/o" "$work/e" -q snap export large -o "$work/cut/large.tar" </dev/null
is_exporting() { find "/proc/$bg/fd" -lname "$work/cut/*" 2>/dev/null | grep -q . || gone "$bg"; }
await 20 "the export" is_exporting
kill -KILL "$bg"
rc=0
wait "$bg" || rc=$?
[ $rc = 137 ] || fail "a killed export: $rc, $(cat "$work/e")"
[ -z "$(ls -A "$work/cut")" ] || fail "a killed export left $(ls -A "$work/cut")"
expect 0 gpurun -q snap export large -o "$work/cut/large.tar"
rm -r "$work/cut" "$work/large"

note "GNU tar brings all of it back but the socket"
mkdir "$work/gnu"
expect 0 tar -C "$work/gnu" -x --xattrs --xattrs-include='*' --acls --numeric-owner --warning=no-timestamp -p -f "$work/all.tar.zst"
grep -v hdrcharset "$work/err" >"$work/words" || true
[ ! -s "$work/words" ] || fail "tar complains: $(cat "$work/words")"
judge "$work/gnu" "GNU tar" sock
[ "$(stat -c %b "$work/gnu/hole-end")" -lt 1000 ] || fail "the holes were filled"
note "and Python's"
/usr/bin/python3 -c '
import sys, tarfile
names = {m.name for m in tarfile.open(sys.argv[1])}
assert {"./plain", "./dir/linked", "./many/f2999"} <= names, sorted(names)[:20]' "$work/all.tar"

note "imported elsewhere: the same snapshot, the same bytes"
elsewhere() { as_client env GPURUN_HOME="$client/other" "$BUILD/bin/gpurun" "$@"; }
for kind in tar.zst tar; do
    rm -rf "$client/other" "$work/back"
    expect 0 elsewhere snap import "$work/all.$kind"
    [ "$(cat "$work/out")" = "$id" ] || fail "import says '$(cat "$work/out")', not $id"
    expect 0 elsewhere snap verify "$id"
    expect 0 elsewhere -q snap get all --exact -o "$work/back"
    judge "$work/back" "import of $kind"
    [ -S "$work/back/sock" ] || fail "the socket is gone"
done
[ "$(elsewhere snap import - <"$work/all.tar")" = "$id" ] || fail "import from stdin"
[ "$(elsewhere snap import <(cat "$work/all.tar.zst"))" = "$id" ] || fail "import from a pipe"
mkfifo "$work/fifo"
spawn waits elsewhere snap import "$work/fifo"
await 20 "a word of what it waits for" grep -qF "out of '$work/fifo'" "$work/waits.log"
cat "$work/all.tar.zst" >"$work/fifo"
wait "${pid[waits]}" || fail "import from a FIFO"
has "$id" "$work/waits.log"
expect 0 elsewhere snap import "$work/all.tar.zst"
note "what was given up comes back, and is kept anew"
expect 0 elsewhere snap rm "$id"
expect 0 elsewhere gc
expect 0 elsewhere snap import "$work/all.tar"
rm -rf "$work/back"
expect 0 elsewhere -q snap get all --exact -o "$work/back"
judge "$work/back" "import of what was given up"

note "what is no export, cut short or changed is refused, and nothing is claimed"
tar -C "$work/from" -cf "$work/foreign.tar" plain
head -c 2000000 "$work/all.tar" >"$work/short.tar"
head -c 300000 "$work/all.tar.zst" >"$work/short.tar.zst"
/usr/bin/python3 - "$work/all.tar" "$work" <<'PY'
import os, sys
data = open(sys.argv[1], "rb").read()
def flip(name, at):
    with open(os.path.join(sys.argv[2], name), "wb") as f:
        f.write(data[:at] + bytes([data[at] ^ 1]) + data[at + 1:])
big = open(os.path.join(sys.argv[2], "from/big"), "rb").read()
flip("content.tar", data.index(big[100000:100064]))
flip("manifest.tar", data.index(b"gpurun.export.v1 manifest ") + 300)
flip("tree.tar", data.index(b"gpurun.export.v1 tree ") + 300)
open(os.path.join(sys.argv[2], "empty.tar"), "wb")
PY
rm -rf "$client/other"
for bad in foreign.tar empty.tar; do
    expect 100 elsewhere snap import "$work/$bad"
    has 'snap take' "$work/err"
done
for bad in short.tar short.tar.zst content.tar manifest.tar tree.tar; do
    expect 101 elsewhere snap import "$work/$bad"
done
expect 100 elsewhere snap import "$work/nosuch.tar"
expect 100 elsewhere snap import "$work/from"
has "from' is a directory" "$work/err"
has 'gpurun snap take' "$work/err"
expect 0 elsewhere --json snap ls -a
has '"snapshots":[]'

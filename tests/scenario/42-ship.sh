#!/bin/bash
# Shipping: what goes, what stays, and that what goes is what was there, byte for byte.
# needs: pipe
# threads
# limit: 180
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
use pipe
mkdir -p "$work/none"

# describe.py DIR: every object beneath it, one line each, names as bytes.
cat >"$work/describe.py" <<'PY'
import hashlib, os, stat, sys
top = os.fsencode(sys.argv[1] if len(sys.argv) > 1 else ".")
out = []
inodes = {}
def visit(path):
    full = os.path.join(top, path) if path else top
    st = os.lstat(full)
    kind = stat.S_IFMT(st.st_mode)
    what = [repr(path), oct(st.st_mode)]
    if stat.S_ISREG(st.st_mode):
        if st.st_size < 1 << 24:
            with open(full, "rb") as f:
                what.append(hashlib.sha256(f.read()).hexdigest()[:16])
        what += [str(st.st_size), str(st.st_mtime_ns)]
        if st.st_nlink > 1:
            what.append("link of " + repr(inodes.setdefault(st.st_ino, path)))
    elif stat.S_ISLNK(st.st_mode):
        what.append(repr(os.readlink(full)))
    out.append(" ".join(what))
    if stat.S_ISDIR(st.st_mode):
        for name in sorted(os.listdir(full)):
            visit(os.path.join(path, name) if path else name)
visit(b"")
print("\n".join(out))
PY

# job_is_same_as DIR: run in it, and compare what the job sees.
job_sees() { expect 0 gpurun -q -- /usr/bin/python3 "$work/describe.py"; }

note "names, kinds, sizes and times"
mkdir "$work/odd"
cd "$work/odd"
/usr/bin/python3 - <<'PY'
import os, socket
def put(name, data=b"x"):
    with open(name, "wb") as f:
        f.write(data)
put(b"zero", b"")
put(b"new\nline", b"newline\n")
put(b"\xff\xfe not utf-8 \x80", b"\xff\xfe")
put(b"\x01\x1b[31mred", b"escape")
put(b" leading and trailing ", b"space")
put(b"-rf", b"dash")
put("größe-字.txt".encode(), "ü".encode())
put(b"n" * 255, b"long name")
put(b"big", os.urandom(3_000_000))
put(b"exec", b"#!/bin/sh\n")
os.chmod("exec", 0o755)
put(b"readonly", b"r")
os.chmod("readonly", 0o444)
put(b"before-1970")
os.utime("before-1970", ns=(-123456789012345678, -123456789012345678))
put(b"ns")
os.utime("ns", ns=(1, 1_600_000_000_123_456_789))
os.link("big", "linked-big")
os.mkdir("dir")
os.link("zero", "dir/linked-zero")
os.symlink("/etc/passwd", "absolute")
os.symlink("nowhere/at all", "dangling")
os.symlink("../../../../etc/passwd", "upwards")
os.symlink("dir", "to-dir")
os.mkfifo("fifo")
s = socket.socket(socket.AF_UNIX)
s.bind("socket")
os.mkdir("empty")
os.mkdir("locked")
put(b"locked/in", b"in a read-only folder")
os.chmod("locked", 0o555)
path = b"deep"
for i in range(120):
    os.mkdir(path)
    path += b"/level%03d" % i
os.mkdir(path)
put(path + b"/bottom", b"here")
PY
/usr/bin/python3 "$work/describe.py" . >"$work/want"
job_sees
diff "$work/want" "$work/out" >"$work/diff" || fail "the job sees something else: $(head -c 2000 "$work/diff")"

note "the same again sends nothing; one change sends little"
expect 0 gpurun -v -- true
has 'shipped: 0 chunks sent, 40 bytes on the wire' "$work/err"
echo more >"zero"
expect 0 gpurun -v -- cat zero dir/linked-zero
[ "$(cat "$work/out")" = "$(printf 'more\nmore')" ] || fail "the change did not arrive"
sent=$(sed -n 's/.* \([0-9]*\) bytes on the wire.*/\1/p' "$work/err")
[ "$sent" -gt 40 ] && [ "$sent" -lt 100000 ] || fail "$sent bytes for one small change"

note "a sparse file of 1 TB"
mkdir "$work/sparse"
cd "$work/sparse"
truncate -s 1T hole 2>/dev/null || { echo "no file system for a sparse file of 1 TB"; exit 77; }
printf middle | dd of=hole bs=1 seek=$((500 << 30)) conv=notrunc status=none
began=$(date +%s%N)
expect 0 gpurun -q -- sh -c 'stat -c "%s %b" hole; dd if=hole bs=1 skip=$((500 << 30)) count=6 status=none'
took_ms=$((($(date +%s%N) - began) / 1000000))
note "took $took_ms ms"
read -r size blocks < <(head -n 1 "$work/out")
[ "$size" = $((1 << 40)) ] && [ "$blocks" -lt 64 ] || fail "it arrived as $size bytes in $blocks blocks"
[ "$(tail -n 1 "$work/out")" = middle ] || fail "what was in it is lost"
# A second on a quiet machine; reading the holes would take minutes on any.
[ $took_ms -lt 10000 ] || fail "a sparse file took $took_ms ms"

note "10,000 small files, unchanged the second time"
mkdir "$work/many"
cd "$work/many"
/usr/bin/python3 - <<'PY'
import os
for d in range(100):
    os.mkdir("d%02d" % d)
    for f in range(100):
        with open("d%02d/f%02d" % (d, f), "w") as o:
            o.write("file %d of folder %d\n" % (f, d) * (f % 7))
PY
/usr/bin/python3 "$work/describe.py" . >"$work/want"
job_sees
cmp -s "$work/want" "$work/out" || fail "10,000 files: the job sees something else"
expect 0 gpurun -v -- true
has 'shipped: 0 chunks sent, 40 bytes on the wire' "$work/err"

note "a file that changes while it is read"
mkdir "$work/moving"
cd "$work/moving"
cat >"$work/writer.py" <<'PY'
import os, sys, time
end = time.monotonic() + 60
f = open(sys.argv[1], "wb", buffering=0)
n = 0
while time.monotonic() < end:
    f.write(b"%015d\n" % n)
    n += 1
    if n % 1000 == 0:
        time.sleep(0.001)
    if n == 2_000_000:
        break
PY
echo steady >steady
spawn writer /usr/bin/python3 "$work/writer.py" "$work/moving/growing"
await 20 "something written" test -s "$work/moving/growing"
for i in 1 2 3; do
    expect 0 gpurun -q -- sh -c 'cat growing; cat steady >&2'
    [ "$(cat "$work/err")" = steady ] || fail "the other file was harmed"
    /usr/bin/python3 - "$work/out" <<'PY' || fail "the job saw what never was in the file"
import sys
data = open(sys.argv[1], "rb").read()
whole = len(data) // 16
for i in range(whole):
    assert data[16 * i:16 * i + 16] == b"%015d\n" % i, i
assert (b"%015d\n" % whole).startswith(data[16 * whole:])
PY
done
stop writer

note "an unreadable file is refused by name, and nothing is left on the host"
mkdir -p "$work/closed/sub"
cd "$work/closed"
echo print >ok.py
echo secret >sub/closed
chmod 000 sub/closed
mortal=()
[ "$(id -u)" != 0 ] || mortal=(setpriv --bounding-set=-dac_override,-dac_read_search)
expect 100 as_client "${mortal[@]}" "$BUILD/bin/gpurun" -q -- true
has "sub/closed" "$work/err"
[ "$(wc -l <"$work/err")" -le 2 ] || fail "more than two lines"
expect 0 gpurun --json ps -a
hasnt '/closed'
chmod 600 sub/closed
chmod 000 sub
expect 100 as_client "${mortal[@]}" "$BUILD/bin/gpurun" -q -- true
has "'sub" "$work/err"
chmod 755 sub
expect 0 as_client "${mortal[@]}" "$BUILD/bin/gpurun" -q -- cat sub/closed

note "several clients that ship the same new files at once"
mkdir "$work/same"
cd "$work/same"
for round in 1 2 3 4 5; do
    echo "$round" >new
    crowd=()
    for i in 1 2 3 4 5 6; do
        (rc=0; gpurun -q --cpu 1 --wait 60s -- cat new >"$work/same.$i" 2>&1 </dev/null || rc=$?; echo "status $rc" >>"$work/same.$i") &
        crowd+=($!)
    done
    wait "${crowd[@]}"
    for i in 1 2 3 4 5 6; do
        [ "$(cat "$work/same.$i")" = "$round"$'\nstatus 0' ] || fail "round $round: $(cat "$work/same.$i")"
    done
done

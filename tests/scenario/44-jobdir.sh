#!/bin/bash
# A job's directory is a plain, private, writable one, however it was made: extracted,
# taken over from an ended job, from a snapshot with files laid over. One list for all.
# needs: pipe
# limit: 240
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
use pipe

mkdir -p "$work/p/dir/sub" "$work/p/full" "$work/p/empty"
cd "$work/p"
for i in 1 2 3 4 5 6 7 8; do
    echo "file $i" >"dir/f$i"
    echo "sub $i" >"dir/sub/s$i"
    echo "full $i" >"full/g$i"
done
head -c 300000 /dev/urandom >big
echo data >data
printf '#!/bin/sh\necho ran\n' >tool
chmod 755 tool
chmod 444 full/g1
ln -s dir/f1 link

# The list. It says which files it found by their inode, so that the way can be told.
cat >list.py <<'PY'
import ctypes, fcntl, mmap, os, socket, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)

def check(what, ok):
    if not ok:
        print("FAILED:", what)
        sys.exit(3)

print("inode", os.stat("data").st_ino)
# rename a shipped directory, and across directories
os.rename("dir", "dir2")
check("renamed dir", sorted(os.listdir("dir2"))[0] == "f1" and not os.path.exists("dir"))
os.rename("dir2/sub", "full/sub")
check("moved dir", open("full/sub/s3").read() == "sub 3\n")
os.rename("full/sub", "dir2/sub")
os.rename("dir2", "dir")
os.rename("dir/f1", "empty/f1")
os.rename("empty/f1", "dir/f1")
# exchange
check("exchange", libc.renameat2(-100, b"dir", -100, b"full", 2) == 0 and os.path.exists("dir/g2"))
check("exchange back", libc.renameat2(-100, b"dir", -100, b"full", 2) == 0)
# hard links: one file, two names, one inode
os.link("data", "data2")
with open("data2", "a") as f:
    f.write("more\n")
check("hard link", open("data").read() == "data\nmore\n" and os.stat("data").st_nlink == 2)
check("same inode", os.stat("data").st_ino == os.stat("data2").st_ino)
os.unlink("data2")
check("a link less", os.stat("data").st_nlink == 1)
# what was open before it is written is the same file after
r = open("big", "rb", buffering=0)
before = r.read(10)
with open("big", "r+b") as w:
    w.write(b"0123456789")
r.seek(0)
check("one file behind two descriptors", r.read(10) == b"0123456789")
check("inode stays", os.fstat(r.fileno()).st_ino == os.stat("big").st_ino)
# shared mappings see writes, and write
m = open("big", "r+b")
mm = mmap.mmap(m.fileno(), 0)
mm[0:4] = b"MMAP"
mm.flush()
r.seek(0)
check("mmap writes", r.read(4) == b"MMAP")
os.pwrite(m.fileno(), b"WRIT", 4096)
check("mmap sees", mm[4096:4100] == b"WRIT")
mm.close()
# locks, of both kinds, between processes
lock = open("data", "r+")
fcntl.flock(lock, fcntl.LOCK_EX)
pid = os.fork()
if pid == 0:
    try:
        fcntl.flock(open("data", "r+"), fcntl.LOCK_EX | fcntl.LOCK_NB)
        os._exit(1)
    except BlockingIOError:
        os._exit(0)
check("flock", os.waitpid(pid, 0)[1] == 0)
fcntl.flock(lock, fcntl.LOCK_UN)
fcntl.lockf(lock, fcntl.LOCK_EX)
pid = os.fork()
if pid == 0:
    try:
        fcntl.lockf(open("data", "r+"), fcntl.LOCK_EX | fcntl.LOCK_NB)
        os._exit(1)
    except OSError:
        os._exit(0)
check("lockf", os.waitpid(pid, 0)[1] == 0)
# inotify on a shipped file and a shipped directory
n = libc.inotify_init1(os.O_NONBLOCK)
wd = libc.inotify_add_watch(n, b"full", 0x100 | 0x200 | 0x2)  # create, delete, modify
check("inotify watch", wd >= 0 and libc.inotify_add_watch(n, b"data", 0x2) >= 0)
with open("full/g2", "a") as f:
    f.write("x")
open("full/new", "w").close()
os.unlink("full/g3")
with open("data", "a") as f:
    f.write("x")
got = os.read(n, 4096)
masks = 0
at = 0
while at < len(got):
    _, mask, _, length = struct.unpack_from("iIII", got, at)
    masks |= mask
    at += 16 + length
check("inotify told all", masks & 0x100 and masks & 0x200 and masks & 0x2)
# modes, times, owners, attributes
os.chmod("data", 0o600)
check("chmod", os.stat("data").st_mode & 0o777 == 0o600)
os.utime("data", ns=(1, 2))
check("utime", os.stat("data").st_mtime_ns == 2)
os.chmod("full", 0o500)
os.chmod("full", 0o755)
try:
    os.setxattr("big", "user.note", b"kept")
    check("xattr", os.getxattr("big", "user.note") == b"kept")
except OSError as e:
    print("no xattrs here:", e, file=sys.stderr)
# unlink what is open; remove a shipped directory whole, and make it anew: it is empty
os.unlink("big")
r.seek(0)
check("unlinked stays readable", r.read(4) == b"MMAP")
for x in os.listdir("full"):
    os.unlink("full/" + x)
os.rmdir("full")
os.mkdir("full")
check("made anew, empty", os.listdir("full") == [])
os.symlink("data", "newlink")
s = socket.socket(socket.AF_UNIX)
s.bind("sock")
os.mkfifo("fifo")
# O_EXCL, O_APPEND, O_TMPFILE with a link, a hole
fd = os.open("excl", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
try:
    os.open("excl", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    check("O_EXCL", False)
except FileExistsError:
    pass
os.close(fd)
fd = os.open(".", os.O_TMPFILE | os.O_RDWR)
os.write(fd, b"tmp")
check("linkat", libc.linkat(-100, b"/proc/self/fd/%d" % fd, -100, b"linked-tmp", 0x400) == 0)
check("O_TMPFILE", open("linked-tmp").read() == "tmp")
f = open("hole", "wb")
f.truncate(1 << 30)
f.close()
check("hole", os.stat("hole").st_blocks < 64)
check("shipped tool runs", os.popen("./tool").read() == "ran\n")
check("symlink", os.readlink("link") == "dir/f1" and open("link").read() == "file 1\n")
print("all held")
PY

list() { # WHAT OPTION...
    local what=$1
    shift
    run gpurun -q "$@" -- /usr/bin/python3 list.py
    [ $rc = 0 ] && has "all held" || fail "$what: $(cat "$work/out" "$work/err")"
    inode=$(sed -n 's/^inode //p' "$work/out")
}
fresh() { # WHAT: a job that finds exactly what was shipped
    expect 0 gpurun -q -- sh -c 'find . -type f | LC_ALL=C sort | xargs sha256sum; find . | LC_ALL=C sort'
    cmp -s "$work/out" "$work/fresh" || fail "$1: $(diff "$work/out" "$work/fresh" | head)"
}
(find . -type f | LC_ALL=C sort | xargs sha256sum; find . | LC_ALL=C sort) >"$work/fresh"

note "extracted, as nothing is here yet"
list "extracted"
note "the next job sees what was shipped, not what that one wrote"
fresh "after a job that changed everything"
note "taken over from the job before, which changed nothing"
# A file as young as the clock's tick is not trusted when its job ends: it has to be older.
expect 0 gpurun -q -- sh -c 'stat -c %i data; sleep 0.1'
was=$(cat "$work/out")
list "taken over"
[ "$inode" = "$was" ] || fail "the directory was not taken over: data is inode $inode, was $was"
fresh "after a taken over one"
note "from a snapshot, with the shipped files over it"
expect 0 gpurun -q --name base -- sh -c 'echo made >made; echo changed >data'
list "from a snapshot" --from base
expect 0 gpurun -q --from base -- cat made data
[ "$(cat "$work/out")" = "$(printf 'made\ndata')" ] || fail "--from: $(cat "$work/out")"

note "two jobs of one tree at once do not see each other's writes"
mkfifo "$work/go1" "$work/go2"
cat >"$work/pair.sh" <<'SH2'
set -eu
test "$(cat data)" = data
echo "$1" >data
echo "$1" >>dir/f2
mv dir/f3 "dir/of-$1"
rm full/g2
echo ready
cat "$2"
test "$(cat data)" = "$1"
test "$(tail -n 1 dir/f2)" = "$1"
ls dir | grep of-
SH2
client_bg "$work/o1" "$work/e1" -q -- sh "$work/pair.sh" one "$work/go1" </dev/null
p1=$bg
client_bg "$work/o2" "$work/e2" -q -- sh "$work/pair.sh" two "$work/go2" </dev/null
p2=$bg
await 30 "the first job" grep -q ready "$work/o1"
await 30 "the second job" grep -q ready "$work/o2"
echo >"$work/go1"
echo >"$work/go2"
wait $p1 || fail "the first: $(cat "$work/o1" "$work/e1")"
wait $p2 || fail "the second: $(cat "$work/o2" "$work/e2")"
grep -q of-one "$work/o1" && ! grep -q of-two "$work/o1" || fail "the first saw the second"
grep -q of-two "$work/o2" && ! grep -q of-one "$work/o2" || fail "the second saw the first"
fresh "after two at once"

note "a hard link out of a job's directory does not reach into the next job"
expect 0 gpurun -q -- pwd
ln "$(cat "$work/out")/data" "$work/held"
expect 0 gpurun -q -- true
echo poisoned >"$work/held"
fresh "with a link held outside"
note "nor does a descriptor that a job left with somebody else"
cat >"$work/hold.py" <<'PY'
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
open(sys.argv[2], "w").close()
os.read(os.open(sys.argv[3], os.O_RDONLY), 1)
os.pwrite(fd, b"POISON", 0)
PY
expect 0 gpurun -q -- pwd
last=$(cat "$work/out")
mkfifo "$work/go3"
spawn hold /usr/bin/python3 "$work/hold.py" "$last/data" "$work/held-now" "$work/go3"
await 20 "the descriptor" test -e "$work/held-now"
client_bg "$work/o1" "$work/e1" -q -- sh -c "echo ready; cat $work/go1; cat data" </dev/null
p1=$bg
await 30 "the job" grep -q ready "$work/o1"
echo >"$work/go3"
wait "${pid[hold]}" || fail "the holder failed"
unset "pid[hold]"
echo >"$work/go1"
wait $p1
note "what the held descriptor did: $(tail -n 1 "$work/o1")"
fresh "after a held descriptor"
note "the store is whole"
expect 0 env GPURUN_AGENT_HOME="$client/gpurun/local" "$BUILD/bin/gpurun-agent" fsck

#!/bin/bash
# A folder kept and brought back as root, exactly: owners, setuid, devices, attributes, ACLs,
# hard links, holes, times. And without --exact nothing that could do harm.
# needs: root
# limit: 240
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
use pipe

mkdir -p "$work/from/dir/locked"
cd "$work/from"
/usr/bin/python3 - <<'PY'
import os, socket, struct
def put(name, data=b"x", mode=0o644, uid=0, gid=0):
    with open(name, "wb") as f:
        f.write(data)
    os.chown(name, uid, gid)
    os.chmod(name, mode)
put("plain")
put("setuid", b"#!/bin/sh\n", 0o4755)
put("setgid", b"#!/bin/sh\n", 0o2755, 0, 7)
put("setboth", b"no x", 0o6644)
put("owned", b"of 1234", 0o640, 1234, 4321)
put("dir/locked/in")
for name in (b"L" * 255, b"new\nline", b"bad\xff\xfe utf8", b" blanks ", b"-rf", b"back\\slash #*?["):
    put(name, name)
os.symlink(b"bad\xff target\n", b"l" * 255)
put("old")
os.utime("old", ns=(-12345678901 * 10**9 + 7, -12345678901 * 10**9 + 7))
put("big", os.urandom(1_000_000))
os.link("big", "dir/linked")
os.symlink("/etc/shadow", "link")
os.lchown("link", 1234, 4321)
os.mkfifo("fifo")
s = socket.socket(socket.AF_UNIX)
s.bind("sock")
with open("hole", "wb") as f:
    f.truncate(1 << 30)
    f.seek(1 << 29)
    f.write(b"middle")
os.mkdir("sticky")
os.chmod("sticky", 0o1777)
os.mkdir("stuck")
os.chmod("stuck", 0o1770)
os.chown("dir", 99, 99)
os.chmod("dir/locked", 0o500)
for name, value in (("user.note", b"kept"), ("user.bin", bytes(range(256)))):
    os.setxattr("plain", name, value)
os.setxattr("owned", "security.NTACL", b"Samba's")
os.setxattr("owned", "trusted.note", b"root's")
acl = struct.pack("<I", 2)
for tag, perm, who in ((1, 6, -1), (2, 4, 1234), (4, 4, -1), (0x10, 4, -1), (0x20, 4, -1)):
    acl += struct.pack("<HHI", tag, perm, who & 0xffffffff)
os.setxattr("plain", "system.posix_acl_access", acl)
os.utime("plain", ns=(-1_000_000_001, -1_000_000_001))
os.utime("dir", ns=(5, 5))
PY
devices=yes
mknod null c 1 3 2>/dev/null && mknod loop b 7 200 2>/dev/null || devices=no
note "device nodes: $devices"

describe() {
    (cd "$1" && /usr/bin/python3 - <<'PY'
import hashlib, os, stat, sys
first = {}
def visit(path):
    st = os.lstat(path)
    what = [path, oct(st.st_mode), "%d:%d" % (st.st_uid, st.st_gid), str(st.st_mtime_ns)]
    if stat.S_ISREG(st.st_mode):
        what += [str(st.st_size), hashlib.sha256(open(path, "rb").read()).hexdigest()[:12] if st.st_size < 1 << 24
                 else "%d blocks" % (st.st_blocks > 1000)]
        if st.st_nlink > 1:
            what.append("= " + first.setdefault(st.st_ino, path))
    elif stat.S_ISLNK(st.st_mode):
        what.append(os.readlink(path))
    elif stat.S_ISCHR(st.st_mode) or stat.S_ISBLK(st.st_mode):
        what.append("%d,%d" % (os.major(st.st_rdev), os.minor(st.st_rdev)))
    if not stat.S_ISLNK(st.st_mode):
        what += ["%s=%s" % (n, os.getxattr(path, n).hex()) for n in sorted(os.listxattr(path))]
    sys.stdout.buffer.write(os.fsencode(" ".join(what)) + b"\n")
    if stat.S_ISDIR(st.st_mode):
        for name in sorted(os.listdir(path)):
            visit(os.path.join(path, name))
visit(".")
PY
    )
}

expect 0 gpurun snap take . --name all
describe "$work/from" >"$work/want"
note "a listing has modes and device numbers as ls -l has them"
expect 0 gpurun snap files all
cp "$work/out" "$work/listing"
expect 0 gpurun --json snap files all
/usr/bin/python3 - "$work/listing" "$work/out" <<'PY' || fail "the listing: $(cat "$work/listing")"
import json, os, stat, sys
lines = {l.rstrip("\n").split("  ")[-1].split(" -> ")[0]: l for l in open(sys.argv[1])}
files = {f["name"]: f for f in map(json.loads, open(sys.argv[2]))}
for name in "plain setuid setgid setboth sticky stuck dir/locked fifo sock link null loop".split():
    if not os.path.lexists(name):
        continue
    st = os.lstat(name)
    assert lines[name].split()[0] == stat.filemode(st.st_mode), lines[name]
    assert files[name]["mode"] == stat.S_IMODE(st.st_mode), files[name]
    numbers = (os.major(st.st_rdev), os.minor(st.st_rdev)) if name in ("null", "loop") else (None, None)
    assert (files[name].get("major"), files[name].get("minor")) == numbers, files[name]
    assert name not in ("null", "loop") or lines[name].split()[1:3] == ["%d," % numbers[0], "%d" % numbers[1]], lines[name]
PY
note "exactly, as root"
expect 0 gpurun -q snap get all --exact -o "$work/exact"
describe "$work/exact" >"$work/got"
diff "$work/want" "$work/got" >"$work/diff" || fail "--exact: $(head -c 2000 "$work/diff")"
rsync -anHAXc --delete --numeric-ids --itemize-changes "$work/from/" "$work/exact/" >"$work/rsync" || fail "rsync"
[ ! -s "$work/rsync" ] || fail "rsync sees a difference: $(cat "$work/rsync")"
# And another judge, which knows nothing of either.
mtree_of() { mtree -c -k type,mode,uid,gid,nlink,link,device,size,time,sha256 -p "$1" | grep -v '^#'; }
mtree_of "$work/from" >"$work/mtree-want"
mtree_of "$work/exact" >"$work/mtree-got"
[ "$(grep -c sha256= "$work/mtree-want")" -gt 10 ] || fail "mtree saw nothing: $(cat "$work/mtree-want")"
cmp -s "$work/mtree-want" "$work/mtree-got" || fail "mtree: $(diff "$work/mtree-want" "$work/mtree-got" | head -n 40)"
note "under a folder that gives its ACL to all that is made in it: that is not the snapshot's"
mkdir "$work/giving"
/usr/bin/python3 - "$work/giving" <<'PY'
import os, struct, sys
acl = struct.pack("<I", 2)
for tag, perm, who in ((1, 7, -1), (2, 7, 1234), (4, 5, -1), (0x10, 7, -1), (0x20, 0, -1)):
    acl += struct.pack("<HHI", tag, perm, who & 0xffffffff)
os.setxattr(sys.argv[1], "system.posix_acl_default", acl)
PY
expect 0 gpurun -q snap get all --exact -o "$work/giving/exact"
describe "$work/giving/exact" >"$work/got"
cmp -s "$work/want" "$work/got" || fail "with what the folder gave: $(diff "$work/want" "$work/got")"
expect 0 gpurun -q snap get all owned --exact -o "$work/giving/owned"
getxattrs() { /usr/bin/python3 -c 'import os, sys; print(sorted(os.listxattr(sys.argv[1])))' "$1"; }
[ "$(getxattrs "$work/giving/owned")" = "['security.NTACL', 'trusted.note']" ] || fail "a file: $(getxattrs "$work/giving/owned")"
note "a time that is not to be had in 64 bits of nanoseconds comes as near as it can"
mkdir "$work/times"
touch -d '2400-01-01 00:00:00' "$work/times/late"
expect 0 gpurun -q snap take "$work/times"
expect 0 gpurun -q snap get times --exact -o "$work/times-back"
was=$(stat -c %Y "$work/times/late") # what the file system holds
[ "$was" -lt 9223372036 ] || was=9223372036
[ "$(stat -c %Y "$work/times-back/late")" = "$was" ] || fail "late: $(stat -c %y "$work/times-back/late")"
note "attributes that no tree can hold are told, again and again"
command -v mkfs.ext4 >/dev/null || PATH=$PATH:/usr/sbin
truncate -s 32M "$work/disk"
mkfs.ext4 -q -O ea_inode "$work/disk"
mkdir "$work/mounted"
if mount -o loop "$work/disk" "$work/mounted"; then
    mkdir "$work/mounted/much"
    echo content >"$work/mounted/much/file"
    echo content >"$work/mounted/much/other"
    /usr/bin/python3 - "$work/mounted/much/file" <<'PY'
import os, sys
for k in range(9):
    os.setxattr(sys.argv[1], "user.%d" % k, os.urandom(60000))
PY
    sleep_until_trusted() { [ "$(find "$work/mounted/much" -newerct '1 second ago')" = "" ]; }
    await 10 "files that a scan cache would trust" sleep_until_trusted
    for _ in 1 2; do
        expect 0 gpurun snap take "$work/mounted/much"
        has 'of 1 file not all attributes could be kept' "$work/err"
    done
    umount "$work/mounted"
else
    note "no loop mounts here"
fi
note "to another host and back: the same"
client_key
sshd far
authorize far
know far
expect 0 gpurun -q host add far "127.0.0.1:${port[far]}"
expect 0 gpurun -q --host far --from all --name moved -- true
expect 0 gpurun -q snap get all --exact -o "$work/again"
describe "$work/again" >"$work/got"
cmp -s "$work/want" "$work/got" || fail "after the move: $(diff "$work/want" "$work/got")"

note "without --exact: nobody else's files, no setuid, no devices"
expect 0 gpurun -q snap get all -o "$work/plain"
[ -z "$(find "$work/plain" ! -uid 0)" ] || fail "somebody else's: $(find "$work/plain" ! -uid 0)"
[ -z "$(find "$work/plain" -perm /6000 -type f)" ] || fail "setuid: $(find "$work/plain" -perm /6000 -type f)"
[ -z "$(find "$work/plain" -type b -o -type c)" ] || fail "a device came"
cmp "$work/from/big" "$work/plain/dir/linked" || fail "the contents differ"
[ "$work/plain/big" -ef "$work/plain/dir/linked" ] || fail "a hard link became two files"
[ "$(stat -c %s "$work/plain/hole")" = $((1 << 30)) ] && [ "$(stat -c %b "$work/plain/hole")" -lt 1000 ] || fail "the hole is filled"
note "what does not come is told; what cannot be set makes --exact fail"
expect 0 gpurun snap get all -o "$work/told"
has "left out" "$work/err"
expect 0 gpurun --json snap get all -o "$work/json"
[ "$(json 'd["skipped_devices"]')" -gt 0 ] || fail "no device left out: $(cat "$work/out")"
[ "$(json 'd["lost_metadata"]')" = 0 ] || fail "lost: $(cat "$work/out")"
expect 102 as_client setpriv --bounding-set=-chown "$BUILD/bin/gpurun" -q snap get all --exact -o "$work/poor"
has "is not exactly what was kept" "$work/err"
has "owner of" "$work/err"
cmp "$work/from/big" "$work/poor/big" || fail "the contents are not there"
note "a job that is started from it gets the same treatment"
expect 0 gpurun -q --host local --from all -- sh -c 'find . -type b -o -type c -o -type f -perm /6000; stat -c %u owned'
[ "$(cat "$work/out")" = 0 ] || fail "in a job: $(cat "$work/out")"

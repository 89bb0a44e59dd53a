#!/bin/bash
# A host of another architecture: asked what it is, given the agent for that, which then
# serves there; one for which there is no agent is refused by name. The machine is qemu's: in a
# user namespace of its own the kernel starts aarch64 programs by it (binfmt_misc, Linux 6.7).
# needs: root
# limit: 300
. "$(dirname "$0")/lib.sh"

agents=$BUILD/lib/gpurun/agent
qemu=$(command -v qemu-aarch64-static || true)
[ "$(basename "$BUILD")" = dev ] || { echo "only the plain build has it"; exit 0; }
[ -x "$agents/aarch64/gpurun-agent" ] || { echo "no agent for aarch64 was built"; exit 77; }
[ -n "$qemu" ] || { echo "no qemu-aarch64-static"; exit 77; }
[ "$arch" != aarch64 ] || { echo "this is an aarch64 machine"; exit 0; }

note "static, of that architecture, and it runs"
expect 0 readelf -hld "$agents/aarch64/gpurun-agent"
has AArch64
hasnt INTERP
hasnt NEEDED
expect 0 "$agents/$arch/gpurun-agent" version
cp "$work/out" "$work/version"
expect 0 env HOME="$work" "$qemu" "$agents/aarch64/gpurun-agent" version
cmp "$work/version" "$work/out" || fail "another version"
expect 0 readelf -h "$agents/aarch64/gpurun-gpuprobe"
has AArch64

client_key
here() { # what `uname -m` says on the host
    mkdir -p "$work/path-$1"
    printf '#!/bin/sh\n[ "$1" = -m ] && echo %s || exec /bin/uname "$@"\n' "$1" >"$work/path-$1/uname"
    chmod 755 "$work/path-$1/uname"
}

note "an architecture that we have no agent for"
here riscv64
sshd r -- "SetEnv PATH=$work/path-riscv64:$PATH HOME=$work/r/home"
authorize r
know r
expect 101 gpurun host add r "127.0.0.1:${port[r]}"
has "the host is a riscv64 machine with Linux" "$work/err"
has "aarch64" "$work/err"
has "$arch" "$work/err"
has "lib/gpurun/agent/riscv64" "$work/err"
[ -z "$(find "$work/r/home" -name 'gpurun-agent')" ] || fail "an agent was put there all the same"

# Programs of aarch64 started by qemu, in a user namespace with all users of this one (whose
# maps a child that stayed outside writes) and a binfmt_misc of its own.
cat >"$work/emulated" <<PY
#!/usr/bin/python3
import ctypes, os, sys

NEWUSER, NEWNS = 0x10000000, 0x00020000
libc = ctypes.CDLL(None, use_errno=True)
me, (r, w) = os.getpid(), os.pipe()
child = os.fork()
if child == 0:
    os.read(r, 1)
    for what in "uid_map", "gid_map":
        with open(f"/proc/{me}/{what}", "w") as f:
            f.write("0 0 65536\\n")
    os._exit(0)
if libc.unshare(NEWUSER | NEWNS) != 0:
    sys.exit("unshare: " + os.strerror(ctypes.get_errno()))
os.write(w, b"x")
if os.waitpid(child, 0)[1] != 0:
    sys.exit("no maps of users")
if libc.mount(b"none", b"/proc/sys/fs/binfmt_misc", b"binfmt_misc", 0, None) != 0:
    sys.exit("binfmt_misc: " + os.strerror(ctypes.get_errno()))
magic = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
mask = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
with open("/proc/sys/fs/binfmt_misc/register", "w") as f:
    f.write(f":aarch64:M::{magic}:{mask}:$qemu:FP")
os.closerange(3, 20)
os.execvp(sys.argv[1], sys.argv[1:])
PY
chmod 755 "$work/emulated"
if ! "$work/emulated" "$agents/aarch64/gpurun-agent" version >"$work/out" 2>"$work/err"; then
    cat "$work/err"
    echo "no binfmt_misc of its own in a user namespace here: not further than the agent alone"
    exit 0
fi

note "an aarch64 host: the agent for it is put there, and serves"
here aarch64
sshd_program=$work/sshd-emulated
printf '#!/bin/sh\nexec "%s" /usr/sbin/sshd "$@"\n' "$work/emulated" >"$sshd_program"
chmod 755 "$sshd_program"
sshd a -- "SetEnv PATH=$work/path-aarch64:$PATH HOME=$work/a/home"
authorize a
know a
expect 0 gpurun host add a "127.0.0.1:${port[a]}"
sum=$(sha256sum <"$agents/aarch64/gpurun-agent" | cut -d' ' -f1)
[ -x "$work/a/home/.local/share/gpurun-agent/bin/$sum/gpurun-agent" ] || fail "not that agent was put there"
expect 0 gpurun --json host show a
has aarch64
expect 0 gpurun host doctor a

note "its store keeps data, signed by its own key"
mkdir "$work/data"
head -c 3000000 /dev/urandom >"$work/data/random"
seq 200000 >"$work/data/numbers"
expect 0 gpurun -q snap take "$work/data" --host a --name there
expect 0 gpurun -q snap verify there
expect 0 gpurun -q snap get there -o "$work/back"
diff -r "$work/data" "$work/back" || fail "other bytes came back"

note "a job: qemu 7.2 has no subreapers, without which none is started; later ones run it"
run gpurun run --host a --dir "$work/data" --name arm -- sh -c 'uname -m; exit 7'
case $rc in
7) has aarch64 ;;
102) has "fault: cannot become a subreaper: Invalid argument; costs ¥0.00" "$work/err" ;;
*) fail "exit status $rc" ;;
esac

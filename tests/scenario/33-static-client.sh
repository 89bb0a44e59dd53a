#!/bin/bash
# The client as one static binary: in a chroot that holds nothing else, against a real sshd;
# names from /etc/hosts and from DNS without glibc's NSS.
# needs: root
. "$(dirname "$0")/lib.sh"

static=$BUILD/bin/gpurun-static
[ "$(basename "$BUILD")" = dev ] || { echo "only the plain build has it"; exit 0; }
[ -x "$static" ] || { echo "no libc-ares-dev"; exit 77; }

note "it needs no loader and no library"
expect 0 readelf -ld "$static"
hasnt INTERP
hasnt NEEDED
run ldd "$static"
has "not a dynamic executable" <(cat "$work/out" "$work/err")

note "the tar of it holds all that it needs"
DEV=$(grep -q -- -Werror "$BUILD/flags" && echo 1 || true)
expect 0 make -s -C "$TOP" DEV="$DEV" B="$BUILD" static
tar=$(tail -n 1 "$work/out")
tar -xf "$tar" -C "$work" || fail "no tar '$tar'"
mv "$work"/gpurun-[0-9]* "$work/jail"
for f in lib/gpurun/agent/"$arch"/gpurun-agent lib/gpurun/agent/"$arch"/gpurun-gpuprobe share/man/man1/gpurun.1 \
    share/locale/zh_CN/LC_MESSAGES/gpurun.mo share/gpurun/devices.d share/gpurun/cards bin/gpurun-agent; do
    [ -e "$work/jail/$f" ] || fail "no $f in it"
done
hasnt NEEDED <(readelf -d "$work/jail/bin/gpurun")

client_key
sshd h
authorize h
jail=$work/jail
mkdir -p "$jail"/{etc,home/{.ssh,d}}
cp "$client/.ssh/id_ed25519" "$jail/home/.ssh/"
known() { # NAME: its key is known by that name
    echo "[$1]:${port[h]} $(cut -d' ' -f1,2 "$work/h/host_key.pub")" >>"$jail/home/.ssh/known_hosts"
}
# Not even /proc and /dev; a user that no passwd names.
g() { env -i PATH="$PATH" HOME=/home TZ=UTC LC_ALL=C.UTF-8 chroot "$jail" /bin/gpurun "$@"; }

note "a job on a host with an address"
expect 0 g version
known 127.0.0.1
expect 0 g -q host add h "root@127.0.0.1:${port[h]}"
expect 7 g -q run --dir /home/d --host h -- sh -c 'printf "\001\377there\n"; exit 7'
printf '\001\377there\n' | cmp - "$work/out" || fail "the job's output is not byte for byte"

note "data there and back: what libarchive writes and reads"
head -c 300000 /dev/urandom >"$jail/home/d/data"
expect 0 g -q run --dir /home/d --host h --name kept -- sh -c 'head -c 200000 /dev/urandom >made; sha256sum made'
sum=$(cut -c1-64 "$work/out")
expect 0 g -q snap export kept -o /home/x.tar.zst
expect 0 g -q snap get kept made -o /home/got
echo "$sum  $jail/home/got" | sha256sum -c --quiet || fail "other bytes came back"
zstd -dc "$jail/home/x.tar.zst" | tar tf - >"$work/names"
has made "$work/names"

note "a name of /etc/hosts"
echo "127.0.0.1 front.example front" >"$jail/etc/hosts"
known front.example
expect 0 g -q host add f "root@front.example:${port[h]}"
expect 0 g -q run --dir /home/d --host f -- echo by hosts
has "by hosts"

note "a name of DNS, as resolv.conf says; what is not there is said to be so"
dns=127.53.$((RANDOM % 250 + 1)).$((RANDOM % 250 + 1))
cat >"$work/dns.py" <<'PY'
import socket, struct, sys

s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 53))
print("ready", flush=True)
while True:
    q, peer = s.recvfrom(2048)
    end = q.index(b"\0", 12) + 1
    kind = struct.unpack(">H", q[end:end + 2])[0]
    name = q[12:end].lower()
    known = name.startswith(b"\x04lab7\x07example\0")
    print(name, kind, flush=True)
    answer = known and kind == 1
    rr = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + bytes([127, 0, 0, 1]) if answer else b""
    flags = 0x8180 if known else 0x8183
    s.sendto(q[:2] + struct.pack(">HHHHH", flags, 1, 1 if answer else 0, 0, 0) + q[12:end + 4] + rr, peer)
PY
spawn dns /usr/bin/python3 "$work/dns.py" "$dns"
await 20 "the name server" grep -q ready "$work/dns.log"
echo "nameserver $dns" >"$jail/etc/resolv.conf"
known lab7.example
expect 0 g -q host add n "root@lab7.example:${port[h]}"
expect 0 g -q run --dir /home/d --host n -- echo by dns
has "by dns"
grep -q lab7 "$work/dns.log" || fail "nobody asked the name server"
expect 101 g host add gone "root@gone.example:${port[h]}"
has "cannot find the host 'gone.example'" "$work/err"

note "a key nobody let in is refused as ever"
: >"$work/h/authorized_keys"
expect 101 g run --dir /home/d --host h -- true
hasnt "Segmentation" "$work/err"
has "h" "$work/err"

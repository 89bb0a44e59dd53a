#!/bin/bash
# The power goes right before each write and each sync of an entry, of a book's ledger and of a wallet:
# both are on an ext4 of their own, which is shut down there (EXT4_IOC_SHUTDOWN) and mounted again. What
# was acknowledged is there, and what is asked for again is entered once.
# And before chosen calls of a session and of the book that takes its receipt and its line of keeping.
# A few points; tests/soak.d/money-power.sh takes each of them.
# needs: root
# repeats
# limit: 300
[ -n "${IN_NAMESPACE:-}" ] || exec unshare -m env IN_NAMESPACE=1 bash "$0"
. "$(dirname "$0")/lib.sh"
PATH=$PATH:/usr/sbin
command -v mkfs.ext4 >/dev/null || { echo "no mkfs.ext4"; exit 77; }
step=${POWER_STEP:-4}
disk=$work/disk
mkdir "$disk"
truncate -s 16M "$work/image"
mkfs.ext4 -q "$work/image"
plug_in() { mount -o loop,commit=300 "$work/image" "$disk" 2>/dev/null || { echo "no loop mounts here"; exit 77; }; }
cut_power() {
    /usr/bin/python3 -c '
import fcntl, os, struct, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
fcntl.ioctl(fd, 0x8004587d, struct.pack("I", 2))' "$disk"
    umount "$disk"
    plug_in
}
at_end() { umount "$disk" 2>/dev/null || true; }
book() { env -i PATH="$PATH" HOME="$disk" LC_ALL=C.UTF-8 ${die:+LD_PRELOAD="$BUILD/tests/libs/dieat.so" ASAN_OPTIONS=verify_asan_link_order=0 DIE_AT="$die"} "$BUILD/bin/gpurun-book" "$@"; }
wallet() { env -i PATH="$PATH" HOME="$disk" LC_ALL=C.UTF-8 ${die:+LD_PRELOAD="$BUILD/tests/libs/dieat.so" ASAN_OPTIONS=verify_asan_link_order=0 DIE_AT="$die"} "$BUILD/bin/gpurun" wallet "$@"; }
plug_in
die=
ssh-keygen -q -t ed25519 -N '' -C ann -f "$work/ann"
expect 0 book key
expect 0 book allow "$work/ann.pub" --name ann
expect 0 book deposit ann 1 --ref first
expect 0 wallet topup 1 --ref first
sync -f "$disk"

book_fen() { book balance ann --json | /usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)["balance_fen"])'; }
wallet_fen() { wallet --json | /usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)["balance_fen"])'; }
add_book() { book deposit ann 1 --ref "$1"; }
add_wallet() { wallet topup 1 --ref "$1"; }

# At each point of WHAT (write, torn, sync) of an entry of WHOSE: cut, and ask again.
cuts() { # WHOSE WHAT
    local n=1 fen before status
    while :; do
        before=$("${1}_fen")
        die=$2:ledger:$n
        status=0
        "add_$1" "$2-$n" >"$work/out" 2>"$work/err" || status=$?
        die=
        cut_power
        fen=$("${1}_fen")
        if [ "$status" = 0 ]; then
            [ "$fen" = $((before + 100)) ] || fail "$1, $2: an entry that was acknowledged is gone"
            break
        fi
        [ "$status" = 137 ] || fail "$1, $2 $n: status $status: $(cat "$work/err")"
        [ "$fen" = "$before" ] || [ "$fen" = $((before + 100)) ] || fail "$1, $2 $n: $before fen became $fen"
        expect 0 "add_$1" "$2-$n"
        [ "$("${1}_fen")" = $((before + 100)) ] || fail "$1, $2 $n: entered twice, or not"
        n=$((n + step))
        n_cuts=$((n_cuts + 1))
    done
}
n_cuts=0
for what in write torn sync; do
    cuts book $what
    cuts wallet $what
done
expect 0 book audit
note "$n_cuts power cuts within an entry"
[ $n_cuts -ge 6 ] || fail "only $n_cuts cuts"

mkdir "$work/power"
expect 0 env TMPDIR="$work" GPURUN_POWER="$work/power" GPURUN_POWER_STEP=$((step > 1 ? 33 : 1)) "$BUILD/tests/unit/book/test_desk_crash"
cat "$work/out"
grep -qE ' [1-9][0-9]* power cuts' "$work/out" || fail "it cut nothing"

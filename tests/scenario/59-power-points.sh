#!/bin/bash
# The power goes at chosen calls of put, commit, drop, gc, rebuild, import, fsck, mending, keeping, expiry,
# regaining and receiving: the store is on an ext4 of its own, which is shut down there
# (EXT4_IOC_SHUTDOWN), mounted again and looked at.
# A few calls; tests/soak.d/store-power.sh takes each of them.
# needs: root
# limit: 300
# repeats
[ -n "${IN_NAMESPACE:-}" ] || exec unshare -m env IN_NAMESPACE=1 bash "$0"
. "$(dirname "$0")/lib.sh"
PATH=$PATH:/usr/sbin
command -v mkfs.ext4 >/dev/null || { echo "no mkfs.ext4"; exit 77; }

mkdir "$work/power"
truncate -s 20M "$work/try"
mkfs.ext4 -q "$work/try"
mount -o loop "$work/try" "$work/power" 2>/dev/null || { echo "no loop mounts here"; exit 77; }
umount "$work/power"
for t in test_crash test_crash_care; do
    expect 0 env TMPDIR="$work" GPURUN_POWER="$work/power" GPURUN_POWER_STEP="${POWER_STEP:-100}" "$BUILD/tests/unit/storage/$t"
    cat "$work/out"
    [ "$(grep -cE ' [1-9][0-9]* power cuts' "$work/out")" = 4 ] || fail "it cut nothing"
    rm -f "$work/power/blank"
done

#!/bin/bash
# Memory and cores: held by a control group where there is one, watched where there is none;
# out of memory is told apart from being killed, also in a child; cores are a quota.
# needs: pipe root
# limit: 150
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
. "$(dirname "$0")/jobs.sh"

mkdir -p "$work/p"
cd "$work/p"
cat >eat.py <<'PY'
import sys, time
b = bytearray(int(sys.argv[1]) << 20)
for i in range(0, len(b), 4096):
    b[i] = 1
print("had it", flush=True)
time.sleep(float(sys.argv[2]))
PY

# A machine without control groups, in a mount namespace of its own.
spawn machine unshare -m sh -c 'mount -t tmpfs none /sys/fs/cgroup && : >"$1/ready" && exec sleep 1000' - "$work"
await 20 "the machine" test -e "$work/ready"
bare() { as_client nsenter -t "${pid[machine]}" -m --wd="$PWD" "$BUILD/bin/gpurun" "$@"; }

for how in gpurun bare; do
    note "$how: more memory than was asked for"
    run $how -q --mem 100M --name "$how-much" -- /usr/bin/python3 eat.py 300 600
    [ "$rc" = 104 ] || fail "status $rc"
    cp "$work/err" "$work/said"
    is "$how-much" reason memory || fail "reason $(field "$how-much" reason)"
    is "$how-much" signal 9 || fail "signal $(field "$how-much" signal)"
    has 'out of memory' "$work/said"
    has 100 "$work/said"
    is "$how-much" snapshot_state whole || fail "no snapshot"

    note "$how: all of the job's processes count together, and end together"
    run $how -q --mem 150M --name "$how-sum" -- sh -c 'for i in 1 2 3 4; do /usr/bin/python3 eat.py 60 600 & done; wait'
    [ "$rc" = 104 ] || fail "status $rc"
    is "$how-sum" reason memory || fail "reason $(field "$how-sum" reason)"

    note "$how: less than that is fine, and a kill is a kill"
    expect 0 $how -q --mem 300M -- /usr/bin/python3 eat.py 50 0
    has 'had it'
    run $how -q --mem 300M --name "$how-killed" -- sh -c 'kill -9 $$'
    [ "$rc" = 137 ] || fail "status $rc"
    is "$how-killed" reason signalled || fail "reason $(field "$how-killed" reason)"
done

note "doctor says who holds memory limits"
run owner doctor
grep -q 'memory limits by cgroup' "$work/out" || fail "no control group here?"

note "--cpu 1 is one core's worth, however many threads there are"
cat >burn.py <<'PY'
import os, time
pids = []
for _ in range(4):
    p = os.fork()
    if p == 0:
        end = time.monotonic() + 3
        while time.monotonic() < end:
            pass
        os._exit(0)
    pids.append(p)
for p in pids:
    os.waitpid(p, 0)
t = os.times()
print(int((t.children_user + t.children_system) * 100))
PY
if [ "$(nproc)" -ge 2 ]; then
    expect 0 gpurun -q --cpu 1 -- /usr/bin/python3 burn.py
    [ "$(cat "$work/out")" -le 400 ] || fail "$(cat "$work/out") hundredths of a core-second in three seconds of one core"
fi
[ -z "$(find /sys/fs/cgroup -type d -name 'gpurun-j*' 2>/dev/null | while read -r g; do
    id=${g##*gpurun-}
    ! record "$id" >/dev/null 2>&1 || echo "$g"
done)" ] || fail "control groups are left"

stop machine
[ -z "$(leftovers)" ] || fail "left over: $(leftovers)"

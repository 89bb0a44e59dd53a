#!/bin/bash
# The power goes, at moments that nobody chose: every snapshot and receipt that was
# acknowledged is there afterwards, what ran is lost or whole, the store is sound, and no bill
# has a second more than the job was seen for.
# needs: root
# limit: 300
[ -n "${IN_NAMESPACE:-}" ] || exec unshare -m env IN_NAMESPACE=1 bash "$0"
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
use pipe
command -v mkfs.ext4 >/dev/null || PATH=$PATH:/usr/sbin
home=$client/gpurun/local
mkdir -p "$home" "$work/p"
truncate -s 300M "$work/disk"
mkfs.ext4 -q "$work/disk" || { echo "no mkfs.ext4"; exit 77; }
plug_in() { mount -o loop,commit=60 "$work/disk" "$home"; }
agent() { as_client env GPURUN_AGENT_HOME="$home" "$BUILD/bin/gpurun-agent" "$@"; }
# EXT4_IOC_SHUTDOWN without flushing the log: what was not synced is gone.
cut_power() {
    /usr/bin/python3 -c '
import fcntl, os, struct, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
fcntl.ioctl(fd, 0x8004587d, struct.pack("I", 2))' "$home"
}
# Whatever works on the disk that went: the machine died with it.
everybody() {
    { find /proc/[0-9]*/cwd /proc/[0-9]*/root /proc/[0-9]*/fd -maxdepth 1 -lname "*$home*" 2>/dev/null || true; } |
        cut -d/ -f3 | sort -un
}
no_group() { ! kill -0 -- "-$1" 2>/dev/null; }
bury() {
    local p
    for p in $(everybody); do
        [ "$p" = $$ ] || kill -9 "$p" 2>/dev/null || true
    done
    umount "$home" 2>/dev/null
}

all_final() {
    gpurun --json ps -a | /usr/bin/python3 -c '
import json, sys
sys.exit(any(j["state"] not in ("ended", "lost") for j in json.load(sys.stdin)["jobs"]))'
}

# No fen more than the seconds since `from` are worth, of every job whose name begins so.
billed() { # PREFIX FROM_S
    expect 0 gpurun --json ps -a
    cp "$work/out" "$work/ps"
    for job in $(/usr/bin/python3 -c '
import json, sys
for j in json.load(open(sys.argv[1]))["jobs"]:
    if j["name"].startswith(sys.argv[2]):
        print(j["id"])' "$work/ps" "$1"); do
        expect 0 gpurun --json bill "$job" # of some nobody has fetched the receipt yet
        expect 0 gpurun -q bill --verify "$job"
        expect 0 gpurun --json bill "$job"
        is 'd["charge_fen"] == sum(l["fen"] for l in d["lines"]) == 10 * d["device_s"]' True
        [ "$(json 'd["device_s"]')" -le $((cut_s - $2)) ] || fail "$job: $(json 'd["device_s"]') s of $((cut_s - $2))"
    done
}

plug_in 2>/dev/null || { echo "no loop mounts here"; exit 77; }
cd "$work/p"
cat >job.sh <<'SH2'
head -c "$1" /dev/urandom >data
sha256sum <data
echo "$2" >name
SH2
expect 0 gpurun -q host show local
expect 0 agent price set cpu=360 disk=0.01 # 10 fen a second
: >"$work/acked"
rounds=${POWER_ROUNDS:-5}
for round in $(seq "$rounds"); do
    note "round $round"
    round_s=$SECONDS
    # What comes back before the cut counts as acknowledged.
    for i in 1 2; do
        name=r$round-$i
        expect 0 gpurun --name "$name" -- sh job.sh $((RANDOM * 40 + 10000)) "$name"
        echo "$name $(sed -n 's/.*data: snapshot \(s[0-9a-z]*\).*/\1/p' "$work/err") $(cut -d' ' -f1 "$work/out") kept" >>"$work/acked"
    done
    long_s=$SECONDS
    expect 0 gpurun -q -d --name "long-$round" -- sh -c 'echo here >file; sleep 600'
    long=$(cat "$work/out")
    # Jobs that end, and folders that are taken, when the lights go out.
    : >"$work/late"
    late() {
        local k o bill
        for k in 1 2 3 4 5 6 7 8; do
            o=$(gpurun --name "late-$round-$k" -- sh job.sh 300000 "late-$round-$k" 2>"$work/late-err") || break
            # A client that the bill did not reach says so, and ends as its job did.
            bill=kept
            ! grep -q 'fetches it' "$work/late-err" || bill=due
            echo "late-$round-$k $(sed -n 's/.*data: snapshot \(s[0-9a-z]*\).*/\1/p' "$work/late-err") $(echo "$o" | cut -d' ' -f1) $bill" >>"$work/late"
        done
    }
    set -m # a process group: what one of them is just starting belongs to it, too
    late </dev/null >/dev/null 2>&1 &
    latecomers=$!
    set +m
    sleep "$(printf '0.%03d' $((RANDOM % 900)))"
    cut_power
    cut_s=$SECONDS
    # What was written before this moment came back before the cut.
    cp "$work/late" "$work/late-acked"
    # Their clients would forget jobs later, while the bills are counted.
    kill -9 -- "-$latecomers" 2>/dev/null || true
    wait $latecomers 2>/dev/null || true
    await 30 "the latecomers' clients to be gone" no_group "$latecomers"
    await 60 "the dead disk to be let go" bury
    e2fsck -fp "$work/disk" >"$work/e2fsck" 2>&1 || { rc=$?; [ $rc = 1 ] || fail "e2fsck: $(cat "$work/e2fsck")"; }
    await 30 "the disk to be back" plug_in

    # A listing finds the dead, and says so as soon as their data is safe.
    await 60 "the long job to be lost (is $(job_state "$long"))" job_is "$long" lost
    expect 105 gpurun -q wait "$long"
    cat "$work/late-acked" >>"$work/acked"
    expect 0 agent fsck
    while read -r name snap sum bill; do
        [ -n "$bill" ] || fail "$name: no snapshot was named"
        job_is "$name" ended || fail "$name was acknowledged, and is $(job_state "$name")"
        rm -rf "$work/got"
        expect 0 gpurun -q snap get "$snap" -o "$work/got"
        [ "$(sha256sum <"$work/got/data" | cut -d' ' -f1)" = "$sum" ] || fail "$name: its snapshot holds something else"
        [ "$(cat "$work/got/name")" = "$name" ] || fail "$name: its snapshot is of another"
        [ "$bill" = kept ] || expect 0 gpurun --json bill "$name"
        expect 0 gpurun -q bill --verify "$name"
    done < <(tail -n 6 "$work/acked")
    # Jobs that were caught: lost, or ended. None runs.
    await 60 "the others to be lost or ended" all_final
    for kind in "r$round-" "late-$round-"; do
        billed "$kind" "$round_s"
    done
    billed "long-$round" "$long_s"
    expect 0 gpurun -q -- true
done
expect 0 gpurun --json audit
is 'd["right"]' True
expect 0 agent audit --json
is 'd["right"]' True
note "all that was ever acknowledged"
while read -r name snap sum _; do
    expect 0 gpurun -q snap get "$snap" data -o "$work/data-$name"
    [ "$(sha256sum <"$work/data-$name" | cut -d' ' -f1)" = "$sum" ] || fail "$name: lost after all"
done <"$work/acked"
note "$(wc -l <"$work/acked") snapshots"
expect 0 agent gc
expect 0 agent fsck
await 30 "the disk to be let go" bury

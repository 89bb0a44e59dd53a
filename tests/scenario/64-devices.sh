#!/bin/bash
# Devices: asked for as people write them, taken exclusively by UUID, shown to their job only;
# cores are a quota, never a lock; drivers that refuse, hang and disagree. NVIDIA's library is a
# substitute in a private mount namespace, as are /sys rows and nodes of other makers.
# needs: pipe root
# limit: 240
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
. "$(dirname "$0")/jobs.sh"

mkdir -p "$work/p" "$work/nv" "$work/dev" "$work/pci"
cd "$work/p"

# A machine of its own: what `inside` runs sees our library, /sys/bus/pci/devices and /dev.
cp "$BUILD/tests/libs/nvml.so" "$work/nv/libnvidia-ml.so.1"
: >"$work/nv/libnvidia-ml.so.1.conf"
spawn machine unshare -m bash -ec '
    mount -t tmpfs none /usr/local
    mount -t tmpfs none /run/lock
    mkdir -p /usr/local/nvidia/lib64
    mount --bind "$1/nv" /usr/local/nvidia/lib64
    mount --bind "$1/pci" /sys/bus/pci/devices
    mount -t tmpfs none "$1/dev"
    for n in null zero full random urandom tty ptmx; do
        : >"$1/dev/$n"
        mount --bind "/dev/$n" "$1/dev/$n"
    done
    mkdir "$1/dev/pts" "$1/dev/shm"
    mount --bind /dev/pts "$1/dev/pts"
    mount --bind /dev/shm "$1/dev/shm"
    mount --rbind "$1/dev" /dev
    : >"$1/machine.ready"
    exec sleep 1000' - "$work"
await 20 "the machine" test -e "$work/machine.ready"
inside() { nsenter -t "${pid[machine]}" -m "$@"; }
gpurun() { as_client nsenter -t "${pid[machine]}" -m --wd="$PWD" "$BUILD/bin/gpurun" "$@"; }
owner() { as_client env GPURUN_AGENT_HOME="$agent_home" nsenter -t "${pid[machine]}" -m "$BUILD/bin/gpurun-agent" "$@"; }
# The probe's answer is good for ten minutes: new hardware, new boot.
hardware() {
    cat >"$work/nv/libnvidia-ml.so.1.conf"
    rm -f "$agent_home/devices/probe"
}
A=GPU-aaaaaaaa-0000-4000-8000-00000000000
hardware <<CONF
driver 550.54.14
cuda 12040
device NVIDIA GeForce RTX 4090|${A}1|25757220864|00000000:01:00.0|0|0
device NVIDIA GeForce RTX 4090|${A}2|25757220864|00000000:02:00.0|0|0
device NVIDIA GeForce RTX 4090|${A}3|25757220864|00000000:03:00.0|0|0
device NVIDIA GeForce RTX 4090 D|${A}4|25757220864|00000000:04:00.0|0|0
device NVIDIA A100-SXM4-80GB|${A}5|85899345920|00000000:05:00.0|0|0
device NVIDIA A100-SXM4-40GB|${A}6|42949672960|00000000:06:00.0|0|0
device NVIDIA H100 80GB HBM3|${A}7|85899345920|00000000:07:00.0|0|0
slice NVIDIA H100 80GB HBM3 MIG 1g.10gb|MIG-bbbbbbbb-0000-4000-8000-000000000001|10468982784
slice NVIDIA H100 80GB HBM3 MIG 2g.20gb|MIG-bbbbbbbb-0000-4000-8000-000000000002|20937965568
CONF

# shows WANT-AS-WRITTEN PATTERN: a job that asks so sees what matches (bash pattern).
shows() {
    expect 0 gpurun -q --gpu "$1" -- sh -c 'echo "$CUDA_VISIBLE_DEVICES"'
    # shellcheck disable=SC2053
    [[ $(cat "$work/out") == $2 ]] || fail "--gpu $1 shows $(cat "$work/out"), not $2"
}
note "names as people write them; CUDA_VISIBLE_DEVICES by UUID"
shows 4090:2 "${A}[123],${A}[123]"
shows 4090 "${A}[123]"
shows 'RTX 4090' "${A}[123]"
shows 'NVIDIA GeForce RTX 4090:3' "${A}1,${A}2,${A}3"
shows rtx4090d "${A}4"
shows '4090 D' "${A}4"
shows a100-80g "${A}5"
shows A100-40G "${A}6"
shows a100 "${A}[56]"
shows 'A100-SXM4-80GB' "${A}5"
shows any '*'
shows any:3 "${A}1,${A}2,${A}3" # of one kind: a lease has one price
expect 0 gpurun -q --device gpu:4090:2 -- true

note "a slice of a card is a device; the card that is cut is none"
expect 0 owner devices
has MIG-bbbbbbbb-0000-4000-8000-000000000001
hasnt "${A}7"
slice=$(owner devices | awk '/MIG-bbbbbbbb-0000-4000-8000-000000000002/ { for (i = 1; i <= NF; i++) if ($i ~ /mig/) print $i }' | head -n 1)
[ -n "$slice" ] || fail "the slice has no type"
shows "$slice" 'MIG-bbbbbbbb-0000-4000-8000-000000000002'

note "what nobody has is an error, never a CPU run"
expect 100 gpurun -q --gpu h200 -- true
expect 100 gpurun -q --gpu 4090:4 -- true
expect 100 gpurun -q --gpu 3090 -- true

note "the record names the devices; who holds them has them alone"
gpurun -q -d --gpu 4090:2 --name first -- sh -c 'echo "$CUDA_VISIBLE_DEVICES"; sleep 600' >"$work/id"
await 30 "it runs" is first state running
[ "$(field first device | grep -c "^gpu [^ ]* $A[123]$")" = 2 ] || fail "record: $(field first device)"
[ "$(owner devices | grep -c busy)" = 2 ] || fail "not two busy: $(owner devices)"
expect 0 gpurun -q --gpu 4090 --name third -- sh -c 'echo "$CUDA_VISIBLE_DEVICES"'
[ "$(field first device | grep -c "$(cat "$work/out")")" = 0 ] || fail "a device given twice"
run gpurun -q --gpu 4090:2 --name nofit -- true
[ "$rc" = 100 ] || [ "$rc" = 101 ] || fail "busy devices: status $rc"
grep -qi 'free\|busy' "$work/err" || fail "not said"
! record nofit >/dev/null || fail "a job was made"

note "a CPU job beside it sees no GPU, and takes none; two on all cores run at once"
expect 0 gpurun -q --cpu 1 -- sh -c 'echo "<$CUDA_VISIBLE_DEVICES>"'
[ "$(cat "$work/out")" = '<>' ] || fail "sees $(cat "$work/out")"
gpurun -q -d --cpu "$(nproc)" --name all1 -- sleep 600 >"$work/id"
gpurun -q -d --cpu "$(nproc)" --name all2 -- sleep 600 >"$work/id"
await 30 "one runs" is all1 state running
await 30 "the other, too" is all2 state running
run gpurun -q --cpu $(($(nproc) + 1)) -- true
[ "$rc" = 100 ] || fail "more cores than there are: $rc"
has cores "$work/err"

note "--wait runs it when the devices are free"
gpurun --gpu 4090:3 --wait 60s --name waits -- sh -c 'echo "$CUDA_VISIBLE_DEVICES"' >"$work/w.out" 2>"$work/w.err" &
w=$!
await 30 "it says that it waits" grep -q 'waiting: no gpu 4090:3 is free now' "$work/w.err"
[ ! -s "$work/w.out" ] || fail "it did not wait"
for j in first all1 all2; do
    gpurun -q stop --now $j >/dev/null 2>&1 || true
done
rc=0
wait $w || rc=$?
[ $rc = 0 ] || fail "the waiting one: $rc $(cat "$work/w.err")"
[ "$(tr ',' '\n' <"$work/w.out" | sort -u | grep -c "$A[123]")" = 3 ] || fail "it got $(cat "$work/w.out")"

note "clients racing for one device: exactly one has it at a time"
racers=()
for i in 1 2 3 4; do
    gpurun -q --gpu a100-80g --name "race$i" -- sh -c '
        mkdir "$0/held" || { echo "two at once" >&2; exit 99; }
        sleep 1.5; rmdir "$0/held"' "$work" >"$work/race$i.out" 2>"$work/race$i.err" &
    racers+=($!)
done
won=0
for i in 0 1 2 3; do
    rc=0
    wait "${racers[i]}" || rc=$?
    case $rc in
    0) won=$((won + 1)) ;;
    100 | 101) grep -qi 'free\|busy' "$work/race$((i + 1)).err" || fail "loser says $(cat "$work/race$((i + 1)).err")" ;;
    *) fail "racer $((i + 1)): $rc $(cat "$work/race$((i + 1)).err")" ;;
    esac
done
[ $won -ge 1 ] || fail "nobody won"

note "a supervisor killed: the device is free only when its job is dead"
gpurun -q -d --gpu a100-40g --name held -- sh -c 'trap "" TERM; while :; do sleep 1; done' >"$work/id"
await 30 "it runs" is held state running
job=$(processes held)
kill -KILL "$(supervisor held)"
run gpurun -q --gpu a100-40g --wait 30s --name next -- true
[ "$rc" = 0 ] || fail "the next one: $rc"
for q in $job; do gone "$q" || fail "process $q of the dead job ran beside the next one"; done
expect 105 gpurun -q wait held

note "an older driver is no missing GPU; a driver that refuses, a lost card, a hanging one"
hardware <<CONF
driver 470.10
cuda 11040
device NVIDIA GeForce RTX 3090|${A}1|25757220864|00000000:01:00.0|0|0
CONF
shows 3090 "${A}1"
hardware <<<'fail init 18'
expect 100 gpurun -q --gpu any -- true
run owner doctor
has 'mismatch'
expect 0 gpurun -q --cpu 1 -- true
hardware <<<'hang'
before=$SECONDS
expect 100 gpurun -q --gpu any -- true
[ $((SECONDS - before)) -lt 40 ] || fail "a hanging driver held us for $((SECONDS - before)) s"
expect 0 gpurun -q --cpu 1 -- true
[ -z "$(marked "$BUILD/lib/gpurun/agent/$arch/gpurun-gpuprobe")" ] || fail "a probe is left"

hardware <<<'fail init 12'
note "AMD by /sys, Ascend by its nodes"
pci() { # ADDRESS VENDOR DEVICE CLASS [NAME UNIQUE MEMORY]
    mkdir "$work/pci/$1"
    echo "$2" >"$work/pci/$1/vendor"
    echo "$3" >"$work/pci/$1/device"
    echo "$4" >"$work/pci/$1/class"
    [ $# -lt 5 ] || echo "$5" >"$work/pci/$1/product_name"
    [ $# -lt 6 ] || echo "$6" >"$work/pci/$1/unique_id"
    [ $# -lt 7 ] || echo "$7" >"$work/pci/$1/mem_info_vram_total"
}
pci 0000:03:00.0 0x1002 0x740f 0x038000 'AMD Instinct MI210' 0x1234abcd 68702699520
pci 0000:83:00.0 0x1002 0x740f 0x038000 'AMD Instinct MI210' 0x1234abce 68702699520
pci 0000:04:00.0 0x1002 0x1478 0x060400
pci 0000:05:00.0 0x8086 0x56a0 0x030000
for n in davinci0 davinci1 davinci_manager; do inside touch "/dev/$n"; done
expect 0 gpurun -q --gpu mi210:2 -- sh -c 'echo "$HIP_VISIBLE_DEVICES"'
[ "$(tr ',' '\n' <"$work/out" | sort | tr '\n' ' ')" = '0 1 ' ] || fail "HIP_VISIBLE_DEVICES=$(cat "$work/out")"
expect 100 gpurun -q --gpu mi210:3 -- true
expect 0 gpurun -q --device npu:any:2 -- sh -c 'echo "$ASCEND_RT_VISIBLE_DEVICES/$HIP_VISIBLE_DEVICES"'
[ "$(cat "$work/out")" = 0,1/ ] || fail "ASCEND_RT_VISIBLE_DEVICES/HIP_… is $(cat "$work/out")"
expect 100 gpurun -q --device npu:any:3 -- true

note "a row that ships with us, and one of the owner's"
inside touch /dev/cambricon_dev0 /dev/acme3 /dev/acme5
expect 0 gpurun -q --device npu:mlu -- sh -c 'echo "$MLU_VISIBLE_DEVICES"'
[ "$(cat "$work/out")" = 0 ] || fail "MLU_VISIBLE_DEVICES is $(cat "$work/out")"
expect 100 gpurun -q --device asic:x1 -- true
mkdir -p "$agent_home/devices.d"
cat >"$agent_home/devices.d/acme.conf" <<'CONF'
gpurun.class.v1
# Ours, from a bench in the cellar.

class=asic
vendor=acme
detect=nodes
node=/dev/acme[0-9]*
visible_var=ACME_VISIBLE
visible_by=index
type=x1
CONF
expect 0 gpurun -q --device asic:x1:2 -- sh -c 'echo "$ACME_VISIBLE"'
[ "$(cat "$work/out")" = 3,5 ] || fail "ACME_VISIBLE is $(cat "$work/out")"
expect 0 owner price set asic:x1=1.50
expect 0 gpurun plan --device asic:x1 -- true
has 1.50

note "a wrong row is an error that names its file"
sed -i 's/^detect=nodes/detect=magic/' "$agent_home/devices.d/acme.conf"
run owner doctor
[ "$rc" = 1 ] || fail "doctor: $rc"
grep -q 'acme.conf' "$work/out" "$work/err" || fail "the file is not named"

stop machine
[ -z "$(leftovers)" ] || fail "left over: $(leftovers)"

#!/bin/bash
# A GPU that somebody computes on without gpurun: shown by host show and plan, and taken last.
# needs: pipe root
# limit: 120
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
. "$(dirname "$0")/jobs.sh"

mkdir -p "$work/p" "$work/nv"
cd "$work/p"
cp "$BUILD/tests/libs/nvml.so" "$work/nv/libnvidia-ml.so.1"
# drivers N1 N2: so many processes compute on the one and on the other
drivers() {
    cat >"$work/nv/libnvidia-ml.so.1.conf" <<CONF
driver 550.54.14
cuda 12040
device NVIDIA GeForce RTX 4090|GPU-cccccccc-0000-4000-8000-000000000001|25757220864|00000000:01:00.0|40|$1
device NVIDIA GeForce RTX 4090|GPU-cccccccc-0000-4000-8000-000000000002|25757220864|00000000:02:00.0|0|$2
CONF
    rm -f "$agent_home/devices/probe"
}
drivers 2 0
nv_machine
gpurun() { as_client nsenter -t "${pid[machine]}" -m --wd="$PWD" "$BUILD/bin/gpurun" "$@"; }

note "shown; the other one is taken, and nothing is said"
expect 0 gpurun host show local
has "free (2 processes that no job started"
[ "$(grep -c 'that no job started' "$work/out")" = 1 ] || fail "not of one device"
# shellcheck disable=SC2016
expect 0 gpurun --gpu 4090 --name one -- sh -c 'echo "$CUDA_VISIBLE_DEVICES"'
has 000000000002
hasnt "in use by processes" "$work/err"
expect 0 gpurun --json plan --gpu 4090 -- true
[ "$(json 'd["n_shared"]')" = 0 ] || fail "one of one is shared"

note "where no other is left it is taken all the same, and said"
expect 0 gpurun plan --gpu 4090:2 -- true
has "1 of them is in use by processes that no job of gpurun started"
expect 0 gpurun --gpu 4090:2 -- true
has "1 of them is in use by processes that no job of gpurun started" "$work/err"

note "what the driver said a while ago is asked again before anybody is told"
sed -i 's/|40|2$/|40|0/' "$work/nv/libnvidia-ml.so.1.conf"
expect 0 gpurun host show local
hasnt "that no job started"

#!/bin/bash
# resume of what a card or its memory was too small for: another card, two of them, more memory,
# changed code and other arguments, all at once and each alone; what is not said stays as it was.
# needs: pipe root
# limit: 180
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
. "$(dirname "$0")/jobs.sh"

mkdir -p "$work/p" "$work/nv"
cd "$work/p"
cp "$BUILD/tests/libs/nvml.so" "$work/nv/libnvidia-ml.so.1"
A=GPU-aaaaaaaa-0000-4000-8000-00000000000
cat >"$work/nv/libnvidia-ml.so.1.conf" <<CONF
driver 550.54.14
cuda 12040
device NVIDIA GeForce RTX 4090|${A}1|25757220864|00000000:01:00.0|0|0
device NVIDIA A100-SXM4-80GB|${A}2|85899345920|00000000:02:00.0|0|0
device NVIDIA A100-SXM4-80GB|${A}3|85899345920|00000000:03:00.0|0|0
CONF
nv_machine
gpurun() { as_client nsenter -t "${pid[machine]}" -m --wd="$PWD" "$BUILD/bin/gpurun" "$@"; }
cat >train.py <<'PY'
import os, sys
epoch = int(open("ckpt").read()) if os.path.exists("ckpt") else 0
open("ckpt", "w").write(str(epoch + 1))
cards = os.environ.get("CUDA_VISIBLE_DEVICES", "")
print("epoch", epoch, "args", sys.argv[1:], "cards", len([c for c in cards.split(",") if c]), "opt", os.environ.get("OPT"), flush=True)
block = bytearray(int(sys.argv[1]) << 20)
for i in range(0, len(block), 4096):
    block[i] = 1
print("fits", flush=True)
PY
spec() { # NAME KEY: of what the job was asked to be
    sed -n "s/^$2=//p" "$(record "$1")/spec"
}

note "memory was not enough; resume with more, nothing else changed"
run gpurun -q --gpu 4090 --mem 64M --env OPT=kept --name small train.py 200
[ "$rc" = 104 ] || fail "exit status $rc"
has "epoch 0 args ['200'] cards 1 opt kept"
is small reason memory || fail "reason $(field small reason)"
expect 0 gpurun -q resume small --mem 1G --name more
has "epoch 1 args ['200'] cards 1 opt kept"
has fits
[ "$(spec more type)" = 4090 ] || fail "the card is $(spec more type)"
[ "$(spec more mem_bytes)" = 1073741824 ] || fail "memory: $(spec more mem_bytes)"

note "another card, and two of them"
expect 0 gpurun -q resume more --gpu a100-80g:2 --name big
has "epoch 2 args ['200'] cards 2 opt kept"
[ "$(spec big type),$(spec big count),$(spec big mem_bytes)" = a100-80g,2,1073741824 ] || fail "$(cat "$(record big)/spec")"

note "a card that no host has changes nothing; a run on cores alone"
expect 100 gpurun -q resume big --gpu h100
has h100 "$work/err"
expect 0 gpurun -q resume big --cpu 1 --name cores
has "epoch 3 args ['200'] cards 0 opt kept"

note "other arguments; changed code; all at once"
expect 0 gpurun -q resume big --name args -- python3 train.py 10 --lr 0.1
has "epoch 3 args ['10', '--lr', '0.1'] cards 2"
sed -i 's/print("epoch"/print("new code, epoch"/' train.py
expect 0 gpurun -q resume big --name old
has "epoch 3 args"
hasnt "new code"
expect 0 gpurun -q resume big --with-code --dir . --gpu 4090 --mem 512M --env OPT=other --name all -- python3 train.py 20
has "new code, epoch 3 args ['20'] cards 1 opt other"
[ "$(spec all type),$(spec all mem_bytes)" = 4090,536870912 ] || fail "$(cat "$(record all)/spec")"
expect 0 gpurun bill --verify all

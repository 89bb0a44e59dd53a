#!/bin/bash
# Two ranks of one training, started by torchrun as it is and talking by gloo on the CPU: an
# unchanged script on two devices of a host. A rank that dies takes the job with it.
# limit: 300
# repeats
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
use libssh
export PATH=/usr/bin:/bin:/usr/sbin:/sbin
mkdir "$work/proj"
cd "$work/proj"
cat >ddp.py <<'PY'
import os, sys
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("gloo")
rank = dist.get_rank()
if sys.argv[1:] == ["die"] and rank == 1:
    sys.exit(9)
torch.manual_seed(1)
model = DistributedDataParallel(nn.Linear(4, 1))
step = torch.optim.SGD(model.parameters(), lr=0.1)
for i in range(20):
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(100 * i + rank))
    loss = (model(x) - x.sum(1, keepdim=True)).pow(2).mean()
    step.zero_grad()
    loss.backward()
    step.step()
mean = loss.detach().clone()
dist.all_reduce(mean)
weights = torch.cat([p.detach().flatten() for p in model.parameters()])
both = [torch.zeros_like(weights) for _ in range(dist.get_world_size())]
dist.all_gather(both, weights)
if rank == 0:
    assert torch.equal(both[0], both[1])
    torch.save(model.module.state_dict(), "model.pt")
    print(f"{dist.get_world_size()} ranks, loss {mean.item() / 2:.4f}", flush=True)
PY

note "two ranks, two devices"
# Debian 12's torchrun finds neither 0, its own default, nor 3 in these under its own Python.
log=(-r 1 -t 1)
# --standalone meets at "localhost", which a machine without /etc/hosts does not know.
meet=(--standalone)
getent ahosts localhost >/dev/null || meet=(--master_addr 127.0.0.1 --master_port "$(free_port)")
cores=()
[ "$(nproc)" -lt 2 ] || cores=(--cpu 2)
expect 0 gpurun -q run --name two "${cores[@]}" --env OMP_NUM_THREADS=1 --out model.pt -- torchrun "${log[@]}" "${meet[@]}" --nproc_per_node 2 ddp.py
has "2 ranks, loss 0."
[ -s model.pt ] || fail "no model came back"

note "a rank that ends badly ends the job, and no other stays"
expect 1 gpurun -q run --name dies --env OMP_NUM_THREADS=1 -- torchrun "${log[@]}" "${meet[@]}" --nproc_per_node 2 ddp.py die
! pgrep -f "$work.*ddp.py" >/dev/null || fail "ranks are left: $(pgrep -af ddp.py)"

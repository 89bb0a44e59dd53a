#!/bin/bash
# --conda finds environments as conda does though it is in no PATH; --venv, --python and
# --conda by path; what is not there is told with what is.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
use libssh
home=$work/$H/home
mkdir -p "$work/p" "$home/miniconda3/conda-meta"
cd "$work/p"
for prefix in "$home/miniconda3" "$home/miniconda3/envs/torch" "$home/data disk/big" "$home/plain"; do
    /usr/bin/python3 -m venv --without-pip "$prefix"
done
printf 'envs_dirs:\n  - %s\n' "~/data disk" >"$home/.condarc"
echo 'import os, sys; print(sys.prefix, os.environ.get("CONDA_DEFAULT_ENV"), os.environ.get("VIRTUAL_ENV"))' >where.py

note "by name: in a root that is in no PATH, in a directory of .condarc, base"
expect 0 gpurun -q --host $H --conda torch where.py
has "$home/miniconda3/envs/torch torch None"
expect 0 gpurun -q --host $H --conda big where.py
has "$home/data disk/big big None"
expect 0 gpurun -q --host $H --conda base -- python where.py
has "$home/miniconda3 base None"

note "by path, and a virtual environment"
expect 0 gpurun -q --host $H --conda miniconda3/envs/torch where.py
has "$home/miniconda3/envs/torch miniconda3/envs/torch None"
expect 0 gpurun -q --host $H --venv plain -- python3 where.py
has "$home/plain None $home/plain"

note "--python: for a command, and for what a script starts; by version, by pyenv"
mkdir -p "$home/bin" "$home/.pyenv/versions"
cp -a "$home/plain" "$home/.pyenv/versions/9.1.2"
cp -a "$home/plain" "$home/.pyenv/versions/9.1.10"
echo 'import subprocess; subprocess.run(["python3", "where.py"])' >child.py
expect 0 gpurun -q --host $H --python plain/bin/python -- python3 where.py
has "$home/plain None"
expect 0 gpurun -q --host $H --python plain/bin/python child.py
has "$home/plain None"
expect 0 gpurun -q --host $H --python 9.1 where.py
has "$home/.pyenv/versions/9.1.10 None"
expect 0 gpurun -q --host $H --python 3 -- python -c 'print("works")'
has works

note "what is not there"
! gpurun -q --host $H --python 9.2 -- python3 where.py >"$work/out" 2>"$work/err" || fail "no such interpreter, and it ran"
has "there is no 9.2" "$work/err"
has "for --python: " "$work/err"
has "9.1.2, 9.1.10" "$work/err"
! gpurun -q --host $H --python 9.2 where.py >"$work/out" 2>"$work/err" || fail "no such interpreter, and it ran"
has "9.1.2, 9.1.10" "$work/err"
! gpurun -q --host $H --python ./where.py -- python3 where.py >"$work/out" 2>"$work/err" || fail "no interpreter, and it ran"
has "cannot run" "$work/err"
! gpurun -q --host $H --conda tensorflow where.py >"$work/out" 2>"$work/err" || fail "no such environment, and it ran"
has "there are: " "$work/err"
has torch "$work/err"
! gpurun -q --host $H --venv nowhere where.py >"$work/out" 2>"$work/err" || fail "no such environment, and it ran"
has "there is no" "$work/err"

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

note "as \`conda activate\` does: scripts of packages, variables of the environment; what --env sets stays"
d=$home/miniconda3/envs/torch
mkdir -p "$d/etc/conda/activate.d" "$d/conda-meta"
echo 'export CUDA_HOME=$CONDA_PREFIX GDAL_DATA=$CONDA_PREFIX/share; echo said; mine=1' >"$d/etc/conda/activate.d/cuda.sh"
echo '{"env_vars": {"OF_ENV": "x y", "HF_HOME": "/hub"}, "version": 1}' >"$d/conda-meta/state"
echo 'import os; print(*[os.environ.get(n) for n in ("CUDA_HOME", "GDAL_DATA", "OF_ENV", "HF_HOME", "TMPDIR", "mine")], sep="|")' >vars.py
expect 0 gpurun -q --host $H --conda torch --env GDAL_DATA=mine vars.py
has "$d|mine|x y|/hub|"
has "|None"
hasnt said
expect 0 gpurun -q --host $H --conda miniconda3/envs/torch --env PATH=/usr/bin:/bin vars.py
has "$d|$d/share|x y|"
echo 'exit 3' >"$d/etc/conda/activate.d/cuda.sh"
! gpurun -q --host $H --conda torch vars.py >"$work/out" 2>"$work/err" || fail "it ran without what a script was to set"
has "activate.d' ended the shell" "$work/err"
has "--venv '$d' runs without them" "$work/err"
echo 'sleep 1000' >"$d/etc/conda/activate.d/cuda.sh"
! gpurun -q --host $H --conda torch vars.py >"$work/out" 2>"$work/err" || fail "it ran though a script hangs"
has "did not come to an end in 15 s" "$work/err"
await_none 10 "sleep 1000"
rm -r "$d/etc" "$d/conda-meta"

note "an environment that was shipped is not run outside the job"
/usr/bin/python3 -m venv --without-pip shipped
mkdir -p shipped/etc/conda/activate.d
echo "echo ran >$work/outside; export X=1" >shipped/etc/conda/activate.d/x.sh
expect 0 gpurun -q --host $H --with shipped --conda ./shipped where.py
has "/shipped ./shipped None"
[ ! -e "$work/outside" ] || fail "a shipped script ran outside the job"
rm -r shipped

note "--setup auto makes an environment with the conda that is in no PATH"
mkdir -p "$home/miniconda3/bin" envs
cat >"$home/miniconda3/bin/conda" <<'SH2'
#!/bin/sh
[ "$1 $2 $3 $5 $6 $CONDA_ALWAYS_YES" = "env create --prefix --file environment.yml true" ] || exit 9
exec /usr/bin/python3 -m venv --without-pip "$4"
SH2
chmod 755 "$home/miniconda3/bin/conda"
echo 'name: x' >envs/environment.yml
cp where.py envs/
(cd envs && expect 0 gpurun -q --host $H --dir . --setup auto where.py)
has "/env None None"
rm -r "$home/miniconda3/bin/conda" envs

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

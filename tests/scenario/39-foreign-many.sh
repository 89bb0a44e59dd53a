#!/bin/bash
# Two hosts that are not like this machine (foreign.sh), one as a provider rents it out: getting in by a
# password, many jobs over both, conda as `conda init` left it there, carrying work over, and what a host
# does with no client alive: words, and parking.
# needs: root
# repeats
# limit: 240
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
. "$(dirname "$0")/foreign.sh"

client_key
foreign lab
foreign rented 'let me in'
mkdir -p "$work/p"
cd "$work/p"
expect 0 gpurun -q host add lab ssh -p "${port[lab]}" lin@127.0.0.1
on_foreign lab '.local/share/gpurun-agent/bin/*/gpurun-agent price set cpu=720' >"$work/price"

note "the line of a console, and a password: asked once, then there is a key"
console="ssh -p ${port[rented]} root@127.0.0.1"
expect 101 gpurun -q host add rented "$console" --price cpu=360
has "It takes a password" "$work/err"
expect 0 as_client TERM=xterm "$(tool pty_run)" "Password for root" "let me in" "[Y/n]" "" -- \
    "$BUILD/bin/gpurun" host add rented "$console" --price cpu=360
hasnt "let me in"
has "$(cat "$client/.ssh/id_ed25519.pub")" "$work/rented/root/.ssh/authorized_keys"
# shellcheck disable=SC2016
expect 0 gpurun -q --host rented -- sh -c 'echo "$(id -un) $(hostname) $SHELL $PWD"'
has "root rented /usr/local/bin/bash /root/"
printf '#!/usr/bin/env bash\necho "by ${BASH_VERSION:+bash}"\n' >by.sh
expect 0 gpurun -q --host rented by.sh
has "by bash"

note "a batch: each line where it belongs, one table, one sum, each with its bill"
cat >who.py <<'PY'
import os, socket, sys
import labtools
print(os.environ.get("GPURUN_ARRAY_INDEX"), socket.gethostname(), os.getuid(), labtools.WORD, *sys.argv[1:])
PY
cat >jobs <<'END'
--host lab --name here who.py "a  b" c
--host rented --name there --max-cost 20 who.py
--host lab --name five --out made -- sh -c 'echo "of $(hostname)" >made; sleep 1; exit 5'
--host rented --name none -- bash -c 'kill -9 $$'
END
expect 5 gpurun --json run --max-cost 20 --batch jobs
is '[(j["name"], j["host"], j["exit"]) for j in d["jobs"]]' "[('here', 'lab', 0), ('there', 'rented', 0), ('five', 'lab', 5), ('none', 'rented', 137)]"
is '(d["bills_missing"], d["charge_fen"] == sum(j["charge_fen"] for j in d["jobs"]), all(j["job"]["snapshot"] for j in d["jobs"]))' "(0, True, True)"
is 'd["jobs"][2]["charge_fen"] >= 20' True # a second
[ "$(cat made)" = "of lab" ] || fail "what came back: $(cat made)"
expect 0 gpurun -q logs here
[ "$(cat "$work/out")" = "None lab 4321 only there a  b c" ] || fail "its log"

note "an array: spread over both, each told by its index"
expect 0 gpurun --json run --array 1-8 --name arr --max-cost 20 who.py
is '[j["exit"] for j in d["jobs"]] == [0] * 8 and {j["host"] for j in d["jobs"]} == {"lab", "rented"}' True
is 'd["bills_missing"]' 0
for i in 1 8; do
    expect 0 gpurun -q logs "arr-$i"
    grep -qE "^$i (lab 4321|rented 0) only there$" "$work/out" || fail "the log of arr-$i"
    expect 0 gpurun bill --verify "arr-$i"
done

note "conda, which an interactive bash alone has: base as it is activated there, an environment by its name"
in_foreign rented /opt/python/bin/python3 -m venv --without-pip /var/conda /var/conda/envs/deep
mkdir "$work/rented/var/conda/conda-meta"
cat >"$work/rented/var/conda/bin/conda" <<'SH'
#!/bin/sh
[ "$*" = "shell.bash hook" ] || exit 2
echo 'export CONDA_EXE=/var/conda/bin/conda CONDA_PREFIX=/var/conda CONDA_DEFAULT_ENV=base PATH="/var/conda/bin:$PATH"'
SH
chmod 755 "$work/rented/var/conda/bin/conda"
cat >>"$work/rented/root/.bashrc" <<'SH'
# >>> conda initialize >>>
__conda_setup="$('/var/conda/bin/conda' 'shell.bash' 'hook' 2> /dev/null)"
if [ $? -eq 0 ]; then
    eval "$__conda_setup"
fi
unset __conda_setup
# <<< conda initialize <<<
SH
echo 'import os, sys; print(sys.prefix, os.environ["CONDA_DEFAULT_ENV"])' >where.py
expect 0 gpurun -q --host rented where.py
has "/var/conda base"
expect 0 gpurun -q --host rented --conda deep where.py
has "/var/conda/envs/deep deep"
for site in "$work"/rented/var/conda/lib/python3.*/site-packages; do
    mkdir "$site/torch"
    printf '__version__ = "2.4.1+cu121"\nclass version:\n    cuda = "12.1"\nclass cuda:\n    is_available = staticmethod(lambda: False)\n' \
        >"$site/torch/__init__.py"
done
expect 0 gpurun host doctor rented
has /var/conda/bin/python3
has 2.4.1+cu121
has "cannot use it"

note "begun on one, carried on with changed code and arguments on the other"
cat >train.py <<'PY'
import os, socket, sys
step = int(open("ckpt").read()) if os.path.exists("ckpt") else 0
open("ckpt", "w").write(str(step + 1))
print("step", step, "on", socket.gethostname(), "with", *sys.argv[1:])
PY
expect 0 gpurun -q --host lab --name first train.py --lr 1
has "step 0 on lab with --lr 1"
sed -i 's/print(/print("new code:", /' train.py
expect 0 gpurun -q resume first --host rented --name second -- python3 train.py --lr 2
[ "$(cat "$work/out")" = "step 1 on rented with --lr 2" ] || fail "the old code goes on"
expect 0 gpurun -q resume second --host lab --with-code --dir .
[ "$(cat "$work/out")" = "new code: step 2 on lab with --lr 2" ] || fail "the changed code goes on"

note "a job's end and its cap's shares are told by the host, which is parked after it, with no client alive"
# shellcheck disable=SC2016
expect 0 gpurun -q -d --host lab --name capped --max-cost 0.6 --notify-host 'echo "$GPURUN_EVENT $GPURUN_NAME by $(id -un)" >>/var/tmp/told' \
    -- sleep 600
# shellcheck disable=SC2016
expect 0 gpurun -q -d --host rented --name last -- sh -c 'while [ ! -e /var/tmp/enough ]; do sleep 0.1; done; echo data >kept'
# shellcheck disable=SC2016
expect 0 gpurun -q host add parking "$console" --park 'echo "parked by $(id -un) on $(hostname)" >>/var/tmp/parked' --park-after 1s
expect 0 gpurun plan --host parking -- true
has "00:00:01 after the last job"
[ ! -e "$work/rented/var/tmp/parked" ] || fail "parked under a job"
: >"$work/rented/var/tmp/enough"
told() { grep -q "^$1 capped by lin" "$work/lab/var/tmp/told"; }
await 60 "the end of it, told by its host" told ended
for share in 50 80 100; do
    told "cost-$share" || fail "of $share % of the cap nothing is told: $(cat "$work/lab/var/tmp/told")"
done
await 60 "parking" grep -q "parked by root on rented" "$work/rented/var/tmp/parked"
expect 104 gpurun -q wait capped
expect 0 gpurun -q snap get last kept -o got
has data got
expect 0 gpurun audit

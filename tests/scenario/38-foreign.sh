#!/bin/bash
# A host that is not like this machine (another user and root, dash, no git and no bash, a Python of its
# own): getting in, what a job finds there, --venv and --python, set-ups with a wheel, data sets.
# limit: 300
# needs: root
# repeats
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
. "$(dirname "$0")/foreign.sh"

client_key
foreign lab
mkdir -p "$work/p/wheels"
cd "$work/p"
git -c init.defaultBranch=main init -q . # the root of what is shipped is found here, not there

note "the line of a console, unquoted; the agent lies beneath that user's home, and is that user's"
expect 0 gpurun -q host add lab ssh -p "${port[lab]}" lin@127.0.0.1 --price cpu=36
# Its owner names no price; what the renter says it costs is kept to all the same.
expect 0 gpurun -q --host lab --max-cost 1 -- true
expect 104 gpurun -q --host lab --max-cost 0.02 -- sleep 100
[ "$(stat -c '%u %a' "$work/lab/home/lin/.local/share/gpurun-agent")" = "4321 700" ] || fail "whose is the agent's home?"
expect 0 gpurun --json host show lab
is '(d["where"].split("@")[0], d["hostname"], d["root"])' "('lin', 'lab', False)"
expect 0 gpurun host doctor lab
has "/opt/python/bin/python3"
hasnt "/usr/bin/python3"

note "a script finds that host's environment, nothing of this machine's"
cat >env.py <<'PY'
import os, shutil, socket, sys
import labtools
print(os.getuid(), socket.gethostname(), labtools.WORD, sys.prefix, os.environ["LAB"], os.environ["SHELL"])
print(shutil.which("git"), shutil.which("bash"), os.path.exists("/usr/bin/python3"), os.path.exists("/work"), sorted(os.listdir(".")))
PY
expect 0 gpurun --host lab env.py
[ "$(head -n 1 "$work/out")" = "4321 lab only there /opt/python yes /bin/dash" ] || fail "another environment"
has "None None False False ['env.py', 'wheels']"
printf 'echo "$0 $1 $(id -un)"\n' >say.sh
expect 0 gpurun --host lab say.sh word
has "word lin"
printf '#!/usr/bin/env python3\nimport labtools; print("by env", labtools.WORD)\n' >exe
chmod 755 exe
expect 0 gpurun --host lab exe
has "by env only there"
rc=0
echo typed | gpurun -q --host lab -- sh -c 'read -r x; echo "got $x"; exit 5' >"$work/out" || rc=$?
[ $rc = 5 ] || fail "exit status $rc"
has "got typed"
note "what it has not is said by name"
printf '#!/bin/bash\necho never\n' >bash.sh
run gpurun --host lab bash.sh
[ "$rc" = 102 ] || fail "exit status $rc for a script whose interpreter is missing"
has "/bin/bash" "$work/err"
run gpurun --host lab -- git status
[ "$rc" = 102 ] || fail "exit status $rc for a command that is missing"
has "git" "$work/err"
echo 'import numpy' >np.py
expect 1 gpurun --host lab np.py
has "ModuleNotFoundError" "$work/err"
tail -n 4 "$work/err" | grep -q -- "--setup" || fail "nothing is said of --setup"

note "--venv and --python of that host"
# shellcheck disable=SC2016
on_foreign lab 'python3 -m venv --without-pip envs/v; for d in envs/v/lib/python3*/site-packages; do echo "WORD = \"of the venv\"" >"$d/invenv.py"; done'
echo 'import invenv, sys; print(invenv.WORD, sys.prefix)' >inv.py
expect 0 gpurun --host lab --venv /home/lin/envs/v inv.py
has "of the venv /home/lin/envs/v"
expect 0 gpurun --host lab --python /home/lin/envs/v/bin/python3 inv.py
has "of the venv"
expect 0 gpurun --host lab --python 3 env.py
has "only there /opt/python"
run gpurun --host lab --venv /home/lin/envs/none inv.py
[ "$rc" -ge 100 ] || fail "a venv that is not there: $rc"
has "/home/lin/envs/none" "$work/err"

note "set-ups: a wheel by pip, and auto"
/usr/bin/python3 - wheels <<'PY'
import sys, zipfile
with zipfile.ZipFile(f"{sys.argv[1]}/hello_pkg-1.0-py3-none-any.whl", "w") as z:
    info = "hello_pkg-1.0.dist-info"
    z.writestr("hello.py", "VERSION = '1.0'\n")
    z.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: hello-pkg\nVersion: 1.0\n")
    z.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    z.writestr(f"{info}/RECORD", "".join(f"{n},,\n" for n in z.namelist()) + f"{info}/RECORD,,\n")
PY
echo 'import hello, labtools, os; print(hello.VERSION, labtools.WORD, hello.__file__.startswith(os.environ["GPURUN_SETUP_DIR"]))' >use.py
expect 0 gpurun --host lab --setup 'pip install --no-index -f wheels hello-pkg' use.py
has "1.0 only there True"
has "Successfully installed hello-pkg-1.0" "$work/err"
expect 0 gpurun --host lab --setup 'pip install --no-index -f wheels hello-pkg' use.py
hasnt "Successfully" "$work/err"
printf -- '--no-index\n--find-links wheels\nhello-pkg==1.0\n' >requirements.txt
expect 0 gpurun --host lab --setup auto use.py
has "1.0 only there True"
expect 0 gpurun --host lab --setup 'python3 -m venv "$GPURUN_SETUP_DIR/env" && "$GPURUN_SETUP_DIR/env/bin/pip" install --no-index -f wheels hello-pkg' \
    -- python3 -c 'import hello, sys; print("in", hello.__file__.startswith(sys.prefix))'
has "in True"

note "data sets: put once, read-only in jobs, at any place"
mkdir "$work/ds"
head -c 3000000 /dev/urandom >"$work/ds/big"
echo one >"$work/ds/读我"
expect 0 gpurun -q data put ds "$work/ds" --host lab
expect 0 gpurun --host lab --data ds --data ds:deep/in -- sh -c 'cat ds/读我; sha256sum <deep/in/big; echo x >ds/new || echo read-only'
has one
has "$(sha256sum <"$work/ds/big")"
has read-only
expect 0 gpurun --json data ls
has '"ds"'
expect 0 gpurun -q snap files @last
hasnt 读我
expect 0 gpurun -q data rm ds
expect 0 gpurun -q gc

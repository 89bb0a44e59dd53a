#!/bin/bash
# host doctor says what a script will find on a host: the python of its login environment,
# torch and CUDA; and does so when there is none, one that hangs, or one that says odd things.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
use libssh
home=$work/$H/home
mkdir -p "$home/py/torch"
check() { # CHECK FINDING TEXT
    /usr/bin/python3 -c '
import json, sys
check, finding, text = sys.argv[2:]
for c in json.load(open(sys.argv[1]))["checks"]:
    if c["check"] == check:
        sys.exit(c["finding"] != finding or text not in c["text"])
sys.exit(1)' "$work/out" "$@" || fail "not '$1 $2 $3': $(cat "$work/out")"
}

note "python, torch and CUDA as the login environment has them"
echo "export PYTHONPATH=$home/py" >"$home/.profile"
cat >"$home/py/torch/__init__.py" <<'PY'
print("torch says hello")
__version__ = "2.4.1+cu121"
class version:
    cuda = "12.1"
class cuda:
    is_available = staticmethod(lambda: True)
PY
expect 0 gpurun --json host doctor "$H"
check python ok "$(/usr/bin/python3 -c 'import platform; print(platform.python_version(), "at")')"
check torch ok 2.4.1+cu121
check CUDA ok 12.1
sed -i 's/True/False/' "$home/py/torch/__init__.py"
expect 0 gpurun --json host doctor "$H"
check torch ok 2.4.1+cu121
check CUDA note "cannot use it"

note "a torch that fails, crashes or ends python: the interpreter is told of all the same, and what happened"
echo 'raise ImportError("libcudart.so.12")' >"$home/py/torch/__init__.py"
expect 0 gpurun --json host doctor "$H"
check torch note "torch is there but fails: ImportError: libcudart.so.12"
check python ok " at "
printf 'import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n' >"$home/py/torch/__init__.py"
expect 0 gpurun --json host doctor "$H"
check torch note "crashed: signal 11"
check python ok " at "
echo 'import sys; sys.exit(7)' >"$home/py/torch/__init__.py"
expect 0 gpurun --json host doctor "$H"
check torch note "exit code 7"
printf '__version__ = "2.9"\nclass cuda:\n    @staticmethod\n    def is_available():\n        import os\n        os.abort()\n' >"$home/py/torch/__init__.py"
expect 0 gpurun --json host doctor "$H"
check torch ok 2.9
has "crashed: signal 6"

note "what it prints cannot write on our terminal"
printf '__version__ = "\\x1b[31mred"\nclass cuda:\n    is_available = staticmethod(lambda: False)\nclass version:\n    cuda = None\n' >"$home/py/torch/__init__.py"
expect 0 gpurun host doctor "$H"
! grep -q "$(printf '\033')" "$work/out" || fail "an escape sequence came through"

note "no python, and one that hangs"
mkdir "$home/bin"
ln -s /bin/sh "$home/bin/sh"
echo "export PATH=$home/bin" >"$home/.profile"
expect 0 gpurun --json host doctor "$H"
check python note "no python3 in the login environment"
printf '#!/bin/sh\nexec /bin/sleep 1000\n' >"$home/bin/python3"
chmod +x "$home/bin/python3"
expect 0 gpurun --json host doctor "$H"
check python note "20 s"

note "start files that leave something running, or end the shell the first time"
cat >"$home/.profile" <<'SH'
sleep 1000 &
export LEFT_BEHIND=$!
SH
expect 0 gpurun -q run --host "$H" -- sh -c 'echo "$LEFT_BEHIND"'
left=$(cat "$work/out")
[ "$left" -gt 1 ] || fail "the login environment is not there: $left"
gone() { ! kill -0 "$left" 2>/dev/null; }
await 10 "what the start file left is killed" gone
echo '[ -e "$HOME/asked" ] || { : >"$HOME/asked"; exec /bin/false; }' >"$home/.profile"
expect 0 gpurun --json host doctor "$H"
check environment note "did not tell its environment; it is that of"
expect 0 gpurun --json host doctor "$H"
check python ok 3.
! grep -q "did not tell" "$work/out" || fail "an answer that fell short was kept: $(cat "$work/out")"

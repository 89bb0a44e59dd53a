#!/bin/bash
# --setup runs once per change: of what the files it names name in turn, of directories, of the host's
# interpreter; where `auto` looks, and what it says where a program is missing; pip as the host's user
# has set it up.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"

use libssh
home=$work/$H/home
mkdir -p "$work/p/reqs" "$work/p/pkg" "$work/p/tools/deep" "$work/wheels" "$home/bin"
cd "$work/p"
git init -q .
/usr/bin/python3 - "$work/wheels" <<'PY'
import sys, zipfile
with zipfile.ZipFile(f"{sys.argv[1]}/hello_pkg-1.0-py3-none-any.whl", "w") as z:
    info = "hello_pkg-1.0.dist-info"
    z.writestr("hello.py", "VERSION = '1.0'\n")
    z.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: hello-pkg\nVersion: 1.0\n")
    z.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    z.writestr(f"{info}/RECORD", f"hello.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
PY
echo "export PATH=$home/bin:\$PATH" >"$home/.profile"
n_ran() { wc -l <"$work/ran" 2>/dev/null || echo 0; }
ran() { # TIMES COMMAND: how often the set-up has run after one more job
    expect 0 gpurun -q --host $H --setup "echo ran >>$work/ran; : $2" -- true
    [ "$(n_ran)" = "$1" ] || fail "': $2' ran $(n_ran) times, not $1: $3"
}

note "what is named in what is named; a directory; a name with a blank"
printf -- '-r reqs/more.txt\n' >requirements.txt
echo '-c "the limits"' >reqs/more.txt
echo x >"reqs/the limits"
echo y >other.txt
echo 'a = 1' >pkg/a.py
setup="pip install -r requirements.txt ./pkg"
ran 1 "$setup" "the first"
echo z >other.txt
ran 1 "$setup" "another file"
echo 2 >"reqs/the limits"
ran 2 "$setup" "a list of a list"
echo 'a = 2' >pkg/a.py
ran 3 "$setup" "a file in a directory"
ran 3 "$setup" "nothing"

note "another interpreter on the host is another result, and plan knows; the first one's is there still"
expect 0 gpurun plan --host $H --setup "echo ran >>$work/ran; : $setup" -- true
has "done on $H already"
printf '#!/bin/sh\nexec /usr/bin/python3 "$@"\n' >"$home/bin/python3"
chmod 755 "$home/bin/python3"
expect 0 gpurun plan --host $H --setup "echo ran >>$work/ran; : $setup" -- true
has "runs once first"
ran 4 "$setup" "another python3"
ran 4 "$setup" "that one again"
rm "$home/bin/python3"
ran 4 "$setup" "the one of before"

note "auto looks where the job starts, beside the script, at the root; and says what it found"
printf -- '--no-index\n--find-links %s\nhello-pkg\n' "$work/wheels" >tools/requirements.txt
echo 'import hello; print("hello", hello.VERSION)' >tools/use.py
cp tools/use.py tools/deep/use.py
rm requirements.txt
expect 0 gpurun plan --host $H --setup auto tools/use.py
has "auto, by tools/requirements.txt: cd 'tools' &&"
expect 0 gpurun --host $H --setup auto tools/use.py
has "hello 1.0"
expect 100 gpurun --host $H --setup auto tools/deep/use.py
has "there is no uv.lock, requirements.txt or environment.yml in '$work/p', '$work/p/tools/deep'" "$work/err"
mv tools/requirements.txt requirements.txt
expect 0 gpurun plan --json --host $H --setup auto tools/deep/use.py
[ "$(json 'd["setup_found"]')" = requirements.txt ] || fail "plan: $(cat "$work/out")"

note "pip as the host's user has set it up: into a directory, into an environment of the set-up's own"
mkdir -p "$home/.config/pip"
printf '[install]\nuser = true\n' >"$home/.config/pip/pip.conf"
# shellcheck disable=SC2016
expect 0 gpurun --host $H --setup 'pip install --no-index -f '"$work/wheels"' --target "$GPURUN_SETUP_DIR/there" hello-pkg' \
    -- sh -c 'ls "$GPURUN_SETUP_DIR/there"'
has hello.py
# shellcheck disable=SC2016
expect 0 gpurun --host $H --setup 'python3 -m venv "$GPURUN_SETUP_DIR/env" && "$GPURUN_SETUP_DIR/env/bin/pip" install --no-index -f '"$work/wheels"' hello-pkg' \
    -- python3 -c 'import hello; print("env", hello.VERSION)'
has "env 1.0"

note "an editable install is refused before anything is done; what its list says is named"
printf -- '-e ./pkg\n' >requirements.txt
expect 100 gpurun --host $H --setup auto tools/deep/use.py
has "requirements.txt: an editable install (-e ./pkg)" "$work/err"
has "without -e" "$work/err"

note "one that a script of the set-up makes is found in what it left"
# shellcheck disable=SC2016
echo 'd=$(python3 -m site --user-site); mkdir -p "$d"; echo "$PWD/pkg" >"$d/__editable__.x.pth"' >hidden.sh
for i in 1 2; do # nothing of it is kept
    expect 102 gpurun --host $H --setup 'sh hidden.sh' -- true
    has "'__editable__.x.pth' leads into the directory of this job" "$work/err"
done

note "no uv there, no conda, no such program: what to do"
rm requirements.txt
touch uv.lock
echo 'name: x' >environment.yml
expect 102 gpurun --host $H --setup auto tools/deep/use.py
has "there is no uv on this host: --setup 'python3 -m pip install uv && uv sync" "$work/err"
rm uv.lock
expect 102 gpurun --host $H --setup auto tools/deep/use.py
has "there is no conda, mamba or micromamba on this host" "$work/err"
expect 102 gpurun --host $H --setup nosuchprogram -- true
has "a program that the set-up starts is not on this host" "$work/err"

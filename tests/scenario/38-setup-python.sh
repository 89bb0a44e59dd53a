#!/bin/bash
# --setup with a real pip: wheels into the layer beside what the host has, a virtual environment made by
# the set-up, the interpreter that was asked for; its limits; and that one which fails leaves nothing.
# needs: root
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
. "$(dirname "$0")/jobs.sh"

use libssh
mkdir -p "$work/p" "$work/wheels"
cd "$work/p"
agent_home=$work/$H/home/.local/share/gpurun-agent
/usr/bin/python3 - "$work/wheels" <<'EOT'
import sys, zipfile
for version in ("1.0", "2.0"):
    with zipfile.ZipFile(f"{sys.argv[1]}/hello_pkg-{version}-py3-none-any.whl", "w") as z:
        info = f"hello_pkg-{version}.dist-info"
        z.writestr("hello.py", f"VERSION = '{version}'\ndef main():\n    print('tool', VERSION)\n")
        z.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: hello-pkg\nVersion: {version}\n")
        z.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        z.writestr(f"{info}/entry_points.txt", "[console_scripts]\nhello = hello:main\n")
        z.writestr(f"{info}/RECORD", "".join(f"{n},,\n" for n in z.namelist()) + f"{info}/RECORD,,\n")
EOT
requirements() { printf -- '--no-index\n--find-links %s\nhello-pkg==%s\n' "$work/wheels" "$1" >requirements.txt; }
site=$work/$H/home/$(/usr/bin/python3 -c 'import sys; print(f".local/lib/python3.{sys.version_info[1]}/site-packages")')
mkdir -p "$site"
echo 'WORD = "of the host"' >"$site/hosthas.py"
layers() { find "$agent_home"/renters/*/setup -mindepth 1 -maxdepth 1 -type d 2>/dev/null | wc -l; }
cat >use.py <<'EOT'
import hello, hosthas, os, subprocess, sys
print("version", hello.VERSION, hosthas.WORD, flush=True)
subprocess.run(["hello"])
print("from the layer", hello.__file__.startswith(os.environ["GPURUN_SETUP_DIR"]))
EOT

note "auto: requirements.txt; what the host's user has installed is found still; a change runs it again"
requirements 1.0
expect 0 gpurun --host $H --setup auto use.py
has "version 1.0 of the host"
has "tool 1.0"
has "from the layer True"
has "Successfully installed hello-pkg-1.0" "$work/err"
[ ! -e "$site/hello.py" ] || fail "it was installed into the host's own packages"
expect 0 gpurun --host $H --setup auto use.py
hasnt "installed hello" "$work/err"
requirements 2.0
expect 0 gpurun --host $H --setup auto use.py
has "tool 2.0"

note "a plain pip install; a TMPDIR of the user's own changes nothing"
expect 0 gpurun --host $H --env TMPDIR=/nonexistent --setup "pip install --no-index -f $work/wheels hello-pkg==1.0" use.py
has "tool 1.0"

note "a virtual environment that the set-up makes: pip installs there, and it is the job's own"
# shellcheck disable=SC2016
expect 0 gpurun --host $H --setup 'python3 -m venv "$GPURUN_SETUP_DIR/env" && "$GPURUN_SETUP_DIR/env/bin/pip" install --no-index -f '"$work/wheels hello-pkg==1.0" \
    -- python3 -c 'import hello, os, sys; print(sys.prefix == os.environ["GPURUN_SETUP_DIR"] + "/env", hello.__file__.startswith(sys.prefix))'
has "True True"

note "a host whose user logs in to a virtual environment: the set-up installs over it, and changes nothing there"
venv=$work/$H/home/main
/usr/bin/python3 -m venv --without-pip "$venv"
its=$(echo "$venv"/lib/python3.*/site-packages)
echo /usr/lib/python3/dist-packages >"$its/pip.pth"
echo 'WORD = "of its venv"' >"$its/hosthas.py"
cp -r "$(find "$agent_home"/renters/*/setup -name hello_pkg-2.0.dist-info | head -n 1)" "$its"
echo 'VERSION = "its own"' >"$its/hello.py"
printf '#!%s/bin/python3\nimport hello, sys\nprint("script", hello.VERSION, *sys.argv[1:])\n' "$venv" >"$venv/bin/launch"
printf '#!/bin/sh\necho "no Python, though it names %s/bin/python3"\n' "$venv" >"$venv/bin/shell"
chmod 755 "$venv/bin/launch" "$venv/bin/shell"
echo ". $venv/bin/activate" >"$work/$H/home/.profile"
requirements 1.0
expect 0 gpurun --host $H --setup auto use.py
has "version 1.0 of its venv"
has "tool 1.0"
has "from the layer True"
expect 0 gpurun --host $H --setup auto -- sh -c 'launch "a  b" && shell'
has "script 1.0 a  b"
has "no Python, though"
has "its own" "$its/hello.py"
rm "$work/$H/home/.profile"

note "--python: python3 of the set-up is that one"
printf '#!/bin/sh\nMARK=asked exec /usr/bin/python3 "$@"\n' >"$work/my python"
chmod 755 "$work/my python"
cat >mark.py <<'EOT'
import os, sys
path = os.environ["GPURUN_SETUP_DIR"] + "/mark"
if len(sys.argv) > 1:
    open(path, "w").write(os.environ.get("MARK", "another"))
else:
    print(open(path).read())
EOT
expect 0 gpurun --host $H --python "$work/my python" --setup 'python3 mark.py write' mark.py
has asked

n=$(layers)
note "what pip cannot find: its words, the code, and nothing stays"
requirements 3.0
expect 102 gpurun --host $H --setup auto use.py
has "No matching distribution found for hello-pkg==3.0" "$work/err"
has "set-up failed with exit code 1: python3 -m pip install -r requirements.txt" "$work/err"
[ "$(layers)" = "$n" ] || fail "$(layers) layers, there were $n"

note "--mem and --max-time hold for it, too"
expect 104 gpurun --host $H --mem 64M --setup 'python3 -c "x = bytearray(600 << 20)"' use.py
has "set-up out of memory: more than the 64 MiB asked for" "$work/err"
expect 104 gpurun --host $H --max-time 2s --setup 'sleep 600' use.py
has "time" "$work/err"
await_none 30 "sleep 600"
[ "$(layers)" = "$n" ] || fail "$(layers) layers, there were $n"

note "killed with its supervisor: nothing half made is left, or believed"
cat >half.sh <<EOT
echo half >"\$GPURUN_SETUP_DIR/half"
[ -e $work/go ] || { : >$work/began; sleep 600; }
echo whole >"\$GPURUN_SETUP_DIR/half"
EOT
# shellcheck disable=SC2016
client_bg "$work/bg.out" "$work/bg.err" run --host $H --name half --setup 'sh half.sh' -- sh -c 'cat "$GPURUN_SETUP_DIR/half"'
await 60 "the set-up to run" test -e "$work/began"
kill -KILL "$(supervisor half)"
wait $bg || rc=$?
[ "$rc" = 105 ] || fail "the lost job: $rc: $(cat "$work/bg.err")"
await_none 30 "sleep 600"
[ "$(layers)" = "$n" ] || fail "$(layers) layers, there were $n"
: >"$work/go"
# shellcheck disable=SC2016
expect 0 gpurun --host $H --setup 'sh half.sh' -- sh -c 'cat "$GPURUN_SETUP_DIR/half"'
has whole

note "a directory of which not all is known to be on the disk is made again"
layer=$(dirname "$(find "$agent_home"/renters/*/setup -name half)")
: >"$layer/half"
rm "$layer.ready"
# shellcheck disable=SC2016
expect 0 gpurun --host $H --setup 'sh half.sh' -- sh -c 'cat "$GPURUN_SETUP_DIR/half"'
has whole

note "a disk that fills up: said, nothing stays, and there is room again"
setup=$(dirname "$layer")
umount_setup() { umount "$setup" 2>/dev/null || true; }
at_end() { umount_setup; }
mount -t tmpfs -o size=8m none "$setup"
# shellcheck disable=SC2016
expect 102 gpurun --host $H --setup 'head -c 20000000 /dev/zero >"$GPURUN_SETUP_DIR/big"' use.py
has "No space left on device" "$work/err"
has "set-up failed with exit code 1" "$work/err"
[ -z "$(find "$setup" -mindepth 1 -type d)" ] || fail "left: $(find "$setup")"
# shellcheck disable=SC2016
expect 0 gpurun --host $H --setup 'echo small >"$GPURUN_SETUP_DIR/x"' -- sh -c 'cat "$GPURUN_SETUP_DIR/x"'
has small
umount_setup

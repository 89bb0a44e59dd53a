#!/bin/bash
# --setup: run once per change of the command and the files it names, without a device and at the
# price of no card; its result is a layer that later jobs start from.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
. "$(dirname "$0")/jobs.sh"

use libssh
mkdir -p "$work/p"
cd "$work/p"
agent_home=$work/$H/home/.local/share/gpurun-agent
agent() { env -i PATH="$PATH" HOME="$work/$H/home" "$BUILD/bin/gpurun-agent" "$@"; }
echo 'VALUE = 1' >made.py
cat >setup.sh <<EOT
echo ran >>$work/ran
echo setting up
[ ! -f $work/slow ] || until [ -f $work/go ]; do sleep 0.1; done
d=\$(python3 -m site --user-site)
mkdir -p "\$d" "\$GPURUN_SETUP_DIR/bin"
cp made.py "\$d/installed.py"
printf '#!/bin/sh\necho tool\n' >"\$GPURUN_SETUP_DIR/bin/mytool"
chmod +x "\$GPURUN_SETUP_DIR/bin/mytool"
touch beside
EOT
cat >use.py <<'EOT'
import installed, os, subprocess
print("value", installed.VALUE, flush=True)
subprocess.run(["mytool"])
print("beside", os.path.exists("beside"))
try:
    open(os.environ["GPURUN_SETUP_DIR"] + "/new", "w")
    print("WROTE")
except OSError:
    pass
EOT
n_ran() { wc -l <"$work/ran" 2>/dev/null || echo 0; }
run_it() { gpurun --host $H --setup 'sh setup.sh made.py' "$@" use.py; }

note "bad input"
expect 100 gpurun --host $H --setup '' use.py
expect 100 gpurun --host $H --setup auto use.py
has "no uv.lock, requirements.txt or environment.yml" "$work/err"
expect 100 gpurun --host $H --setup true --venv x use.py
has "exclude each other" "$work/err"

note "it runs once; its output is the job's stderr; later jobs have its result, and plan says so"
expect 0 gpurun plan --host $H --setup 'sh setup.sh made.py' use.py
has "runs once first, without a device"
expect 0 run_it --name one
has "value 1"
has tool
has "beside False"
hasnt WROTE
hasnt "setting up"
has "setting up" "$work/err"
expect 0 gpurun plan --json --host $H --setup 'sh setup.sh made.py' use.py
[ "$(json 'd["setup_ready"]')" = True ] || fail "plan: $(cat "$work/out")"
expect 0 gpurun plan --host $H --setup 'sh setup.sh made.py' use.py
has "done on $H already"
expect 0 run_it
has "value 1"
hasnt "setting up" "$work/err"
[ "$(n_ran)" = 1 ] || fail "it ran $(n_ran) times"
expect 0 gpurun snap show --json one
[ "$(json 'len(d["setup"])')" = 64 ] || fail "the snapshot does not name its set-up"
expect 0 gpurun snap files one
hasnt installed
rm -rf "$client/gpurun/tmp" # nothing of its files is fetched: there is no place for them
: >"$client/gpurun/tmp"
expect 0 gpurun resume one --name again
rm "$client/gpurun/tmp"
has "value 1"
[ "$(n_ran)" = 1 ] || fail "resume ran it again"
key() { gpurun --json snap show "$1" | /usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)["setup"])'; }
[ "$(key again)" = "$(key one)" ] || fail "the same files have another key"

note "a variable that the command names belongs to it, one for the job alone does not"
# shellcheck disable=SC2016
flavoured() { gpurun -q --host $H --setup 'echo $FLAVOUR >"$GPURUN_SETUP_DIR/flavour"; echo ran' "$@" -- sh -c 'cat $GPURUN_SETUP_DIR/flavour'; }
expect 0 flavoured --env FLAVOUR=sweet
has sweet
expect 0 flavoured --env FLAVOUR=sour --env SEED=1
has sour
expect 0 flavoured --env FLAVOUR=sour --env SEED=2
has sour
hasnt ran "$work/err"

note "a change in a file that it names runs it again, one in another file does not"
echo '# another' >>use.py
expect 0 run_it
[ "$(n_ran)" = 1 ] || fail "it ran again for another file"
echo 'VALUE = 2' >made.py
expect 0 run_it
has "value 2"
[ "$(n_ran)" = 2 ] || fail "it did not run again"

note "resume --with-code runs it for the code that is shipped, and without that there is what the job had"
echo 'VALUE = 7' >made.py
expect 0 gpurun resume one --name newest --with-code
has "value 7"
has "setting up" "$work/err"
expect 0 gpurun resume newest
has "value 7"
[ "$(n_ran)" = 3 ] || fail "it ran $(n_ran) times"

note "where its layer is not, the set-up of a resumed job has the key of the files that it sees"
expect 0 gpurun --host $H --name changes --setup 'sh setup.sh made.py' -- sh -c 'echo "VALUE = 8" >made.py'
mkdir "$work/bin"
printf '#!/bin/sh\nexec /usr/bin/python3 "$@"\n' >"$work/bin/python3"
chmod 755 "$work/bin/python3"
other=$work/bin:/usr/bin:/bin # another interpreter, so another layer
: >"$work/ran"
expect 0 gpurun resume changes --env PATH="$other" -- python3 use.py
has "value 8"
echo 'VALUE = 8' >made.py
expect 0 run_it --env PATH="$other"
has "value 8"
[ "$(n_ran)" = 1 ] || fail "the same files have another key: it ran $(n_ran) times"

note "resume --setup: with the files of the snapshot, auto too"
expect 100 gpurun resume one --setup auto
has "there is no uv.lock, requirements.txt or environment.yml in 's" "$work/err"
expect 100 gpurun resume one --venv x --setup true
has "exclude each other" "$work/err"
echo '# nothing' >requirements.txt
ln -s requirements.txt more.txt
echo 'import installed; print("value", installed.VALUE)' >plain.py
expect 1 gpurun --host $H --name lacks plain.py
rm requirements.txt more.txt
expect 1 gpurun resume lacks --setup auto
has "by requirements.txt: python3 -m pip install -r requirements.txt" "$work/err"
expect 0 gpurun resume lacks --setup 'sh setup.sh made.py more.txt'
has "value 8"

note "the layer comes back from the store"
echo 'VALUE = 2' >made.py
: >"$work/ran"
rm -rf "$agent_home"/renters/*/setup/????????????*
expect 0 run_it
has "value 2"
has tool
[ "$(n_ran)" = 0 ] || fail "it ran again"

note "a set-up that fails ends the job with its words; nothing of it is kept"
expect 102 gpurun --host $H --name bad --setup 'echo no such package >&2; exit 3' use.py
has "no such package" "$work/err"
has "set-up failed with exit code 3" "$work/err"
expect 102 gpurun --host $H --setup 'echo no such package >&2; exit 3' use.py
has "no such package" "$work/err"

note "two jobs at once: one runs it, the other waits for it"
rm -f "$work/ran"
echo 'VALUE = 3' >made.py
client_bg "$work/a.out" "$work/a.err" --host $H --setup 'sh setup.sh made.py' use.py
a=$bg
client_bg "$work/b.out" "$work/b.err" --host $H --setup 'sh setup.sh made.py' use.py
b=$bg
wait $a || fail "the first: $(cat "$work/a.err")"
wait $b || fail "the second: $(cat "$work/b.err")"
has "value 3" "$work/a.out"
has "value 3" "$work/b.out"
[ "$(n_ran)" = 1 ] || fail "it ran $(n_ran) times"

note "no device is held meanwhile, set-up costs the price of no card, the bill says so"
mkdir -p "$agent_home/devices.d"
: >"/dev/shm/toy1-$$"
at_end() { rm -f /dev/shm/toy1-$$ /run/lock/gpurun-devices/toy-toy1-$$.lock; }
printf 'gpurun.class.v1\n\nclass=asic\nvendor=toy\ndetect=nodes\nnode=/dev/shm/toy1-%s\ntype=toy\n' $$ >"$agent_home/devices.d/toy.conf"
expect 0 agent price set cpu=36 asic:toy=360
rm -f "$work/ran"
touch "$work/slow"
echo 'VALUE = 4' >made.py
client_bg "$work/a.out" "$work/a.err" --host $H --name slow --device asic:toy --max-time 1h --setup 'sh setup.sh made.py' use.py
a=$bg
await 60 "the set-up to run" test -s "$work/ran"
await 60 "its state" job_is slow setup
expect 0 gpurun -q run --host $H --device asic:toy --max-time 10m -- true
client_bg "$work/b.out" "$work/b.err" run --host $H --name holder --device asic:toy --max-time 10m -- \
    sh -c "until [ -f $work/enough ]; do sleep 0.1; done"
b=$bg
await 60 "the holder to run" job_is holder running
sleep 1 # a whole second of set-up at least is to be billed
touch "$work/go"
await 60 "set-up to be over" job_is slow preparing
sleep 1 # and it waits, for as long as another has the device
job_is slow preparing || fail "it is $(job_state slow) though the device is taken"
touch "$work/enough"
wait $b || fail "the holder: $(cat "$work/b.err")"
wait $a || fail "the job: $(cat "$work/a.err")"
has "value 4" "$work/a.out"
expect 0 gpurun bill slow
has "set-up, no card"
expect 0 gpurun bill --json slow
/usr/bin/python3 - "$work/out" <<'EOT' || fail "the bill: $(cat "$work/out")"
import json, sys
text = open(sys.argv[1]).read()
assert '"setup_s":' in text
import re
assert max(int(x) for x in re.findall(r'"setup_s":(\d+)', text)) >= 1
EOT
expect 0 gpurun bill --verify slow

note "a stop during set-up ends it: no device second is billed"
rm -f "$work/ran" "$work/go"
echo 'VALUE = 5' >made.py
client_bg "$work/a.out" "$work/a.err" --host $H --name stopped --device asic:toy --max-time 1h --setup 'sh setup.sh made.py' use.py
a=$bg
await 60 "the set-up to run" test -s "$work/ran"
run gpurun stop stopped
wait $a || true
expect 0 gpurun bill --json stopped
has '"reason":"stopped"'
has '"device_s":0,'
await_none 30 "setup.sh"

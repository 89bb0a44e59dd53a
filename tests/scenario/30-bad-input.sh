#!/bin/bash
# Bad input: each is refused with its code and a message that says what to do, and
# nothing is changed, here or on the host (a scan cache is not counted, nor the empty lock
# that the host makes when an upload begins: one may have begun when the refusal comes).
# needs: pipe
. "$(dirname "$0")/lib.sh"

agent_home=$client/gpurun/local
mkdir -p "$work/proj/sub" "$work/empty"
cd "$work/proj"
echo 'print("hello")' >train.py
echo data >data.txt
echo hidden >secret.bin

# A home and an agent that exist already, so that making them is no change.
expect 0 gpurun -q host show local
expect 0 gpurun -q ps
expect 0 gpurun -q ps -a
expect 0 gpurun -q snap ls

state() {
    (cd "$client" && find . -path ./gpurun/scan -prune -o -path ./gpurun/local/park.hold -o -printf '%p %y %s %m %l\n' | LC_ALL=C sort)
    (cd "$work/proj" && find . -printf '%p %y %s %m %T@\n' | LC_ALL=C sort)
}

# refuse CODE TEXT WORD...: that exit status, TEXT in the one message, nothing on stdout,
# nothing changed, and the same with --json.
refuse() {
    local code=$1 text=$2 before
    shift 2
    before=$(state)
    expect "$code" gpurun "$@"
    [ ! -s "$work/out" ] || fail "something on stdout: gpurun $*"
    has "$text" "$work/err"
    [ "$(grep -vc '^gpurun: ' "$work/err")" = 0 ] || fail "a line without 'gpurun: ': gpurun $*"
    [ "$(wc -l <"$work/err")" -le 2 ] || fail "more than two lines: gpurun $*"
    [ "$(state)" = "$before" ] || fail "something changed: gpurun $* $(diff <(echo "$before") <(state))"
    expect "$code" gpurun --json "$@"
    [ ! -s "$work/out" ] || fail "something on stdout: gpurun --json $*"
    echo "$code $(tail -n 1 "$work/err")" >>"$work/errors" # looked at in the end, all at once
}

note "words and options"
refuse 100 "no script 'nosuch.py'" run nosuch.py
refuse 100 "no script 'nosuch.py'" nosuch.py
refuse 100 'did you mean `gpurun stop`' stpo
refuse 100 'nothing to run' run
refuse 100 'nothing to run' --
refuse 100 "'train.py' is the value of the option before it" run --gpu train.py
refuse 100 "amount like" run --max-cost ¥5 train.py
has "'¥5'" "$work/err"
refuse 100 'goes first' --cpu 1 ps
refuse 100 '--nosuch' run --nosuch train.py
refuse 100 'want' --home
refuse 100 'a word is missing' stop
refuse 100 'one word too many' wait a b
refuse 100 'host what?' host
refuse 100 'no `host' host frobnicate
refuse 100 'no command' help frobnicate
refuse 100 'no `host frobnicate`' help host frobnicate
refuse 100 "no script ''" ''
refuse 100 "no command follows '--'" run -- ''
refuse 100 'is a folder' run sub
refuse 100 'neither executable' run data.txt
refuse 100 "no directory 'nodir'" run --dir nodir train.py
refuse 100 'lies outside' run --dir sub train.py
refuse 100 'no script' run train.py/x

note "values"
refuse 100 'exclude each other' run --gpu 4090 --cpu 1 train.py
refuse 100 '--cpu' run --cpu 0 train.py
refuse 100 '--cpu' run --cpu x train.py
refuse 100 '--gpu' run --gpu 4090:0 train.py
refuse 100 '--gpu' run --gpu '' train.py
refuse 100 'asked for as TYPE' run --gpu ４０９０ train.py
refuse 100 '--device' run --device gpu train.py
refuse 100 '--max-cost' run --max-cost 1.005 train.py
refuse 100 '--max-cost' run --max-cost -1 train.py
refuse 100 '--max-cost' run --max-cost 1e3 train.py
expect 100 gpurun run --max-cost 1e3 train.py
hasnt 'syntax' "$work/err"
refuse 100 '--max-cost' run --max-cost 99999999999999999999 train.py
refuse 100 '--max-price' run --max-price 1.0000001 train.py
refuse 100 '--max-time' run --max-time 0 train.py
refuse 100 '--max-time' run --max-time 1y train.py
refuse 100 '--window' run --window 2d train.py
refuse 100 '--wait' run --wait soon train.py
refuse 100 '--mem' run --mem 1 train.py
refuse 100 '--mem' run --mem lots train.py
refuse 100 '--env' run --env A train.py
refuse 100 '--env' run --env =x train.py
refuse 100 "K without blanks" run --env $'A\n=x' train.py
refuse 100 '--env-file' run --env-file nofile train.py
refuse 100 '--secret' run --secret NOT_SET_HERE train.py
refuse 100 '--port' run --port 99999 train.py
refuse 100 '--port' run -d --port 80 train.py
refuse 100 '--name' run --name 'a/b' train.py
refuse 100 '--name' run --name @last train.py
refuse 100 '--out' run --out ../x train.py
refuse 100 '--out' run --out /etc train.py
refuse 100 '--with' run --with nofile train.py
refuse 100 '--with' run --with /etc/passwd train.py
refuse 100 'exclude each other' run --python a --venv b train.py
for option in python conda venv; do
    refuse 100 "--$option wants a value" run --$option '' train.py # a variable that is not set
done
refuse 100 "no directory 'train.py'" run --dir train.py train.py
refuse 100 "and b at 'x/y' would" run --data a:x --data b:x/y train.py
refuse 100 'terminal' run -t train.py
refuse 100 'exclude each other' run -t -d train.py
refuse 100 'terminal' exec -t nobody -- sh
refuse 100 'ask-above' config ask-above 1.005
refuse 100 'there are: ' config nosuch 1
refuse 100 '--month' bill --month 2026-13
refuse 100 '--verify' bill --verify
for form in --csv --plot; do
    expect 100 gpurun --json bill $form
    [ ! -s "$work/out" ] || fail "something on stdout: gpurun --json bill $form"
    has '"exit":100,"message":"--json and '"$form are two forms" "$work/err"
done
refuse 100 'neither a job' bill --verify nosuch
refuse 100 "may not begin with '@'" snap take --name @last .
refuse 100 'slash' snap take --name a/b .
refuse 100 "'train.py' is no folder: no job" snap take train.py
refuse 100 "'sub' is a directory" snap import sub
refuse 100 'no URL' data pull set 'http://a b'

note "jobs, snapshots, hosts that are not there"
refuse 100 "no job 'nosuch'" wait nosuch
refuse 100 "no job 'nosuch'" logs nosuch
refuse 100 "no job 'nosuch'" stop nosuch
refuse 100 'no job has been run' attach @last
refuse 100 "no snapshot 'nosuch'" snap show nosuch
refuse 100 '--month: a month looks like' wallet log --month 2026-13
refuse 100 '--month: a month looks like' audit --month 2026-13
refuse 100 "no snapshot 'nosuch'" run --from nosuch train.py
refuse 100 "no host 'nosuch'" run --host nosuch train.py
refuse 100 "no host 'nosuch'" host show nosuch
refuse 100 "no host 'nosuch'" host rm nosuch
refuse 100 'always there' host rm local
refuse 100 'usable host name' host add -- -x a@b
refuse 100 "'local' is this machine" host add local a@b
refuse 100 'is not an SSH address' host add x -- -oProxyCommand=x
refuse 100 'is not an SSH address' host add x 'ssh -p 0 a@b'
refuse 100 'is not an SSH address' host add x ａ@b
refuse 100 '--price' host add x a@b --price 4090=1.0000001
refuse 100 'TYPE=YUAN' host add x a@b --price ４０９０=1
refuse 100 'not GPURUN_' host add x a@b --env GPURUN_A=1
refuse 100 'without blanks' host add x a@b --env 'A B=1'
refuse 100 '--host-key' host add x a@b --host-key MD5:00

note "what is no file is not replaced by one"
printf '\357\273\277A=first\n' >bom.env
# shellcheck disable=SC2016
expect 0 gpurun -q --name left --env-file bom.env -- sh -c 'echo $A'
has first # as Windows saves it
rm bom.env
expect 0 gpurun -q bill # what it keeps to be quicker is there
mkfifo "$work/pipe"
ln -s /proc/self/fd/1 "$work/stdout"
for there in "$work/pipe" "$work/stdout"; do
    refuse 100 "'$there' is there already and no file, so it is not replaced" cp left:data.txt "$there"
    refuse 100 'is not replaced' cp left:nothing "$there" # before it is looked for
    refuse 100 'is not replaced' bill --plot -o "$there"
done
refuse 100 'a name is wanted' cp left:data.txt ''
refuse 100 'a name is wanted' snap get left -o ''
[ -p "$work/pipe" ] && [ -L "$work/stdout" ] || fail "it was replaced"
ln -sf data.txt link
expect 0 gpurun -q cp left:secret.bin link
[ ! -L link ] || fail "a link to a file stays"
rm link

note "a port that is for root alone: a free one is taken, as the job is there by then"
if [ "$(cat /proc/sys/net/ipv4/ip_unprivileged_port_start)" -gt 80 ]; then
    drop=
    [ "$(id -u)" != 0 ] || drop='setpriv --bounding-set=-net_bind_service --inh-caps=-net_bind_service'
    # shellcheck disable=SC2086
    expect 0 as_client $drop "$BUILD/bin/gpurun" run --port 8080:80 -- true
    has 'port 80 is not free here' "$work/err"
fi

note "a stdout that takes nothing"
for words in '' version help config ps 'plan -- true' bill; do
    rc=0
    # shellcheck disable=SC2086
    gpurun $words >/dev/full 2>"$work/err" || rc=$?
    [ $rc = 101 ] || fail "exit status $rc: gpurun $words"
    has 'cannot write to stdout' "$work/err"
done

for words in status earnings; do
    rc=0
    as_client env GPURUN_AGENT_HOME="$agent_home" "$BUILD/bin/gpurun-agent" $words >/dev/full 2>"$work/err" || rc=$?
    [ $rc = 1 ] || fail "exit status $rc: gpurun-agent $words"
    has 'cannot write to stdout' "$work/err"
done

note "a device nobody has"
refuse 100 'no host has gpu h100:64' run --gpu h100:64 train.py
refuse 100 'cores' run --cpu 4000 train.py
refuse 100 'is x86_64' run --arch riscv64 train.py

note "what must not be shipped"
mkdir -p "$client/.ssh"
cp train.py "$client/train.py"
cd "$client"
refuse 100 'home' run train.py
rm "$client/train.py"
cd "$work/proj"
mkdir -p sub/.ssh
refuse 100 '.ssh' run train.py
rmdir sub/.ssh

if [ "$(id -u)" != 0 ]; then
    chmod 000 secret.bin
    refuse 100 'secret.bin' run train.py
    chmod 644 secret.bin
fi

note "hosts that cannot be reached"
p=$(free_port)
refuse 101 'refuses' host add x "127.0.0.1:$p"
refuse 101 'no-such-host.invalid' host add x no-such-host.invalid
export GPURUN_SSH=/usr/bin/ssh
refuse 101 'Connection refused: no sshd on that port' host add x "127.0.0.1:$p"
refuse 101 'no-such-host.invalid' host add x no-such-host.invalid
unset GPURUN_SSH

note "the same as JSON"
/usr/bin/python3 - "$work/errors" <<'PY' || fail "no JSON error"
import json, sys
for line in open(sys.argv[1]):
    code, text = line.split(" ", 1)
    try:
        e = json.loads(text)["error"]
        assert e["exit"] == int(code) and e["message"] and e["code"]
    except (ValueError, KeyError, AssertionError):
        sys.exit("not the error: " + line)
PY

[ -z "$(leftovers)" ] || fail "left over: $(leftovers)"

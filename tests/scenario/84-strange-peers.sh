#!/bin/bash
# What answers is not what it should be: noise, garbage, our own echo, other versions of the
# protocol, another agent's key, another host key, no login. Each is refused with its code
# and a sentence that helps, and nothing is changed. libssh and the ssh binary.
# limit: 300
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"

mkdir -p "$work/p"
cd "$work/p"
echo 'echo ran' >job.sh
cat >"$work/fake.py" <<'PY'
# An agent that is none: what it says is in the file "mode".
import os, struct, sys
work, build, arch = sys.argv[1:4]
mode = open(work + "/mode").read().strip()
out = sys.stdout.buffer
READY = b"~gpurun-agent-ready-5b7e1f0c93ad4862\n"
def frame(kind, payload, stream=0, seq=0, flags=0, length=None):
    n = len(payload) if length is None else length
    return struct.pack("<IBBHIQ", n, kind, flags, 0, stream, seq) + payload
def hello(**over):
    fields = dict(proto_min=1, proto_max=1, features=7, need=7, role="serve",
                  nonce="00112233445566778899aabbccddeeff", version="9.9.9")
    fields.update(over)
    return b"gpurun.hello.v1\n" + b"".join(b"%s=%s\n" % (k.encode(), str(v).encode()) for k, v in fields.items())
def say(b):
    out.write(b)
    out.flush()
def stay():
    while os.read(0, 65536):
        pass
if mode == "real":
    agent = "%s/lib/gpurun/agent/%s/gpurun-agent" % (build, arch)
    os.execv(agent, [agent, "serve"])
elif mode == "otherkey":
    agent = "%s/lib/gpurun/agent/%s/gpurun-agent" % (build, arch)
    os.environ["GPURUN_AGENT_HOME"] = work + "/another-home"
    os.execv(agent, [agent, "serve"])
elif mode == "noise":
    try:
        for _ in range(6 << 4):
            say(b"\x1b]0;owned\x07" + b"n" * 65536)
        stay()
    except BrokenPipeError:
        pass
elif mode == "login":
    say(b"Welcome!\n\x1b[31mThis account is currently not available.\n")
    sys.exit(1)
elif mode == "garbage":
    say(READY + os.urandom(4096))
    stay()
elif mode == "echo":
    say(READY)
    b = os.read(0, 65536)
    while b:
        say(b)
        b = os.read(0, 65536)
elif mode == "newer":
    say(READY + frame(1, hello(proto_min=2, proto_max=3, version="99.0")))
    stay()
elif mode == "older":
    # Of the days before resumable channels: no features.
    say(READY + frame(1, hello(features=0, need=0, version="0.0.1")))
    stay()
elif mode == "client":
    say(READY + frame(1, hello(role="client")))
    stay()
elif mode == "huge":
    say(READY + frame(1, b"", length=0xfffffff0) + b"x" * 100000)
    stay()
elif mode == "nohello":
    say(READY + frame(3, b""))
    stay()
elif mode == "nohost":
    say(READY + frame(1, hello()))
    stay()
elif mode == "goaway":
    say(READY + frame(2, b"gpurun.error.v1\ncode=denied\nmsg=we are \\x1b[31mclosed\n"))
    sys.exit(0)
elif mode == "half":
    say(READY + frame(1, hello())[:50])
    sys.exit(0)
elif mode == "ends":
    say(READY)
    sys.exit(3)
elif mode == "missing":
    say(b"~gpurun-agent-missing-5b7e1f0c93ad4862\nos=Linux\narch=../../../etc\nend\n")
    stay()
elif mode == "facts":
    say(b"~gpurun-agent-missing-5b7e1f0c93ad4862\n" + b"a=b\n" * 100)
    stay()
PY
mode() { echo "$1" >"$work/mode"; }
client_key
sshd strange -- "ForceCommand /usr/bin/python3 $work/fake.py $work $BUILD $arch"
authorize strange
know strange
a=127.0.0.1:${port[strange]}
mode real
expect 0 gpurun -q host add known "$a"
expect 0 gpurun -q --json host show known
expect 0 gpurun -q ps -a

state() { (cd "$client" && find . -path ./gpurun/scan -prune -o -type f -printf '%p %s ' -exec sha256sum {} \; | LC_ALL=C sort); }
# refused CODE TEXT WORD...: that code, one message of at most two lines, no control
# characters, the same with --json, and nothing new on this side.
refused() {
    local code=$1 text=$2 before
    shift 2
    before=$(state)
    expect "$code" gpurun "$@"
    [ ! -s "$work/out" ] || fail "something on stdout: gpurun $*"
    has "$text" "$work/err"
    [ "$(grep -vc '^gpurun: ' "$work/err")" = 0 ] || fail "a line without 'gpurun: ': gpurun $*"
    [ "$(wc -l <"$work/err")" -le 2 ] || fail "more than two lines: gpurun $*"
    ! LC_ALL=C grep -q '[[:cntrl:]]' <(tr -d '\n' <"$work/err") || fail "control characters: gpurun $*"
    [ "$(state)" = "$before" ] || fail "something changed: gpurun $* $(diff <(echo "$before") <(state))"
}

for t in libssh ssh; do
    [ $t = ssh ] && export GPURUN_SSH=/usr/bin/ssh || unset GPURUN_SSH
    for case in "noise|no agent after" "login|not available" "garbage|does not speak as gpurun-agent does" "echo|does not speak as gpurun-agent does" \
        "newer|update gpurun" "older|update the older of the two" "client|client" "huge|frame" \
        "nohello|HELLO" "nohost|does not say what it is" "goaway|before HELLO" "half|ended before it had introduced itself" "ends|exit status 3" \
        "missing|../../../etc" "facts|"; do
        m=${case%%|*}
        note "$t: $m"
        mode "$m"
        refused 101 "${case#*|}" host add x "$a"
        refused 101 "${case#*|}" run --host known job.sh
    done
    note "$t: an agent with another key than the one pinned"
    mode otherkey
    refused 101 "another key" run --host known job.sh
    note "$t: and the right one again"
    mode real
    expect 0 gpurun -q run --host known job.sh
    has ran

    note "$t: the host key has changed, is unknown, is given by hand"
    cp "$client/.ssh/known_hosts" "$work/known_hosts"
    ssh-keygen -q -t ed25519 -N '' -f "$work/other" <<<y >/dev/null
    echo "[127.0.0.1]:${port[strange]} $(cut -d' ' -f1,2 "$work/other.pub")" >"$client/.ssh/known_hosts"
    refused 101 "host key" run --host known job.sh
    refused 101 "host key" host add x "$a"
    rm "$client/.ssh/known_hosts"
    refused 101 "--host-key" host add x "$a"
    refused 101 "--host-key" run --host known job.sh
    refused 101 "host key" host add x "$a" --host-key SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
    expect 0 gpurun -q host add x "$a" --host-key "$(ssh-keygen -lf "$work/strange/host_key.pub" | cut -d' ' -f2)"
    [ ! -e "$client/.ssh/known_hosts" ] || fail "the user's file was written"
    expect 0 gpurun -q run --host x job.sh
    expect 0 gpurun -q host rm x
    rm "$client/gpurun/known_hosts"
    cp "$work/known_hosts" "$client/.ssh/known_hosts"

    note "$t: a wrong key, no key"
    mv "$client/.ssh/id_ed25519" "$work/id"
    mv "$client/.ssh/id_ed25519.pub" "$work/id.pub"
    refused 101 "Is your key in its ~/.ssh/authorized_keys" host add x "$a"
    client_key
    refused 101 "Is your key in its ~/.ssh/authorized_keys" run --host known job.sh
    mv "$work/id" "$client/.ssh/id_ed25519"
    mv "$work/id.pub" "$client/.ssh/id_ed25519.pub"
done
await_none 120 'gpurun-agent|fake.py'

#!/bin/bash
# Nothing cuts a job: the link gone for a minute between two network namespaces, the laptop
# asleep for a minute, sshd killed and started again. Every client comes back by itself and
# goes on at the exact byte, and the bill counts the job and not the link.
# needs: root
# limit: 400
# repeats
if [ "${1:-}" != inside ]; then
    [ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
    exec unshare -n -- bash "$0" inside
fi
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
ip link set lo up

CUT_S=${CUT_S:-60}
LINES=${LINES_N:-700} # one each tenth of a second
mkdir -p "$work/p"
cd "$work/p"
cat >count.py <<'PY'
# count.py LINES: its time, as it sees it, last on stderr
import sys, time
began = time.monotonic()
n = int(sys.argv[1])
for i in range(n):
    sys.stdout.write("line %d %s\n" % (i, "x" * (i % 60)))
    sys.stdout.flush()
    sys.stderr.write("e%d\0\n" % i)
    sys.stderr.flush()
    time.sleep(max(0, began + (i + 1) / 10 - time.monotonic()))
sys.stdout.write("no newline at the end")
sys.stderr.write("took %.3f\n" % (time.monotonic() - began))
sys.exit(7)
PY
cat >server.py <<'PY'
# One HTTP server on the port given, until it is told to stop.
import http.server, sys
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"served")
    def log_message(self, *a):
        pass
s = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), H)
print("up", flush=True)
s.serve_forever()
PY
/usr/bin/python3 - $LINES "$work/want.out" "$work/want.err" <<'PY'
import sys
n = int(sys.argv[1])
with open(sys.argv[2], "w") as f:
    for i in range(n):
        f.write("line %d %s\n" % (i, "x" * (i % 60)))
    f.write("no newline at the end")
with open(sys.argv[3], "wb") as f:
    for i in range(n):
        f.write(b"e%d\0\n" % i)
PY

note "three hosts: beyond a cable, one that will lose its sshd, one beside a sleeping laptop"
spawn hostns unshare -n sleep 1000
other_net() { [ "$(readlink "/proc/${pid[hostns]}/ns/net")" != "$(readlink /proc/self/ns/net)" ]; }
await 10 "a second network namespace" other_net
ip link add cable0 type veth peer name cable1 netns "${pid[hostns]}"
ip addr add 10.81.0.1/24 dev cable0
ip link set cable0 up
there() { nsenter --net="/proc/${pid[hostns]}/ns/net" "$@"; }
there ip link set lo up
there ip addr add 10.81.0.2/24 dev cable1
there ip link set cable1 up

client_key
authorize_later() { mkdir -p "$work/$1" && cp "$client/.ssh/id_ed25519.pub" "$work/$1/authorized_keys"; }
real_sshd=$sshd_program
printf '#!/bin/sh\nexec nsenter --net=/proc/%s/ns/net %s "$@"\n' "${pid[hostns]}" "$real_sshd" >"$work/sshd_there"
chmod 755 "$work/sshd_there"
sshd_program=$work/sshd_there
authorize_later far
sshd far --address 10.81.0.2
sshd_program=$real_sshd
know far 10.81.0.2
for name in dying near; do
    authorize_later $name
    sshd $name
    know $name
done
# One fen a second, by the owner's card.
priced() { env HOME="$work/$1/home" "$BUILD/bin/gpurun-agent" price set cpu=36 >/dev/null; }
for name in far dying near; do
    priced $name
done
expect 0 gpurun -q host add far "10.81.0.2:${port[far]}"
expect 0 gpurun -q host add dying "127.0.0.1:${port[dying]}"
expect 0 gpurun -q host add near "127.0.0.1:${port[near]}"

declare -A runner=() # case -> pid of its gpurun
begin() { # CASE WORD...: in the background, with the stdin of fd 0
    local case=$1
    shift
    # Nobody but this shell holds the writing ends.
    client_bg "$work/$case.out" "$work/$case.err" "$@" 7>&- 8>&-
    runner[$case]=$bg
}
grew() { [ "$(stat -c %s "$work/$1.out")" -gt "${2:-0}" ]; }

for t in libssh ssh; do
    [ $t = ssh ] && export GPURUN_SSH=/usr/bin/ssh || unset GPURUN_SSH
    for h in far dying near; do
        begin "$h-$t" -q --host $h --name "$h-$t" -- /usr/bin/python3 count.py $LINES </dev/null
    done
done
unset GPURUN_SSH
begin local -q --host local --name local -- /usr/bin/python3 count.py $LINES </dev/null

# Over the cable besides: a job that reads its stdin, a port, a command inside, a follower.
mkfifo "$work/in" "$work/exec_in"
exec 7<>"$work/in" 8<>"$work/exec_in"
begin cat -q --host far --name cat -- sh -c 'cat; echo END' <"$work/in"
web=$(free_port)
begin server -q --host far --name server -- /usr/bin/python3 server.py "$web" </dev/null
for c in far-libssh far-ssh dying-libssh dying-ssh near-libssh near-ssh local server; do
    await 60 "output of $c" grew $c
done
begin logs -q logs -f far-libssh </dev/null
begin port -q port server "$web:$((web + 1))" </dev/null
# Into the job that ends last: whoever is slow must not find its job ended.
begin exec -q exec server -- sh -c 'cat; echo inside >&2; exit 9' <"$work/exec_in"
echo before >&7
echo before >&8
for c in cat logs port exec; do
    await 60 "output of $c" grew $c
done
fetched() { [ "$(curl_ "$((web + 1))")" = served ]; }
curl_() {
    /usr/bin/python3 -c 'import sys, urllib.request as u; print(u.urlopen("http://127.0.0.1:%s/" % sys.argv[1], timeout=10).read().decode())' "$1"
}
await 20 "the port to be served" fetched

note "for a minute: the cable is out, the laptop sleeps, sshd is dead"
asleep=""
for c in near-libssh near-ssh local; do
    # The client with its ssh; the agent of `local` sleeps with the laptop, its job does not.
    asleep="$asleep $(tree "${runner[$c]}" | tr '\n' ' ')"
done
there ip link set cable1 down
# shellcheck disable=SC2086
kill -STOP $asleep
for p in $(tree "${pid[dying]}" | tac); do
    # sshd and its sessions, not what they have started.
    case $(readlink "/proc/$p/exe") in *sshd*) kill -KILL "$p" ;; esac
done
wait "${pid[dying]}" 2>/dev/null || true
unset "pid[dying]"
began=$SECONDS
echo during >&7
echo during >&8
# shellcheck disable=SC2012
log_size() { ls -l "$work/$1/home/.local/share/gpurun-agent/renters/"*/jobs/*/log/out.* | awk '{ n += $5 } END { print n }'; }
far_before=$(log_size far)
sleep 5
sshd dying 7>&- 8>&- # on the same port
sleep $((CUT_S - (SECONDS - began)))
[ "$(log_size far)" -gt $((far_before + 2000)) ] || fail "the jobs stood still while the cable was out"
[ "$(stat -c %s "$work/far-libssh.out")" -lt "$(stat -c %s "$work/want.out")" ] || fail "the cable was not out"
there ip link set cable1 up
# shellcheck disable=SC2086
kill -CONT $asleep
echo after >&7
echo after >&8
exec 8>&-

ended() { gone "${runner[$1]}"; }
check_job() { # CASE: its client's status, output and bill
    local c=$1 rc=0
    await 150 "the client of $c comes back" ended "$c"
    wait "${runner[$c]}" || rc=$?
    [ $rc = 7 ] || fail "$c: status $rc: $(grep -av "^e[0-9]" "$work/$c.err" | head -n 60)"
    same "$work/want.out" "$work/$c.out" "$c: stdout"
    grep -av '^took ' "$work/$c.err" >"$work/$c.err1" || true
    same "$work/want.err" "$work/$c.err1" "$c: stderr"
}
for c in far-libssh far-ssh dying-libssh dying-ssh near-libssh near-ssh local; do
    check_job $c
done
rc=0
await 60 "logs -f ends" ended logs
wait "${runner[logs]}" || rc=$?
[ $rc = 7 ] || fail "logs -f: status $rc: $(cat "$work/logs.err")"
same "$work/want.out" "$work/logs.out" "logs -f"

note "stdin, exec and port over the cut"
exec_ended() { grep -q after "$work/exec.out"; }
await 60 "the port to be served again" fetched
exec 7>&-
await 60 "the job's stdin ends" ended cat
wait "${runner[cat]}" || fail "cat: status $?: $(cat "$work/cat.err")"
printf 'before\nduring\nafter\nEND\n' | cmp - "$work/cat.out" || fail "cat saw $(cat "$work/cat.out")"
await 60 "the command inside ends" ended exec
rc=0
wait "${runner[exec]}" || rc=$?
[ $rc = 9 ] || fail "exec: status $rc: $(cat "$work/exec.err")"
printf 'before\nduring\nafter\n' | cmp - "$work/exec.out" || fail "exec saw $(cat "$work/exec.out")"
[ "$(cat "$work/exec.err")" = inside ] || fail "exec's stderr: $(cat "$work/exec.err")"
expect 143 gpurun -q stop server
await 60 "port ends with its job" ended port

note "the bill counts the job and not the link"
for c in far-libssh far-ssh dying-libssh dying-ssh near-libssh near-ssh; do
    expect 0 gpurun --json bill "$c"
    /usr/bin/python3 - "$work/out" "$(sed -n 's/^took //p' "$work/$c.err")" <<'PY' || fail "$c: $(cat "$work/out")"
import json, sys
b = json.load(open(sys.argv[1]))
took = float(sys.argv[2])
assert int(took) <= b["charge_fen"] <= took + 3, (took, b["charge_fen"])
PY
    expect 0 gpurun -q bill --verify "$c"
done

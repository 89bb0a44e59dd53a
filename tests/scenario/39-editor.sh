#!/bin/bash
# An editor's remote mode, and anything else that speaks SSH, goes into a job: ssh with
# ProxyCommand gpurun exec, as the manual has it. Commands, files and ports, byte for byte.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
use libssh
mkdir "$work/proj"
cd "$work/proj"
cat >serve.py <<'PY'
import http.server, os
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"from job " + os.environ["GPURUN_JOB"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
s = http.server.HTTPServer(("127.0.0.1", 0), Answer)
open("port", "w").write(str(s.server_address[1]))
s.serve_forever()
PY
expect 0 gpurun -q run -d --name night --host "$H" --python /usr/bin/python3 serve.py
job=$(cat "$work/out")
await 60 "the job's port" gpurun -q exec night -- test -s port

note "the manual's lines, once: a host key and our own key beside the job"
expect 0 gpurun -q exec night -- sh -c 'ssh-keygen -q -t ed25519 -N "" -f "$TMPDIR/hostkey"'
gpurun -q exec night -- sh -c 'cat >"$TMPDIR/keys"' <"$client/.ssh/id_ed25519.pub" || fail "no key"
cat >"$work/gpurun" <<SH
#!/bin/sh
exec env -i PATH="$PATH" HOME="$client" GPURUN_HOME="$client/gpurun" LC_ALL=C.UTF-8 "$BUILD/bin/gpurun" "\$@"
SH
chmod +x "$work/gpurun"
cat >"$work/config" <<CONF
Host night
  User $(id -un)
  IdentityFile $client/.ssh/id_ed25519
  UserKnownHostsFile $work/known
  StrictHostKeyChecking accept-new
  ProxyCommand $work/gpurun -q exec night -- sh -c 'exec /usr/sbin/sshd -i -f /dev/null -h "\$TMPDIR/hostkey" -o "AuthorizedKeysFile=\$TMPDIR/keys" -o StrictModes=no -o UsePAM=no -o "Subsystem=sftp internal-sftp"'
CONF
job_ssh() { # WORD...
    ssh -F "$work/config" "$@"
}

note "commands, their status and both streams"
expect 7 job_ssh night 'echo out; echo err >&2; exit 7'
[ "$(cat "$work/out")" = out ] || fail "stdout: $(cat "$work/out")"
has err "$work/err"

note "every byte, many of them, both ways"
head -c 20000000 /dev/urandom >"$work/random"
job_ssh night cat <"$work/random" >"$work/back" || fail "cat: $?"
same "$work/random" "$work/back" "through ssh and exec"

note "files"
expect 0 scp -q -F "$work/config" "$work/random" "night:$(gpurun -q exec night -- pwd)/random"
expect 0 gpurun -q cp night:random "$work/got"
same "$work/random" "$work/got" "by scp there, by cp back"

note "a port of the job, forwarded by ssh"
port=$(gpurun -q exec night -- cat port)
job_ssh -N -o ExitOnForwardFailure=yes -L "$work/socket:127.0.0.1:$port" night 2>"$work/forward" &
forward=$!
await 60 "the forwarded port" test -S "$work/socket"
/usr/bin/python3 - "$work/socket" "$job" <<'PY' || fail "no answer through it"
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(b"GET / HTTP/1.0\r\n\r\n")
got = b""
while True:
    part = s.recv(65536)
    if not part:
        break
    got += part
sys.exit(("from job " + sys.argv[2]).encode() not in got)
PY
kill $forward
wait $forward || true

note "nothing of it stays: neither a process nor a key in the snapshot"
await 60 "no sshd in the job" eval '! gpurun -q exec night -- sh -c "ps -eo args | grep -q \"[s]shd -i\""'
expect 143 gpurun -q stop night
expect 0 gpurun snap files night
! grep -qE 'hostkey|keys$' "$work/out" || fail "keys are in the snapshot: $(cat "$work/out")"

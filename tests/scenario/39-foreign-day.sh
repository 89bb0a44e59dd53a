#!/bin/bash
# A day's work on a host that is not like this machine (foreign.sh): what a set-up costs, data that two jobs
# share and what the host fetches itself, caches, pyenv, lines of a log, top, a port that is taken here, an
# editor's ssh, a debugger's terminal, snapshots on the way.
# needs: root
# repeats
# limit: 240
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
. "$(dirname "$0")/foreign.sh"

client_key
foreign lab
mkdir -p "$work/p" "$work/set" "$work/www"
cd "$work/p"
expect 0 gpurun -q host add lab ssh -p "${port[lab]}" lin@127.0.0.1
agent_home=$work/lab/home/lin/.local/share/gpurun-agent
# A device of its own kind, so that there is a price with it and one without.
on_foreign lab ': >/dev/shm/toy; d=.local/share/gpurun-agent; mkdir -p $d/devices.d
    printf "gpurun.class.v1\n\nclass=asic\nvendor=toy\ndetect=nodes\nnode=/dev/shm/toy\ntype=toy\n" >$d/devices.d/toy.conf
    $d/bin/*/gpurun-agent price set cpu=36 asic:toy=720' >"$work/price"

note "a set-up is billed at the price of no card, and its layer serves the next job"
# shellcheck disable=SC2016
setup='sleep 1; python3 -c "import os, labtools; open(os.environ[\"GPURUN_SETUP_DIR\"] + \"/word\", \"w\").write(labtools.WORD)"; echo "it is $((6 * 7))" >&2'
# shellcheck disable=SC2016
uses() { gpurun --host lab --max-cost 50 --device asic:toy --name "$1" --setup "$setup" -- sh -c 'cat "$GPURUN_SETUP_DIR/word"'; }
expect 0 uses made
has "only there"
has "it is 42" "$work/err"
expect 0 gpurun bill made
has "set-up, no card"
expect 0 gpurun bill --verify made
expect 0 uses reused
has "only there"
hasnt "it is 42" "$work/err"
expect 0 gpurun bill reused
hasnt "set-up, no card"

note "pyenv, as a login there has it: its shims, and a version by name"
on_foreign lab 'for v in 9.1.2 9.1.10; do python3 -m venv --without-pip .pyenv/versions/$v; done; mkdir .pyenv/shims; echo 9.1.2 >.pyenv/version'
cat >"$work/lab/home/lin/.pyenv/shims/python3" <<'SH'
#!/bin/sh
exec "$HOME/.pyenv/versions/${PYENV_VERSION:-$(cat "$HOME/.pyenv/version")}/bin/${0##*/}" "$@"
SH
chmod 755 "$work/lab/home/lin/.pyenv/shims/python3"
# shellcheck disable=SC2016
echo 'PATH=$HOME/.pyenv/shims:$PATH' >>"$work/lab/home/lin/.profile"
echo 'import sys; print(sys.prefix)' >where.py
expect 0 gpurun -q --host lab where.py
has /home/lin/.pyenv/versions/9.1.2
expect 0 gpurun -q --host lab --python 9.1 where.py
has /home/lin/.pyenv/versions/9.1.10

note "data: put once, and one set that the host fetches with what it has, its own Python"
head -c 400000 /dev/urandom >"$work/set/big"
cp "$work/set/big" "$work/www/fetched"
sum=$(sha256sum <"$work/set/big")
expect 0 gpurun -q data put ds "$work/set" --host lab
web=$(free_port)
spawn web /usr/bin/python3 -m http.server --bind 127.0.0.1 -d "$work/www" "$web"
await 30 "the web server" listening 127.0.0.1 "$web"
expect 0 gpurun -q data pull far "http://127.0.0.1:$web/fetched" --host lab --sha256 "${sum%% *}"
stop web
expect 0 gpurun --json plan --host lab --data ds -- true
is '[(x["name"], x["travel_bytes"]) for x in d["data"]]' "[('ds', 0)]"

note "one job that stays: its data and another's are the same files; caches stay, outside of snapshots"
cat >long.py <<'PY'
import functools, hashlib, http.server, os, sys, threading, time
os.makedirs(os.environ["HF_HOME"] + "/hub", exist_ok=True)
open(os.environ["HF_HOME"] + "/hub/model", "w").write("weights")
print(hashlib.sha256(open("ds/big", "rb").read()).hexdigest(), flush=True)
print("loss 0.5", flush=True)
print("a warning", file=sys.stderr, flush=True)
class page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"page of %d\n" % os.getuid())
    def log_message(self, *words):
        pass
web = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), page)
threading.Thread(target=web.serve_forever, daemon=True).start()
open("state", "w").write("on its way")
print("listens", flush=True)
while not os.path.exists("enough"):
    time.sleep(0.1)
print("loss 0.25", flush=True)
PY
expect 0 gpurun -q -d --host lab --name long --max-cost 50 --snap-every 1s --data ds long.py "$web"
await 60 "it listens" eval 'gpurun -q logs long 2>/dev/null | grep -q listens'
# shellcheck disable=SC2016
expect 0 gpurun -q --host lab --data ds:in --data far -- sh -c 'cat "$HF_HOME/hub/model"; echo "$PIP_CACHE_DIR"; sha256sum <in/big; sha256sum <far/fetched; echo x >in/big || echo read-only'
has weights
has /home/lin/.local/share/gpurun-agent/renters/
[ "$(grep -c "${sum%% *}" "$work/out")" = 2 ] || fail "other data"
has read-only
[ "$(find "$agent_home" -name big | wc -l)" = 1 ] || fail "it is there more than once: $(find "$agent_home" -name big)"

note "top; lines of its log"
expect 0 gpurun top long
has "¥0.60/min"
stamp='^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8}\.[0-9]{3} [+0-9]+ '
expect 0 gpurun logs --grep 'loss|warn' --timestamps --since 1h long
grep -qE "${stamp}loss 0.5\$" "$work/out" || fail "no such line with its time"
grep -qE "${stamp}a warning\$" "$work/err" || fail "no such line with its time on stderr"
hasnt listens
moment=$(date -u +%Y-%m-%dT%H:%M:%S.%NZ)

note "a port whose number is taken here, by the job itself: another one, and its URL"
client_bg "$work/port.out" "$work/port.err" port long "$web" </dev/null
forward=$bg
url() { grep -ohE 'http://127\.0\.0\.1:[0-9]+' "$work/port.out" "$work/port.err" | head -n 1; }
has_url() { [ -n "$(url)" ]; }
await 30 "a URL" has_url
[ "$(url)" != "http://127.0.0.1:$web" ] || fail "that is the job's own"
[ "$(/usr/bin/python3 -c 'import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=10).read().decode().strip())' "$(url)")" = "page of 4321" ] || fail "no page"
kill "$forward"
wait "$forward" || true

note "an editor's way in: a real ssh to the host's own sshd, within the job"
ssh-keygen -q -t ed25519 -N '' -f "$work/hostkey"
# shellcheck disable=SC2016
tar -C "$work" -cf - hostkey -C "$client/.ssh" id_ed25519.pub | gpurun -q exec long -- \
    python3 -c 'import os, sys, tarfile; os.umask(0o77); tarfile.open(fileobj=sys.stdin.buffer, mode="r|").extractall(os.environ["TMPDIR"])'
printf '#!/bin/sh\nexec env -i PATH="%s" HOME="%s" GPURUN_HOME="%s/gpurun" LC_ALL=C.UTF-8 "%s/bin/gpurun" "$@"\n' \
    "$PATH" "$client" "$client" "$BUILD" >"$work/gpurun"
chmod 755 "$work/gpurun"
cat >"$work/config" <<CONF
Host long
  User lin
  IdentityFile $client/.ssh/id_ed25519
  UserKnownHostsFile $work/known
  StrictHostKeyChecking accept-new
  ProxyCommand $work/gpurun -q exec long -- sh -c 'exec /usr/sbin/sshd -i -f /dev/null -h "\$TMPDIR/hostkey" -o "AuthorizedKeysFile=\$TMPDIR/id_ed25519.pub" -o StrictModes=no -o UsePAM=no'
CONF
rc=0
# shellcheck disable=SC2016
ssh -F "$work/config" long 'echo "$(id -un) $LAB"; sha256sum; exit 7' <"$work/set/big" >"$work/out" 2>"$work/err" || rc=$?
[ $rc = 7 ] || fail "exit status $rc"
has "${sum%% *}"
has lin

note "a terminal for a debugger, and the question before it costs"
echo 'x = 42; breakpoint(); print("after", x)' >debug.py
expect 0 as_client TERM=xterm "$(tool pty_run)" '[Y/n]' y '(Pdb)' 'p x + 1' 43 c -- "$BUILD/bin/gpurun" run -t --host lab debug.py
has "after 42"

note "snapshots on the way; only the end stays"
n_kept() { gpurun --json snap ls >"$work/out" 2>"$work/err" && json 'len([s for s in d["snapshots"] if s["job"] == "'"$job"'"])'; }
job=$(job_field long id)
on_the_way() { [ "$(n_kept)" -ge 1 ]; }
await 60 "one of them" on_the_way
expect 0 gpurun -q exec long -- touch enough
expect 0 gpurun -q wait long
expect 0 gpurun logs --since "$moment" long
[ "$(cat "$work/out")" = "loss 0.25" ] || fail "the lines since then"
[ "$(n_kept)" = 1 ] || fail "not only the end stays"
expect 0 gpurun -q snap files long
has state
hasnt model
hasnt big

note "removed: no more there"
expect 0 gpurun -q data rm ds
expect 0 gpurun -q data rm far
expect 0 gpurun -q gc
[ -z "$(find "$agent_home" -name big)" ] || fail "its files are left"

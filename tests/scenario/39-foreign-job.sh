#!/bin/bash
# Working with jobs on a host that is not like this machine (foreign.sh): logs, exec, a terminal, a port,
# extend, live snapshots, cp, carrying work there and back, word from the host alone, parking, the bill.
# needs: root
# repeats
# limit: 300
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
. "$(dirname "$0")/foreign.sh"

client_key
foreign lab
new_host desk # like this machine
mkdir -p "$work/p"
cd "$work/p"
expect 0 gpurun -q host add lab ssh -p "${port[lab]}" lin@127.0.0.1
on_foreign lab '.local/share/gpurun-agent/bin/*/gpurun-agent price set cpu=36 disk=0.0066' >"$work/price"
expect 0 gpurun -q host add desk "127.0.0.1:${port[desk]}"
cat >work.py <<'PY'
import http.server, os, signal, sys, threading, time
state = int(open("state").read()) if os.path.exists("state") else 0
print("begins at", state, sys.prefix, flush=True)
class page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"page of %d\n" % os.getuid())
    def log_message(self, *words):
        pass
web = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), page)
threading.Thread(target=web.serve_forever, daemon=True).start()
signal.signal(signal.SIGTERM, lambda *a: sys.exit(9))
while not os.path.exists("enough"):
    state += 1
    open("state.new", "w").write(str(state))
    os.replace("state.new", "state")
    print("step", state, flush=True)
    time.sleep(0.1)
PY
web=$(free_port)
here=$(free_port)
told=/home/lin/told
# shellcheck disable=SC2016
client_bg "$work/run.out" "$work/run.err" --host lab --name night --max-time 20m --max-cost 5 --port "$web:$here" \
    --notify-host 'echo "$GPURUN_EVENT $(id -un) $(hostname)" >>'"$told" work.py "$web" </dev/null
ran=$bg
stepped() { gpurun -q logs night >"$work/log" && grep -q 'step 3$' "$work/log"; }
await 60 "the job's steps" stepped

note "logs, ps, top"
expect 0 gpurun logs -n 2 --timestamps night
has "step"
expect 0 gpurun --json ps
is '[(j["name"], j["host"], j["state"]) for j in d["jobs"]]' "[('night', 'lab', 'running')]"
expect 0 gpurun --json top night
has '"night"'

note "a port, over the same connection"
page() { /usr/bin/python3 -c 'import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=10).read().decode().strip())' "$1"; }
[ "$(page "http://127.0.0.1:$here/")" = "page of 4321" ] || fail "no page"
has "http://127.0.0.1:$here" "$work/run.err"

note "exec: the job's own environment, 8-bit clean; a terminal of its own"
# shellcheck disable=SC2016
expect 3 gpurun exec night -- sh -c 'echo "$(id -un) $LAB $(hostname)"; ls state; exit 3'
has "lin yes lab"
head -c 200000 /dev/urandom >"$work/bytes"
gpurun exec night -- sh -c 'cat' <"$work/bytes" >"$work/back"
same "$work/bytes" "$work/back" "what exec passed through"
# shellcheck disable=SC2016
expect 4 as_client TERM=xterm "$(tool pty_run)" '$ ' 'stty size; tty; echo $((6 * 7))' 42 'exit 4' -- "$BUILD/bin/gpurun" exec -t night -- sh -i
has "/dev/pts/"

note "extend"
expect 0 gpurun --json extend night --max-cost 9 --max-time 1h
expect 0 gpurun extend night --max-time 2h
has "cap now ¥9.00, time limit 02:00:00" "$work/err"

note "a live snapshot, which goes on here; files come and go"
expect 0 gpurun -q snap take night --name live
expect 0 gpurun -q snap get live state -o got
[ "$(cat got)" -ge 3 ] || fail "the state of the live snapshot: $(cat got)"
expect 0 gpurun -q cp night:state now
[ "$(cat now)" -ge "$(cat got)" ] || fail "the state now: $(cat now)"


note "stopped; word got out by the host alone; the data goes on at the desk, and comes back"
expect 9 gpurun stop night
rc=0
wait $ran || rc=$?
[ $rc = 9 ] || fail "the run ended with $rc: $(cat "$work/run.err")"
told_it() { on_foreign lab "cat $told" | grep -q "lin lab"; }
await 30 "word from the host" told_it
expect 0 gpurun snap files night
has state
client_bg "$work/d.out" "$work/d.err" resume night --host desk --name day -- python3 work.py "$(free_port)" </dev/null
ran=$bg
goes_on() { gpurun -q logs day >"$work/log" && grep -q step "$work/log"; }
await 60 "the job at the desk" goes_on
first=$(sed -n 's/^begins at \([0-9]*\) .*/\1/p' "$work/d.out")
[ "$first" -ge "$(cat now)" ] || fail "it began at $first: $(cat "$work/d.out")"
hasnt /opt/python "$work/d.out"
expect 0 gpurun exec day -- touch enough
wait $ran || fail "at the desk: $(cat "$work/d.err")"
expect 0 gpurun --json snap show day
is 'd["host"]' desk
expect 0 gpurun -q resume day --host lab --name back -- python3 work.py "$web"
last=$(sed -n 's/^step //p' "$work/d.out" | tail -n 1)
has "begins at $last /opt/python"

note "what was detached is found again, and parked when no job is left"
expect 0 gpurun -q -d --host lab --name last -- sh -c 'while [ ! -e enough ]; do sleep 0.1; done; echo done; exit 6'
# shellcheck disable=SC2016
expect 0 gpurun -q host park lab 'echo "parked by $(id -un)" >>/home/lin/parked' --park-after 1s
expect 0 gpurun plan --host lab -- true
has "after the last job"
expect 0 gpurun exec last -- touch enough
expect 6 gpurun wait last
expect 0 gpurun logs last
has done
parked() { on_foreign lab 'cat parked' | grep -q "parked by lin"; }
await 60 "parking" parked

note "the bill"
expect 0 gpurun bill
has "night"
has "total ¥"
expect 0 gpurun bill --verify night
expect 0 gpurun bill --verify last

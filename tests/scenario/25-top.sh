#!/bin/bash
# needs: root
# top: what running jobs use of cores, memory and devices, and what a minute costs. The
# GPU's library is substituted in a private mount namespace, in which all of this runs.
if [ "${IN_NAMESPACE:-}" != 1 ]; then
    exec unshare -m env IN_NAMESPACE=1 bash "$0"
fi
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"

mount -t tmpfs none /usr/local
mkdir -p /usr/local/nvidia/lib64
cp "$BUILD/tests/libs/nvml.so" /usr/local/nvidia/lib64/libnvidia-ml.so.1
cat >/usr/local/nvidia/lib64/libnvidia-ml.so.1.conf <<'CONF'
driver 550.54.14
cuda 12040
device NVIDIA GeForce RTX 4090|GPU-11111111-2222-3333-4444-555555555555|25757220864|00000000:01:00.0|37|1
CONF
mkdir -p "$work/p"
cd "$work/p"
json() { /usr/bin/python3 -c "import json; d={j['name']: j for j in json.load(open('$work/out'))['jobs']}; print($1)"; }
GPURUN_AGENT_HOME=$client/gpurun/local "$BUILD/bin/gpurun-agent" price set cpu=0.6 4090=60 >/dev/null

note "nothing runs"
expect 0 gpurun top
has "nothing runs" "$work/err"
expect 100 gpurun top nix

note "one job that works, one that sleeps on a GPU"
expect 0 gpurun -q run -d --name busy -- sh -c 'while :; do :; done'
expect 0 gpurun -q run -d --name card --gpu 4090 -- sleep 600
await 60 "both run" eval 'job_is busy running && job_is card running'
works() { gpurun top --json >"$work/out" && [ "$(json 'd["busy"]["cpu_permille"] > 20')" = True ]; }
await 60 "a share of a core" works
[ "$(json 'd["card"]["cpu_permille"] < 20')" = True ] || fail "the sleeper works: $(json 'd["card"]')"
[ "$(json '(d["busy"]["devices"], d["busy"]["burn_uyuan_per_h"])')" = "([], 600000)" ] || fail "busy: $(json 'd["busy"]')"
[ "$(json '[(x["type"], x["busy_percent"], x["memory_bytes"]) for x in d["card"]["devices"]]')" = \
    "[('4090', 37, 25757220864)]" ] || fail "its GPU: $(json 'd["card"]')"
[ "$(json 'd["card"]["rss_bytes"] > 100000 and d["card"]["processes"] >= 1')" = True ] || fail "its memory"
expect 0 gpurun top card
has "37 %"
has "¥1.00/min"
hasnt busy
! grep -q $'\033' "$work/out" || fail "control characters off a terminal"

note "on a terminal it goes on until ^C"
expect 0 as_client env TERM=xterm "$(tool pty_run)" '37 %' x '37 %' x '37 %' '^C' -- "$BUILD/bin/gpurun" top
[ "$(grep -c $'\033\\[H' "$work/out")" -ge 3 ] || fail "not three looks"

expect 0 gpurun top @last
has card
hasnt busy
run gpurun -q stop --now busy
run gpurun -q stop --now card
{ job_is busy ended && job_is card ended; } || fail "they did not stop"
expect 100 gpurun top @last
has "no job '@last' is running" "$work/err"

note "--idle: a GPU that works is not idle, one that rests is"
expect 0 gpurun -q run -d --name works --gpu 4090 --idle 2s -- sleep 600
await 60 "it runs" job_is works running
conf=/usr/local/nvidia/lib64/libnvidia-ml.so.1.conf
lives() { [ "$(/usr/bin/python3 -c "import json; print(sum(j['can_run_s'] < 86400 - 6 for j in json.load(open('$work/out'))['jobs']))")" = 1 ]; }
longer() { gpurun top --json >"$work/out" && lives; }
await 60 "longer than --idle alone would let it" longer
job_is works running || fail "ended while its GPU worked: $(job_state works)"
sed -i 's/|37|1$/|0|0/' "$conf"
expect 104 gpurun -q wait works
[ "$(job_field works reason)" = idle ] || fail "ended by $(job_field works reason)"

#!/bin/bash
# run --batch and --array: a hundred jobs over one connection, spread over two hosts, each durable
# and billed; one table, one sum; exit codes; ^C; bad lines; against ssh over ControlMaster.
# limit: 240
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
. "$(dirname "$0")/jobs.sh"

mkdir -p "$work/p"
cd "$work/p"
cat >job.sh <<'EOF'
echo "index $GPURUN_ARRAY_INDEX args $*"
exit "${1:-0}"
EOF

note "what is wrong with a line is named before anything is done"
bad() { # WORDS-IN-MESSAGE LINE...
    printf '%s\n' "${@:2}" >bad.txt
    expect 100 gpurun run --batch bad.txt
    has "$1" "$work/err"
}
bad "line 2: no script 'nosuch.py'" '-- true' nosuch.py
bad "line 1: a quote" 'job.sh "'
bad "unknown option '--nosuch'" '--nosuch job.sh'
bad "it names nothing to run" '--cpu 1'
bad "one job" '--array 1-2 job.sh'
bad "it holds no job" '# nothing' ''
bad "called 'same'" '--name same -- true' '--name same -- true'
bad "no host has gpu 4090" '-- true' '--gpu 4090 -- true'
expect 100 gpurun run --batch nosuch.txt
expect 100 gpurun run --batch bad.txt job.sh
expect 100 gpurun run --array 3-1 job.sh
expect 100 gpurun run --array 1-2 -d job.sh
expect 100 gpurun run --array 1-2 --from nosuch job.sh
expect 100 gpurun run --array 1-2 --batch bad.txt
expect 100 gpurun run --array 1-2
expect 100 gpurun run --array 1-2 --host nosuch job.sh
expect 100 gpurun plan --array 1-2 --compare job.sh
[ "$(ps_json | grep -c '"id"')" = 0 ] || fail "something was started"

note "options before the file are defaults; a line's own win; the plan adds the caps up"
owner price set cpu=0.36 >/dev/null
cat >few.txt <<'EOF'
# three ways to end
--name good --env "A=b c" -- sh -c 'test "$A" = "b c"'
job.sh 3

--max-time 2h -- sh -c "kill -9 $$"
EOF
expect 0 gpurun plan --json --batch few.txt --name def --max-time 1h
[ "$(json '[(j["index"], j["name"], j["cap_fen"]) for j in d["jobs"]]')" = \
    "[(2, 'good', 36), (3, 'def-3', 36), (5, 'def-5', 72)]" ] || fail "the plan: $(cat "$work/out")"
[ "$(json 'd["cap_fen"]')" = 144 ] || fail "the sum of caps"
expect 3 gpurun run --json --name def --max-time 1h --batch few.txt
[ "$(json '[(j["name"], j["exit"]) for j in d["jobs"]]')" = "[('good', 0), ('def-3', 3), ('def-5', 137)]" ] ||
    fail "the ends: $(cat "$work/out")"
has "3 jobs, at most ¥1.44 in all; each stops by itself after 02:00:00 at the latest" "$work/err"
expect 0 gpurun -q logs def-3
has "args 3"
expect 0 gpurun plan --array 7-7 --max-time 2h job.sh
has "1 job, at most"
has "it stops by itself after 02:00:00 at the latest; on: "
expect 0 gpurun run -q --array 7-8 --name arr job.sh
has "2 jobs, 2 of them exited 0"
expect 0 gpurun -q logs arr-8
[ "$(cat "$work/out")" = "index 8 args " ] || fail "the index: $(cat "$work/out")"
n_sent=$(grep -l '^spec=gpurun.spec' "$client"/gpurun/jobs/j* | wc -l)
[ "$n_sent" = 5 ] || fail "of $n_sent jobs it is on record what was sent"

note "the first ^C starts no more and goes to those that run"
client_bg "$work/c.out" "$work/c.err" run --json --array 1-50 --name many -- sleep 600
many_run() { [ "$(ps_json | grep -o '"state":"running"' | wc -l)" = "$(nproc)" ]; }
await 60 "as many as there are cores run" many_run
kill -INT "$bg"
code=0
wait "$bg" || code=$?
[ "$code" = 130 ] || fail "exit $code after ^C"
cp "$work/c.out" "$work/out"
[ "$(json 'sum(1 for j in d["jobs"] if j["exit"] == 130)')" = "$(nproc)" ] || fail "the interrupted"
[ "$(json 'sum(1 for j in d["jobs"] if j["exit"] is None)')" = $((50 - $(nproc))) ] || fail "the unstarted"

note "SIGTERM leaves what runs"
client_bg "$work/c.out" "$work/c.err" run --array 1-50 --name left -- sleep 600
await 60 "as many as there are cores run" many_run
kill -TERM "$bg"
code=0
wait "$bg" || code=$?
[ "$code" = 143 ] || fail "exit $code after SIGTERM"
many_run || fail "what ran went with the client"
for i in $(seq "$(nproc)"); do
    expect 137 gpurun -q stop --now "left-$i"
done

note "a hundred jobs on two hosts, by two connections"
use libssh
two=$H
sshd other
authorize other
know other
expect 0 gpurun -q host add other "127.0.0.1:${port[other]}" --agent-home "$work/other-home"
for h in "$work/$two/home/.local/share/gpurun-agent" "$work/other-home"; do
    as_client env GPURUN_AGENT_HOME="$h" "$BUILD/bin/gpurun-agent" price set cpu=0.36 >/dev/null
done
logins() { grep -c 'Accepted publickey' "$work/$1/log" || true; }
before=$(($(logins "$two") + $(logins other)))
start=$(date +%s%N)
expect 0 gpurun run --json --array 1-100 --name h job.sh
took=$((($(date +%s%N) - start) / 1000000))
now=$(($(logins "$two") + $(logins other)))
[ "$now" = $((before + 2)) ] || fail "$((now - before)) logins instead of 2"
[ "$(json '[j["exit"] for j in d["jobs"]] == [0] * 100')" = True ] || fail "not all ended well"
[ "$(json 'd["charge_fen"] == sum(j["charge_fen"] for j in d["jobs"])')" = True ] || fail "the sum"
[ "$(json 'd["bills_missing"]')" = 0 ] || fail "bills are missing"
[ "$(json 'all(j["job"]["snapshot"] for j in d["jobs"])')" = True ] || fail "not all are kept"
[ "$(json 'min(sum(1 for j in d["jobs"] if j["host"] == h) for h in ("'"$two"'", "other")) >= 10')" = True ] ||
    fail "not spread: $(json '[j["host"] for j in d["jobs"]]')"
for i in 1 50 100; do
    expect 0 gpurun bill --verify "h-$i"
done
expect 0 gpurun audit
note "$took ms"

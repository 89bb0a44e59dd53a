#!/bin/bash
# A hundred separate clients at once, against an sshd as Debian configures it (MaxStartups
# 10:30:100): all get in, each job runs once, and nothing is left over.
# needs: alone
# limit: 400
# repeats
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"

CROWD=${CROWD:-100}
mkdir -p "$work/p"
cd "$work/p"
echo 'echo "$1"; echo "err $1" >&2; exit $(($1 % 90))' >job.sh
use libssh
grep -qi maxstartups "$work/hlib/sshd_config" && fail "not the default MaxStartups"
# The cores are shared: what counts is who gets in, not how fast.
note "$CROWD clients over libssh and ssh"
clients=()
for i in $(seq "$CROWD"); do
    if [ $((i % 4)) = 0 ]; then
        export GPURUN_SSH=/usr/bin/ssh
    else
        unset GPURUN_SSH
    fi
    client_bg "$work/o.$i" "$work/e.$i" -q --host "$H" --name "c$i" -- sh job.sh "$i" </dev/null
    clients+=("$bg")
done
unset GPURUN_SSH
for i in $(seq "$CROWD"); do
    rc=0
    wait "${clients[$((i - 1))]}" || rc=$?
    [ $rc = $((i % 90)) ] || fail "client $i: status $rc: $(cat "$work/e.$i")"
    [ "$(cat "$work/o.$i")" = "$i" ] || fail "client $i: stdout $(cat "$work/o.$i")"
    [ "$(cat "$work/e.$i")" = "err $i" ] || fail "client $i: stderr $(cat "$work/e.$i")"
done
refused=$(grep -c 'MaxStartups' "$work/hlib/log" || true)
note "sshd turned away $refused connections"
ps_json >"$work/out"
n=$(/usr/bin/python3 -c 'import json, sys; print(len([j for j in json.load(open(sys.argv[1]))["jobs"] if j["state"] == "ended" and j["reason"] == "exited"]))' "$work/out")
[ "$n" = "$CROWD" ] || fail "$n jobs instead of $CROWD"
await_none 120 '[0-9]+: [^ ]*/gpurun(-[a-z]+)? '
[ -z "$(find "$client/gpurun" -name '*.tmp')" ] || fail "left over: $(find "$client/gpurun" -name '*.tmp')"

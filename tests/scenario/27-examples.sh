#!/bin/bash
# limit: 400
# repeats
# The examples as their README says: digits is trained, resumed elsewhere from its snapshot, and
# served over HTTP from that snapshot, reached through --port; here and over SSH.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"

export PATH=/usr/bin:/bin:/usr/sbin:/sbin
cp -r "$TOP/examples" "$work/examples"
cd "$work/examples/digits"
plain=(--env OPENBLAS_NUM_THREADS=1) # on a busy machine its threads wait for each other

use pipe
note "train on $H"
expect 0 gpurun -q run --host local "${plain[@]}" train.py --epochs 2
grep -q '^epoch   2  ' "$work/out" || fail "no second epoch"
/usr/bin/python3 -c 'import sys; sys.exit(not float(sys.argv[1]) >= 0.9)' "$(sed -n 's/^test accuracy //p' "$work/out")" ||
    fail "it has not learnt"

note "a host by its alias in ssh_config, and nothing else"
client_key
sshd lab
authorize lab
know lab
printf 'Host lab\n  HostName 127.0.0.1\n  Port %s\n' "${port[lab]}" >"$client/.ssh/config"
chmod 600 "$client/.ssh/config"
expect 0 gpurun host add lab
has lab
expect 101 gpurun host add nowhere.invalid
has "nowhere.invalid" "$work/err"
expect 0 gpurun host rm lab

use libssh
note "resume on $H"
expect 0 gpurun -q resume @last --host "$H" "${plain[@]}" -- python3 train.py --epochs 3
grep -q '^going on after epoch 2$' "$work/out" || fail "it began anew"
grep -q '^epoch   3  ' "$work/out" || fail "no third epoch"
trained=$(gpurun --json ps -a | /usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)["jobs"][0]["id"])')

expect 102 gpurun -q resume "$trained" --host "$H" -- train.py --epochs 4
has "say ./train.py, or python3 train.py" "$work/err"

cd ../inference
# The number the job listens on is taken by whoever asks first, here and there being one machine.
listen=$(free_port)
ready="digits, epoch 3: ready on port $listen"
ready_or_gone() { grep -q "$ready" "$work/serve.out" || ! kill -0 "$bg"; }
for t in pipe libssh ssh; do
    use "$t"
    note "serve on $H"
    want=$listen
    [ "$t" = pipe ] || want=$listen:${port[$H]} # which its sshd has
    client_bg "$work/serve.out" "$work/serve.err" run --host "$H" --from "$trained" --name "serve-$H" \
        --port "$want" serve.py --listen "$listen"
    await 90 "the server is ready" ready_or_gone
    grep -q "$ready" "$work/serve.out" || fail "no server: $(cat "$work/serve.err")"
    url=$(sed -n "s/^gpurun: .*port $listen of the job: //p" "$work/serve.err")
    [ "$t" = pipe ] || has "port ${port[$H]} is not free here" "$work/serve.err"
    [ -n "$url" ] && [ "$url" != "http://127.0.0.1:$listen" ] || fail "the URL: '$url'"
    for n in 3 10; do
        expect 0 /usr/bin/python3 client.py "$url" "$n"
        has "digits, image $n: $((n % 10)) ("
    done
    # Bytes that are no question are refused by the server, not by the way.
    expect 0 /usr/bin/python3 -c '
import sys, urllib.error, urllib.request
try:
    urllib.request.urlopen(sys.argv[1] + "/predict", b"nonsense")
except urllib.error.HTTPError as e:
    print(e.code, e.read().decode())' "$url"
    has "400"
    expect 143 gpurun -q stop "serve-$H"
    rc=0
    wait "$bg" || rc=$?
    [ "$rc" = 143 ] || fail "the client of a stopped job ends with $rc: $(cat "$work/serve.err")"
    ! listening 127.0.0.1 "${url##*:}" || fail "something still listens at $url"
done
unset GPURUN_SSH

note "with no checkpoint it says what to do"
expect 1 gpurun -q run --host local serve.py
has "start it with --from SNAPSHOT" "$work/err"

#!/bin/bash
# A host that falls silent before its next frame, its agent answering pings: given up after ten
# minutes, for what is fetched from it and for what goes from it to another host.
# limit: 1500
. "$(dirname "$0")/../scenario/lib.sh"
. "$(dirname "$0")/../scenario/hosts.sh"

mkdir -p "$work/p" "$work/evil-home"
cp "$(tool hostile/agent)" "$work/agent"
client_key
sshd evil -- "ForceCommand env GPURUN_AGENT_HOME=$work/evil-home $work/agent serve"
authorize evil
know evil
cd "$work/p"
expect 0 gpurun -q host add evil "127.0.0.1:${port[evil]}" --mirror none
expect 0 gpurun -q --host evil --name made -- sh -c 'head -c 300000 /dev/urandom >data'
echo 'silent 0' >"$work/agent.lie"
began=$SECONDS
client_bg "$work/get.out" "$work/get.err" -q snap get made -o "$work/got"
get=$bg
client_bg "$work/copy.out" "$work/copy.err" -q snap mirror made --host local
copy=$bg
declare -A want=([get]=101 [copy]=103) # contact was lost; whether the copy stands, nobody here knows
for what in get copy; do
    code=0
    wait "${!what}" || code=$?
    [ "$code" = "${want[$what]}" ] || fail "$what: exit $code instead of ${want[$what]}"
    has "host 'evil' fell silent in the middle of a transfer" "$work/$what.err"
done
note "after $((SECONDS - began)) s"
[ $((SECONDS - began)) -ge 590 ] || fail "too early"
[ ! -e "$work/got" ] || fail "something is left"

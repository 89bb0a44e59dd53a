#!/bin/bash
# Killed right before, and in the middle of, each write to what money hangs on: the renter's ledger,
# the host's journal with its receipt, the owner's ledger, the book's. Nothing is billed twice,
# nothing is lost, and closing once more changes nothing. STEP=1: every write (make soak);
# else every STEP-th.
# needs: root
# limit: 300
# repeats
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"

STEP=${STEP:-17}
die="LD_PRELOAD=$BUILD/tests/libs/dieat.so DIE_AT_FILE=$work/die ASAN_OPTIONS=verify_asan_link_order=0"
agent=$BUILD/lib/gpurun/agent/$arch/gpurun-agent.dyn
# shellcheck disable=SC2086
owner() { env -i PATH="$PATH" HOME="$work/h1/home" LC_ALL=C.UTF-8 TZ=UTC GPURUN_AGENT_HOME="$work/h1/agent" $die "$agent" "$@"; }
# shellcheck disable=SC2086
book() { env -i PATH="$PATH" HOME="$work/op/home" LC_ALL=C.UTF-8 TZ=UTC $die "$BUILD/bin/gpurun-book" "$@"; }
# shellcheck disable=SC2086
renter() { as_client env $die "$BUILD/bin/gpurun" "$@"; }

client_key
sshd h1 -- "ForceCommand env $die GPURUN_AGENT_HOME=$work/h1/agent $agent serve"
know h1
authorize h1
expect 0 gpurun -q host add h1 "127.0.0.1:${port[h1]}"
expect 0 owner price set cpu=36
mkdir "$work/p"
cd "$work/p"
echo 'echo up; sleep 1.1' >job.sh
expect 0 gpurun -q wallet topup 100
expect 0 gpurun -q --host h1 --max-cost 1 --name whole job.sh

# all_final: no job goes on (a listing finds the dead, and puts them right)
all_final() {
    ps_json | /usr/bin/python3 -c 'import json, sys; sys.exit(any(j["state"] not in ("ended", "lost") for j in json.load(sys.stdin)["jobs"]))'
}
# right WHAT: all books agree to the fen, and once more changes nothing
right() {
    local i before=''
    rm -f "$work/die"
    await 60 "all jobs to have ended ($1)" all_final
    for i in 1 2; do
        expect 0 gpurun --json wallet
        is_now=$(json 'd["balance_fen"], d["held_fen"]')
        expect 0 gpurun --json bill
        charged=$(json 'd["total_fen"]')
        [ "$is_now" = "($((deposited - charged)), 0)" ] || fail "$1: $is_now of $deposited, with $charged charged"
        expect 0 owner audit --json
        [ "$(json 'd["right"], d["charge_fen"], d["earned_fen"]')" = "(True, $charged, $charged)" ] || fail "$1: the owner: $(json 'd["right"], d["charge_fen"], d["earned_fen"]'), $charged charged: $(json 'd["problems"]')"
        [ -z "$before" ] || [ "$before" = "$is_now" ] || fail "$1: $before became $is_now"
        before=$is_now
    done
    expect 0 gpurun audit
}
deposited=10000
right "at first"

# each HOW TEXT WHAT...: run WHAT, killed at the 1st, (1 + STEP)th, ... write, until none is reached
reached=0
each() {
    local how=$1 text=$2 n=$((1 + RANDOM % STEP)) k=0
    shift 2
    while :; do
        echo "$how:$text:$n" >"$work/die"
        "$@" "$n"
        if [ -e "$work/die" ]; then
            break # there is no such write
        fi
        k=$((k + 1))
        right "$how $text, write $n"
        n=$((n + STEP))
    done
    rm -f "$work/die"
    note "$how $text: killed $k times, up to write $((n - STEP))"
    reached=$((reached + k))
}

one_run() {
    run renter -q --host h1 --max-cost 1 --name "r$RANDOM" -- true
    case $rc in
    0 | 137) ;;
    *) fail "the run: status $rc: $(cat "$work/err")" ;;
    esac
}
hosted_run() {
    run gpurun -q --host h1 --max-cost 1 --name "h$RANDOM" job.sh
    case $rc in
    0 | 101 | 102 | 105) ;;
    100) has "not submitted" "$work/err" ;;
    *) fail "the run: status $rc: $(cat "$work/err")" ;;
    esac
}
owner_looks() {
    run owner tick
    case $rc in
    0 | 137) ;;
    *) fail "the owner's tick: status $rc: $(cat "$work/err")" ;;
    esac
    # There is something to enter the next time.
    [ "$rc" = 0 ] && [ -e "$work/die" ] || expect 0 gpurun -q --host h1 --max-cost 1 job.sh
}
note "the renter's ledger"
for how in write torn; do
    each $how /gpurun/ledger one_run
done
note "the host's journal and receipt, written by its supervisor"
save=$STEP
STEP=$((save > 3 ? 3 : save)) # few they are
for how in write torn; do
    each $how /usage hosted_run
done
STEP=$((save > 2 ? 2 : save)) # fewer still
note "the owner's ledger"
expect 0 gpurun -q --host h1 --max-cost 1 job.sh
for how in write torn; do
    each $how /agent/ledger owner_looks
done

STEP=$((save > 9 ? 9 : save))
note "the book's ledger, by who asks it for a grant and brings it a receipt"
sshd op -- "AuthorizedKeysFile $work/op/home/.ssh/authorized_keys"
mkdir -p "$work/op/home/.ssh"
know op
expect 0 book key
expect 0 owner book allow "$(cat "$work/out")"
expect 0 owner book ls --json
expect 0 book host add h1 "$(json 'd["host_key"]')"
expect 0 book allow "$client/.ssh/id_ed25519.pub" --name ann
expect 0 book deposit ann 100
sed -i "s#command=\"#command=\"env $die #" "$work/op/home/.ssh/authorized_keys"
own=$(($(gpurun --json bill | /usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)["total_fen"])')))
expect 0 gpurun wallet use "127.0.0.1:${port[op]}"
book_right() { # WHAT
    local i
    rm -f "$work/die"
    await 60 "all jobs to have ended ($1)" all_final
    for i in 1 2; do
        expect 0 gpurun --json wallet
        is_now=$(json 'd["balance_fen"], d["held_fen"]')
        expect 0 gpurun --json bill
        charged=$(($(json 'd["total_fen"]') - own))
        [ "$is_now" = "($((10000 - charged)), 0)" ] || fail "$1: $is_now, with $charged charged"
        expect 0 book audit --json
        [ "$(json 'd["right"], d["charges_fen"]')" = "(True, $charged)" ] || fail "$1: the book: $(cat "$work/out")"
    done
}
right() { book_right "$@"; }
booked_run() {
    run gpurun -q --host h1 --max-cost 1 --name "b$RANDOM" job.sh
    case $rc in
    0 | 101) ;;
    *) fail "the run: status $rc: $(cat "$work/err")" ;;
    esac
}
for how in write torn; do
    each $how gpurun-book/ledger booked_run
done
[ $reached -ge 12 ] || fail "killed $reached times only"
note "killed $reached times in all"

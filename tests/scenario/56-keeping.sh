#!/bin/bash
# What keeping a job's data costs: held at its close, a line of its own when the data goes, signed by
# the host, posted to the renter's own book or an operator's, and in the bill.
# needs: root
# limit: 200
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
. "$(dirname "$0")/clocks.sh"
sshd op -- "AuthorizedKeysFile $work/op/home/.ssh/authorized_keys"
mkdir -p "$work/op/home/.ssh"
book() { env -i PATH="$PATH" HOME="$work/op/home" LC_ALL=C.UTF-8 TZ=UTC "$BUILD/bin/gpurun-book" "$@"; }
owner() { env -i PATH="$PATH" HOME="$work/h1/home" LC_ALL=C.UTF-8 TZ=UTC "$BUILD/bin/gpurun-agent" "$@"; }
client_key
sshd h1
know op
know h1
authorize h1
# A gigabyte for a day is a million yuan: two megabytes are 2.3 fen a second.
expect 0 owner price set cpu=36 disk=1000000
expect 0 gpurun -q host add h1 "127.0.0.1:${port[h1]}"
mkdir "$work/proj"
cd "$work/proj"
echo 'head -c 2000000 /dev/urandom >data.bin' >make.sh

note "the own book: held at the close, posted by snap rm, in the bill"
expect 0 gpurun wallet topup 100000
expect 0 gpurun -q --host h1 --max-cost 40000 --name one make.sh
expect 0 gpurun --json bill one
is 'd["keep_hold_fen"] > 1000, [l["kind"] for l in d["lines"]].count("keeping")' "(True, 0)"
hold=$(json 'd["keep_hold_fen"]')
charge=$(json 'd["charge_fen"]')
expect 0 gpurun --json wallet
is 'd["held_fen"], d["balance_fen"], d["holds"][0]["for"]' "($hold, $((10000000 - charge)), 'keeping')"
# A clock that is ahead has it posted to its end, which the host's line puts right.
timed ahead
step ahead $((20 * 86400)) wall
# shellcheck disable=SC2046
expect 0 as_client $(clock_env ahead) "$BUILD/bin/gpurun" --json wallet
is 'd["held_fen"], d["balance_fen"] < '$((10000000 - charge - hold / 2)) "(0, True)"
sleep 2.1 # it costs by the second
expect 0 gpurun snap rm one
hasnt "not posted" "$work/err"
expect 0 gpurun --json bill one
is 'd["keep_hold_fen"], [l["kind"] for l in d["lines"]].count("keeping")' "(0, 1)"
kept=$(json '[l["fen"] for l in d["lines"] if l["kind"] == "keeping"][0]')
[ "$kept" -ge 4 ] && [ "$kept" -lt "$hold" ] || fail "kept $kept of $hold"
expect 0 gpurun --json wallet
is 'd["held_fen"], d["balance_fen"]' "(0, $((10000000 - charge - kept)))"
expect 0 gpurun bill one
has "keeping"
expect 0 gpurun audit

note "again: the same line, nothing posted twice"
expect 0 gpurun snap rm one
expect 0 gpurun --json wallet
is 'd["held_fen"], d["balance_fen"]' "(0, $((10000000 - charge - kept)))"

note "a line that was changed is not taken"
job=$(ls "$client/gpurun/keepings")
cp "$client/gpurun/keepings/$job" "$work/line"
sed -i 's/^charge=.*/charge=0/' "$client/gpurun/keepings/$job"
expect 101 gpurun bill one
cp "$work/line" "$client/gpurun/keepings/$job"
expect 0 gpurun bill one

note "an operator's book: the same, the owner is paid for it"
expect 0 book key
expect 0 owner book allow "$(cat "$work/out")"
expect 0 owner book ls --json
expect 0 book host add h1 "$(json 'd["host_key"]')"
expect 0 book allow "$client/.ssh/id_ed25519.pub" --name ann
expect 0 book deposit ann 100000
expect 0 gpurun wallet use "127.0.0.1:${port[op]}"
expect 0 gpurun -q --host h1 --max-cost 40000 --name two make.sh
expect 0 gpurun --json bill two
hold=$(json 'd["keep_hold_fen"]')
charge=$(json 'd["charge_fen"]')
expect 0 gpurun --json wallet
is 'd["held_fen"], d["balance_fen"], d["holds"][0]["for"]' "($hold, $((10000000 - charge)), 'keeping')"
cp "$work/op/home/.ssh/authorized_keys" "$work/keys"
: >"$work/op/home/.ssh/authorized_keys"
expect 0 gpurun snap rm two
has "not posted yet" "$work/err"
cp "$work/keys" "$work/op/home/.ssh/authorized_keys"
expect 0 gpurun snap rm two
hasnt "not posted yet" "$work/err"
expect 0 gpurun --json bill two
kept=$(json '[l["fen"] for l in d["lines"] if l["kind"] == "keeping"][0]')
expect 0 gpurun --json wallet
is 'd["held_fen"], d["balance_fen"]' "(0, $((10000000 - charge - kept)))"
expect 0 book audit --json
is 'd["right"], d["charges_fen"]' "(True, $((charge + kept)))"
expect 0 book host ls --json
is 'd["hosts"][0]["due_fen"]' "$((charge + kept))"
